"""``tools/benchmark_training.py``: images per second and memory of training, as published and here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import drpca
from drpca.cli.common import (
    add_overwrite_option,
    claim_files,
    command_parser,
    device_argument,
    keywords,
    positive,
    write_file,
)
from drpca.cli.guard import guarded
from drpca.errors import EXIT_FAILED

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
    add = parser.add_argument
    add(
        '--networks', nargs='+', metavar='N',
        help='models, as in run_configs.py (default: those of configs/_base_/default_models.py)',
    )  # fmt: skip
    add('--levers', dest='each_lever', action='store_true', help='add what makes it fast one by one')
    add('--graphs', action='store_true', help='with CUDA graphs (GPU)')
    add('--device', type=device_argument, help='default: cuda where there is one, else cpu')
    add('--threads', type=positive, metavar='N', help='CPU threads (default: all)')
    add('--size', type=positive, metavar='N', help='side of the images (default: 256; CPU 128)')
    add('--batch', type=positive, metavar='N', help='images per step (default: 8; CPU 4)')
    add('--steps', type=positive, metavar='N', help='per repetition (default: 40; CPU 2)')
    add('--repetitions', type=positive, default=5, metavar='N', help='default: %(default)s')
    add('--dataset', metavar='D', help='default: a synthetic one in a temporary folder')
    add('--data-root', metavar='DIR', help='with --dataset')
    add('--json', type=Path, metavar='FILE', help='write all figures')
    add('--markdown', type=Path, metavar='FILE', help='write the table')
    add_overwrite_option(parser)
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; 1 if float32 losses differ from those of the published way."""
    args = build_parser().parse_args(argv)
    claim_files(args, 'json', 'markdown')
    from drpca.studies.training_speed import TOLERANCE

    speed = drpca.benchmark_training(**keywords(drpca.benchmark_training, args))
    print(f'{speed.as_text()}\n')
    for network, value in speed.differences.items():
        verdict = 'the same' if value <= TOLERANCE else f'NOT the same (at most {TOLERANCE:.0e} expected)'
        print(f'{network}: first losses without bfloat16 {verdict}, largest relative difference {value:.1e}')
    if args.markdown:
        write_file(args.markdown, speed.as_markdown())
    if args.json:
        write_file(args.json, json.dumps(speed.as_json(), indent=1) + '\n')
    return 0 if speed.same else EXIT_FAILED
