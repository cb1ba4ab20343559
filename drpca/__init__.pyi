from .checkpoint import load_weights
from .inference.detector import Detector

__version__: str
__all__ = ['Detector', 'load_weights']
