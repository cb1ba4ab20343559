"""A network given by its weights, on whichever runtime computes it fastest here (:mod:`drpca.deploy.fastest`)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from drpca.datasets.synthetic import generate_frame
from drpca.deploy.backends import Backend
from drpca.deploy.fastest import CheckFrames, Choice, fastest
from drpca.deploy.optimise import PRECISIONS
from drpca.deploy.variants import VARIANTS
from drpca.errors import UserError
from drpca.inference.mappers import NetworkMapper, ScoredBatch, network_mapper, run_exported
from drpca.models.detector import DetectionModel

_FRAMES, _SIDE = 4, 128


class RuntimeMapper(NetworkMapper):
    """Score maps of a network whose batches an exported file computes.

    Steps that are gathered over the tiles of a large frame, and looks inside, run in PyTorch.

    Args:
        model: See :class:`NetworkMapper`, as of the other arguments.
        backend: The file.
    """

    def __init__(self, model: DetectionModel, *args: Any, backend: Backend, **options: Any) -> None:
        super().__init__(model, *args, **options)
        self.backend = backend
        self._takes_turns = True

    def map_batch(self, images: list[np.ndarray]) -> ScoredBatch:
        return run_exported(self.backend, images)


@cache
def check_frames() -> CheckFrames:
    """Synthetic frames of 128 × 128 with targets, always the same, and their masks."""
    made = [generate_frame(np.random.default_rng([0, 2, index]), _SIDE) for index in range(_FRAMES)]
    return [frame.astype(np.float32) / 255 for frame, _ in made], [mask for _, mask in made]


def fastest_mapper(
    model: DetectionModel,
    size: int | None,
    device: str | None,
    batch_size: int | None,
    *,
    backend: str,
    precision: str,
    **tiles: Any,
) -> tuple[NetworkMapper, str, Choice]:
    """The mapper of a network in the form that is fastest on this machine, its precision, and why that form.

    Args:
        model: With weights.
        size: See :class:`NetworkMapper`, as of ``batch_size`` and ``tiles``.
        device: ``'cpu'``, which is what None means where there is no GPU: forms are timed on a CPU alone.
        backend: See :func:`drpca.deploy.fastest.fastest`, as of ``precision``.

    Raises:
        UserError: As :func:`drpca.deploy.fastest.fastest`; another device, or a GPU that would not be used.
    """
    if device not in (None, 'cpu'):
        raise UserError(f'--backend {backend} chooses between runtimes on a CPU: leave out --device {device}.')
    if device is None and torch.cuda.is_available():
        raise UserError(
            f'--backend {backend} chooses between runtimes on a CPU, and there is a GPU here: leave it out, or give '
            '--device cpu.'
        )
    found = fastest(
        model, check_frames(), backend=backend, precision=precision, side=size, batch=batch_size or 1
    )  # fmt: skip
    options = VARIANTS[found.choice.variant]
    precision = options.get('precision', 'fp32')
    assert precision in PRECISIONS
    if found.backend is None:
        mapper = network_mapper(model, size, 'cpu', batch_size, **options, **tiles)
    else:
        mapper = RuntimeMapper(model, size, 'cpu', batch_size, backend=found.backend, **tiles)
    return mapper, precision, found.choice
