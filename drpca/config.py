"""Finding, loading and checking configs."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from mmengine.config import Config
from mmengine.config import config as _mmengine

from drpca.errors import UserError, did_you_mean, unknown_name, warn
from drpca.files import cannot_write, is_full
from drpca.names import canonical_name, joined_names, simplify
from drpca.options import MAX_SIDE, called

# Keys of a config that MMEngine's Runner or this project reads.
KNOWN_KEYS = {
    'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg',
    'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator', 'test_evaluator', 'default_hooks',
    'custom_hooks', 'data_preprocessor', 'load_from', 'resume', 'launcher', 'env_cfg', 'log_processor', 'log_level',
    'visualizer', 'default_scope', 'randomness', 'experiment_name', 'cfg', 'runner_type',
    'find_unused_parameters', 'compile', 'sync_bn', 'model_wrapper_cfg', 'activation_checkpointing',
    'efficient_conv_bn_eval', 'inference_size', 'custom_imports', 'selection', 'checkpoint_stages', 'cuda_graphs',
}  # fmt: skip

HELPERS = {'dataset', 'normalisation', 'augmentation', 'size', 'train_loader', 'eval_loader', 'window'}
"""What the files below ``configs/_base_`` give for those that inherit from them."""

_HELPER = 'only helps to write the config and is not read; change the keys that use it, such as train_dataloader.….'

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HOME = 'sirstv1'
"""The data set whose config stands for the others', where these have no file of their own."""
HOME_SEQUENCES = 'synthetic_sequence'
"""Likewise of the models of several frames."""


def config_folder() -> Path:
    """The folder ``configs``: of the installed package, or of this source tree."""
    package = Path(__file__).resolve().parent
    packed = package / 'configs'
    return packed if packed.is_dir() else package.parent / 'configs'


@cache
def data_sets() -> dict[str, Path]:
    """How the data set is called in a config's name → its base file."""
    return {path.stem: path for path in sorted((config_folder() / '_base_' / 'datasets').glob('*.py'))}


@cache
def sequence_sets() -> dict[str, Path]:
    """The same of data sets of sequences, for networks over several frames."""
    return {path.stem: path for path in sorted((config_folder() / '_base_' / 'sequences').glob('*.py'))}


def _alike(dataset: str) -> dict[str, Path]:
    """The data sets of one kind, of single frames or of sequences: a network takes one kind."""
    return sequence_sets() if dataset in sequence_sets() else data_sets()


def split_name(path: Path) -> tuple[str, str] | None:
    """``…/acm/acm_irstd_1k_lesps.py`` → ``('irstd_1k', '_lesps')``; None if the name is of another form."""
    names = sorted((*data_sets(), *sequence_sets()), key=len, reverse=True)
    form = rf'{re.escape(path.parent.name)}_({"|".join(names)})(_.+)?'
    match = re.fullmatch(form, path.stem)
    return (match[1], match[2] or '') if match else None


def home_config(path: Path) -> tuple[Path, str] | None:
    """What a config without a file of its own stands for: the model's SIRST V1 config on another data set.

    Args:
        path: ``<folder>/<model>/<model>_<data set>[_recipe].py``.

    Returns:
        The file and the data set; None if there is a file at ``path``, or if it is of no known form.
    """
    parts = None if path.is_file() else split_name(path)
    if parts is None:
        return None
    dataset, recipe = parts
    homes = [path.with_name(f'{path.parent.name}_{name}{recipe}.py') for name in (HOME, *_alike(dataset))]
    return next(((home, dataset) for home in homes if home.is_file()), None)


def list_configs() -> dict[str, Path]:
    """Name (file name without suffix) → path of every config, also of those without a file (:func:`home_config`)."""
    found = {path.stem: path for path in config_folder().glob('[!_]*/*.py')}
    for path in list(found.values()):
        if parts := split_name(path):
            names = [f'{path.parent.name}_{dataset}{parts[1]}' for dataset in _alike(parts[0])]
            found = {name: path.with_name(f'{name}.py') for name in names} | found
    return dict(sorted(found.items()))


