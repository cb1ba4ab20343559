"""Times inference.py and cal_from_mask.py, reading and writing included, against the plain loop in the same run.

    python tools/studies/whole_process.py                                       86 synthetic frames of 256 x 256
    python tools/studies/whole_process.py --images 664 --config rpcanet_plus_sirstv1_whole --rounds 3
    python tools/studies/whole_process.py --start-up --rounds 5         from the start of a process to its end

The plain loop reads, maps and writes one frame after the other, and counts one map after the other at every size.
Both ways take turns; printed is the median of the ratios of a round, with the machine and what else it did. Of the
start-up: ``--help`` of every command beside an empty program, and one picture through ``infer`` beside the shortest
program that imports torch and the network, loads its weights and writes one score map.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import drpca
from drpca.cli import score
from drpca.cli.main import COMMANDS
from drpca.datasets.splits import open_split
from drpca.deploy.processor import machine
from drpca.evaluation import functional as F
from drpca.evaluation.curves import CurveSum
from drpca.evaluation.metrics import Evaluator
from drpca.evaluation.protocols import DEFAULT_PROTOCOLS, choose_protocols
from drpca.inference.detector import newest_best
from drpca.results.folder import ResultsFolder, ResultsWriter
from drpca.results.scoring import iterate_cases


def plain_inference(detector: drpca.Detector, files: list[tuple[str, Path]], out: Path) -> None:
    """One frame after the other."""
    writer = ResultsWriter(out, {**detector.described(), 'maps': 'frame'}, overwrite=True)
    for detection in detector.stream(files):
        writer.write(detection)
    writer.close()


def plain_scoring(folder: Path, root: Path) -> None:
    """One map after the other, at every size."""
    split, protocols = open_split('synthetic', 'test', root), choose_protocols(DEFAULT_PROTOCOLS)
    evaluators = {p.size: Evaluator([q for q in protocols if q.size == p.size]) for p in protocols}
    curves = {size: CurveSum('logit') for size in evaluators}
    counts = dict.fromkeys(evaluators, F.Roc3dCounts.zero())
    for case in iterate_cases(ResultsFolder(folder), split):
        for size, evaluator in evaluators.items():
            scores, gt_mask = case.at(size)
            targets = F.connected_components(gt_mask)
            counts[size] += F.roc_3d_counts(scores, targets)
            curves[size].update(case.logits_at(size), targets)
            evaluator.update(scores, gt_mask, name=case.name)
    for size, evaluator in evaluators.items():
        evaluator.compute(), curves[size].curve().figures(), F.roc_3d_figures(counts[size])


def quiet_scoring(folder: Path, root: Path) -> None:
    """The command with a report; what it prints is left out."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        score.main([
            '--results', str(folder), '--data-root', str(root), '--report', str(folder.parent / 'report.html'),
            '--overwrite',
        ])  # fmt: skip


PLAIN = """
import sys, cv2, torch
from drpca.models.resunet import ResUNet
network = ResUNet(channels=(8, 16, 32, 64)).eval()
network.load_state_dict(torch.load(sys.argv[1], weights_only=True))
image = torch.from_numpy(cv2.imread(sys.argv[2], 0))[None, None] / 255
with torch.inference_mode():
    (logits,) = network((image - 101.0639 / 255) / (34.6196 / 255))
cv2.imwrite(sys.argv[3], (255 * logits.sigmoid())[0, 0].byte().numpy())
"""


def start_ups(rounds: int) -> None:
    """Prints the seconds from the start of a process to its end."""
    command = [sys.executable, '-m', 'drpca']
    with tempfile.TemporaryDirectory() as folder:
        frame, root = Path(folder) / 'frame.png', Path(folder) / 'data'
        root.mkdir()
        drpca.generate_dataset(root, num_train=1, num_test=1, size=256)
        split = open_split('synthetic', 'test', root)
        shutil.copy(split.image_path(split.names[0]), frame)
        ways = {'an empty program': [sys.executable, '-c', '']}
        ways |= {f'{name} --help': [*command, name, '--help'] for name in COMMANDS}
        weights = newest_best('resunet_sirstv1_cpu')
        ways['one picture, plain'] = [sys.executable, '-c', PLAIN, weights, frame, f'{folder}/map.png']
        ways['one picture, infer'] = [
            *command, 'infer', 'resunet_sirstv1_cpu', '--input', frame, '--size', 'native', '--out', folder,
            '--overwrite',
        ]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                run = partial(subprocess.run, way, check=True, capture_output=True)
                times[name].append(seconds(run))
    for name, values in times.items():
        print(f'{name:30}{statistics.median(values):8.2f} s')


def seconds(function, *arguments, **options) -> float:
    """Of one call."""
    started = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - started


def main(argv: list[str] | None = None) -> int:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=86)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--config', default='rpcanet_synthetic_demo', help='one whose weights come with the project')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--start-up', action='store_true', help='time the start of every command instead')
    args = parser.parse_args(argv)
    print(machine())
    if args.start_up:
        start_ups(args.rounds)
        return 0
    detector = drpca.Detector(args.config, size=args.size)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / 'data', Path(folder) / 'plain'
        root.mkdir()
        drpca.generate_dataset(root, num_train=1, num_test=args.images, size=args.size)
        split = open_split('synthetic', 'test', root)
        files = [(name, split.image_path(name)) for name in split.names]
        images = [detector.mapper.prepare(split.read_image(name)) for name in split.names]
        for _ in range(args.rounds):
            ways = {
                'forward alone': lambda: [detector.mapper.map_batch([image]) for image in images],
                'inference, plain loop': lambda: plain_inference(detector, files, out),
                'inference.py': lambda: drpca.predict(
                    detector, out=Path(folder), dataset='synthetic', data_root=root, overwrite=True
                ),
                'scoring, plain loop': lambda: plain_scoring(Path(folder) / 'synthetic', root),
                'cal_from_mask.py': lambda: drpca.score(Path(folder) / 'synthetic', data_root=root),
                'cal_from_mask.py --report': lambda: quiet_scoring(Path(folder) / 'synthetic', root),
            }
            for name, way in ways.items():
                times.setdefault(name, []).append(seconds(way))
    for name, values in times.items():
        print(f'{name:26}{1e3 * statistics.median(values) / args.images:9.1f} ms an image')
    for name, other in (
        ('inference, plain loop', 'forward alone'), ('inference.py', 'forward alone'),
        ('scoring, plain loop', 'cal_from_mask.py'), ('cal_from_mask.py --report', 'cal_from_mask.py'),
    ):  # fmt: skip
        ratios = np.divide(times[name], times[other])
        print(f'{name} / {other}: {statistics.median(ratios.tolist()):.2f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
