"""Robust PCA of a four-way tensor by the nuclear norms of several of its unfoldings, one solver for all such methods.

    min Σ_k α_k ‖B_(k)‖_* + λ₁‖T‖₁ + λ₂‖N‖²_F   s.t. D = B + T + N

Tensor train, tensor ring and fully connected tensor networks bound their ranks by those of unfoldings; they differ in
which ones. ADMM with a copy U_k of B for each of the K unfoldings, scaled multipliers c_k (of U_k = B) and e (of
D = B + T + N), and one penalty β, which grows by ρ per iteration and divides the multipliers alike:

    U_k ← SVT_{α_k/β}(B − c_k),   B ← (ΣU_k + Σc_k + D − T − N + e)/(K + 1),   T ← soft(D − B − N + e, λ₁/β),
    c_k ← c_k + U_k − B,   e ← e + D − B − T − N,   N ← β(D − B − T + s·e)/(β + 2λ₂)

(Wu, Yu, Liu, Luo, Peng, IEEE TGRS 61, 2023; s = 1). Stops at ‖D − B − T − N‖/‖D‖ < tol or when the number of entries
T > 0 stays the same above 0.

The time goes into the eigendecompositions and into memory: what is elementwise runs over slices that stay in the cache,
a matrix whose norm is below its threshold is not decomposed, and a low rank asks for as many eigenvectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import shrink_tail
from drpca.baselines.rpca import Parts, Records
from drpca.baselines.svd import large_part, map_singular_values, project

LARGEST_PENALTY = 1e10
GROWTH = 1.2
"""ρ."""
LARGEST_WEIGHT = 100.0
"""Of Ω."""
_CACHED = 2**15
"""Entries of a slice that is worked on at once."""
_FEW = 16
"""Singular vectors that are looked for without a Gram matrix."""
_LARGE_SIDE = 400
"""Of a matrix for which that is worth it."""


@dataclass
class Unfolding:
    """A matrix of a tensor's entries.

    Args:
        order: The axes, those of the rows first.
        rows: How many of them are rows.
        weight: α.
    """

    order: tuple[int, ...]
    rows: int
    weight: float = 1.0
    rank: int = field(default=0, init=False)
    threshold: float | None = field(default=None, init=False)
    start: np.ndarray | None = field(default=None, init=False)

    def sides(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns for a tensor of this shape."""
        sides = [shape[axis] for axis in self.order]
        return int(np.prod(sides[: self.rows])), int(np.prod(sides[self.rows :]))

    def shrink(self, tensor: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
        """The tensor whose unfolding has singular values smaller by ``threshold``, and their sum."""
        if float(np.linalg.norm(tensor)) <= threshold:
            self.rank, self.threshold = 0, threshold
            return np.zeros_like(tensor), 0.0
        turned = tensor.transpose(self.order)
        matrix = turned.reshape(self.sides(tensor.shape))
        expected = None if self.threshold is None else int(self.rank * max(self.threshold / threshold, 1))
        mapped, sigma = self._few(matrix, threshold) or map_singular_values(
            matrix, partial(shrink_tail, threshold=threshold, keep=0), expected_rank=expected
        )
        self.rank, self.threshold = len(sigma), threshold
        low = mapped.reshape(turned.shape).transpose(np.argsort(self.order))
        return np.ascontiguousarray(low), float(sigma.sum())

    def _few(self, matrix: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray] | None:
        """The same without a Gram matrix, while few values are above the threshold."""
        if self.start is None:
            if min(matrix.shape) < _LARGE_SIDE or matrix.dtype != np.float64:
                return None
            self.start = np.random.default_rng(0).standard_normal((matrix.shape[1], _FEW)).astype(matrix.dtype)
        elif not self.start.size:
            return None
        found = large_part(matrix, threshold, self.start)
        if found is None:
            self.start = np.zeros(0)  # nor will it be at a lower threshold
            return None
        sigma, right, self.start = found
        return project(matrix, sigma, sigma - threshold, right)


@dataclass(frozen=True)
class Solution(Parts):
    """B, T and N with what the solver goes on from.

    Attributes:
        dual: e, shape of D.
        duals: c_k, likewise.
        penalty: β that e and c_k are scaled for.
    """

    dual: np.ndarray = field(kw_only=True)
    duals: list[np.ndarray] = field(kw_only=True)
    penalty: float = field(kw_only=True)

    def moved_on(self, data: np.ndarray) -> Solution:
        """A start for D of shape (n1, n2, n3, n4), whose last slice along n3 is new, all background here, and whose
        others are the last ones of this solution."""
        kept = data.shape[2] - 1
        new = data[:, :, kept:]

        def joined(old: np.ndarray, last: np.ndarray) -> np.ndarray:
            return np.concatenate([old[:, :, old.shape[2] - kept :], last], axis=2)

        zero = np.zeros_like(new)
        noise = None if self.noise is None else joined(self.noise, zero)
        return Solution(
            joined(self.background, new), joined(self.target, zero), noise, dual=joined(self.dual, zero),
            duals=[joined(dual, zero) for dual in self.duals], penalty=self.penalty,
        )  # fmt: skip


def solve_unfoldings(
    data: np.ndarray,
    unfoldings: Sequence[Unfolding],
    sparse_weight: float,
    noise_weight: float | None,
    *,
    noise_sign: int = 1,
    tolerance: float | None = 1e-7,
    max_iterations: int = 300,
    records: Records = None,
    prior: np.ndarray | None = None,
    penalty: float = 1e-4,
    growth: float = GROWTH,
    start: Solution | None = None,
) -> Solution:
    """Solves the problem above, in the precision of D.

    With a prior P the sparse term is λ₁‖Ω∘T‖₁, Ω = 1 at first and min(1/((|T| + 0.01)P), 100) after each step of T.

    Args:
        data: D, (n1, n2, n3, n4) float64 or float32, not all 0.
        unfoldings: With their weights.
        sparse_weight: λ₁.
        noise_weight: λ₂; None: no N.
        noise_sign: s, of which −1 is a slip of the tensor ring's published code.
        tolerance: tol; None: all iterations.
        max_iterations: Iterations at most.
        records: List that takes one record per iteration, or None.
        prior: P, shape of D, at least 0, high where a target is likely; or None.
        penalty: First β.
        growth: ρ.
        start: Of the variables; None: B = D, all else 0.
    """
    data = np.ascontiguousarray(data)
    norm = float(np.linalg.norm(data))
    beta, positive = penalty, 0
    zero = np.zeros_like(data)
    start = start or Solution(data, zero, zero, dual=zero, duals=[zero] * len(unfoldings), penalty=beta)
    background, target = start.background.copy(), start.target.copy()
    noise = (zero if start.noise is None else start.noise).copy()
    dual, *duals = (one * (start.penalty / beta) for one in (start.dual, *start.duals))
    shifted = [background - one for one in duals]  # B − c_k
    omega = None if prior is None else np.ones_like(data)
    step = max(1, _CACHED // int(np.prod(data.shape[1:])))
    slices = [slice(first, first + step) for first in range(0, len(data), step)]
    for _ in range(max_iterations):
        lows, sums = zip(*(one.shrink(matrix, one.weight / beta) for one, matrix in zip(unfoldings, shifted)))
        next_beta = min(beta * growth, LARGEST_PENALTY)
        squares, previous, positive = 0.0, positive, 0
        for at in slices:
            rest = data[at] - noise[at]
            rest += dual[at]
            b = rest - target[at]
            for low, c in zip(lows, duals):
                part = c[at]
                part += low[at]
                b += part
            b /= len(unfoldings) + 1
            rest -= b
            threshold = sparse_weight / beta if omega is None else omega[at] * (sparse_weight / beta)
            e = np.clip(rest, -threshold, threshold)  # e + D − B − T − N
            t = np.subtract(rest, e, out=rest)
            if omega is not None and prior is not None:
                omega[at] = 1 / np.maximum((np.abs(t) + 0.01) * prior[at], 1 / LARGEST_WEIGHT)
            left = data[at] - b
            left -= t
            if noise_weight is not None:
                n = np.multiply(e, noise_sign, out=noise[at])
                n += left
                n *= beta / (beta + 2 * noise_weight)
                left -= n
            if records is not None or tolerance is not None:
                squares += float(np.vdot(left, left))
                positive += int(np.count_nonzero(t > 0))
            np.multiply(e, beta / next_beta, out=dual[at])
            for c, matrix in zip(duals, shifted):
                part = c[at]
                part -= b
                part *= beta / next_beta
                np.subtract(b, part, out=matrix[at])
            background[at], target[at] = b, t
        beta = next_beta
        residual = float(np.sqrt(squares)) / norm
        if records is not None:
            objective = sum(one.weight * total for one, total in zip(unfoldings, sums))
            objective += sparse_weight * float(np.abs(target if omega is None else omega * target).sum())
            objective += (noise_weight or 0) * float(np.vdot(noise, noise))
            rank = max(one.rank for one in unfoldings)
            records.append(IterationRecord(residual, objective, rank, int(np.count_nonzero(target))))
        if tolerance is not None and (residual < tolerance or (positive == previous and positive > 0)):
            break
    return Solution(
        background, target, None if noise_weight is None else noise, dual=dual, duals=duals, penalty=beta
    )  # fmt: skip
