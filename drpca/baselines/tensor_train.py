"""4-D tensor train (Wu, Yu, Liu, Luo, Peng, IEEE TGRS 61, 2023)."""

from __future__ import annotations

from drpca.baselines.tensor_ring import USUAL, PatchTensor
from drpca.registry import BASELINES


@BASELINES.register_module()
class TensorTrain(PatchTensor):
    """The problem of :mod:`drpca.baselines.unfoldings` with the unfoldings of a tensor train:

        row × (column, frame, patch),   (row, column) × (frame, patch),   (row, column, frame) × patch,

    α_k in proportion to the smaller side of each, sum 1. The presets agree.

    Parameters: as :class:`drpca.baselines.tensor_ring.PatchTensor`.
    """

    UNFOLDINGS = (((0, 1, 2, 3), 1), ((0, 1, 2, 3), 2), ((0, 1, 2, 3), 3))
    PRESETS = {'toolbox': {**USUAL, 'patch_size': 10, 'step': 10}, 'paper': {**USUAL, 'patch_size': 10, 'step': 10}}

    def weights(self, sides: list[tuple[int, int]]) -> list[float]:
        smaller = [min(side) for side in sides]
        return [side / sum(smaller) for side in smaller]
