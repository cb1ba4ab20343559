"""Infrared small target detection with deep-unfolded robust PCA."""

import lazy_loader

from drpca.version import __version__ as __version__

# The public names stand in __init__.pyi; each is imported on first use, so that ``import drpca`` alone stays quick.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
