"""The version of the project and of what makes its numbers."""

from __future__ import annotations

import platform

__version__ = '0.1.0'


def versions() -> dict[str, str]:
    """Versions of what makes the numbers, for files."""
    import cv2
    import numpy as np
    import torch

    return {
        'drpca': __version__,
        'torch': torch.__version__,
        'numpy': np.__version__,
        'opencv': cv2.__version__,
        'python': platform.python_version(),
    }
