"""Scores saved maps against the masks of a data set: ``python cal_from_mask.py --help``."""

from drpca.cli.main import run_script

if __name__ == '__main__':
    run_script(__file__)