def list_models() -> list[str]:
    """Folder names of the trainable models of single frames."""
    return sorted({path.parent.name for path in list_configs().values()} - {'classical', 'ablations'} - window_models())


def window_models() -> set[str]:
    """Folder names of the trainable models of several frames."""
    named = {path.parent.name: split_name(path) for path in list_configs().values()}
    return {folder for folder, parts in named.items() if parts and parts[0] in sequence_sets()}


def evaluation_data(config: Config) -> Mapping[str, Any]:
    """What a config says of its test images (``dataset``, ``data_root``, …); empty where it says nothing."""
    return (config.get('test_dataloader') or {}).get('dataset') or {}


def default_models(purpose: str) -> list[str]:
    """What is taken where none is named (``configs/_base_/default_models.py``).

    Args:
        purpose: ``'train'`` and ``'compare'`` give models, ``'detect'`` configs with weights of the project.
    """
    return list(Config.fromfile(config_folder() / '_base_' / 'default_models.py')[purpose])


def find_config(name: str | os.PathLike[str]) -> Path:
    """A config by path or by name (``rpcanet_sirstv1``); :func:`load_config` reads what comes back.

    Raises:
        UserError: There is none.
    """
    path = Path(name)
    if path.suffix == '.py' and path.is_file():
        return path
    configs = list_configs()
    known = configs.get(path.stem)
    is_name = path.suffix != '.py' or len(path.parts) == 1
    if known and (is_name or path.resolve() == known or path == known.relative_to(config_folder().parent)):
        return known
    raise UserError(f'{unknown_name("config", str(name), list(configs))} {called("config")} lists all.')


def config_for(model: str, dataset: str, windows: bool = False) -> Path:
    """The config of a model on a data set; an unknown data set uses the model's SIRST V1 recipe, or that of
    synthetic sequences.

    Args:
        model: ``drpcanet``, ``DRPCANet``, ``DRPCA-Net``, ``RPCANet+``, …
        dataset: Name of a data set, or a folder name under the data root.
        windows: Models of several frames count as well.
    """
    models = sorted({*list_models(), *(window_models() if windows else ())})
    wanted = simplify(model.replace('+', 'plus'))
    folder = next((name for name in models if simplify(name) == wanted), None)
    if folder is None:
        raise unknown_name('model', model, models)
    configs = {simplify(name): path for name, path in list_configs().items() if path.parent.name == folder}
    names = [f'{wanted}{simplify(name)}' for name in (canonical_name(dataset), HOME, HOME_SEQUENCES)]
    return next((configs[name] for name in names if name in configs), next(iter(configs.values())))


@cache
def _read_data_set(dataset: str) -> dict[str, Any]:
    """The base file of a data set, by any of its names; empty for a folder that is none of them."""
    wanted = simplify(canonical_name(dataset))
    path = next((path for name, path in {**data_sets(), **sequence_sets()}.items() if simplify(name) == wanted), None)
    return {} if path is None else Config.fromfile(path).to_dict()


def set_dataset(config: MutableMapping[str, Any], dataset: str | Sequence[str], normalise: bool = True) -> None:
    """Puts a data set, or several joined, in the place of a config's own, in all loaders.

    A network that is normalised by mean and standard deviation of the config's own data set (``normalisation``) then is
    by those of the new one, of several the first one, where they are known. That is for a training; weights that are
    there already go with the normalisation that they were trained with: ``normalise=False``. Likewise a training that
    is augmented as its data set says (``augmentation``).
    """
    name = _joined_name(dataset)
    first = _read_data_set(joined_names(dataset)[0])
    follows = 'augmentation' in config and 'augmentation' in first
    for source in _sources(config):
        source['dataset'] = name
        source.pop('normalisation', None)
        if follows and source.get('before_resize') == config['augmentation']:
            source['before_resize'] = first['augmentation']
    if follows:
        config['augmentation'] = first['augmentation']
    if 'dataset' in config:
        config['dataset'] = name
    if normalise and 'normalisation' in config and 'normalisation' in first:
        if _is_normalised(config):
            config['model'].update(first['normalisation'])
        config['normalisation'] = dict(first['normalisation'])


