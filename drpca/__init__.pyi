from .checkpoint import load_weights
from .engine.runs import train
from .inference.detector import Detector
from .studies.cross_dataset import cross_dataset
from .studies.decomposition_study import analyse_decomposition
from .studies.robustness_study import robustness
from .studies.visualize_stages import visualize_stages

__version__: str
__all__ = [
    'Detector',
    'analyse_decomposition',
    'cross_dataset',
    'load_weights',
    'robustness',
    'train',
    'visualize_stages',
]
