"""Makes the synthetic data set; see ``python tools/make_synthetic.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.make_synthetic import main

if __name__ == '__main__':
    sys.exit(main())
