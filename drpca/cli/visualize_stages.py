"""``tools/visualize_stages.py``: pictures of background, target and noise after every stage."""

from __future__ import annotations

import argparse

import drpca
from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.options import STAGES_FOLDER

_DESCRIPTION = f"""\
Draw what happens inside a detector: the image, the score map and the label, and below them the background B,
the target T, the noise N (where there is one) and the reconstruction D after every stage, with the learned
scalars of the stage. Each variable is stretched over its own range, which stands above it.

Writes OUT/NAME.png and OUT/stages.json. Pictures in results/<dataset>/{STAGES_FOLDER} are shown in the report of
cal_from_mask.py --report if they are of the checkpoint that made the maps."""

_EXAMPLES = """\
  python tools/visualize_stages.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --names Misc_70 Misc_96
      two images of the config's test split
  python tools/visualize_stages.py drpcanet_nudt_sirst --checkpoint best.pth --limit 6
      six images, evenly spread over the test split
  python tools/visualize_stages.py rpcanet_sirstv1 --checkpoint W.pkl --input frames/ --size native
      images of one's own, at their own size"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('visualize_stages.py', _DESCRIPTION, _EXAMPLES, done='drawn')
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser)
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        '--names', nargs='+', default=(), metavar='NAME',
        help='images of the split (default: 4 of them, evenly spread, or --limit)',
    )  # fmt: skip
    add('--input', metavar='PATH', help='an image, a video or a folder of images, instead of a data set')
    add = parser.add_argument
    add(
        '--out', default=f'results/{{dataset}}/{STAGES_FOLDER}', metavar='DIR',
        help=f'default: results/<dataset>/{STAGES_FOLDER}, or results/<input>/{STAGES_FOLDER}',
    )  # fmt: skip
    add('--overwrite', action='store_true', help='replace the pictures of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    for drawn in drpca.visualize_stages(
        drpca.Detector(args.config, args.checkpoint, **D.detector_options(args)),
        args.input,
        **keywords(drpca.visualize_stages, args),
    ):
        print(drawn.path, flush=True)
    return 0
