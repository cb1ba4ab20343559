"""``tools/publish.py``: makes a small weight file of a trained run."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from pathlib import Path

import torch

from drpca.cards import FILE, update_weights, weights_folder
from drpca.checkpoint import load_weights
from drpca.cli.common import command_parser, guarded
from drpca.config import find_config, load_config
from drpca.errors import UserError
from drpca.registry import MODELS
from drpca.run_folder import best_run

_DESCRIPTION = """\
Make a small weight file of a trained run, to hand on: a bare state dict under the published parameter names, called
<config>-<first digits of its SHA-256>.pth, and entered with its hash in the model's metafile.

Of several seeds, the one with the best validation figure is taken; test figures are not looked at."""

_EXAMPLES = """\
  python tools/publish.py rpcanet_plus_sirstv1_cpu
      checkpoints/rpcanet_plus_sirstv1_cpu-1a2b3c4d.pth, and Weights in configs/rpcanet_plus/metafile.yml
  python tools/publish.py lrrnet_sirstv1 --seed 2 --limit-mb 15 --out weights --no-metafile
      a certain seed, somewhere else

exit status
  0  done
  2  wrong usage or input; one line on standard error says what to do"""


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/publish.py``."""
    parser = command_parser('publish.py', _DESCRIPTION, _EXAMPLES)
    parser.add_argument('config', metavar='CONFIG', help='the config that was trained')
    parser.add_argument(
        '--work-dir', type=Path, default=Path('checkpoints'), metavar='DIR',
        help='where its runs are (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, metavar='N', help='default: the best on the validation split')
    parser.add_argument('--final', action='store_true', help='the run with --final, its last weights')
    parser.add_argument('--out', type=Path, metavar='DIR', help="default: the project's checkpoints folder")
    parser.add_argument(
        '--limit-mb', type=float, default=5.0, metavar='MB', help='refuse a larger file (default: %(default)s)'
    )  # fmt: skip
    parser.add_argument('--no-metafile', action='store_true', help='write the file alone')
    return parser


def weight_bytes(config: Path, checkpoint: Path) -> bytes:
    """The contents of the new file.

    Raises:
        UserError: The checkpoint cannot be read, or does not fit the config.
    """
    network = load_weights(MODELS.build(load_config(config).model.network), checkpoint)
    buffer = io.BytesIO()  # the name of a file would become part of its contents
    torch.save({name: value.contiguous() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    path = find_config(args.config)
    summary, checkpoint = best_run(args.work_dir, path.stem + '_final' * args.final, args.seed)
    content = weight_bytes(path, checkpoint)
    if len(content) > args.limit_mb * 1e6:
        raise UserError(
            f'{checkpoint} would become {len(content) / 1e6:.1f} MB, more than {args.limit_mb:g}: raise --limit-mb.'
        )
    digest = hashlib.sha256(content).hexdigest()
    file = (args.out or weights_folder()) / f'{path.stem}-{digest[:8]}.pth'
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f'{file.name}.partial')
        partial.write_bytes(content)
        os.replace(partial, file)
    except OSError as error:
        raise UserError(f'Cannot write {file}: {error.strerror}.') from None
    print(f'{file}  {len(content) / 1e6:.2f} MB  from {checkpoint}')
    metafile = path.with_name(FILE)
    if metafile.is_file() and not args.no_metafile:
        entry = {
            'Config': path.stem,
            'File': file.name,
            'SHA256': digest,
            'Seed': summary['seed'],
            'Epochs': summary['epochs'],
            'Selection': summary.get('selection', 'val'),
            'Validation IoU': None if summary.get('best') is None else round(summary['best'], 6),
        }
        update_weights(metafile, {key: value for key, value in entry.items() if value is not None})
        print(f'entered in {metafile}')
    return 0
