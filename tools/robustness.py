"""Scores detectors on disturbed frames; see ``python tools/robustness.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.robustness import main

if __name__ == '__main__':
    sys.exit(main())
