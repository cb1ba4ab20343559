"""``tools/benchmark.py``: size, speed and memory of networks."""

from __future__ import annotations

import argparse
import dataclasses

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
from drpca.cli.detector_options import add_data_options
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
  python tools/benchmark.py --backends rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --json forms.json
  python tools/benchmark.py --scores iou.json --plot tradeoff.png        iou.json: {"RPCANet": 0.7038, …}
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'tools/benchmark.py',
        'Measure networks with random weights on random images: parameters, GFLOP, latency, throughput, memory, '
        'and the ratio to a baseline that runs in turn with the others. With --backends: IoU on a split beside '
        'speed, of one network with its weights.',
        EXAMPLES,
    )
    add = parser.add_argument
    add(
        'networks', nargs='*', metavar='NETWORK',
        help='default: those of configs/_base_/default_models.py; with --backends a config',
    )  # fmt: skip
    add('--all', action='store_true', help='every network there is')
    add(
        '--variants', nargs='+', choices=VARIANTS, metavar='VARIANT',
        help=f'some of {", ".join(VARIANTS)} (default: optimised, also in bf16, and exported, if installed)',
    )  # fmt: skip
    add('--baseline', choices=VARIANTS, default=BASELINE, help='default: %(default)s')
    add('--sizes', nargs='+', type=positive, metavar='N', help="default: 256; with --backends the config's")
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
    group = parser.add_argument_group('--backends: every runtime and precision on the images of a split, on the CPU')
    group.add_argument('--backends', action='store_true', help='IoU beside speed of CONFIG with its weights')
    group.add_argument('--checkpoint', metavar='FILE', help='weights, as of inference.py')
    add_data_options(group)
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
    if args.backends:
        return _compare_backends(args)
    if any(getattr(args, name) is not None for name in ('checkpoint', 'dataset', 'limit', 'data_root')):
        raise UserError('--checkpoint, --dataset, --data-root and --limit belong to --backends: give that, too.')
    from drpca.deploy.processor import machine
    from drpca.studies.speed_report import as_json, to_markdown, to_text, tradeoff_figure

    scores = read_scores(args.scores) if args.scores else {}
    args.networks = network_names() if args.all else args.networks or None
    args.sizes = args.sizes or [256]
    here = machine()
    results = drpca.benchmark(**keywords(drpca.benchmark, args))
    here = dataclasses.replace(here, threads=results[0].threads)
    print(f'{to_text(results)}\n\n{here}')
    if args.markdown:
        write_file(args.markdown, f'{to_markdown(results)}\n{here}\n')
    if args.json:
        write_file(args.json, as_json(results, here))
    if args.plot:
        figure = tradeoff_figure(results, scores, args.scores)
        save(args.plot, lambda draft: figure.savefig(draft, dpi=150), overwrite=True)
    return 0


def _compare_backends(args: argparse.Namespace) -> int:
    if args.plot or args.all or len(args.networks) > 1 or len(args.sizes or []) > 1:
        raise UserError('--backends takes one config, one size at most, and draws no plot.')
    if args.device != 'cpu' or args.batches != [1]:
        raise UserError('--backends runs on the CPU, an image at a time: leave out --device and --batches.')
    from drpca.studies.backends import benchmark_backends

    options = keywords(benchmark_backends, args)
    if args.sizes:
        options['size'] = args.sizes[0]
    found = benchmark_backends(args.networks[0] if args.networks else None, **options)
    print(found.text(), end='')
    if args.markdown:
        write_file(args.markdown, found.markdown())
    if args.json:
        write_file(args.json, found.json())
    return 0
