"""Measures low-rankness and sparsity stage by stage; see ``python tools/analyse_decomposition.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.analyse_decomposition import main

if __name__ == '__main__':
    sys.exit(main())
