"""What ``tools/leaderboard.py`` compares: networks to train, published weights and classical methods."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from drpca.cards import CLASSICAL, metafile_path, read_card
from drpca.config import (
    config_folder,
    config_for,
    default_models,
    find_config,
    list_configs,
    list_models,
    load_config,
)
from drpca.engine import runs as engine_runs
from drpca.errors import UserError, unknown_name
from drpca.inference.mappers import is_baseline
from drpca.leaderboard.rows import Cost, Kind, Row
from drpca.names import canonical_name, simplify
from drpca.registry import MODELS
from drpca.studies.speed import count_gflop, count_parameters


@dataclass(frozen=True)
class Contender:
    """A method on a data set, before anything is run.

    Attributes:
        kind: 'trained', 'weights' or 'classical'.
        config: Its config file.
        dataset: Canonical name of the data set.
        weights: File of published weights.
        options: Changed keys of the config.
        runs: Trainings, one per seed.
    """

    kind: Kind
    config: Path
    dataset: str
    weights: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    runs: tuple[engine_runs.Run, ...] = ()

    @property
    def name(self) -> str:
        """Name of the config, or its path if it lies elsewhere than in ``configs``."""
        return self.config.stem if list_configs().get(self.config.stem) == self.config else str(self.config)

    @property
    def model(self) -> str:
        """Folder with the metafile, '' if there is none."""
        folder = self.config.resolve().parent
        described = folder.parent == config_folder().resolve() and (folder / 'metafile.yml').is_file()
        return folder.name if described else ''


def classical_methods(paper: bool = False) -> dict[str, Path]:
    """Simplified name → config of the classical methods, as on the leaderboard or as in their papers."""
    found = {name: path for name, path in list_configs().items() if path.parent.name == CLASSICAL}
    return {simplify(name): path for name, path in found.items() if paper or not name.endswith('_paper')}


def contenders(args: argparse.Namespace) -> list[Contender]:
    """The rows of a command line: methods × data sets.

    Raises:
        UserError: Unknown method, config or data set; a weight file that is not there or whose config is of
            none of the data sets; or a method that is named twice.
    """
    names = list(args.methods)
    if not names and not args.weights and not args.classical:
        names = [*default_models('compare'), *classical_methods()]
    elif args.classical:
        names += classical_methods()
    found = []
    for dataset in map(canonical_name, args.dataset):
        found += [_contender(name, dataset, args) for name in names]
    found += [_weights(text, args) for text in args.weights]
    keys = [(c.config, c.dataset, c.weights) for c in found]
    twice = next((c for c, key in zip(found, keys) if keys.count(key) > 1), None)
    if twice:
        raise UserError(f'{twice.name} on {twice.dataset} is named twice; name each once.')
    return found


def _contender(name: str, dataset: str, args: argparse.Namespace) -> Contender:
    path = classical_methods(paper=True).get(simplify(name))
    if path is None and (name.endswith('.py') or name in list_configs()):
        path = find_config(name)
    if path is not None and is_baseline(load_config(path)):
        return Contender('classical', path, dataset)
    if path is None:
        if simplify(name.replace('+', 'plus')) not in map(simplify, list_models()):
            raise unknown_name('method', name, [*list_models(), *classical_methods()])
        path = config_for(name, dataset)
        what: dict[str, Any] = {'models': [name], 'datasets': [dataset]}
    else:
        what = {'configs': [path], 'datasets': [dataset]}
    if _own_dataset(path) == dataset:
        what = {'configs': [path]}
    runs = engine_runs.plan_runs(**what, seeds=args.seeds, options=_training_options(args))
    return Contender('trained', path, dataset, None, args.cfg_options, tuple(runs))


def _own_dataset(config: Path) -> str | None:
    loader = load_config(config).get('test_dataloader')
    return canonical_name(loader.dataset.dataset) if loader else None


def _training_options(args: argparse.Namespace) -> engine_runs.TrainingOptions:
    names = ('data_root', 'work_dir', 'epochs', 'log_test_every', 'final', 'fast', 'cfg_options')
    return engine_runs.TrainingOptions(**{name: getattr(args, name) for name in names})


def _weights(text: str, args: argparse.Namespace) -> Contender:
    name, equals, file = text.partition('=')
    if not equals or not name or not file:
        raise UserError(
            f'--weights {text}: expected CONFIG=FILE, for example rpcanet_sirstv1=RPCANet_SIRST.pkl.'
        )
    path, weights = find_config(name), Path(file)
    if not weights.is_file():
        raise UserError(f'--weights {text}: no such file {weights}.')
    own, asked = _own_dataset(path), [canonical_name(dataset) for dataset in args.dataset]
    if own not in asked:
        raise UserError(
            f'--weights {text}: the config is of {own}, which is not among --dataset {" ".join(asked)}; name a '
            'config of that data set, or score it on others with tools/cross_dataset.py.'
        )
    return Contender('weights', path, own, weights, args.cfg_options)


def config_of(contender: Contender | Row) -> Config:
    """The config of a contender, or of a row that was read from a file, with its options.

    Raises:
        UserError: There is no such config any more, or it does not know an option.
    """
    if isinstance(contender, Row):
        return load_config(find_config(contender.config), options=contender.options)
    return load_config(contender.config, options=contender.options)


def cost_of(config: Config) -> Cost:
    """Parameters and operations; those of a classical method are not counted."""
    if is_baseline(config):
        return Cost()
    model = MODELS.build(config.model).eval()
    total, used = count_parameters(model.network)
    gflop = count_gflop(model.network, torch.zeros(1, model.in_channels, 256, 256))
    return Cost(parameters=total, used_parameters=used, gflop=gflop)


def method_name(contender: Contender, config: Config) -> str:
    """'RPCANet' from the metafile, the network's type without one; the method's type for classical ones."""
    if is_baseline(config):
        return config.model.type + (' (paper)' if config.model.get('preset') == 'paper' else '')
    return read_card(metafile_path(contender.model))['Name'] if contender.model else config.model.network.type


def option_texts(options: Mapping[str, Any]) -> list[str]:
    """``KEY=VALUE`` as ``--cfg-options`` takes them."""
    return [f'{key}={value}'.replace(', ', ',') for key, value in options.items()]


def command_of(contender: Contender, args: argparse.Namespace) -> str:
    """The shortest command that makes the row again."""
    parts = ['python tools/leaderboard.py']
    if contender.weights is not None:
        parts.append(f'--weights {contender.name}={contender.weights.name}')
    else:
        parts.append(contender.name)
    parts.append(f'--dataset {contender.dataset}')
    if contender.kind == 'trained':
        parts.append(f'--seeds {" ".join(map(str, args.seeds))}')
        parts += [f'--epochs {args.epochs}'] if args.epochs else []
        parts += ['--final'] * args.final + ['--fast'] * args.fast
    if contender.kind != 'classical' and args.cfg_options:
        parts.append(f'--cfg-options {" ".join(option_texts(args.cfg_options))}')
    parts += [f'--split {args.split}'] if args.split != 'test' else []
    parts += [f'--size {args.size}'] if args.size is not None else []
    return ' '.join(parts)
