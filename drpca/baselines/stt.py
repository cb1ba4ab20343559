"""Spatial-temporal tensor model (Liu, Zhang, Huang, IEEE TGRS 58, 2020)."""

from __future__ import annotations

import numpy as np

from drpca.baselines.npstt import NEIGHBOURS, NeighbourTensor
from drpca.registry import BASELINES


@BASELINES.register_module()
class STT(NeighbourTensor):
    """:class:`drpca.baselines.npstt.NeighbourTensor` with the plain tensor nuclear norm (N_i = 0), the slices of the
    middle frame behind those of the others, and λ = 1/√(9(1 + (window − 1)·p) + step).

    'toolbox' reads the map of the middle frame where it lay before its slices moved, so that it is that of the frame
    after it; 'paper' reads its own. Its figures are not checked against a run of the published code.

    Parameters: as there.
    """

    penalty = 2e-3
    first_rank = 0
    PRESETS = {name: {'input_size': None, 'window': 7, 'patch_size': 50, 'step': 30} for name in ('toolbox', 'paper')}

    @property
    def sparse_weight(self) -> float:
        return 1 / float(np.sqrt(NEIGHBOURS * (1 + (self.window - 1) * self.patch_size) + self.step))

    @property
    def order(self) -> list[int]:
        middle = self.window // 2
        return [*(frame for frame in range(self.window) if frame != middle), middle]

    @property
    def read(self) -> list[int]:
        places = super().read
        if self.preset == 'toolbox':
            places[self.window // 2] = self.window // 2
        return places

    def ranks(self, background: np.ndarray, sigma: np.ndarray) -> int:
        return 0
