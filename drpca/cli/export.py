"""``tools/export.py``: write a network as ONNX, OpenVINO or torch.export, checked against PyTorch."""

from __future__ import annotations

import argparse

import drpca
from drpca.cli.common import command_parser, keywords, positive
from drpca.cli.guard import guarded
from drpca.errors import UserError, counted
from drpca.options import EXPORT_FORMATS

EXAMPLES = """\
  python tools/export.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --out rpcanet.onnx
  python tools/export.py rpcanet_sirstv1 --checkpoint W.pth --out rpcanet.xml --format openvino
  python tools/export.py rpcanet_sirstv1 --checkpoint W.pth --out rpcanet_int8.onnx --int8 --count all
  python tools/export.py drpcanet_sirstv1 --checkpoint W.pth --out drpcanet.pt2 --format torch --images frames/
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'tools/export.py',
        'Export a network with free batch, height and width. The file is compared with PyTorch on images and kept '
        'only if the logits agree, or in INT8 if it loses little IoU.',
        EXAMPLES,
    )
    add = parser.add_argument
    add('config', metavar='CONFIG', help='config file or name')
    add('--checkpoint', required=True, metavar='FILE', help="weight file, or 'published'")
    add('--out', required=True, metavar='FILE', help='file to write (.onnx, .xml, .pt2)')
    add('--format', choices=list(EXPORT_FORMATS), default='onnx', help='default: %(default)s')
    add('--size', type=positive, metavar='N', help='fix height and width at N (default: free)')
    add('--images', metavar='DIR', help="images to check with (default: the config's test split)")
    add('--count', default='8', metavar='N', help="how many, or 'all' (default: %(default)s)")
    add('--data-root', metavar='DIR', help='folder of the data sets')
    add(
        '--tolerance', type=float, default=1e-3, metavar='E',
        help='largest difference of the logits, as a share of the largest logit, if rounding alone does no more '
        '(default: %(default)s)',
    )  # fmt: skip
    add('--int8', action='store_true', help='quantise to INT8 (onnx, openvino)')
    add(
        '--calibration', type=positive, default=32, metavar='N',
        help="images that INT8 ranges are taken from: of the config's training split, or of --images "
        '(default: %(default)s)',
    )  # fmt: skip
    add(
        '--max-iou-loss', type=float, default=1.0, metavar='P',
        help='points of IoU that an INT8 file may lose (default: %(default)s)',
    )  # fmt: skip
    add('--trim', action='store_true', help='drop parameters that the network never uses')
    add('--overwrite', action='store_true', help='replace the file')
    return parser


def read_count(text: str) -> int | None:
    """Number of images; None for 'all'.

    Raises:
        UserError: Neither.
    """
    if text == 'all':
        return None
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--count must be at least 1, or 'all', got {text}.")
    return int(text)


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; a file that does not agree is not written and ends with exit code 2."""
    args = build_parser().parse_args(argv)
    args.count, args.max_iou_loss = read_count(args.count), args.max_iou_loss / 100
    agreement = drpca.export(**keywords(drpca.export, args))
    print(
        f'{args.out}: on {counted(agreement.images, "image")} the logits differ from PyTorch by at most '
        f'{agreement.max_error:.1e} (largest logit {agreement.max_logit:.1f}), masks agree to IoU {agreement.iou:.6f}'
    )
    if agreement.rounding is not None:
        print(
            'Rounding does as much: the same input rounded otherwise changes logits in PyTorch by up to '
            f'{agreement.rounding:.1e}, as where two maxima tie.'
        )
    if agreement.iou_pytorch is not None and agreement.iou_file is not None:
        change = 100 * (agreement.iou_file - agreement.iou_pytorch)
        print(
            f'IoU with the labels: PyTorch {100 * agreement.iou_pytorch:.3f} %, file '
            f'{100 * agreement.iou_file:.3f} % ({change:+.3f} points)'
        )
    return 0
