"""Infrared small target detection with deep-unfolded robust PCA."""

from typing import Any

__version__ = '0.1.0'
__all__ = ['Detector', 'load_weights']


def __getattr__(name: str) -> Any:
    """Imported on first use: ``import drpca`` alone stays quick."""
    if name == 'Detector':
        from drpca.inference.detector import Detector

        return Detector
    if name == 'load_weights':
        from drpca.checkpoint import load_weights

        return load_weights
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
