"""``tools/benchmark_training.py``: images per second and memory of training, as published and here."""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch

from drpca.cli.common import EXIT_FAILED, command_parser, guarded, write_file
from drpca.config import default_models
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.studies.training_speed import (
    PUBLISHED,
    TOLERANCE,
    Data,
    Result,
    difference,
    levers,
    measure,
    to_markdown,
)

EXAMPLES = """\
  python tools/benchmark_training.py
  python tools/benchmark_training.py --networks rpcanet drpcanet --levers --threads 2
  python tools/benchmark_training.py --device cuda --dataset SIRSTv1 --data-root datasets --json training.json
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'tools/benchmark_training.py',
        'Measure training as published (eager float32 NCHW, PNG decoded at every step) and as here (the settings of '
        'run_configs.py --fast), and check that without bfloat16 the losses are the same.',
        EXAMPLES,
    )
    parser.add_argument(
        '--networks',
        nargs='+',
        metavar='N',
        help='models, as in run_configs.py (default: those of configs/_base_/default_models.py)',
    )
    parser.add_argument('--levers', action='store_true', help='add what makes it fast one by one')
    parser.add_argument('--graphs', action='store_true', help='with CUDA graphs (GPU)')
    parser.add_argument('--device', help='default: cuda where there is one, else cpu')
    parser.add_argument('--threads', type=int, metavar='N', help='CPU threads (default: all)')
    parser.add_argument('--size', type=int, metavar='N', help='side of the images (default: 256; CPU 128)')
    parser.add_argument('--batch', type=int, metavar='N', help='images per step (default: 8; CPU 4)')
    parser.add_argument('--steps', type=int, metavar='N', help='per repetition (default: 40; CPU 2)')
    parser.add_argument('--repetitions', type=int, default=5, metavar='N', help='default: %(default)s')
    parser.add_argument('--dataset', metavar='D', help='default: a synthetic one in a temporary folder')
    parser.add_argument('--data-root', metavar='DIR', help='with --dataset')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the table')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; 1 if float32 losses differ from those of the published way."""
    args = build_parser().parse_args(argv)
    try:
        device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    except RuntimeError:
        raise UserError(f'--device {args.device}: expected cpu, cuda or cuda:N.') from None
    gpu = device.type == 'cuda'
    if gpu and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: no GPU here.')
    if args.graphs and not gpu:
        raise UserError('--graphs needs a GPU.')
    defaults = {'size': 256 if gpu else 128, 'batch': 8 if gpu else 4, 'steps': 40 if gpu else 2}
    size, batch, steps = (getattr(args, key) or value for key, value in defaults.items())
    if min(size, batch, steps, args.repetitions) < 1:
        raise UserError('--size, --batch, --steps and --repetitions must be at least 1.')
    if args.threads is not None:
        if args.threads < 1:
            raise UserError(f'--threads must be at least 1, got {args.threads}.')
        torch.set_num_threads(args.threads)
    added = [way for way in levers(device) if args.graphs or not way.graphs]
    ways = [PUBLISHED, *(added if args.levers else [replace(added[-1], name='here (--fast)')])]
    results: list[Result] = []
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if args.dataset is None:
            generate_dataset(folder, num_train=max(3 * batch, 24), num_test=8, size=256)
        data = Data(
            args.dataset or 'synthetic', args.data_root if args.dataset else folder, size, batch, device
        )
        for network in args.networks or default_models('compare'):
            results += measure(network, ways, data, steps, args.repetitions)
            gc.collect()
            differences[network] = difference(network, added[-1], data)
    where = torch.cuda.get_device_name(device) if gpu else f'CPU, {torch.get_num_threads()} threads'
    heading = f'{where}, torch {torch.__version__}, {batch} × {size}²\n\n'
    table = heading + to_markdown(results, device)
    print(table)
    for network, value in differences.items():
        verdict = 'the same' if value <= TOLERANCE else f'NOT the same (at most {TOLERANCE:.0e} expected)'
        print(f'{network}: first losses without bfloat16 {verdict}, largest relative difference {value:.1e}')
    if args.markdown:
        write_file(args.markdown, table)
    if args.json:
        content = {
            'device': where,
            'torch': torch.__version__,
            'size': size,
            'batch': batch,
            'results': [asdict(result) for result in results],
            'difference_without_bfloat16': differences,
        }
        write_file(args.json, json.dumps(content, indent=1) + '\n')
    return EXIT_FAILED if max(differences.values()) > TOLERANCE else 0
