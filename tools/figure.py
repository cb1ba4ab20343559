"""Figures and tables of a paper: ``python tools/figure.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.main import run_script

if __name__ == '__main__':
    run_script(__file__)
