"""``drpca COMMAND``, also ``python -m drpca COMMAND``: the one list of the commands."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from pathlib import Path

import drpca
from drpca.cli.guard import guarded
from drpca.errors import EXIT_USAGE
from drpca.options import script_of

COMMANDS = {
    'train': ('drpca.cli.train', 'train networks'),
    'infer': ('drpca.cli.infer', 'write score maps'),
    'score': ('drpca.cli.score', 'score maps against masks'),
    'config': ('drpca.cli.config', 'show a config as it is used'),
    'browse': ('drpca.cli.browse', 'learning rate and augmented samples of a training'),
    'data': ('drpca.cli.data', 'list, fetch, import and convert data sets'),
    'check-dataset': ('drpca.cli.check_dataset', 'check a data set'),
    'make-synthetic': ('drpca.cli.make_synthetic', 'make the synthetic data set'),
    'robustness': ('drpca.cli.robustness', 'score under noise, blur, …'),
    'visualize-stages': ('drpca.cli.visualize_stages', 'pictures of D, B, T, N'),
    'analyse-decomposition': ('drpca.cli.analyse_decomposition', 'low rank and sparsity'),
    'cross-dataset': ('drpca.cli.cross_dataset', 'one checkpoint on several data sets'),
    'leaderboard': ('drpca.cli.leaderboard', 'methods x seeds in one table'),
    'figure': ('drpca.cli.figure', 'figures and tables of a paper'),
    'export': ('drpca.cli.export', 'ONNX, OpenVINO, torch.export'),
    'benchmark': ('drpca.cli.benchmark', 'speed of networks'),
    'benchmark-training': ('drpca.cli.benchmark_training', 'speed of training'),
    'sequences': ('drpca.cli.sequences', 'what confirmation over several frames gains'),
    'weights': ('drpca.cli.weights', 'list and fetch weights by name'),
    'publish': ('drpca.cli.publish', 'a small weight file of a trained run'),
    'app': ('drpca.app.command', 'a page to try detectors on'),
}
"""Command → the module whose ``main(argv)`` it calls, and a line for the list."""


def run_script(file: str) -> None:
    """Runs the command of a file, with the arguments of the process, and ends the process with its exit code.

    Args:
        file: ``__file__`` of one of the files that :func:`script_of` names.
    """
    name = Path(file).name
    sys.exit(main([next(command for command in COMMANDS if Path(script_of(command)).name == name), *sys.argv[1:]]))


@guarded
def main(argv: list[str] | None = None) -> int:
    """Hand over to a command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments else None
    if name in COMMANDS:
        return int(import_module(COMMANDS[name][0]).main(arguments[1:]))
    if name == '--version':
        print(f'drpca {drpca.__version__}')
        return 0
    lines = (f'  {command:24s}{text} ({script_of(command)})' for command, (_, text) in COMMANDS.items())
    usage = '\n'.join(['usage: drpca COMMAND …  |  drpca COMMAND --help  |  drpca --version\n', *lines])
    if name in ('-h', '--help'):
        print(usage)
        return 0
    if name is not None:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0)[0]
        usage = f"error: There is no command {name!r}; the nearest is {nearest!r}. 'drpca --help' lists all."
    print(usage, file=sys.stderr)
    return EXIT_USAGE
