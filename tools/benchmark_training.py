"""Speed of training, as published and here: ``python tools/benchmark_training.py --help``."""

import sys

from drpca.cli.benchmark_training import main

if __name__ == '__main__':
    sys.exit(main())
