"""From names, files and options to what a detector is made of: config, weights, model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drpca.baselines import Baseline
from drpca.cards import weight_cards
from drpca.checkpoint import load_weights, read_checkpoint
from drpca.config import HOME, building, config_for, find_config, list_models, load_config, set_dataset
from drpca.config_text import check_model, read_config
from drpca.deploy.backends import SUFFIXES
from drpca.errors import UserError
from drpca.inference.mappers import is_baseline
from drpca.models.detector import DetectionModel
from drpca.names import simplify
from drpca.registry import BASELINES, MODELS
from drpca.run_folder import newest_weights

_TRAINING_ONLY = ('losses', 'initialisation')
_ELSEWHERE = 'NUDT-SIRST'


def newest_best(config: str | None = None, folder: str | Path = 'checkpoints') -> Path:
    """The selected weights, ``best.pth`` or ``final.pth``, written last; else those that come with the project.

    Args:
        config: Name of the config that was trained; None for any.
        folder: Of the runs.

    Raises:
        UserError: There are none.
    """
    found = newest_weights(folder, config)
    if found is not None:
        return found
    card = weight_cards().get(config or '')
    if card is None:
        raise UserError(
            f'No trained weights {f"of {config} " * bool(config)}under {folder}: train with run_configs.py, or give '
            '--checkpoint FILE.'
        )
    return card.check()


def resolve(
    model: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Config | None, Path | None]:
    """Config and weights from whichever of the two was given.

    Args:
        model: Name of a registered network, name or file of a config, or an exported file.
        weights: Weight file or exported file; None: the newest of the config, else those of the project.
        dataset: In place of the config's.
        data_root: Likewise.
        options: Dotted keys of the config → values.

    Returns:
        The config, None for an exported file without one; the weights, None for a classical method.

    Raises:
        UserError: Unknown config, a bad option, no weights, or weights where none are taken.
    """
    checkpoint = None if weights is None else Path(weights)
    if model is not None and Path(model).suffix in SUFFIXES:
        if checkpoint is not None:
            raise UserError(f'{model} has its weights and precision in it: leave out weights and precision.')
        checkpoint, model = Path(model), None
    if model is not None:
        name = os.fspath(model)
        path = _home_config(name) if _is_network(name) else find_config(name)
        if path is None:
            if checkpoint is None or options:
                raise UserError(f'{name} has no config: give it weights, and no options.')
            return described_network(name), checkpoint
        config = load_config(path, dataset, data_root, options)
        if not is_baseline(config):
            return config, checkpoint or newest_best(path.stem)
        if checkpoint is not None:
            raise UserError(f'{model} is a classical method and takes no weights: leave out --checkpoint.')
        return config, None
    checkpoint = checkpoint or newest_best()
    if checkpoint.suffix in SUFFIXES:
        if options:
            raise UserError(f'{checkpoint} is compiled: its options were settled when it was exported.')
        return None, checkpoint
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if text is None:
        raise UserError(
            f'{checkpoint} does not say which config it belongs to: give CONFIG, for example rpcanet_sirstv1.'
        )
    config = read_config(text, checkpoint)
    check_model(config, checkpoint)
    if dataset is not None:
        set_dataset(config, dataset)
    config.merge_from_dict(dict(options or {}))
    return config, checkpoint


def _is_network(name: str) -> bool:
    return name.isidentifier() and name != DetectionModel.__name__ and MODELS.get(name) is not None


def _home_config(name: str) -> Path | None:
    """The home config, that of SIRST V1, of a registered network; None where no config describes it."""
    for folder in sorted(list_models(), key=lambda folder: simplify(folder) != simplify(name)):
        path = config_for(folder, HOME)
        model = load_config(path).model
        if model.get('network', {}).get('type') == name:
            if load_config(config_for(folder, _ELSEWHERE)).model.get('mean') != model.get('mean'):
                text = f'{name} normalises as in {path.stem}; name a config for weights of another data set.'
                warnings.warn_explicit(
                    text, UserWarning, 'drpca', 1
                )  # a line of its own, without source text
            return path
    return None


def described_network(name: str, inference_size: int | None = None) -> Config:
    """A config for a network that has none: one that was handed over, exported, or is not of this project."""
    network = {'type': DetectionModel.__name__, 'network': {'type': name}}
    return Config({'model': network, 'inference_size': inference_size})


def build_baseline(config: Config, size: int | str | None = None) -> Baseline:
    """The classical method that a config describes.

    Args:
        config: With ``model``.
        size: Side of the square to which frames are resized, ``'native'`` for their own size, None for that of
            the preset.

    Raises:
        UserError: A parameter that it does not have, or a value of the wrong kind.
    """
    model = dict(config.model)
    if size is not None:
        model['input_size'] = None if isinstance(size, str) else (size, size)
    with building():
        return BASELINES.build(model)


def build_model(config: Config, checkpoint: str | os.PathLike[str]) -> DetectionModel:
    """The network that a config describes, its input rules and its weights, without losses.

    Raises:
        UserError: Bad config or checkpoint.
    """
    with building():
        model = MODELS.build({key: value for key, value in config.model.items() if key not in _TRAINING_ONLY})
    if not isinstance(model, DetectionModel):
        raise UserError(f'model: expected type={DetectionModel.__name__!r}, got {config.model.type!r}.')
    load_weights(model.network, Path(checkpoint))
    return model
