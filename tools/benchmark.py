"""Size, speed and memory of networks: ``python tools/benchmark.py --help``."""

import sys

from drpca.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
