"""Scores one detector on several data sets; see ``python tools/cross_dataset.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.cross_dataset import main

if __name__ == '__main__':
    sys.exit(main())
