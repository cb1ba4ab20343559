"""A picture of every stage of a decomposition, and the folder in which such pictures are kept.

``NAME.png`` beside ``stages.json``, which says what made them.
"""

from __future__ import annotations

import numpy as np

from drpca.inference.decomposer import FrameDecomposition
from drpca.visualization.panels import GAP, caption, enlarge, side_by_side, to_grey

_TILE = 200


def _tile(title: str, values: np.ndarray, stretch: bool = True) -> np.ndarray:
    text = f'{title}  {values.min():.3g} .. {values.max():.3g}' if stretch else title
    return caption(enlarge(to_grey(values, stretch), _TILE), text)


def stages_picture(
    decomposition: FrameDecomposition,
    scores: np.ndarray | None = None,
    gt_mask: np.ndarray | None = None,
) -> np.ndarray:
    """D, score and mask in a row, and below a row of B, T, (N) and D for every stage.

    B, T, N and the D of the stages are stretched over their own range, which stands above them; the learned
    scalars of a stage stand above its row.

    Args:
        decomposition: Variables of (H, W).
        scores: (H, W) in [0, 1], left out if None.
        gt_mask: (H, W) bool, the label, left out if None.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    top = [_tile('image', decomposition.image, stretch=False)]
    if scores is not None:
        top.append(_tile(f'score, maximum {scores.max():.3g}', scores, stretch=False))
    if gt_mask is not None:
        top.append(_tile('mask (label)', gt_mask, stretch=False))
    rows = [side_by_side(top)]
    for number, stage in enumerate(decomposition.stages, start=1):
        tiles = [_tile('B', stage.background), _tile('T', stage.target)]
        if stage.noise is not None:
            tiles.append(_tile('N', stage.noise))
        tiles.append(_tile('D', stage.reconstruction))
        scalars = ''.join(f'   {name} {value:.4g}' for name, value in stage.scalars.items())
        rows.append(caption(side_by_side(tiles), f'stage {number}{scalars}'))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_pad(row, width) for row in rows])


def _pad(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=64)
