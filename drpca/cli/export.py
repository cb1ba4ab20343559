"""``tools/export.py``: write a network as ONNX, OpenVINO or torch.export, checked against PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import Config

from drpca.cli.common import command_parser, guarded
from drpca.config import find_config, load_config
from drpca.datasets import open_split
from drpca.datasets.io import read_image, resize_image, resize_mask, to_unit
from drpca.deploy.export_model import FORMATS, export_model
from drpca.errors import UserError
from drpca.inference.frames import list_images
from drpca.inference.mappers import build_model, is_baseline

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
    parser.add_argument('config', metavar='CONFIG', help='config file or name')
    parser.add_argument('--checkpoint', required=True, metavar='FILE', help='weights: published, ours')
    parser.add_argument('--out', required=True, metavar='FILE', help='file to write (.onnx, .xml, .pt2)')
    parser.add_argument('--format', choices=list(FORMATS), default='onnx', help='default: %(default)s')
    parser.add_argument('--size', type=int, metavar='N', help='fix height and width at N (default: free)')
    parser.add_argument(
        '--images', metavar='DIR', help="images to check with (default: the config's test split)"
    )
    parser.add_argument('--count', default='8', metavar='N', help="how many, or 'all' (default: %(default)s)")
    parser.add_argument('--data-root', metavar='DIR', help='folder of the data sets')
    parser.add_argument(
        '--tolerance', type=float, default=1e-3, metavar='E',
        help='largest difference of the logits, as a share of the largest logit (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--int8', action='store_true', help='quantise to INT8 (onnx, openvino)')
    parser.add_argument(
        '--calibration', type=int, default=32, metavar='N',
        help="images that INT8 ranges are taken from: of the config's training split, or of --images "
        '(default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-iou-loss', type=float, default=1.0, metavar='P',
        help='points of IoU that an INT8 file may lose (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--trim', action='store_true', help='drop parameters that the network never uses')
    parser.add_argument('--overwrite', action='store_true', help='replace the file')
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


def folder_images(folder: str, count: int | None, size: int | None) -> list[np.ndarray]:
    """The first images of a folder, (H, W) float32 in [0, 1].

    Raises:
        UserError: No such folder, or an unreadable image.
    """
    if not Path(folder).is_dir():
        raise UserError(f'--images {folder}: no such folder.')
    frames = [read_image(path) for path in list_images(folder)[:count]]
    return [to_unit(frame if size is None else resize_image(frame, (size, size))) for frame in frames]


def split_images(
    config: Config, split_name: str, count: int | None, size: int | None, data_root: str | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first images of a split of the config's data set, (H, W) float32 in [0, 1], and their masks.

    Raises:
        UserError: The data set is not there.
    """
    loader = config.test_dataloader.dataset
    split = open_split(loader.dataset, split_name, data_root or loader.get('data_root'))
    names = split.names[:count]
    frames, labels = [split.read_image(name) for name in names], [split.read_mask(name) for name in names]
    if size is not None:
        frames = [resize_image(frame, (size, size)) for frame in frames]
        labels = [resize_mask(label, (size, size)) for label in labels]
    return [to_unit(frame) for frame in frames], labels


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; a file that does not agree is not written and ends with exit code 2."""
    args = build_parser().parse_args(argv)
    count = read_count(args.count)
    if args.calibration < 1:
        raise UserError(f'--calibration must be at least 1, got {args.calibration}.')
    config = load_config(find_config(args.config), data_root=args.data_root)
    if is_baseline(config):
        raise UserError(f'{args.config} is a classical method; only networks can be exported.')
    model = build_model(config, args.checkpoint)
    size = args.size or config.get('inference_size')
    images: list[np.ndarray]
    labels: list[np.ndarray] | None = None
    if args.images:
        images = folder_images(args.images, count, args.size)
    else:
        images, labels = split_images(config, 'test', count, size, args.data_root)
    calibration: list[np.ndarray] | None = None
    if args.int8 and args.images:
        calibration = folder_images(args.images, args.calibration, args.size)
    elif args.int8:
        calibration, _ = split_images(config, 'train', args.calibration, size, args.data_root)
    agreement = export_model(
        model,
        args.out,
        args.format,
        images=images,
        labels=labels,
        inference_size=size,
        fixed_size=args.size,
        trim=args.trim,
        tolerance=args.tolerance,
        calibration=calibration,
        max_iou_loss=args.max_iou_loss / 100,
        overwrite=args.overwrite,
    )
    print(
        f'{args.out}: on {agreement.images} images the logits differ from PyTorch by at most '
        f'{agreement.max_error:.1e} (largest logit {agreement.max_logit:.1f}), masks agree to IoU {agreement.iou:.6f}'
    )
    if agreement.iou_pytorch is not None and agreement.iou_file is not None:
        change = 100 * (agreement.iou_file - agreement.iou_pytorch)
        print(
            f'IoU with the labels: PyTorch {100 * agreement.iou_pytorch:.3f} %, file '
            f'{100 * agreement.iou_file:.3f} % ({change:+.3f} points)'
        )
    return 0
