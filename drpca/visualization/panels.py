"""Pictures of a decomposition as uint8 arrays (H, W, 3)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

GAP = 4
CAPTION_HEIGHT = 18
DETECTED, LABELLED = (255, 60, 60), (60, 220, 60)


def to_grey(values: np.ndarray, stretch: bool = False) -> np.ndarray:
    """(H, W) → uint8. Values are clipped to [0, 1], or with ``stretch`` scaled from their own range."""
    values = np.asarray(values, np.float32)
    if stretch:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-12)
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Put a line of text above a grey or RGB picture; returns RGB."""
    rgb = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    strip = np.zeros((CAPTION_HEIGHT, rgb.shape[1], 3), np.uint8)
    cv2.putText(strip, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([strip, rgb])


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of equal height in one row."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 64, np.uint8)
    row: list[np.ndarray] = []
    for picture in pictures:
        row += [picture, gap]
    return np.concatenate(row[:-1], axis=1)


def outline(image: np.ndarray, pred_mask: np.ndarray, gt_mask: np.ndarray | None = None) -> np.ndarray:
    """Grey image with contours: detections red, targets of the label green. Returns RGB (H, W, 3)."""
    rgb = cv2.cvtColor(to_grey(image), cv2.COLOR_GRAY2RGB)
    for mask, colour in ((gt_mask, LABELLED), (pred_mask, DETECTED)):
        if mask is not None:
            grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
            edge = grown - cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            rgb[edge > 0] = colour
    return rgb


def enlarge(picture: np.ndarray, side: int) -> np.ndarray:
    """By the smallest whole factor, pixels kept, that brings the shorter side to at least ``side``."""
    factor = max(1, -(-side // min(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


@torch.no_grad()
def decomposition_panel(model: Any, image: Tensor, gt_mask: Tensor | None = None) -> np.ndarray:
    """D, B, T, (N), score and mask of the last stage in one row.

    Args:
        model: A :class:`drpca.models.detector.DetectionModel`; networks without a decomposition show D,
            score and mask.
        image: (1, H, W) in [0, 1].
        gt_mask: (1, H, W) or None.

    Returns:
        (H + caption, W', 3) uint8. B and N are stretched over their own range, T too.
    """
    outputs: dict[str, Tensor | None] = {}
    if hasattr(model.network, 'decompose'):
        last = model.decompose(image[None])[-1]
        outputs = {'B background': last.background, 'T target': last.target, 'N noise': last.noise}
    scores = torch.sigmoid(model.detect(image[None]))[0, 0].cpu().numpy()
    pictures = [caption(to_grey(image[0].cpu().numpy()), 'D image')]
    for title, value in outputs.items():
        if value is not None:
            pictures.append(caption(to_grey(value[0, 0].float().cpu().numpy(), stretch=True), title))
    pictures.append(caption(to_grey(scores), 'score'))
    if gt_mask is not None:
        pictures.append(caption(to_grey(gt_mask[0].cpu().numpy()), 'mask (label)'))
    return side_by_side(pictures)
