"""``inference.py``: score maps and targets of a data set, a folder, a video or an image."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import drpca
from drpca.cli.common import EXIT_FAILED, guarded
from drpca.cli.infer_options import build_parser
from drpca.errors import UserError
from drpca.options import RECIPE

if TYPE_CHECKING:
    from drpca.inference.temporal import TemporalFilter


def open_filter(args: argparse.Namespace) -> TemporalFilter | None:
    """The temporal filter that the options describe.

    Raises:
        UserError: Bad options, or options of the filter without --confirm.
    """
    options = {
        name: value
        for name in ('candidate_threshold', 'max_speed', 'gate', 'min_speed', 'stabilise')
        if (value := getattr(args, name)) not in (None, False)
    }
    if args.confirm is None:
        if options:
            raise UserError(f'--{next(iter(options)).replace("_", "-")} needs --confirm M N.')
        return None
    options = {'candidate_threshold': args.threshold / 2, **options}
    if options['candidate_threshold'] > args.threshold:
        raise UserError(
            f'Expected a --candidate-threshold up to --threshold ({args.threshold}), got '
            f'{options["candidate_threshold"]}.'
        )
    from drpca.inference.temporal import TemporalFilter

    return TemporalFilter(*args.confirm, **options)


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; returns 0, 1 when some frames could not be read, 2 on bad input."""
    args = build_parser().parse_args(argv)
    if args.batch_size is not None and args.batch_size < 1:
        raise UserError(f'--batch-size must be at least 1, got {args.batch_size}.')
    temporal = open_filter(args)
    detector = drpca.Detector(
        args.config, args.checkpoint, size=args.size or RECIPE, threshold=args.threshold, tile=args.tile,
        batch_size=args.batch_size, device=args.device, precision=args.precision, compile=args.compile,
        cuda_graph=args.cuda_graph, backend=args.backend, trust=args.trust, dataset=args.dataset,
        data_root=args.data_root,
        options=args.cfg_options,
    )  # fmt: skip
    is_camera = args.input is not None and args.input.isdigit() and not Path(args.input).exists()
    written = drpca.predict(
        detector, int(args.input) if is_camera else args.input, args.out, split=args.split or 'test',
        formats=args.format, overlay=args.overlay, stages=args.save_stages, video_out=args.video_out,
        temporal=temporal, live=args.live, queue=args.queue, overwrite=args.overwrite, progress=True,
    )  # fmt: skip
    done, seconds = written.done, written.seconds
    print(
        f'{done} maps in {written.folder} ({seconds:.1f} s, {done / max(seconds, 1e-9):.1f} images/s with reading '
        'and writing)'
    )
    if written.latencies:
        median, high = 1e3 * np.percentile(written.latencies, (50, 95))
        print(f'latency: median {median:.1f} ms, 95 % {high:.1f} ms; {written.dropped} frames dropped')
    if written.without_stages:
        print(
            f'{written.without_stages} frames are larger than --tile {detector.tile}: no stages drawn',
            file=sys.stderr,
        )
    for message in written.failed:
        print(f'error: {message}', file=sys.stderr)
    if written.failed:
        print(
            f'{len(written.failed)} of {done + len(written.failed)} inputs could not be read', file=sys.stderr
        )
        return EXIT_FAILED
    return 0
