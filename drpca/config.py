"""Finding, loading and checking configs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from drpca.errors import UserError, unknown_name
from drpca.names import simplify

# Keys of a config that MMEngine's Runner or this project reads.
KNOWN_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    'find_unused_parameters', 'compile', 'sync_bn', 'model_wrapper_cfg', 'activation_checkpointing',
    'efficient_conv_bn_eval', 'inference_size', 'custom_imports', 'selection', 'checkpoint_stages', 'cuda_graphs',
} - {'self'}  # fmt: skip


def config_folder() -> Path:
    """The folder ``configs`` of this source tree."""
    folder = Path(__file__).resolve().parents[1] / 'configs'
    return folder if folder.is_dir() else Path.cwd() / 'configs'


def list_configs() -> dict[str, Path]:
    """Name (file name without suffix) → path of every config."""
    paths = sorted(config_folder().glob('*/*.py'))
    return {path.stem: path for path in paths if not path.parent.name.startswith('_')}


def list_models() -> list[str]:
    """Folder names of the trainable models."""
    return sorted({path.parent.name for path in list_configs().values()} - {'classical', 'ablations'})


def default_models(purpose: str) -> list[str]:
    """Models where none is named: to ``'train'``, or to ``'compare'`` (``configs/_base_/default_models.py``)."""
    return list(Config.fromfile(config_folder() / '_base_' / 'default_models.py')[purpose])


def find_config(name: str) -> Path:
    """A config by path or by name (``rpcanet_sirstv1``)."""
    path = Path(name)
    if path.suffix == '.py' and path.is_file():
        return path
    configs = list_configs()
    if path.stem not in configs or (path.suffix == '.py' and len(path.parts) > 1 and not path.is_file()):
        raise unknown_name('config', name, list(configs))
    return configs[path.stem]


def config_for(model: str, dataset: str) -> Path:
    """The config of a model on a data set; a data set without one uses the model's SIRST V1 recipe.

    Args:
        model: ``drpcanet``, ``DRPCANet``, ``DRPCA-Net``, ``RPCANet+``, …
        dataset: Canonical name of a data set, or a folder name under the data root.
    """
    models = list_models()
    wanted = simplify(model.replace('+', 'plus'))
    folder = next((name for name in models if simplify(name) == wanted), None)
    if folder is None:
        raise unknown_name('model', model, models)
    candidates = {
        simplify(path.stem[len(folder) :]): path for path in (config_folder() / folder).glob(f'{folder}_*.py')
    }
    return candidates.get(simplify(dataset), candidates['sirstv1'])


def load_config(
    path: str | Path,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    fast: str | None = None,
) -> Config:
    """Read a config file and apply a data set, a data root and options to it.

    Args:
        path: Config file.
        dataset: Used in every dataloader instead of the config's own.
        data_root: Likewise.
        options: Dotted keys → values (``--cfg-options``), applied last.
        fast: ``'cuda'`` or ``'cpu'``: apply the settings that make training fast there, before the options.

    Raises:
        UserError: The file does not load, or an option names a key that nothing reads.
    """
    try:
        config = Config.fromfile(str(path))
    except UserError:
        raise
    except Exception as error:  # a config is a Python file: anything can come out of it
        raise UserError(f'Cannot read config {path}: {type(error).__name__}: {error}') from None
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(loader):
            if dataset is not None:
                config[loader].dataset.dataset = dataset
            if data_root is not None:
                config[loader].dataset.data_root = str(data_root)
    if fast is not None:
        _speed_up(config, fast)
    _check_options(config, options or {})
    length = (config.get('train_cfg') or {}).get('max_epochs')
    config.merge_from_dict(dict(options or {}))
    _check_values(config)
    _apply_selection(config)
    _fill_schedules(config, length if 'param_scheduler' not in (options or {}) else None)
    return config


def _speed_up(config: Config, device: str) -> None:
    """Merge ``_base_/recipes/fast_<device>.py``, as far as this config and this processor can use it."""
    settings = Config.fromfile(config_folder() / '_base_' / 'recipes' / f'fast_{device}.py')
    # Without such instructions bfloat16 is slower than float32; releases of torch that cannot tell: float32.
    if device == 'cpu':
        native = getattr(torch.cpu, '_is_avx512_bf16_supported', bool)()
    else:
        native = not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0)
    if not native:
        settings.model.pop('precision')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
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
        config.train_dataloader.dataset.split = 'trainval'
        config.val_dataloader = config.val_cfg = config.val_evaluator = None


def _check_options(config: Config, options: Mapping[str, Any]) -> None:
    for option in options:
        node: Any = config._cfg_dict
        parts = option.split('.')
        for depth, part in enumerate(parts):
            if depth == 0 and part not in KNOWN_KEYS:
                if part in node:
                    raise UserError(
                        f'--cfg-options {option}: {part} only helps to write the config and is not read; change the '
                        'keys that use it, such as train_dataloader.….'
                    )
                raise unknown_name('config key', part, sorted(KNOWN_KEYS))
            if isinstance(node, Mapping) and (part in node or depth == 0):
                node = node.get(part)
            elif (
                isinstance(node, Sequence)
                and not isinstance(node, str)
                and part.isdigit()
                and int(part) < len(node)
            ):
                node = node[int(part)]
            elif depth > 0 and (node is None or (isinstance(node, Mapping) and depth == len(parts) - 1)):
                break  # a new keyword of something that is built: building it tells whether it exists
            else:
                known = node if isinstance(node, Mapping) else []
                raise unknown_name('config key', '.'.join(parts[: depth + 1]), sorted(known))


def _check_values(config: Config) -> None:
    """What is used before anything is built that would refuse it."""
    model = config.get('model')
    if not isinstance(model, Mapping) or 'type' not in model:
        raise UserError(f'model: expected dict(type=…), got {model!r}.')
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

    for key in ('begin', 'end'):
        if key in schedule:
            schedule[key] = place(schedule[key])
    if 'milestones' in schedule:
        schedule['milestones'] = [place(epoch) for epoch in schedule['milestones']]


def explain_build_error(error: Exception) -> UserError | None:
    """A wrong type or keyword in a config as one line; None if the error is something else."""
    text = ' '.join(str(error).split())
    keyword = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    if keyword:
        return UserError(f'{keyword[1]} has no argument {keyword[2]!r}: correct the config or the option.')
    lacking = re.search(r'(\w+)\.__init__\(\) missing \d+ required [\w-]+ arguments?: (.+)', text)
    if lacking:
        return UserError(f'{lacking[1]} needs {lacking[2]}: give it in the config.')
    if 'None is not a callable object' in text:  # MMEngine's answer to an unknown optimizer
        return UserError(
            'The optimizer is not known: correct optim_wrapper.optimizer.type, for example Adam or AdamW.'
        )
    missing = re.search(r"'?(\S+) is not in the (?:\w+::)?([\w ]+) registry", text)
    if missing:
        return UserError(
            f'{missing[1]} is not a registered {missing[2]}: correct the name (type=…) in the config.'
        )
    return None
