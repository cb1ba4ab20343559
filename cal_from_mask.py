"""Scores saved maps against the masks of a data set; see ``python cal_from_mask.py --help``."""

import sys

from drpca.cli.score import main

if __name__ == '__main__':
    sys.exit(main())
