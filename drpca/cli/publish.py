"""``tools/publish.py``: makes a small weight file of a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path

import drpca
from drpca.cli.common import command_parser, keywords, seed_argument
from drpca.cli.guard import guarded

_DESCRIPTION = """\
Make a small weight file of a trained run, to hand on: a bare state dict under the published parameter names, called
<config>-<first digits of its SHA-256>.pth, and entered with its hash in the model's metafile. Beside it lie the same
weights as .safetensors, which say what they are, their config included.

Of several seeds, the one with the best validation figure is taken; test figures are not looked at."""

_EXAMPLES = """\
  python tools/publish.py rpcanet_plus_sirstv1_cpu
      checkpoints/rpcanet_plus_sirstv1_cpu-1a2b3c4d.pth, and Weights in configs/rpcanet_plus/metafile.yml
  python tools/publish.py lrrnet_sirstv1 --seed 2 --out weights --no-metafile
      a certain seed, somewhere else"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('publish.py', _DESCRIPTION, _EXAMPLES, done='done')
    add = parser.add_argument
    add('config', metavar='CONFIG', help='the config that was trained')
    add(
        '--work-dir', type=Path, default=Path('checkpoints'), metavar='DIR',
        help='where its runs are (default: %(default)s)',
    )  # fmt: skip
    add('--seed', type=seed_argument, metavar='N', help='default: the best on the validation split')
    add('--final', action='store_true', help='the run with --final, its last weights')
    add('--out', type=Path, metavar='DIR', help="default: the project's checkpoints folder")
    add(
        '--limit-mb', type=float, default=20.0, metavar='MB',
        help='refuse a larger file (default: %(default)s)',
    )  # fmt: skip
    add('--no-metafile', dest='metafile', action='store_false', help='write the file alone')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    made = drpca.publish(**keywords(drpca.publish, args))
    print(f'{made.file}  {made.size / 1e6:.2f} MB  from {made.checkpoint}')
    print(made.tensors)
    if made.metafile:
        print(f'entered in {made.metafile}')
    return 0
