"""How low-rank a background and how sparse a target image is, per stage and image.

For a background B (H, W) with singular values σ_1 ≥ … ≥ σ_n, n = min(H, W):

    normalised curve     σ_i / σ_1 over the relative index (i − 1)/(n − 1), so that sizes compare
    effective rank       exp(−Σ p_i ln p_i) with p_i = σ_i / Σ σ_j (Roy and Vetterli, EUSIPCO 2007)
    energy of first r    Σ_{i ≤ r} σ_i² / Σ σ_i²

For a target T of m pixels, with v = |T − median T| by default:

    l0      share of the pixels with v > τ · max v
    l1      Σ v / m, mean absolute value
    Gini    1 − 2 Σ_k (v_(k) / Σ v) · (m − k + ½) / m, v_(1) ≤ … ≤ v_(m) (Hurley and Rickard, IEEE Trans.
            Inf. Theory 55(10), 2009): 0 for a constant image, 1 − 1/m for a single pixel

B and T are measured as images, also those of classical methods, whose B is low-rank as a matrix of patches.

The target of an unfolded network is a map of logits: its empty pixels lie at some level far below 0 rather
than at 0, and that level may move between B and T without changing their sum. So T itself is sparse about its
median, not about 0. What v stands for is a choice, see ``VIEWS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drpca.errors import unknown_name
from drpca.inference.decomposer import SCALARS, FrameDecomposition

GRID = np.linspace(0, 1, 101)
"""Relative indices at which normalised curves are kept."""

VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'deviation': lambda target: np.abs(target - np.median(target)),
    'positive': lambda target: np.maximum(target, 0),
    'raw': np.abs,
}
"""What sparsity is measured of: |T − median T|; max(T, 0), which is what logits call target; |T|."""


def singular_values(image: np.ndarray) -> np.ndarray:
    """(H, W) → (min(H, W),) float64, falling."""
    return np.linalg.svd(np.asarray(image, np.float64), compute_uv=False)


def normalised_curve(values: np.ndarray, grid: np.ndarray = GRID) -> np.ndarray:
    """σ_i / σ_1 at relative indices, linear between them; all 0 for a zero matrix.

    Args:
        values: (n,) singular values, falling.
        grid: (P,) in [0, 1].
    """
    if values[0] == 0:
        return np.zeros(len(grid))
    return np.interp(grid, np.linspace(0, 1, len(values)), values / values[0])


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values, in [1, n]; 0 for a zero matrix."""
    total = values.sum()
    if total == 0:
        return 0.0
    p = values[values > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def energy(values: np.ndarray, rank: int) -> float:
    """Share of the squared Frobenius norm in the first ``rank`` singular values; NaN for a zero matrix."""
    squares = values**2
    return float(squares[:rank].sum() / squares.sum()) if squares.sum() > 0 else float('nan')


def l0_share(values: np.ndarray, threshold: float) -> float:
    """Share of the entries above ``threshold`` times the largest one; 0 if all are 0.

    Args:
        values: At least 0, any shape.
        threshold: In [0, 1).
    """
    return float(np.mean(values > threshold * values.max()))


def gini_index(values: np.ndarray) -> float:
    """Gini index: 0 if all entries are equal, 1 − 1/m if one is not 0; NaN if all are 0.

    Args:
        values: At least 0, any shape, m entries.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    total, count = ordered.sum(), ordered.size
    if total == 0:
        return float('nan')
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    return float(1 - 2 * (ordered / total * weights).sum())


@dataclass(frozen=True)
class Measurement:
    """All images; arrays are (images, stages) unless said. NaN: undefined.

    Attributes:
        names: Of the images.
        view: What sparsity is measured of, a key of ``VIEWS``.
        threshold: τ of l0.
        ranks: (R,) numbers of singular values whose energy is measured.
        curves: (images, stages, P) normalised singular values of B over ``GRID``.
        effective_rank: Of B.
        relative_rank: Effective rank / min(H, W).
        energy: (images, stages, R) of B.
        l0: Of T.
        l1: Of T.
        gini: Of T.
        scalars: Learned scalars by name; empty for methods without any.
        image_curves: (images, P) of the image itself, for comparison, as the following.
        image_effective_rank: (images,).
        image_relative_rank: (images,).
        image_energy: (images, R).
    """

    names: list[str]
    view: str
    threshold: float
    ranks: tuple[int, ...]
    curves: np.ndarray
    effective_rank: np.ndarray
    relative_rank: np.ndarray
    energy: np.ndarray
    l0: np.ndarray
    l1: np.ndarray
    gini: np.ndarray
    scalars: dict[str, np.ndarray]
    image_curves: np.ndarray
    image_effective_rank: np.ndarray
    image_relative_rank: np.ndarray
    image_energy: np.ndarray

    @property
    def stages(self) -> int:
        """Number of stages."""
        return self.l0.shape[1]

    def summary(self) -> list[dict[str, float]]:
        """Means over the images: the image itself first, then each stage, NaN left out."""

        def means(rank: np.ndarray, relative: np.ndarray, energy: np.ndarray, **rest: np.ndarray) -> dict[str, float]:
            energies = {f'energy_{r}': energy[:, index] for index, r in enumerate(self.ranks)}
            columns = {'effective_rank': rank, 'relative_rank': relative, **energies, **rest}
            return {name: defined_mean(values) for name, values in columns.items()}

        sparse = {'l0': self.l0, 'l1': self.l1, 'gini': self.gini, **self.scalars}
        lines = [means(self.image_effective_rank, self.image_relative_rank, self.image_energy)]
        for stage in range(self.stages):
            low_rank = (values[:, stage] for values in (self.effective_rank, self.relative_rank, self.energy))
            lines.append(means(*low_rank, **{name: values[:, stage] for name, values in sparse.items()}))
        return lines

    def to_mat(self) -> dict[str, Any]:
        """Variables of a MATLAB file; ``names`` is a cell array."""
        arrays = {key: value for key, value in vars(self).items() if key not in ('names', 'ranks', 'scalars')}
        return {
            **arrays,
            **self.scalars,
            'names': np.array(self.names, dtype=object),
            'ranks': np.array(self.ranks),
            'grid': GRID,
        }


def defined_mean(values: np.ndarray) -> float:
    """Mean without NaN; NaN where there is nothing else."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float('nan')


def low_rankness(image: np.ndarray, ranks: Sequence[int]) -> dict[str, Any]:
    """Curve, effective rank, relative rank and energies of one image (H, W)."""
    values = singular_values(image)
    rank = effective_rank(values)
    return {
        'curves': normalised_curve(values),
        'effective_rank': rank,
        'relative_rank': rank / len(values),
        'energy': [energy(values, r) for r in ranks],
    }


def sparsity(target: np.ndarray, view: str, threshold: float) -> dict[str, float]:
    """l0, l1 and Gini index of one target image (H, W).

    Raises:
        UserError: Unknown view.
    """
    if view not in VIEWS:
        raise unknown_name('view of the target', view, list(VIEWS))
    values = VIEWS[view](np.asarray(target, np.float64))
    return {'l0': l0_share(values, threshold), 'l1': float(values.mean()), 'gini': gini_index(values)}


def measure(
    decompositions: Iterable[tuple[str, FrameDecomposition]],
    view: str = 'deviation',
    threshold: float = 0.1,
    ranks: Sequence[int] = (1, 5, 10),
) -> Measurement:
    """Measures the decompositions of many frames, one after another; sizes may differ.

    Args:
        decompositions: Of frames by their names, at least one (:meth:`drpca.inference.decomposer.Decomposer.named`).
        view: A key of ``VIEWS``.
        threshold: τ of l0, in [0, 1).
        ranks: Numbers of singular values whose energy is measured.

    Raises:
        UserError: Unknown view.
    """
    names, images, stages = [], [], []
    for name, decomposition in decompositions:
        names.append(name)
        images.append(low_rankness(decomposition.image, ranks))
        stages.append(list(_stage_measures(decomposition, view, threshold, ranks)))

    def collect(key: str) -> np.ndarray:
        return np.array([[stage.get(key, np.nan) for stage in stages_] for stages_ in stages])

    scalars = {name: collect(name) for name in SCALARS}
    return Measurement(
        names=names,
        view=view,
        threshold=threshold,
        ranks=tuple(ranks),
        **{key: collect(key) for key in (*images[0], 'l0', 'l1', 'gini')},
        scalars={name: values for name, values in scalars.items() if not np.isnan(values).all()},
        **{f'image_{key}': np.array([image[key] for image in images]) for key in images[0]},
    )


def _stage_measures(
    decomposition: FrameDecomposition, view: str, threshold: float, ranks: Sequence[int]
) -> Iterator[dict[str, Any]]:
    for stage in decomposition.stages:
        yield {**low_rankness(stage.background, ranks), **sparsity(stage.target, view, threshold), **stage.scalars}
