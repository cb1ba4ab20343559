"""Reports what is wrong with a data set; see ``python tools/check_dataset.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.cli.check_dataset import main

if __name__ == '__main__':
    sys.exit(main())
