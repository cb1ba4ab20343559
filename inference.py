"""Export score maps: ``python inference.py --help``."""

import sys

from drpca.cli.infer import main

if __name__ == '__main__':
    sys.exit(main())
