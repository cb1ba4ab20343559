"""What a leaderboard compares, and how: networks to train, published weights and classical methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config

from drpca.baselines import WindowBaseline
from drpca.cards import CLASSICAL, PUBLISHED, all_published, metafile_path, named_weights, read_card
from drpca.config import (
    config_folder,
    config_for,
    default_models,
    evaluation_data,
    find_config,
    list_configs,
    list_models,
    load_config,
    window_models,
)
from drpca.engine.jobs import JobOptions
from drpca.engine.runs import Run, TrainingOptions, plan_runs
from drpca.errors import UserError, unknown_name
from drpca.evaluation.protocols import Protocol, choose_protocols, known_protocols
from drpca.inference.mappers import is_baseline
from drpca.leaderboard.rows import Cost, Kind, Row
from drpca.names import canonical_name, simplify
from drpca.options import called
from drpca.registry import BASELINES, MODELS
from drpca.studies.speed import count_gflop, count_parameters


@dataclass(frozen=True)
class LeaderboardOptions:
    """The options of ``tools/leaderboard.py`` that say what is compared, trained and scored.

    Attributes:
        methods: Configs, models and classical methods, by name; without any, ``weights`` and ``classical``, the
            unfolded networks and the classical methods.
        datasets: Names of the data sets.
        classical: All classical methods too, or alone.
        weights: Published weight files too, or alone: ``'CONFIG=FILE'`` or ``'CONFIG=published'`` each, on the data set
            of its config; ``'published'``: all that are known of the data sets.
        split: Split that is scored.
        data_root: Folder of the data sets; None means ``$DRPCA_DATA``, else ``datasets``.
        seeds: One training of each network per seed.
        epochs: Length of the trainings; None means the configs'.
        final: Train on the training and validation splits and score the weights after the last epoch.
        fast: Fast settings of training.
        log_test_every: Log the test figures every so many epochs; it selects nothing.
        cfg_options: Dotted keys of the networks' configs → values.
        work_dir: Where trainings are kept.
        train: Train what is missing; False marks it.
        executor: Train several at once, one a job; None: one after another in this process.
        protocols: Presets, by name, file or definition.
        size: Frames of networks become ``size`` × ``size`` pixels, or keep their own (``'native'``), and every
            preset scores at it; None: frames as the config says, each preset at its own size.
        maps: Keeps the score maps.
        device: For score maps: ``'cpu'``, ``'cuda'``, …; None means a GPU if there is one.
        jobs: Methods scored at once, one thread each.
        latency: Measure the latency on the CPU.
        progress: Say on standard error (of trainings: standard output) what is being done.

    Raises:
        UserError: No data set, an unknown preset, or ``jobs`` below 1.
    """

    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    classical: bool = False
    weights: Sequence[str] = ()
    split: str = 'test'
    data_root: str | Path | None = None
    seeds: Sequence[int] = (0,)
    epochs: int | None = None
    final: bool = False
    fast: bool = False
    log_test_every: int | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    work_dir: str | Path = 'checkpoints'
    train: bool = True
    executor: JobOptions | None = None
    protocols: Sequence[str | dict[str, Any] | Protocol] = field(default_factory=known_protocols)
    size: int | Literal['native'] | None = None
    maps: str | Path = 'results/leaderboard'
    device: str | None = None
    jobs: int = 1
    latency: bool = True
    progress: bool = False

    def __post_init__(self) -> None:
        if not self.datasets:
            raise UserError('On which data sets? Give --dataset, for example --dataset SIRSTv1.')
        if self.jobs < 1:
            raise UserError(f'--jobs must be at least 1, got {self.jobs}.')
        choose_protocols(self.protocols, self.size)

    @property
    def presets(self) -> list[Protocol]:
        """The presets, with the size that is asked for."""
        return choose_protocols(self.protocols, self.size)

    @property
    def training(self) -> TrainingOptions:
        """The options of the trainings."""
        names = ('data_root', 'work_dir', 'epochs', 'log_test_every', 'final', 'fast', 'cfg_options')
        return TrainingOptions(**{name: getattr(self, name) for name in names})


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
    runs: tuple[Run, ...] = ()

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


def _single_frame_methods() -> list[str]:
    """Those of the classical methods that a data set of images can be asked of."""
    methods = {name: BASELINES.get(load_config(path).model.type) for name, path in classical_methods().items()}
    return [name for name, method in methods.items() if not issubclass(method, WindowBaseline)]


def contenders(options: LeaderboardOptions) -> list[Contender]:
    """The rows: methods × data sets.

    Raises:
        UserError: Unknown method, config or data set; a weight file that is not there or whose config is of
            none of the data sets; or a method that is named twice.
    """
    names = list(options.methods)
    if not names and not options.weights and not options.classical:
        names = [*default_models('compare'), *_single_frame_methods()]
    elif options.classical:
        names += _single_frame_methods()
    datasets = list(map(canonical_name, options.datasets))
    found = [_contender(name, dataset, options) for dataset in datasets for name in names]
    if options.weights:
        found += [_weights(text, datasets, options) for text in all_published(options.weights, datasets)]
    for contender in found:
        _refuse_windows(contender.config)
    keys = [(c.config, c.dataset, c.weights) for c in found]
    twice = next((c for c, key in zip(found, keys) if keys.count(key) > 1), None)
    if twice:
        raise UserError(f'{twice.name} on {twice.dataset} is named twice; name each once.')
    return found


def _contender(name: str, dataset: str, options: LeaderboardOptions) -> Contender:
    path = classical_methods(paper=True).get(simplify(name))
    if path is None and (name.endswith('.py') or name in list_configs()):
        path = find_config(name)
    if path is not None and is_baseline(load_config(path)):
        return Contender('classical', path, dataset)
    what: dict[str, Any] = {'configs': [path], 'datasets': [dataset]}
    if path is None:
        models = [*list_models(), *window_models()]
        if simplify(name.replace('+', 'plus')) not in map(simplify, models):
            raise unknown_name('method', name, [*list_models(), *classical_methods()])
        path = config_for(name, dataset, windows=True)
        what = {'models': [name], 'datasets': [dataset]}
    if _own_dataset(path) == dataset:
        what = {'configs': [path]}
    runs = plan_runs(**what, seeds=options.seeds, options=options.training)
    return Contender('trained', path, dataset, None, dict(options.cfg_options), tuple(runs))


def _refuse_windows(path: Path) -> None:
    """Raises UserError for a network or method that looks at several frames."""
    config = load_config(path)
    sees = evaluation_data(config).get('type') == 'SequenceDataset'
    if sees or (is_baseline(config) and issubclass(BASELINES.get(config.model.type), WindowBaseline)):
        raise UserError(
            f'{path.stem} looks at several frames, a leaderboard is of single images: {called("sequences")} scores it '
            'on labelled sequences, and --table there compares several.'
        )


def _own_dataset(config: Path) -> str | None:
    name = evaluation_data(load_config(config)).get('dataset')
    return canonical_name(name) if name else None


def _weights(text: str, datasets: Sequence[str], options: LeaderboardOptions) -> Contender:
    path, weights = named_weights(text)
    own = _own_dataset(path)
    if own is None or own not in datasets:
        raise UserError(
            f'--weights {text}: the config is of {own}, which is not among --dataset {" ".join(datasets)}; name a '
            f'config of that data set, or score it on others with {called("cross-dataset")}.'
        )
    return Contender('weights', path, own, weights, dict(options.cfg_options))


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


def command_of(contender: Contender, options: LeaderboardOptions) -> str:
    """The shortest command that makes the row again."""
    parts = ['python tools/leaderboard.py']
    if contender.weights is not None:
        is_named = {PUBLISHED, f'{contender.name}={PUBLISHED}'} & set(options.weights)
        parts.append(f'--weights {contender.name}={PUBLISHED if is_named else contender.weights.name}')
    else:
        parts.append(contender.name)
    parts.append(f'--dataset {contender.dataset}')
    if contender.kind == 'trained':
        parts.append(f'--seeds {" ".join(map(str, options.seeds))}')
        parts += [f'--epochs {options.epochs}'] if options.epochs else []
        parts += ['--final'] * options.final + ['--fast'] * options.fast
    if contender.options:
        texts = (f'{key}={value}'.replace(', ', ',') for key, value in contender.options.items())
        parts.append(f'--cfg-options {" ".join(texts)}')
    parts += [f'--split {options.split}'] if options.split != 'test' else []
    parts += [f'--size {options.size}'] if options.size is not None else []
    return ' '.join(parts)
