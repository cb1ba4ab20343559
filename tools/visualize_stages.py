"""Draws every stage of a decomposition; see ``python tools/visualize_stages.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.visualize_stages import main

if __name__ == '__main__':
    sys.exit(main())
