"""The version of the project and of what makes its numbers."""

from __future__ import annotations

import torch


def versions() -> dict[str, str]:
    """Versions of what makes the numbers, for files."""
    import cv2
    import numpy as np

    import drpca

    return {
        'drpca': drpca.__version__,
        'torch': torch.__version__,
        'numpy': np.__version__,
        'opencv': cv2.__version__,
    }
