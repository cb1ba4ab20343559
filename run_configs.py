"""Train networks: ``python run_configs.py --help``."""

from drpca.cli.main import run_script

if __name__ == '__main__':
    run_script(__file__)
