"""A small weight file of a trained run: ``python tools/publish.py --help``."""

import sys

from drpca.cli.publish import main

if __name__ == '__main__':
    sys.exit(main())
