"""Many images on several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import torch

from drpca.baselines.base import Baseline, is_positive_int
from drpca.errors import UserError

_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS')


def map_images(baseline: Baseline, images: Iterable[np.ndarray], workers: int = 1) -> Iterator[np.ndarray]:
    """Score maps of many images, on several processes with one thread each.

    Args:
        baseline: The detector; each image passes its :meth:`Baseline.prepare` first.
        images: (H, W) arrays as for :meth:`Baseline.predict`.
        workers: Processes; 1 stays in this one.

    Yields:
        :meth:`Baseline.scores` of each image, in order, at ``baseline.input_size`` or the image's own size.

    Raises:
        UserError: ``workers`` is not a positive integer, or as :meth:`Baseline.predict`.
    """
    if not is_positive_int(workers):
        raise UserError(f'Expected a positive number of workers, got {workers!r}.')
    score = partial(_score_image, baseline)
    if workers == 1:
        yield from map(score, images)
        return
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_use_one_thread) as pool:
        with _environment(**dict.fromkeys(_THREAD_VARIABLES, '1')):
            results = pool.map(score, images)
        yield from results


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for processes started inside the block: BLAS reads them when it is loaded."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _score_image(baseline: Baseline, image: np.ndarray) -> np.ndarray:
    return baseline.scores(baseline.prepare(image))
