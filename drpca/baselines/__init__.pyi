from .asttv_ntla import ASTTVNTLA
from .base import Baseline, Decomposition, IterationRecord
from .fkrw import FKRW
from .frame_windows import WindowBaseline
from .hbmlcm import HBMLCM
from .ipi import IPI
from .log_tfnn import LogTFNN
from .max_median import MaxMedian
from .mpcm import MPCM
from .nipps import NIPPS
from .nolc import NOLC
from .npstt import NPSTT
from .nram import NRAM
from .nwmth import NWMTH
from .parallel import map_images
from .pstnn import PSTNN
from .stpa_fctn import STPAFCTN
from .stt import STT
from .tensor_ring import TensorRing
from .tensor_train import TensorTrain
from .tensor_train_online import TensorTrainOnline
from .tllcm import TLLCM
from .top_hat import TopHat

__all__ = [
    'ASTTVNTLA',
    'FKRW',
    'HBMLCM',
    'IPI',
    'MPCM',
    'NIPPS',
    'NOLC',
    'NPSTT',
    'NRAM',
    'NWMTH',
    'PSTNN',
    'STPAFCTN',
    'STT',
    'TLLCM',
    'Baseline',
    'Decomposition',
    'IterationRecord',
    'LogTFNN',
    'MaxMedian',
    'TensorRing',
    'TensorTrain',
    'TensorTrainOnline',
    'TopHat',
    'WindowBaseline',
    'map_images',
]
