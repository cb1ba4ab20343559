"""4-D tensor ring (Wu, Yu, Liu, Luo, Peng, IEEE TGRS 61, 2023)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from drpca.baselines.frame_windows import PatchStack, SolvedFrames, WindowBaseline
from drpca.baselines.patches import refuse_gaps
from drpca.baselines.rpca import Records
from drpca.baselines.unfoldings import GROWTH, Unfolding, solve_unfoldings
from drpca.registry import BASELINES


class PatchTensor(WindowBaseline):
    """Base of the methods on the four-way tensor (row, column, frame, patch) of blocks of frames, in [0, 1].

    Subclasses name the unfoldings and implement :meth:`weights`. The sparse weight is λ₁ = Σ_k H/√max(rows_k,
    columns_k).

    Parameters: ``window``, frames of a block; ``patch_size`` p and ``step`` in pixels; ``sparsity``, H;
    ``noise_weight``, λ₂, None for methods without N; ``growth``, ``tolerance`` and ``max_iterations`` of the solver.
    """

    patch_size: int
    step: int
    sparsity: float
    noise_weight: float | None
    growth: float
    tolerance: float
    max_iterations: int
    UNFOLDINGS: ClassVar[tuple[tuple[tuple[int, ...], int], ...]]
    noise_sign: int = 1

    def __init__(self, preset: str = 'toolbox', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        self.min_size = self.patch_size
        refuse_gaps(type(self).__name__, self.patch_size, self.step)

    def weights(self, sides: list[tuple[int, int]]) -> list[float]:
        """α of each unfolding, from its rows and columns."""
        return [1 / len(sides) for _ in sides]

    def unfoldings(self, shape: tuple[int, ...]) -> tuple[list[Unfolding], float]:
        """The unfoldings of a tensor with their weights, and λ₁."""
        found = [Unfolding(order, rows) for order, rows in self.UNFOLDINGS]
        sides = [one.sides(shape) for one in found]
        for one, weight in zip(found, self.weights(sides)):
            one.weight = weight
        return found, sum(self.sparsity / float(np.sqrt(max(side))) for side in sides)

    def prior(self, frames: np.ndarray) -> np.ndarray | None:
        """P of :func:`drpca.baselines.unfoldings.solve_unfoldings`, (n, H, W), for frames in [0, 1]."""
        return None

    def solve(self, frames: np.ndarray, records: Records) -> SolvedFrames:
        stack = PatchStack(frames.shape[1:], self.patch_size, self.step)
        data = stack.patches(frames / 255)
        prior = self.prior(frames / 255)
        found, sparse_weight = self.unfoldings(data.shape)
        parts = solve_unfoldings(
            data, found, sparse_weight, self.noise_weight, noise_sign=self.noise_sign, growth=self.growth,
            tolerance=self.tolerance, max_iterations=self.max_iterations, records=records,
            prior=None if prior is None else stack.patches(prior),
        )  # fmt: skip
        return SolvedFrames(stack.frames(parts.target, 'last'), stack.parts(parts), 255.0)


USUAL = {
    'input_size': None,
    'window': 15,
    'sparsity': 2.0,
    'noise_weight': 100.0,
    'growth': GROWTH,
    'tolerance': 1e-7,
    'max_iterations': 300,
}
"""What the presets of tensor ring and tensor train have in common."""


_PATCHES = {**USUAL, 'patch_size': 70, 'step': 70}


@BASELINES.register_module()
class TensorRing(PatchTensor):
    """The problem of :mod:`drpca.baselines.unfoldings` with the unfoldings of a tensor ring, α = ½ each:

        (row, column) × (frame, patch),   (column, frame) × (patch, row).

    'toolbox' keeps the sign that the published code has in the step of N; 'paper' turns it round. 'fast', of this
    project, is 'paper' with ρ = 1.5: some 43 iterations instead of 56 to 130, of maps a little less sparse.

    Parameters: as :class:`PatchTensor`.
    """

    UNFOLDINGS = (((0, 1, 2, 3), 2), ((1, 2, 3, 0), 2))
    PRESETS = {'toolbox': _PATCHES, 'paper': _PATCHES, 'fast': {**_PATCHES, 'growth': 1.5}}

    def __init__(self, preset: str = 'toolbox', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        self.noise_sign = -1 if preset == 'toolbox' else 1