def _joined_name(dataset: Any) -> str:
    """``'nuaa_sirst+NUDT'``, or a list of the two, → ``'SIRSTv1+NUDT-SIRST'``."""
    names = joined_names(dataset) if isinstance(dataset, (str, list, tuple)) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f'dataset: expected the name of a data set, or names to be joined, got {dataset!r}.')
    return '+'.join(_read_data_set(name).get('dataset', name) for name in names)


def _is_normalised(config: Mapping[str, Any]) -> bool:
    """Whether the network takes mean and standard deviation of the data set."""
    own, model = config.get('normalisation'), config.get('model')
    if not isinstance(own, Mapping) or not isinstance(model, Mapping):
        return False
    return all(model.get(key) == value for key, value in own.items())


def _normalise_joined(config: Config) -> None:
    """Where data sets are joined, each image is normalised as of its own: their means and standard deviations.

    The network has one pair of them, and the data sets bring their images to it, in all loaders.
    """
    sources = [source for source in _sources(config) if source.get('type') == 'InfraredDataset']
    for source in sources:
        if isinstance(source.get('dataset'), list):
            source['dataset'] = _joined_name(source['dataset'])
    joined = any('+' in str(source.get('dataset')) for source in sources)
    if joined and _is_normalised(config) and not config.model.get('scale_to_max'):
        names = {name for source in sources for name in joined_names(str(source.get('dataset')))}
        bases = [_read_data_set(name) for name in sorted(names)]
        known = {base['dataset']: base['normalisation'] for base in bases if base}
        for source in sources:
            source.setdefault('normalisation', {'network': config.normalisation, **known})


def _sources(config: Mapping[str, Any]) -> list[Any]:
    """The data set parts of the loaders.

    Raises:
        UserError: A loader has none.
    """
    found = {loader: config[loader] for loader in LOADERS if config.get(loader)}
    for loader, value in found.items():
        if not isinstance(value, Mapping) or not isinstance(value.get('dataset'), Mapping):
            raise UserError(f'{loader}: expected dict(dataset=dict(type=…), …), got {value!r}.')
    return [value['dataset'] for value in found.values()]


