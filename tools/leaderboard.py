"""Compares networks and classical methods in one table; see ``python tools/leaderboard.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.leaderboard import main

if __name__ == '__main__':
    sys.exit(main())
