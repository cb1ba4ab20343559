"""Classical detectors: filters, local contrast measures and optimisation-based RPCA, without training."""

from drpca.baselines.base import Baseline, Decomposition, IterationRecord
from drpca.baselines.fkrw import FKRW
from drpca.baselines.hbmlcm import HBMLCM
from drpca.baselines.ipi import IPI
from drpca.baselines.max_median import MaxMedian
from drpca.baselines.mpcm import MPCM
from drpca.baselines.nipps import NIPPS
from drpca.baselines.nolc import NOLC
from drpca.baselines.nram import NRAM
from drpca.baselines.nwmth import NWMTH
from drpca.baselines.parallel import map_images
from drpca.baselines.pstnn import PSTNN
from drpca.baselines.tllcm import TLLCM
from drpca.baselines.top_hat import TopHat

__all__ = [
    'FKRW',
    'HBMLCM',
    'IPI',
    'MPCM',
    'NIPPS',
    'NOLC',
    'NRAM',
    'NWMTH',
    'PSTNN',
    'TLLCM',
    'Baseline',
    'Decomposition',
    'IterationRecord',
    'MaxMedian',
    'TopHat',
    'map_images',
]
