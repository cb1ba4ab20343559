"""Many images on several processes, and one thread where more would wait for each other."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property, partial

import cv2
import numpy as np
import scipy.linalg  # noqa: F401, a BLAS of its own, to be found by threadpoolctl
import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

from drpca.baselines.base import Baseline, is_positive_int
from drpca.errors import UserError


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
        yield from pool.map(score, images)


class _OneThread:
    """BLAS on one thread while any thread of the process is inside; then as many as before, also after an error.

    Many small products and decompositions in a row are slower on several threads, which wait for each other at each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @cached_property
    def _libraries(self) -> ThreadpoolController:
        return ThreadpoolController().select(user_api='blas')

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit = self._libraries.limit(limits=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


one_thread = _OneThread()


def _use_one_thread() -> None:
    threadpool_limits(1, user_api='blas')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _score_image(baseline: Baseline, image: np.ndarray) -> np.ndarray:
    return baseline.scores(baseline.prepare(image))