class _Reader:
    """Reads a config file with its base files as MMEngine does, and besides

    * a base file that has no file of its own (:func:`home_config`),
    * ``custom_imports`` of all files: they add up, and each finds what lies beside its file,
    * the names that files give and nothing reads: they are refused.
    """

    def __init__(self) -> None:
        self._modules: dict[str, tuple[Path, bool]] = {}
        self._handed_on = False
        self._unread: list[tuple[str, Path]] = []
        self._read_below: set[str] = set()
        self._open: list[Path] = []
        # MMEngine's reader of one file, which then asks this object for the base files.
        original = Config._file2dict
        self._mmengine = FunctionType(
            original.__code__, {**vars(_mmengine), 'Config': self}, argdefs=original.__defaults__
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(Config, name)

    def __call__(self, path: Path) -> Config:
        """The config, with its custom modules imported.

        Raises:
            UserError: A name that nothing reads, or a module that cannot be imported.
        """
        if path.is_file() and Config._is_lazy_import(str(path)):
            return Config.fromfile(path)
        content, text, environment = self._file2dict(str(path))
        for name, file in self._unread:
            if name not in self._read_below and name in HELPERS:
                raise UserError(f'{name} in {file} {_HELPER}')
            if name not in self._read_below:
                error = unknown_name('config key', name, sorted(KNOWN_KEYS))
                raise UserError(f'{error} Correct {file}; names of your own begin with an underscore.')
        self._import_modules()
        if self._modules:
            optional = all(optional for _, optional in self._modules.values())
            content['custom_imports'] = {'imports': list(self._modules), 'allow_failed_imports': optional}
        return Config(content, cfg_text=text, filename=str(path), env_variables=environment)

    def _file2dict(self, filename: str, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], str, dict[str, Any]]:
        path = Path(filename)
        home = home_config(path)
        if home is not None:
            found = self._file2dict(str(home[0]), *args, **kwargs)
            set_dataset(found[0], home[1])
            return found
        if path.resolve() in self._open:  # MMEngine goes round for seconds
            raise UserError(f'Cannot read config {self._open[0]}: {path} is below itself; take it out of its _base_.')
        self._open.append(path.resolve())
        outer, self._handed_on = self._handed_on, False
        content, text, environment = self._mmengine(filename, *args, **kwargs)
        self._handed_on = outer
        self._open.pop()
        self._note_names(path, content)
        if content.get('custom_imports'):
            self._note_modules(path, content['custom_imports'])
            if self._handed_on:  # the same key in two base files would be an error
                content.pop('custom_imports')
            self._handed_on = True
        return content, text, environment

    def _note_names(self, path: Path, content: Mapping[str, Any]) -> None:
        if path.suffix != '.py':
            return
        source = path.read_text(encoding='utf-8')
        try:
            tree = ast.parse(source)
        except SyntaxError:  # placeholders that MMEngine has replaced
            return
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        given = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        read = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        if '_base_' in path.parts or '_base_' not in given:  # for what inherits; or a whole config, as a run keeps it
            read |= HELPERS
        self._read_below |= set(re.findall(r'_base_\.(\w+)', source))
        self._unread += [
            (name, path) for name in sorted((given & content.keys()) - read - KNOWN_KEYS) if not name.startswith('_')
        ]

    def _note_modules(self, path: Path, custom: Any) -> None:
        modules = custom.get('imports') if isinstance(custom, Mapping) else None
        modules = [modules] if isinstance(modules, str) else modules
        if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
            raise UserError(f'custom_imports in {path}: expected dict(imports=[names of modules]), got {custom!r}.')
        for name in modules:
            self._modules.setdefault(name, (path, bool(custom.get('allow_failed_imports'))))

    def _import_modules(self) -> None:
        folders = list(dict.fromkeys(path.resolve().parent for path, _ in self._modules.values()))
        sys.path[:0] = [str(folder) for folder in folders if str(folder) not in sys.path]
        for name, (path, optional) in self._modules.items():
            try:
                module = importlib.import_module(name)
            except (Exception, SystemExit) as error:  # a Python file, too
                text = f'Cannot import {name} (custom_imports of {path}): {type(error).__name__}: {error}'
                if not (optional and isinstance(error, ImportError)):
                    raise UserError(text) from None
                warn(text)
                continue
            beside = path.resolve().parent / f'{name.replace(".", "/")}.py'
            origin = getattr(module, '__file__', None)
            if beside.is_file() and origin and not beside.samefile(origin):
                raise UserError(f'{beside} has the name of {origin}, which is imported already: give it another.')


def load_config(
    path: str | Path | Config,
    dataset: str | Sequence[str] | None = None,
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    fast: str | None = None,
) -> Config:
    """Read a config file and apply a data set, a data root and options to it.

    Args:
        path: Config file, what :func:`find_config` gives, or a config that was read.
        dataset: Used in every dataloader instead of the config's own, with its normalisation (:func:`set_dataset`).
            Several are joined: ``'SIRSTv1+NUDT-SIRST'`` or a list.
        data_root: Likewise.
        options: Dotted keys → values (``--cfg-options``), applied last.
        fast: ``'cuda'`` or ``'cpu'``: apply the settings that make training fast there, before the options.

    Raises:
        UserError: The file does not load, or it or an option names a key that nothing reads.
    """
    try:
        config = copy.deepcopy(path) if isinstance(path, Config) else _Reader()(Path(path))
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config is a Python file: anything can come out of it
        if is_full(error):  # a copy of the file is made on the way
            raise cannot_write(Path(tempfile.gettempdir()), error) from None
        raise UserError(f'Cannot read config {path}: {type(error).__name__}: {error}') from None
    with building():
        if dataset is not None:
            set_dataset(config, dataset)
        for source in _sources(config) if data_root is not None else ():
            source.data_root = str(data_root)
        if fast is not None:
            _speed_up(config, fast)
        _check_options(config, options or {})
        length = (config.get('train_cfg') or {}).get('max_epochs')
        config.merge_from_dict(dict(options or {}))
        _check_values(config)
        _normalise_joined(config)
        _apply_selection(config)
        _fill_schedules(config, length if 'param_scheduler' not in (options or {}) else None)
    return config


