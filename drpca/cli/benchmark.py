"""``tools/benchmark.py``: size, speed and memory of networks."""

from __future__ import annotations

import argparse

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
from drpca.errors import UserError
from drpca.files import save
from drpca.options import BASELINE, VARIANTS
from drpca.registry import network_names

EXAMPLES = """\
  python tools/benchmark.py
  python tools/benchmark.py RPCANet LRRNet --variants optimised optimised-bf16 --threads 2 --repetitions 15
  python tools/benchmark.py --all --variants optimised --no-memory --repetitions 5
  python tools/benchmark.py --device cuda --sizes 256 512 --batches 1 16 --json speed.json
  python tools/benchmark.py --scores iou.json --plot tradeoff.png        iou.json: {"RPCANet": 0.7038, …}
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'tools/benchmark.py',
        'Measure networks with random weights on random images: parameters, GFLOP, latency, throughput, memory, '
        'and the ratio to a baseline that runs in turn with the others.',
        EXAMPLES,
    )
    add = parser.add_argument
    add('networks', nargs='*', metavar='NETWORK', help='default: those of configs/_base_/default_models.py')
    add('--all', action='store_true', help='every network there is')
    add(
        '--variants', nargs='+', choices=VARIANTS, metavar='VARIANT',
        help=f'some of {", ".join(VARIANTS)} (default: optimised, also in bf16, and exported, if installed)',
    )  # fmt: skip
    add('--baseline', choices=VARIANTS, default=BASELINE, help='default: %(default)s')
    add('--sizes', nargs='+', type=positive, default=[256], metavar='N')
    add('--batches', nargs='+', type=positive, default=[1], metavar='N')
    add('--device', type=device_argument, default='cpu', help='default: %(default)s')
    add('--threads', type=positive, metavar='N', help='CPU threads (default: cores, or the quota)')
    add('--repetitions', type=positive, default=20, metavar='N', help='default: %(default)s')
    add('--warm-up', type=int, default=3, metavar='N', help='default: %(default)s')
    add('--no-memory', dest='memory', action='store_false', help='skip it: quicker on a CPU')
    add('--json', metavar='FILE', help='write all figures')
    add('--markdown', metavar='FILE', help='write the table')
    add('--scores', metavar='FILE', help="JSON: network → IoU as a ratio, 'of' → what it is of, for --plot")
    add('--plot', metavar='FILE', help='write IoU against latency and parameters')
    add_overwrite_option(parser)
    return parser


def read_scores(path: str) -> dict[str, float | str]:
    """Network → IoU; ``'of'`` → what it is of.

    Raises:
        UserError: No such file, or it holds something else.
    """
    from drpca.json_file import read_json

    scores = read_json(path, dict[str, float | str], 'expected JSON like {"NETWORK": 0.7}')
    if wrong := [name for name, value in scores.items() if isinstance(value, str) and name != 'of']:
        raise UserError(f'{path}: expected an IoU, a ratio, for {wrong[0]}, got {scores[wrong[0]]!r}.')
    return scores


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    args = build_parser().parse_args(argv)
    if (args.plot is None) != (args.scores is None):
        raise UserError('--plot and --scores belong together.')
    claim_files(args, 'json', 'markdown', 'plot')
    from drpca.studies.speed_report import as_json, to_markdown, to_text, tradeoff_figure

    scores = read_scores(args.scores) if args.scores else {}
    args.networks = network_names() if args.all else args.networks or None
    results = drpca.benchmark(**keywords(drpca.benchmark, args))
    print(to_text(results))
    if args.markdown:
        write_file(args.markdown, to_markdown(results))
    if args.json:
        write_file(args.json, as_json(results))
    if args.plot:
        figure = tradeoff_figure(results, scores, args.scores)
        save(args.plot, lambda draft: figure.savefig(draft, dpi=150), overwrite=True)
    return 0
