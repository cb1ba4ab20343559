"""Log tensor fibred nuclear norm with hyper total variation (Kong et al., IEEE TGRS 60, 2022)."""

from __future__ import annotations

from functools import partial

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import nonnegative_soft_threshold
from drpca.baselines.rpca import Parts, PatchRPCA, Records
from drpca.baselines.structure import corner_edge_prior
from drpca.baselines.svd import singular_values
from drpca.baselines.tensor import map_tensor_singular_values
from drpca.registry import BASELINES

THETA = 1e-5
EPSILON = 1e-6
RHO = 1.2
MODES = ((1, 2, 0), (2, 0, 1), (0, 1, 2))
_USUAL = {'input_size': None, 'patch_size': 40, 'step': 40, 'coverage': 'flush', 'aggregation': 'last'}


def shrink_log_sum(sigma: np.ndarray, threshold: float, drop_last: bool = False) -> np.ndarray:
    """Proximal operator of τ Σ log(σ + ε), ε = 1e-6: (c + √(c² − 4(τ − εσ)))/2 with c = σ − ε, 0 where the root is
    not real.

    Args:
        sigma: (Fourier slices, k) at least 0.
        threshold: τ.
        drop_last: Scale the last slice by ¼.
    """
    c = sigma - EPSILON
    square = c * c - 4 * (threshold - EPSILON * sigma)
    shrunk = np.where(square >= 0, (c + np.sqrt(np.maximum(square, 0))) / 2, 0)
    if drop_last:
        shrunk[-1] /= 4
    return shrunk


def difference(tensor: np.ndarray, axis: int, last: np.ndarray) -> np.ndarray:
    """Forward difference along an axis; its last entry is that of ``last``, first − last."""
    found = np.roll(tensor, -1, axis) - tensor
    end = np.take(last, 0, axis) - np.take(last, -1, axis)
    np.moveaxis(found, axis, 0)[-1] = end
    return found


@BASELINES.register_module()
class LogTFNN(PatchRPCA):
    """min Σ_k α_k‖X_k‖_log + λ‖Ω∘T‖₁ + β‖∇Z‖₁   s.t. D = B + T, T ≥ 0, X_k = B, Z = B

    over patch tensors (p, p, n) of a single frame, grey levels × 256/255. ‖·‖_log sums log(σ + 1e-6) over the Fourier
    slices along mode k; α = (1, 1, θ)/(2 + θ), θ = 1e-5; λ = 0.15/√(max(n, p)·p). Ω is refreshed from the prior W
    (:func:`drpca.baselines.structure.corner_edge_prior`) by Ω = N/(|T| + 0.01)/W; N counts the singular values of the
    mode-3 unfolding that are at least a tenth of the largest. ADMM with penalties μ_k, β (×1.2 per iteration) and
    ρ = 1.2; at most 20 iterations, or until B changes by less than 1e-4.

    'toolbox' follows the slips of the published code: N from a column-major reshape of D; the highest Fourier slice of
    an odd number of patches scaled by ¼; forward differences in place of their adjoint, their last entry from the old
    Z or from D; 4sin² terms of axes 1, 3, 3 in place of 1, 2, 3; the multipliers M_k by ∇_kZ in place of X_k. 'paper'
    follows none.

    Parameters: as in :class:`drpca.baselines.rpca.PatchRPCA`, without ``svd`` and ``device``.
    """

    MAX_ITERATIONS = 20
    PRESETS = {'toolbox': dict(_USUAL), 'paper': dict(_USUAL)}

    def __init__(self, preset: str = 'toolbox', **overrides: object) -> None:
        super().__init__(preset, **overrides)

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        side = self.patch_size
        prior = self.grid(frame.shape).patches(corner_edge_prior(frame))
        parts = self.solve_tensor(patches.reshape(side, side, -1) * (256 / 255), prior, records)
        return Parts(parts.background * (255 / 256), parts.target * (255 / 256))

    def rank(self, data: np.ndarray) -> int:
        """N, at least 1."""
        count = data.shape[2]
        matrix = data.reshape(count, -1, order='F') if self.preset == 'toolbox' else data.reshape(-1, count)
        sigma = singular_values(matrix)
        return max(1, int(np.count_nonzero(sigma >= 0.1 * sigma[0])))

    def solve_tensor(self, data: np.ndarray, prior: np.ndarray, records: Records = None) -> Parts:
        """B and T of a tensor (p, p, n), with its prior W alike."""
        quirky = self.preset == 'toolbox'
        rank = self.rank(data)
        alpha = np.array([1, 1, THETA]) / (2 + THETA)
        mu, beta = alpha / 1e4, 1e-4
        weight = 0.15 / float(np.sqrt(max(data.shape[2], data.shape[1]) * data.shape[0]))
        background, target, z, p = (np.zeros_like(data) for _ in range(4))
        m = [np.zeros_like(data) for _ in MODES]
        v = [np.ones_like(data) for _ in MODES]
        y = [np.ones_like(data) for _ in range(4)]
        omega = np.ones_like(data)
        waves = [4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in data.shape]
        spectrum = 1 + waves[0][:, None, None] + (2 if quirky else 1) * waves[2]
        if not quirky:
            spectrum = spectrum + waves[1][:, None]
        norm = float(np.linalg.norm(data))
        for _ in range(self.MAX_ITERATIONS):
            x, objective = [], 0.0
            for k, mode in enumerate(MODES):
                turned = (background + m[k] / mu[k]).transpose(mode)
                shrink = partial(
                    shrink_log_sum, threshold=alpha[k] / mu[k], drop_last=quirky and turned.shape[2] % 2 == 1
                )
                mapped, sigma = map_tensor_singular_values(turned, shrink)
                x.append(mapped.transpose(np.argsort(mode)))
                objective += float(alpha[k] * np.log(sigma + EPSILON).sum())
            before, background = background, sum(mu[k] * x[k] - m[k] for k in range(3)) + beta * (data - target) + p
            background /= beta + mu.sum()
            target = nonnegative_soft_threshold(data - background + p / beta, omega * (weight / beta))
            with np.errstate(divide='ignore', over='ignore'):  # infinite where W = 0: T stays 0 there
                omega = rank / (np.abs(target) + 0.01) / prior
            right = background - y[0] / RHO
            for k in range(3):
                edge = v[k] + y[k + 1] / RHO
                right += difference(edge, k, z) if quirky else np.roll(edge, 1, k) - edge
            z = np.fft.irfftn(np.fft.rfftn(right) / spectrum[:, :, : data.shape[2] // 2 + 1], data.shape, (0, 1, 2))
            gradients = [difference(z, k, data if quirky else z) for k in range(3)]
            y[0] += RHO * (z - background)
            for k in range(3):
                v[k] = nonnegative_soft_threshold(gradients[k] - y[k + 1] / RHO, beta / RHO)
                y[k + 1] += RHO * (v[k] - gradients[k])
            change = float(np.linalg.norm(background - before))
            if records is not None:
                residual = float(np.linalg.norm(data - background - target)) / norm
                nonzeros = int(np.count_nonzero(target))
                rank_now = int(np.count_nonzero(sigma, axis=1).max())
                records.append(IterationRecord(residual, objective, rank_now, nonzeros))
            if change < 1e-4 * float(np.linalg.norm(before)):
                break
            p += beta * (data - background - target)
            for k in range(3):
                m[k] += mu[k] * (background - (gradients[k] if quirky else x[k]))
            beta *= 1.2
            mu = mu * 1.2
        return Parts(background, target)
