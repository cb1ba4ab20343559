"""What the tools that run detectors share: options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from drpca.cli.common import OptionsAction, positive, size_argument
from drpca.datasets.splits import Split
from drpca.options import RECIPE


def add_detector_options(parser: argparse.ArgumentParser, several: bool) -> None:
    """Adds ``CONFIG``, ``--checkpoint``, ``--size``, ``--device`` and ``--cfg-options``.

    Args:
        parser: Takes them.
        several: Whether the tool runs more than one detector.
    """
    add = parser.add_argument
    if several:
        add(
            'config', nargs='+', metavar='CONFIG',
            help='config files or names: one for all checkpoints, or one for each, in their order; classical '
            'methods take none',
        )  # fmt: skip
    else:
        add('config', metavar='CONFIG', help='config file or name')
    add(
        '--checkpoint', nargs='+' if several else None, default=[] if several else None, metavar='FILE',
        help="weight file; 'published': that of the config's authors (drpca weights)",
    )  # fmt: skip
    add(
        '--size', type=size_argument, metavar='N|native',
        help="resize frames to N × N, or keep each one's own size, padded (default: the config's inference_size)",
    )  # fmt: skip
    add('--device', metavar='DEV', help='cpu, cuda, cuda:1, … (default: a GPU if there is one)')
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override keys of the configs',
    )  # fmt: skip


def detector_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_detector_options` and :func:`add_data_options` as keywords of a Detector."""
    return {
        'size': args.size or RECIPE,
        'device': args.device,
        'dataset': args.dataset if isinstance(args.dataset, str) else None,
        'data_root': args.data_root,
        'options': args.cfg_options,
    }


def add_data_options(parser: argparse._ActionsContainer, several: bool = False) -> None:
    """Adds ``--dataset``, ``--split``, ``--data-root`` and ``--limit``."""
    add = parser.add_argument
    if several:
        add('--dataset', nargs='+', required=True, metavar='D', help='data sets')
    else:
        add('--dataset', metavar='D', help="data set (default: the config's)")
    add('--split', default='test', metavar='S', help='split (default: %(default)s)')
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add(
        '--limit', type=positive, metavar='N',
        help='only N images, evenly spread over the split, for a quick look',
    )  # fmt: skip


def note_limit(split: Split, names: Sequence[str]) -> None:
    """A line on standard error when not all images were used."""
    if len(names) < len(split):
        print(f'note: {len(names)} of the {len(split)} images of {split.dataset} {split.split}', file=sys.stderr)
