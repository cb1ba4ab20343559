"""``python -m drpca COMMAND``: the commands under one name."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    'train': ('drpca.cli.train', 'train networks (run_configs.py)'),
    'infer': ('drpca.cli.infer', 'write score maps (inference.py)'),
    'score': ('drpca.cli.score', 'score maps against masks (cal_from_mask.py)'),
    'check-dataset': ('drpca.cli.check_dataset', 'check a data set (tools/check_dataset.py)'),
    'make-synthetic': ('drpca.cli.make_synthetic', 'make the synthetic data set (tools/make_synthetic.py)'),
    'robustness': ('drpca.cli.robustness', 'score under noise, blur, … (tools/robustness.py)'),
    'visualize-stages': ('drpca.cli.visualize_stages', 'pictures of D, B, T, N (tools/visualize_stages.py)'),
    'analyse-decomposition': ('drpca.cli.analyse_decomposition', 'low rank and sparsity (tools/analyse_…)'),
    'cross-dataset': (
        'drpca.cli.cross_dataset',
        'one checkpoint on several data sets (tools/cross_dataset.py)',
    ),
    'leaderboard': ('drpca.cli.leaderboard', 'methods x seeds in one table (tools/leaderboard.py)'),
    'export': ('drpca.cli.export', 'ONNX, OpenVINO, torch.export (tools/export.py)'),
    'benchmark': ('drpca.cli.benchmark', 'speed of networks (tools/benchmark.py)'),
    'benchmark-training': ('drpca.cli.benchmark_training', 'speed of training (tools/benchmark_training.py)'),
    'publish': ('drpca.cli.publish', 'a small weight file of a trained run (tools/publish.py)'),
    'app': ('drpca.app.command', 'a page to try detectors on'),
}


def main(argv: list[str] | None = None) -> int:
    """Hand over to a command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] not in COMMANDS:
        known = '\n'.join(f'  {name:24s}{text}' for name, (_, text) in COMMANDS.items())
        asked_for_help = bool(arguments) and arguments[0] in ('-h', '--help')
        print(
            f'usage: python -m drpca COMMAND …\n\n{known}', file=sys.stdout if asked_for_help else sys.stderr
        )
        return 0 if asked_for_help else 2
    return int(import_module(COMMANDS[arguments[0]][0]).main(arguments[1:]))
