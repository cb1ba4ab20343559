"""Infrared small target detection with deep-unfolded robust PCA."""

import os

import lazy_loader

from drpca.version import __version__ as __version__

# PyTorch's threads sleep while they wait for each other. Spinning, as they do by default, they keep the very threads
# that they wait for off the cores of a machine that does other things as well. PyTorch reads this when it is loaded.
if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'} & os.environ.keys():
    os.environ['OMP_WAIT_POLICY'] = 'passive'

# The public names stand in __init__.pyi; each is imported on first use, so that ``import drpca`` alone stays quick.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
