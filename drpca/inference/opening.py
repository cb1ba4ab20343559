"""The one way to a detector: from names, files and options to something that runs."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drpca.cards import weight_cards
from drpca.checkpoint import file_hash, read_checkpoint
from drpca.config import find_config, load_config
from drpca.config_text import check_model, read_config
from drpca.datasets.splits import Split, open_split
from drpca.errors import UserError
from drpca.inference.frames import NATIVE
from drpca.inference.mappers import ScoreMapper, build_mapper, is_baseline
from drpca.run_folder import BEST, FINAL


def newest_best(config: str | None = None, folder: str | Path = 'checkpoints') -> Path:
    """The selected weights, ``best.pth`` or ``final.pth``, written last; else those that come with the project.

    Args:
        config: Name of the config that was trained; None for any.
        folder: Of the runs.

    Raises:
        UserError: There are none.
    """
    found = [
        path
        for name in (BEST, FINAL)
        for path in Path(folder).glob(f'*/seed_*/{name}')
        if config is None or re.fullmatch(f'{re.escape(config)}(_on_.*)?(_final)?', path.parent.parent.name)
    ]
    if found:
        return max(found, key=lambda path: path.stat().st_mtime)
    card = weight_cards().get(config or '')
    if card is None:
        raise UserError(
            f'No trained weights {f"of {config} " * bool(config)}under {folder}: train with run_configs.py, or give '
            '--checkpoint FILE.'
        )
    return card.check()


def resolve(args: argparse.Namespace) -> tuple[Config, Path | None]:
    """Config and checkpoint from whichever of the two was given."""
    path = None if args.config is None else find_config(args.config)
    if path is not None:
        config = load_config(path, args.dataset, args.data_root, args.cfg_options)
        if is_baseline(config):
            return config, None
        return config, Path(args.checkpoint) if args.checkpoint else newest_best(path.stem)
    checkpoint = Path(args.checkpoint) if args.checkpoint else newest_best()
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if text is None:
        raise UserError(
            f'{checkpoint} does not say which config it belongs to: give CONFIG, for example rpcanet_sirstv1.'
        )
    config = read_config(text, checkpoint)
    check_model(config, checkpoint)
    config.merge_from_dict(args.cfg_options)
    return config, checkpoint


@dataclass(frozen=True)
class OpenedDetector:
    """A detector ready to run.

    Attributes:
        name: For tables: the checkpoint's file name, or the method.
        config: Its config.
        checkpoint: Its weights, None for classical methods.
        size: Side to which frames are resized, None for their own size.
        mapper: It.
    """

    name: str
    config: Config
    checkpoint: Path | None
    size: int | None
    mapper: ScoreMapper

    def described(self) -> dict[str, Any]:
        """What it is, for files; the first four entries as in a results folder's ``run.json``."""
        model = self.config.model if self.checkpoint is None else self.config.model.network
        return {
            'config': model.type,
            'model': json.loads(json.dumps(dict(model))),
            'checkpoint': None if self.checkpoint is None else str(self.checkpoint),
            'checkpoint_sha256': None if self.checkpoint is None else file_hash(self.checkpoint),
            'size': NATIVE if self.size is None else self.size,
        }


def split_of(
    config: Config, dataset: str | None = None, split: str = 'test', data_root: str | None = None
) -> Split:
    """Opens a split of a data set, by default that of the config's test part.

    Raises:
        UserError: Neither names a data set, or it is not there.
    """
    loader = config.get('test_dataloader')
    dataset = dataset or (loader and loader.dataset.dataset)
    if not dataset:
        raise UserError('Which images? Give --dataset.')
    return open_split(dataset, split, data_root or (loader and loader.dataset.get('data_root')))


def open_detector(args: argparse.Namespace, config: str, checkpoint: str | None, name: str) -> OpenedDetector:
    """Builds a detector as ``inference.py`` does.

    Raises:
        UserError: Bad config or checkpoint, no checkpoint where one is needed, no such device.
    """
    dataset = args.dataset if isinstance(args.dataset, str) else None
    options = argparse.Namespace(
        config=config, checkpoint=checkpoint, dataset=dataset, data_root=args.data_root, cfg_options=args.cfg_options
    )  # fmt: skip
    loaded, weights = resolve(options)
    size = (
        loaded.get('inference_size', 256) if args.size is None else None if args.size == NATIVE else args.size
    )
    return OpenedDetector(name, loaded, weights, size, build_mapper(loaded, weights, size, args.device))


def open_detectors(args: argparse.Namespace) -> list[OpenedDetector]:
    """The detectors of a command line with several configs and checkpoints.

    Raises:
        UserError: As :func:`open_detector`; or configs and checkpoints do not pair up.
    """
    networks: list[tuple[str, str | None]] = []
    pairs: list[tuple[str, str | None]] = []
    for config in args.config:
        loaded = load_config(find_config(config), None, args.data_root, args.cfg_options)
        (pairs if is_baseline(loaded) else networks).append((config, None))
    if networks:
        if not args.checkpoint:
            raise UserError(f'{networks[0][0]} needs weights: give --checkpoint FILE.')
        if len(networks) not in (1, len(args.checkpoint)):
            raise UserError(
                f'{len(networks)} configs of networks and {len(args.checkpoint)} checkpoints: expected one config '
                'for all, or one for each.'
            )
        configs = [config for config, _ in networks] * (len(args.checkpoint) if len(networks) == 1 else 1)
        pairs = [*zip(configs, args.checkpoint), *pairs]
    elif args.checkpoint:
        raise UserError(f'{args.config[0]} is a classical method and takes no --checkpoint.')
    names = _names(pairs)
    return [open_detector(args, config, file, name) for (config, file), name in zip(pairs, names)]


def _names(pairs: Sequence[tuple[str, str | None]]) -> list[str]:
    """File names without suffix, or whatever tells the detectors apart.

    Raises:
        UserError: Two are the same.
    """
    whole = [Path(config).stem if file is None else file for config, file in pairs]
    for names in (
        [Path(name).stem for name in whole],
        whole,
        [f'{Path(config).stem} {name}' for (config, _), name in zip(pairs, whole)],
    ):
        if len(set(names)) == len(names):
            return names
    raise UserError('One of the detectors is named twice; name each once.')