def _speed_up(config: Config, device: str) -> None:
    """Merge ``_base_/recipes/fast_<device>.py``, as far as this config can use it."""
    settings = Config.fromfile(config_folder() / '_base_' / 'recipes' / f'fast_{device}.py')
    for loader in LOADERS:
        if not config.get(loader) or config[loader].dataset.get('type') != 'InfraredDataset':
            settings.pop(loader)
        elif loader != 'train_dataloader' and config[loader].dataset.get('size', 256) is None:
            settings.pop(loader)  # images of their native sizes come one by one
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    if optimizer.get('type') not in ('Adam', 'AdamW'):
        settings.pop('optim_wrapper')
    config.merge_from_dict(settings.to_dict())


def _apply_selection(config: Config) -> None:
    """``selection='final'`` trains on all that is not for testing and leaves nothing to select on."""
    selection = config.get('selection', 'val')
    if selection not in ('val', 'final'):
        raise unknown_name('selection', str(selection), ('val', 'final'))
    if selection == 'final':
        if ((config.get('default_hooks') or {}).get('checkpoint') or {}).get('patience') is not None:
            raise UserError('--final trains a fixed number of epochs: leave out --patience.')
        data = config.train_dataloader.dataset
        # Lists of one's own come in families too: train_half has trainval_half beside it.
        data.split = re.sub('^train(?!val)', 'trainval', data.get('split', 'train'), flags=re.IGNORECASE)
        config.val_dataloader = config.val_cfg = config.val_evaluator = None


def _check_options(config: Config, options: Mapping[str, Any]) -> None:
    for option in options:
        node: Any = config._cfg_dict
        parts = option.split('.')
        for depth, part in enumerate(parts):
            if depth == 0 and part not in KNOWN_KEYS:
                if part in node:
                    raise UserError(f'--cfg-options {option}: {part} {_HELPER}')
                raise unknown_name('config key', part, sorted(KNOWN_KEYS))
            new_part = f'{".".join(parts[: depth + 1])}.type' in options
            if isinstance(node, Mapping) and (part in node or depth == 0):
                node = node.get(part)
            elif isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            elif depth > 0 and (node is None or (isinstance(node, Mapping) and (depth == len(parts) - 1 or new_part))):
                break  # a new keyword of something that is built, or a new part: building it tells whether it exists
            else:
                known = node if isinstance(node, Mapping) else []
                raise unknown_name('config key', '.'.join(parts[: depth + 1]), sorted(known))


def _check_values(config: Config) -> None:
    """What is used before anything is built that would refuse it."""
    model = config.get('model')
    name = model.get('type') if isinstance(model, Mapping) else None
    if not (name and isinstance(name, (str, type))):
        raise UserError(f'model: expected dict(type=…), got {model!r}.')
    side = config.get('inference_size')
    if side is not None and (not isinstance(side, int) or not 8 <= side <= MAX_SIDE):
        raise UserError(f'inference_size: expected None or a side of 8 to {MAX_SIDE} pixels, got {side!r}.')
    loop = config.get('train_cfg') or {}
    for key in ('max_epochs', 'val_interval'):
        value = loop.get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise UserError(f'train_cfg.{key}: expected a whole number of epochs, at least 1, got {value!r}.')


