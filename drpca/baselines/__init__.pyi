from .base import Baseline, Decomposition, IterationRecord
from .fkrw import FKRW
from .hbmlcm import HBMLCM
from .ipi import IPI
from .max_median import MaxMedian
from .mpcm import MPCM
from .nipps import NIPPS
from .nolc import NOLC
from .nram import NRAM
from .nwmth import NWMTH
from .parallel import map_images
from .pstnn import PSTNN
from .tllcm import TLLCM
from .top_hat import TopHat

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
