"""Asymmetric total variation over space and time with a Laplace tensor rank (Liu et al., IEEE TGRS 60, 2021)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.frame_windows import SolvedFrames, WindowBaseline
from drpca.baselines.proximal import soft_threshold
from drpca.baselines.rpca import Parts, Records
from drpca.baselines.tensor import map_tensor_singular_values
from drpca.registry import BASELINES

PENALTY = 5e-3
GROWTH = 1.2
LAPLACE = 1e-6
"""ε of the rank Σ(1 − exp(−σ/ε))."""


@BASELINES.register_module()
class ASTTVNTLA(WindowBaseline):
    """min Σ(1 − exp(−σ(Z)/ε)) + λ_V(‖D₁B‖₁ + ‖D₂B‖₁ + 1.25‖D₃B‖₁) + λ_T‖T‖₁ + λ_N‖N‖²   s.t. X = B + T + N, Z = B

    over tensors (H, W, frames) of grey levels; D_i are circular differences along rows, columns and time, σ those of
    the Fourier slices along time. λ_T = sparsity/√(frames·max(H, W)) with sparsity 10, λ_V = 0.01, λ_N = 100, ε = 1e-6.
    With a penalty μ from 0.005 that grows by 1.2 per iteration, multipliers y of X = B + T + N and d_i of v_i = D_iB:

        Z ← tensor SVT(B, w/μ),  w = exp(−σ(last Z)/ε)/ε,
        B ← [X − T − N + y/μ + Z + ΣD_iᵀ(v_i + d_i/μ)] / (2 + Σ|D_i|²)  by Fourier transform,
        T ← soft(X − B − N + y/μ, λ_T/μ),   v_i ← soft(D_iB − d_i/μ, λ_V/μ),   N ← (μ(X − B − T) + y)/(μ + 2λ_N),
        y ← y + μ(X − B − T − N),   d_i ← d_i + μ(v_i − D_iB).

    Stops at ‖X − B − T − N‖/‖X‖ < 1e-6. B is random at first, uniform in [0, 1], of a fixed ``seed``.

    Written after a description of the published code and checked against no run of it. Chosen here, where that leaves
    it open: the first w from σ of that random B; the distribution of it; 1.25 as a factor of λ_V alone; v, N, T and the
    multipliers 0 at first; the next three frames follow each other as blocks.

    Parameters: ``window``, frames of a block; ``sparsity``; ``tolerance`` and ``max_iterations`` of the solver;
    ``seed``.
    """

    PRESETS: ClassVar = {
        'toolbox': {
            'input_size': None,
            'window': 3,
            'sparsity': 10.0,
            'tolerance': 1e-6,
            'max_iterations': 100,
            'seed': 1,
        }
    }  # fmt: skip
    min_size = 2
    sparsity: float
    tolerance: float
    max_iterations: int
    seed: int

    def solve(self, frames: np.ndarray, records: Records) -> SolvedFrames:
        parts = self.solve_tensor(frames.transpose(1, 2, 0), records)
        assert parts.noise is not None
        background, target, noise = (part.transpose(2, 0, 1) for part in (parts.background, parts.target, parts.noise))
        return SolvedFrames(target, Parts(background, target, noise), 1.0)

    def solve_tensor(self, data: np.ndarray, records: Records = None) -> Parts:
        """B, T and N of a tensor (H, W, frames)."""
        sparse, noise_weight = self.sparsity / float(np.sqrt(data.shape[2] * max(data.shape[:2]))), 100.0
        variation = (0.01, 0.01, 0.0125)
        mu, norm = PENALTY, float(np.linalg.norm(data))
        waves = [np.exp(2j * np.pi * np.fft.fftfreq(n)) - 1 for n in data.shape[:2]]
        waves.append(np.exp(2j * np.pi * np.fft.rfftfreq(data.shape[2])) - 1)
        differences = [wave.reshape([-1 if axis == k else 1 for k in range(3)]) for axis, wave in enumerate(waves)]
        spectrum = 2 + sum(np.abs(wave) ** 2 for wave in differences)
        background = np.random.default_rng(self.seed).random(data.shape)
        target, noise, dual = (np.zeros_like(data) for _ in range(3))
        v, d = [np.zeros_like(data) for _ in waves], [np.zeros_like(data) for _ in waves]
        sigma: np.ndarray | None = None

        def shrink(values: np.ndarray) -> np.ndarray:
            return np.maximum(values - np.exp(-(values if sigma is None else sigma) / LAPLACE) / (LAPLACE * mu), 0)

        for _ in range(self.max_iterations):
            low, sigma = map_tensor_singular_values(background, shrink)
            right = data - target - noise + dual / mu + low
            for axis in range(3):
                edge = v[axis] + d[axis] / mu
                right += np.roll(edge, 1, axis) - edge
            background = np.fft.irfftn(np.fft.rfftn(right) / spectrum, data.shape, (0, 1, 2))
            target = soft_threshold(data - background - noise + dual / mu, sparse / mu)
            for axis, weight in enumerate(variation):
                change = np.roll(background, -1, axis) - background
                v[axis] = soft_threshold(change - d[axis] / mu, weight / mu)
                d[axis] += mu * (v[axis] - change)
            noise = (mu * (data - background - target) + dual) / (mu + 2 * noise_weight)
            left = data - background - target - noise
            dual += mu * left
            mu *= GROWTH
            residual = float(np.linalg.norm(left)) / norm
            if records is not None:
                objective = float((1 - np.exp(-sigma / LAPLACE)).sum()) + sparse * float(np.abs(target).sum())
                objective += sum(weight * float(np.abs(part).sum()) for weight, part in zip(variation, v))
                objective += noise_weight * float(np.vdot(noise, noise))
                rank = int(np.count_nonzero(sigma, axis=1).max())
                records.append(IterationRecord(residual, objective, rank, int(np.count_nonzero(target))))
            if residual < self.tolerance:
                break
        return Parts(background, target, noise)
