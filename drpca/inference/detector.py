"""The detector, whose code is that of :mod:`drpca.inference.opening`."""

from drpca.inference.opening import Detector

__all__ = ['Detector']
