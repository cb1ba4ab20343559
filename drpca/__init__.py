"""Infrared small target detection with deep-unfolded robust PCA."""

import os
from collections.abc import Iterable

import lazy_loader

from drpca.version import __version__ as __version__

# PyTorch's threads sleep while they wait for each other. Spinning, as they do by default, they keep the very threads
# that they wait for off the cores of a machine that does other things as well. PyTorch reads this when it is loaded.
if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'} & os.environ.keys():
    os.environ['OMP_WAIT_POLICY'] = 'passive'


def _is_amd_with_avx512(cpuinfo: Iterable[str]) -> bool:
    """Whether the first processor of ``/proc/cpuinfo`` is."""
    is_amd = False
    for line in cpuinfo:
        key, _, value = line.partition(':')
        is_amd |= key.strip() == 'vendor_id' and value.strip() == 'AuthenticAMD'
        if key.strip() == 'flags':
            return is_amd and {f'avx512{part}' for part in ('f', 'cd', 'dq', 'bw', 'vl')} <= set(value.split())
    return False


# An OpenBLAS that is older than an AMD processor takes it for one without AVX-512. NumPy's and SciPy's read this when
# they are loaded.
if 'OPENBLAS_CORETYPE' not in os.environ and os.path.exists('/proc/cpuinfo'):
    with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as _cpuinfo:
        if _is_amd_with_avx512(_cpuinfo):
            os.environ['OPENBLAS_CORETYPE'] = 'SkylakeX'

# The public names stand in __init__.pyi; each is imported on first use, so that ``import drpca`` alone stays quick.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