def _fill_schedules(config: Config, length: int | None) -> None:
    """A schedule in epochs without an end lasts as long as the training; a warm-up and milestones keep their places.

    Args:
        config: With the options.
        length: Epochs of the training that they were written for; None leaves them.
    """
    epochs = (config.get('train_cfg') or {}).get('max_epochs')
    schedules: Any = config.get('param_scheduler') or []
    for schedule in [schedules] if isinstance(schedules, dict) else schedules:
        if epochs and schedule.get('by_epoch', True):
            if length and epochs != length:
                _stretch(schedule, length, epochs)
            if schedule.get('begin', 0) >= epochs:
                raise UserError(
                    f'{schedule["type"]} begins in epoch {schedule["begin"]}, but the training has {epochs} epochs: '
                    'raise --epochs, or shorten the warm-up (param_scheduler in the config).'
                )
            schedule.setdefault('end', epochs)
            if schedule['type'] == 'CosineAnnealingLR':
                schedule.setdefault('T_max', schedule['end'] - schedule.get('begin', 0))


def _stretch(schedule: dict[str, Any], length: int, epochs: int) -> None:
    # A warm-up of a single iteration, which an epoch can be, would never end.
    least = max(min(2, epochs - 1), 1)

    def place(epoch: int) -> int:
        return max(round(epoch * epochs / length), min(epoch, least))

    if schedule.get('T_max') == schedule.get('end', length) - schedule.get('begin', 0):
        del schedule['T_max']  # of a config that was loaded before: it follows the end
    for key in ('begin', 'end'):
        if key in schedule:
            schedule[key] = place(schedule[key])
    if 'milestones' in schedule:
        schedule['milestones'] = [place(epoch) for epoch in schedule['milestones']]


@contextmanager
def building() -> Iterator[None]:
    """Makes one line of what goes wrong while a config is applied or something is built from it.

    Raises:
        UserError: Values that nothing can be made of.
    """
    try:
        yield
    except UserError:
        raise
    except ImportError as error:  # MMEngine's writers to other programs say what to install
        raise UserError(f'The config asks for a package that is not there: {error}.') from None
    except (
        LookupError, TypeError, ValueError, AttributeError, AssertionError, ArithmeticError, RuntimeError,
    ) as error:  # fmt: skip
        cause = ' '.join(str(error).split())[:300] or 'no reason given'
        if 'memory' in cause:
            raise
        raise explain_build_error(error) or UserError(
            f'The config cannot be used ({type(error).__name__}: {cause}): correct it or the options.'
        ) from error


_FAULTS = {
    r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'":
        '{} has no argument {!r}: correct the config or the option.',
    r'(\w+)\.__init__\(\) missing \d+ required [\w-]+ arguments?: (.+)': '{} needs {}: give it in the config.',
    'None is not a callable object':  # MMEngine's answer to an unknown optimizer
        'The optimizer is not known: correct optim_wrapper.optimizer.type, for example Adam or AdamW.',
    r"'?(\S+) is not in the (?:\w+::)?([\w ]+) registry":
        '{} is not a registered {}: correct the name (type=…) in the config.',
}  # fmt: skip


def explain_build_error(error: Exception) -> UserError | None:
    """A wrong type or keyword in a config as one line; None if the error is something else."""
    text = ' '.join(str(error).split())
    for pattern, line in _FAULTS.items():
        if found := re.search(pattern, text):
            return UserError(line.format(*found.groups()) + _nearest(*found.groups()))
    return None


def _nearest(name: str = '', other: str = '', *_: str) -> str:
    """What may have been meant by a keyword of a registered class, or by the name of a class in a registry."""
    from drpca.registry import BASELINES, DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

    registries = (MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, BASELINES)
    for registry in registries:
        if registry.defines(name):
            return did_you_mean(other, list(inspect.signature(registry.get(name)).parameters))
    return ''.join(did_you_mean(name, list(registry.files)) for registry in registries if registry.name == other)
