"""Names that options offer.

A help text lists them, so they stand here, where nothing is imported; the modules that give them their meaning take
them from here, or a test holds the two together.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

NATIVE, RECIPE = 'native', 'recipe'
"""Sizes by name: each frame's own, and the one to which the recipe of the config resizes frames."""
MAX_SIDE = 65536
"""Largest side of a square that frames are resized to, in pixels."""
TILE, AUTO = 1024, 'auto'
"""Side of the tiles into which larger frames are cut: the usual one; the usual one where a detector tiles at all."""
RANGES = (AUTO, 'minmax', 'full', 'percentile')
"""Rules by which grey values become [0, 1], besides two values."""
PRECISIONS = ('fp32', 'bf16', 'fp16')
"""Of convolutions."""
BACKENDS = ('onnx', 'openvino', 'tensorrt', 'torch')
"""What runs exported files."""
EXPORT_FORMATS = {'onnx': '.onnx', 'openvino': '.xml', 'torch': '.pt2'}
"""What a network is exported as, with the suffix of the file."""
MAP_FORMATS = ('png', 'mat', 'json', 'csv', 'coco')
"""What a results folder holds: score maps as png and mat; targets as json, csv and coco."""
STAGES_FOLDER = 'stage_pictures'
"""Folder inside ``results/<dataset>/`` where the report looks for pictures of the stages."""
VIDEO_OUT = ('.mp4', '.m4v', '.mov', '.avi', '.mkv')
"""Of the videos that can be written."""
BASELINE = 'eager'
"""The plain forward: eager, NCHW, float32, all outputs."""
VARIANTS = (
    BASELINE, 'channels_last', 'plain', 'optimised', 'winograd', 'optimised-bf16', 'optimised-fp16', 'compile',
    'compile-bf16', 'cuda-graph', 'cuda-graph-bf16', 'cuda-graph-fp16', 'onnxruntime', 'onnxruntime-int8', 'openvino',
    'openvino-bf16', 'openvino-int8', 'tensorrt', 'torch-export',
)  # fmt: skip
"""Ways to run a network, as the benchmark compares them."""
VIEWS = ('deviation', 'positive', 'raw')
"""What the sparsity of T is measured of: |T − median T|; max(T, 0), which is what logits call target; |T|."""
ROBUST_FIGURES = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')
"""Figures in the tables of disturbed frames."""
TABLE = 'table'
FIGURE_KINDS = ('qualitative', 'roc', 'learning', 'tradeoff', 'robustness', TABLE)
"""Figures of a paper, and its tables."""

SCRIPTS = {'train': 'run_configs.py', 'infer': 'inference.py', 'score': 'cal_from_mask.py'}
"""The commands with a file of their own at the top; all others have ``tools/<name>.py``."""


def script_of(command: str) -> str:
    """The file that calls a command, relative to the project: 'tools/check_dataset.py'."""
    return SCRIPTS.get(command, f'tools/{command.replace("-", "_")}.py')


def called(command: str) -> str:
    """How to call a command, in a line that proposes one: as this process was called.

    ``drpca train``, ``python -m drpca train``, or by its file, ``python run_configs.py``, from the folder one is in.
    """
    program = Path(sys.argv[0] if sys.argv else '')
    if program.name == '__main__.py' and program.parent.name in ('drpca', 'app'):
        return f'python -m drpca {command}'
    script = Path(script_of(command))
    if program.name in SCRIPTS.values():
        return f'python {shlex.quote(str(program.parent / script))}'
    if program.parent.name == 'tools':
        return f'python {shlex.quote(str(program.parent.parent / script))}'
    has_files = (Path(__file__).parents[1] / script).is_file()
    return f'python {script}' if has_files and program.stem != 'drpca' else f'drpca {command}'
