"""Train networks: ``python run_configs.py --help``."""

import sys

from drpca.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
