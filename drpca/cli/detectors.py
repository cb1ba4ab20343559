"""What the tools that run detectors share: options, detectors, images, output files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.config import Config

from drpca.cli.common import NATIVE, OptionsAction, size_argument
from drpca.cli.infer import resolve
from drpca.datasets.splits import Split
from drpca.engine.checkpoint import file_hash
from drpca.engine.config import find_config, load_config
from drpca.errors import UserError
from drpca.inference.mappers import ScoreMapper, build_mapper, is_baseline

T = TypeVar('T')


@dataclass(frozen=True)
class Detector:
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


def add_detector_options(parser: argparse.ArgumentParser, several: bool) -> None:
    """Adds ``CONFIG``, ``--checkpoint``, ``--size``, ``--device`` and ``--cfg-options``.

    Args:
        parser: Takes them.
        several: Whether the tool runs more than one detector.
    """
    if several:
        parser.add_argument(
            'config', nargs='+', metavar='CONFIG',
            help='config files or names: one for all checkpoints, or one for each, in their order; classical '
            'methods take none',
        )  # fmt: skip
    else:
        parser.add_argument('config', metavar='CONFIG', help='config file or name')
    parser.add_argument(
        '--checkpoint', nargs='+' if several else None, default=[] if several else None, metavar='FILE',
        help='weights: published, ours',
    )  # fmt: skip
    parser.add_argument(
        '--size', type=size_argument, metavar='N|native',
        help="resize frames to N × N, or keep each one's own size, padded (default: the config's inference_size)",
    )  # fmt: skip
    parser.add_argument(
        '--device', metavar='DEV', help='cpu, cuda, cuda:1, … (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override keys of the configs',
    )  # fmt: skip


def add_data_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds ``--dataset``, ``--split``, ``--data-root`` and ``--limit``."""
    if several:
        parser.add_argument('--dataset', nargs='+', required=True, metavar='D', help='data sets')
    else:
        parser.add_argument('--dataset', metavar='D', help="data set (default: the config's)")
    parser.add_argument('--split', default='test', metavar='S', help='split (default: %(default)s)')
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)'
    )
    parser.add_argument(
        '--limit', type=positive, metavar='N', help='only N images, evenly spread over the split, for a quick look'
    )  # fmt: skip


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'expected a whole number above 0, got {text!r}')
    return int(text)


def spread(names: Sequence[T], limit: int | None) -> list[T]:
    """All of them, or ``limit`` of them evenly spread: always the same ones."""
    if limit is None or limit >= len(names):
        return list(names)
    return [names[i * len(names) // limit] for i in range(limit)]


def data_set_of(args: argparse.Namespace, config: Config) -> tuple[str, str | None]:
    """Data set and data root: from the command line, else from the config's test part.

    Raises:
        UserError: Neither names a data set.
    """
    loader = config.get('test_dataloader')
    dataset = args.dataset or (loader and loader.dataset.dataset)
    if not dataset:
        raise UserError('Which images? Give --dataset.')
    return dataset, args.data_root or (loader and loader.dataset.get('data_root'))


def open_detector(args: argparse.Namespace, config: str, checkpoint: str | None, name: str) -> Detector:
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
    return Detector(name, loaded, weights, size, build_mapper(loaded, weights, size, args.device))


def open_detectors(args: argparse.Namespace) -> list[Detector]:
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


def images_of(split: Split, limit: int | None) -> list[str]:
    """Names of the images to use, and a line on standard error when they are not all."""
    names = spread(split.names, limit)
    if len(names) < len(split):
        print(
            f'note: {len(names)} of the {len(split)} images of {split.dataset} {split.split}', file=sys.stderr
        )
    return names


def claim(folder: Path, files: Iterable[str], overwrite: bool) -> None:
    """Makes a folder for files about to be written; called before the work, so that nothing is lost after it.

    Raises:
        UserError: One of them is there already, or the folder cannot be made.
    """
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f'{folder / there[0]} is there already: choose another --out, or replace it with --overwrite.'
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'Cannot write to {folder}: {error.strerror}; choose another --out.') from None


def save_text(path: Path, text: str) -> None:
    """Writes a text file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'Cannot write {path}: {error.strerror}; choose another --out.') from None


def versions() -> dict[str, str]:
    """Versions of what makes the numbers, for files."""
    import cv2
    import numpy as np

    import drpca

    return {
        'drpca': drpca.__version__,
        'torch': torch.__version__,
        'numpy': np.__version__,
        'opencv': cv2.__version__,
    }
