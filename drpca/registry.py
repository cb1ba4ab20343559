"""Child registries of MMEngine's root ones: the only file that touches those.

``MODELS.build(dict(type='RPCANet'))`` works without any import by the caller: each registry knows the packages in
which its classes are defined, and imports the one file that defines the name asked for. A config sets
``default_scope = 'drpca'``, so that MMEngine's ``Runner`` looks here first and in MMEngine's own registries (``Adam``,
``CosineAnnealingLR``, …) next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine import registry as _root
from mmengine.registry import Registry

SCOPE = 'drpca'
_REGISTRATION = re.compile(
    r"""^@(\w+)\.register_module\((?:(?:name=)?['"](\w+)['"])?\)\n(?:@.*\n)*(?:class|def) (\w+)""", re.MULTILINE
)


@cache
def _registrations(package: str) -> dict[str, dict[str, str]]:
    """Registry → registered name → module that defines it, of all files of a package; imports none of them."""
    found: dict[str, dict[str, str]] = {}
    root = Path(__file__).parents[1]
    for path in sorted(root.joinpath(*package.split('.')).rglob('*.py')):
        module = '.'.join(path.relative_to(root).with_suffix('').parts)
        for registry, name, defined in _REGISTRATION.findall(path.read_text(encoding='utf-8')):
            found.setdefault(registry, {})[name or defined] = module
    return found


class LazyRegistry(Registry):
    """A registry that imports a file when a name defined in it is asked for, and all files only to list them.

    Names are read off the decorators ``@MODELS.register_module()`` of a package's files.

    Args:
        variable: Name of the registry in the source, ``'MODELS'``.
        name: What is registered, for messages.
        packages: Where the files lie.
        parent: Searched for names that are not defined here.
    """

    def __init__(self, variable: str, name: str, *packages: str, parent: Registry | None = None) -> None:
        super().__init__(name, parent=parent, scope=SCOPE)
        self._files: dict[str, str] = {}
        for package in packages:
            self._files |= _registrations(package).get(variable, {})

    def get(self, key: str) -> Any:
        """The class or function of a name, with or without the scope ``drpca.``; None if there is none."""
        self._import(str(key).removeprefix(f'{SCOPE}.'))
        return super().get(key)

    def defines(self, name: str) -> bool:
        """Whether a name is registered here, not counting the parents; imports nothing."""
        return name in self._files or name in self._module_dict

    @property
    def files(self) -> Mapping[str, str]:
        """Name → module that defines it, of what the packages define; imports nothing."""
        return self._files

    def import_from_location(self) -> None:
        """Nothing: :meth:`get` has imported what was asked for."""

    @property
    def module_dict(self) -> dict[str, Any]:
        """Name → class or function; imports all files."""
        for name in self._files:
            self._import(name)
        return self._module_dict

    def __len__(self) -> int:
        return len(self.module_dict)

    def __repr__(self) -> str:
        len(self)
        return super().__repr__()

    def _import(self, name: str) -> None:
        if name in self._files and name not in self._module_dict:
            import_module(self._files[name])

    def _register_module(self, module: Any, module_name: Any = None, force: bool = False) -> None:
        """Refuses a second class of a name, also where the file of the first has not been imported yet."""
        names = [module_name] if isinstance(module_name, str) else module_name or [module.__name__]
        for name in names:
            if self._files.get(name) != module.__module__:
                self._import(name)
        super()._register_module(module, module_name, force)


def _child(variable: str, name: str, *packages: str) -> LazyRegistry:
    return LazyRegistry(variable, name, *packages, parent=getattr(_root, variable))


MODELS = _child('MODELS', 'model', 'drpca.models', 'drpca.losses', 'drpca.engine')
DATASETS = _child('DATASETS', 'dataset', 'drpca.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'data sampler', 'drpca.datasets')
TRANSFORMS = _child('TRANSFORMS', 'transform', 'drpca.datasets', 'drpca.models')
METRICS = _child('METRICS', 'metric', 'drpca.evaluation')
HOOKS = _child('HOOKS', 'hook', 'drpca.engine')
LOOPS = _child('LOOPS', 'loop', 'drpca.engine')
RUNNERS = _child('RUNNERS', 'runner', 'drpca.engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'optim_wrapper', 'drpca.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'parameter scheduler', 'drpca.engine')

# Nothing of ours in these; they exist so that a config's default scope finds MMEngine's classes.
VISUALIZERS = _child('VISUALIZERS', 'visualizer')
VISBACKENDS = _child('VISBACKENDS', 'vis_backend')
OPTIMIZERS = _child('OPTIMIZERS', 'optimizer')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'optimizer wrapper constructor')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', 'model_wrapper')

# Without a counterpart in MMEngine.
BASELINES = LazyRegistry('BASELINES', 'baseline', 'drpca.baselines')
PROTOCOLS = Registry('protocol', scope=SCOPE, locations=['drpca.evaluation.protocols'])


def network_names(wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """The registered networks, sorted: models that name their outputs. Imports the files of all that are wanted."""
    names = {**MODELS.files, **MODELS._module_dict}
    return sorted(name for name in names if wanted(name) and isinstance(getattr(MODELS.get(name), 'outputs', 0), tuple))
