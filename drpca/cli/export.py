"""``tools/export.py``: write a network as ONNX, OpenVINO or torch.export, checked against PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from drpca.cli.common import command_parser, guarded
from drpca.datasets import open_split
from drpca.datasets.io import read_image, resize_image, resize_mask, to_unit
from drpca.engine.config import find_config, load_config
from drpca.errors import UserError
from drpca.inference.export_model import FORMATS, export_model
from drpca.inference.frames import list_images
from drpca.inference.mappers import build_model, is_baseline

EXAMPLES = """\
  python tools/export.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --out rpcanet.onnx
  python tools/export.py rpcanet_sirstv1 --checkpoint W.pth --out rpcanet.xml --format openvino
  python tools/export.py drpcanet_sirstv1 --checkpoint W.pth --out drpcanet.pt2 --format torch --images frames/
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'tools/export.py',
        'Export a network with free batch, height and width. The file is compared with PyTorch on images and kept '
        'only if the logits agree.',
        EXAMPLES,
    )
    parser.add_argument('config', metavar='CONFIG', help='config file or name')
    parser.add_argument('--checkpoint', required=True, metavar='FILE', help='weights: published, ours')
    parser.add_argument('--out', required=True, metavar='FILE', help='file to write (.onnx, .xml, .pt2)')
    parser.add_argument('--format', choices=list(FORMATS), default='onnx', help='default: %(default)s')
    parser.add_argument(
        '--images', metavar='DIR', help="images to check with (default: the config's test split)"
    )
    parser.add_argument('--count', type=int, default=8, metavar='N', help='how many (default: %(default)s)')
    parser.add_argument('--data-root', metavar='DIR', help='folder of the data sets')
    parser.add_argument(
        '--tolerance', type=float, default=1e-3, metavar='E',
        help='largest difference of the logits, as a share of the largest logit (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--trim', action='store_true', help='drop parameters that the network never uses')
    parser.add_argument('--overwrite', action='store_true', help='replace the file')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; a file that does not agree is not written and ends with exit code 2."""
    args = build_parser().parse_args(argv)
    if args.count < 1:
        raise UserError(f'--count must be at least 1, got {args.count}.')
    config = load_config(find_config(args.config), data_root=args.data_root)
    if is_baseline(config):
        raise UserError(f'{args.config} is a classical method; only networks can be exported.')
    model = build_model(config, args.checkpoint)
    size = config.get('inference_size')
    images: list[np.ndarray]
    labels: list[np.ndarray] | None = None
    if args.images:
        if not Path(args.images).is_dir():
            raise UserError(f'--images {args.images}: no such folder.')
        images = [to_unit(read_image(path)) for path in list_images(args.images)[: args.count]]
    else:
        loader = config.test_dataloader.dataset
        split = open_split(loader.dataset, 'test', args.data_root or loader.get('data_root'))
        names = split.names[: args.count]
        frames, labels = [split.read_image(name) for name in names], [split.read_mask(name) for name in names]
        if size is not None:
            frames = [resize_image(frame, (size, size)) for frame in frames]
            labels = [resize_mask(label, (size, size)) for label in labels]
        images = [to_unit(frame) for frame in frames]
    agreement = export_model(
        model,
        args.out,
        args.format,
        images=images,
        labels=labels,
        inference_size=size,
        trim=args.trim,
        tolerance=args.tolerance,
        overwrite=args.overwrite,
    )
    change = '' if agreement.iou_change is None else f', IoU {100 * agreement.iou_change:+.3f} points'
    print(
        f'{args.out}: on {agreement.images} images the logits differ from PyTorch by at most '
        f'{agreement.max_error:.1e} (largest logit {agreement.max_logit:.1f}), masks agree to IoU '
        f'{agreement.iou:.6f}{change}'
    )
    return 0
