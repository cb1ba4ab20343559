"""Shared frame of the optimisation-based detectors: patches → D = B + T (+ N) → images.

Shapes: D, B, T, N are patch matrices (p·p, n), for PSTNN patch tensors (p, p, n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from drpca.baselines.base import Baseline, Decomposition, IterationRecord
from drpca.baselines.patches import PatchGrid, refuse_gaps
from drpca.baselines.proximal import shrink_tail
from drpca.baselines.svd import SVD, map_singular_values
from drpca.errors import UserError

MAX_ITERATIONS = 1000
USUAL = {
    'input_size': None, 'step': 10, 'coverage': 'flush', 'aggregation': 'mean', 'svd': 'gram', 'device': 'cpu',
}  # fmt: skip
"""What most presets have in common."""
Records = list[IterationRecord] | None


@dataclass(frozen=True)
class Parts:
    """The variables of a solved problem, each of the shape of D.

    Attributes:
        background: B.
        target: T.
        noise: N, or None for models without it.
    """

    background: np.ndarray
    target: np.ndarray
    noise: np.ndarray | None = None


class PatchRPCA(Baseline):
    """Base of the methods that split overlapping patches into low-rank background and sparse target.

    Subclasses implement :meth:`solve` and name the scale of D in ``scaling``: 'grey' (0 to 255), 'unit'
    (0 to 1) or 'minmax' (the range of D is brought to 0 to 1).

    Parameters: ``patch_size`` p and ``step`` in pixels; ``coverage`` and ``aggregation`` as in
    :mod:`drpca.baselines.patches`; ``svd``, 'gram' or 'full' as in :mod:`drpca.baselines.svd`; ``device`` of
    the singular value decompositions, for example 'cuda'.
    """

    patch_size: int
    step: int
    coverage: Any
    aggregation: Any
    svd: SVD
    device: str
    scaling: str = 'grey'
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        'coverage': ('flush', 'fitting', 'inside'),
        'aggregation': ('mean', 'median', 'last', 'mean_without_last'),
        'svd': ('gram', 'full'),
    }

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        self.min_size = max(self.patch_size, 2)
        refuse_gaps(type(self).__name__, self.patch_size, self.step)
        if 'device' in self.parameters:
            self._check_device()

    def _check_device(self) -> None:
        try:
            torch.zeros(1, dtype=torch.float64, device=self.device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise UserError(
                f"{type(self).__name__}: device {self.device!r} cannot be used here; use 'cpu' or 'cuda'."
            ) from error

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        """Solves the method's problem.

        Args:
            patches: D as a matrix (p·p, n), on the method's scale, not constant.
            frame: The image behind it, (H, W) float64 in [0, 255].
            records: List that takes one record per iteration, or None.
        """
        raise NotImplementedError

    def grid(self, shape: tuple[int, int]) -> PatchGrid:
        """Where the patches of an image of shape (H, W) lie."""
        return PatchGrid(shape, self.patch_size, self.step, self.coverage)

    def detect(self, frame: np.ndarray) -> np.ndarray:
        grid = self.grid(frame.shape)
        parts, _, _ = self._solve_frame(frame, grid, None)
        return grid.image(parts.target, self.aggregation)

    def decompose(self, image: np.ndarray, trace: bool = False) -> Decomposition:
        """Splits an image.

        Args:
            image: As for :meth:`predict`.
            trace: Record residual, objective, rank and non-zero entries at every iteration.

        Raises:
            UserError: As :meth:`predict`.
        """
        frame = self._frame(image)
        records: Records = [] if trace else None
        grid = self.grid(frame.shape)
        parts, low, span = self._solve_frame(frame, grid, records)

        def to_image(part: np.ndarray, offset: float = 0) -> np.ndarray:
            return (grid.image(part) * span + offset) / 255

        background = np.where(grid.counts > 0, to_image(parts.background, low), frame / 255)
        noise = None if parts.noise is None else to_image(parts.noise).astype(np.float32)
        target = to_image(parts.target).astype(np.float32)
        return Decomposition(background.astype(np.float32), target, noise, records)

    def _solve_frame(self, frame: np.ndarray, grid: PatchGrid, records: Records) -> tuple[Parts, float, float]:
        """Parts on the scale of D, and that scale: grey value = low + span · value."""
        matrix = grid.matrix(frame)
        low, high = float(matrix.min()), float(matrix.max())
        if low == high:
            return Parts(matrix, np.zeros_like(matrix)), 0.0, 1.0
        low, span = {'grey': (0.0, 1.0), 'unit': (0.0, 255.0), 'minmax': (low, high - low)}[self.scaling]
        return self.solve((matrix - low) / span, frame, records), low, span


def admm(
    matrix: np.ndarray,
    target_step: Callable[[np.ndarray, float], np.ndarray],
    target_cost: Callable[[np.ndarray], float],
    stop_at_zero: bool,
    svd: SVD,
    device: str,
    records: Records,
) -> Parts:
    """min ‖B‖_* + g(T) s.t. D = B + T, T ≥ 0, with a penalty ρ that grows by 1.5 per iteration from 1/(5·std D):

        B ← SVT(D + Y/ρ − T, 1/ρ),   T ← prox_{g/ρ}(D + Y/ρ − B),   Y ← Y + ρ(D − B − T).

    Stops at ‖D − B − T‖/‖D‖ < 1e-7 or when the number of non-zero entries of T stays the same.

    Args:
        matrix: D, (m, n).
        target_step: Takes D + Y/ρ − B and ρ, returns T.
        target_cost: g(T).
        stop_at_zero: Whether a number that stays at 0 stops too, which the first iteration may do.
        svd: As in :func:`drpca.baselines.svd.map_singular_values`; ``device`` alike.
        device: See there.
        records: List that takes one record per iteration, or None.
    """
    norm = float(np.linalg.norm(matrix))
    rho = 1 / (5 * float(matrix.std()))
    scaled_dual = np.zeros_like(matrix)  # Y/ρ
    target = np.zeros_like(matrix)
    nonzeros = 0
    for _ in range(MAX_ITERATIONS):
        shifted = matrix + scaled_dual
        background, sigma = map_singular_values(
            shifted - target, partial(shrink_tail, threshold=1 / rho, keep=0), svd, device
        )
        shifted -= background
        target = target_step(shifted, rho)
        shifted -= target  # (Y + ρ(D − B − T))/ρ
        residual = float(np.linalg.norm(shifted - scaled_dual)) / norm
        scaled_dual = shifted / 1.5
        rho *= 1.5
        previous, nonzeros = nonzeros, int(np.count_nonzero(target))
        if records is not None:
            objective = float(sigma.sum()) + target_cost(target)
            records.append(IterationRecord(residual, objective, len(sigma), nonzeros))
        if residual < 1e-7 or (nonzeros == previous and (stop_at_zero or nonzeros > 0)):
            break
    return Parts(background, target)
