"""Infrared small target detection with deep-unfolded robust PCA."""

from typing import Any

__version__ = '0.1.0'
__all__ = ['load_weights']


def __getattr__(name: str) -> Any:
    """``drpca.load_weights``, imported on first use: ``import drpca`` alone stays quick."""
    if name == 'load_weights':
        from drpca.engine.checkpoint import load_weights

        return load_weights
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
