"""Times the classical detectors against straightforward versions of themselves, and scores them.

    python tools/benchmark_baselines.py                              256 x 256, all methods, both versions
    python tools/benchmark_baselines.py --sizes 128 256 512 1024 --methods IPI NIPPS
    python tools/benchmark_baselines.py --score SIRSTv1 --workers 4  figures beside the reference rows

Timing: CPU time of one thread, the best of --repeats on each of --frames made-up frames; the straightforward
version (LAPACK's SVD for the patch-image methods, one SVD per Fourier slice for PSTNN, plain SciPy filters) runs
on the same frames in the same run. A version that took more than --limit seconds at one size is left out at
larger ones. 'difference' is the largest one between the two score maps in [0, 1].

Scoring: score maps at 256 x 256, masks by nearest neighbour, preset 'drpca', as the reference rows. A '!' marks
figures that differ from a reference by more than 0.3 points (Fa: 3 %). The reference rows are for SIRST V1.
"""

from __future__ import annotations

import os

os.environ['OMP_NUM_THREADS'] = '1'  # all three before NumPy loads its BLAS
os.environ['OPENBLAS_NUM_THREADS'] = '1'
os.environ['MKL_NUM_THREADS'] = '1'

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import linalg, ndimage, sparse
from scipy.sparse import linalg as sparse_linalg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import drpca.baselines.fkrw as fkrw
import drpca.baselines.pstnn as pstnn
from drpca.baselines import Baseline, map_images
from drpca.cli.guard import guarded
from drpca.datasets import Split, open_split
from drpca.datasets.io import resize_image, resize_mask
from drpca.errors import unknown_name
from drpca.evaluation import Evaluator
from drpca.registry import BASELINES

METHODS = (
    'TopHat', 'MaxMedian', 'MPCM', 'HBMLCM', 'NWMTH', 'TLLCM',
    'FKRW', 'PSTNN', 'NOLC', 'IPI', 'NRAM', 'NIPPS',
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / 'drpca' / 'baselines' / 'reference.json'
SIDE = 256
Frame = np.ndarray


# Straightforward versions: frame (H, W) float64 in [0, 255] -> raw target map, leaderboard parameters.


def plain_top_hat(frame: Frame) -> Frame:
    return ndimage.white_tophat(frame, size=(5, 5))


def plain_max_median(frame: Frame) -> Frame:
    row = np.ones((1, 15))
    lines = (row, row.T, np.eye(15), np.eye(15)[::-1])
    background = [ndimage.median_filter(frame, footprint=line, mode='reflect') for line in lines]
    return frame - np.max(background, axis=0)


def plain_mpcm(frame: Frame) -> Frame:
    contrasts = []
    for s in (3, 5, 7, 9):
        differences = []
        for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)):
            kernel = np.zeros((3 * s, 3 * s))
            kernel[s : 2 * s, s : 2 * s] = 1 / s**2
            kernel[(1 + dy) * s : (2 + dy) * s, (1 + dx) * s : (2 + dx) * s] = -1 / s**2
            differences.append(ndimage.correlate(frame, kernel, mode='nearest'))
        contrasts.append(np.min([differences[i] * differences[i + 4] for i in range(4)], axis=0))
    return np.max(contrasts, axis=0)


def plain_hbmlcm(frame: Frame) -> Frame:
    boosted = frame * np.maximum(frame - ndimage.correlate(frame, np.full((5, 5), 1 / 25), mode='nearest'), 0)
    contrasts = []
    for k in (3, 5, 7, 9):
        kernel = np.full((15, 15), -1 / (225 - k * k))
        kernel[7 - k // 2 : 8 + k // 2, 7 - k // 2 : 8 + k // 2] = 1 / k**2
        contrasts.append(np.abs(ndimage.correlate(boosted, kernel, mode='nearest')))
    return (np.max(contrasts, axis=0) - np.min(contrasts, axis=0)) ** 2


def plain_nwmth(frame: Frame) -> Frame:
    ring = np.ones((19, 19), bool)
    ring[5:14, 5:14] = False
    dilated = ndimage.grey_dilation(frame, footprint=ring, mode='constant', cval=-np.inf)
    eroded = ndimage.grey_erosion(dilated, size=(4, 4), origin=(-1, -1), mode='constant', cval=np.inf)
    return frame - eroded


def plain_tllcm(frame: Frame) -> Frame:
    core = ndimage.correlate(frame, np.outer([1, 2, 1], [1, 2, 1]) / 16, mode='nearest')
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(frame, 13), (9, 9))
    height, width = frame.shape
    contrast = np.full(frame.shape, np.inf)
    for dy in (0, 9, 18):
        for dx in (0, 9, 18):
            if dy == dx == 9:
                continue
            cells = windows[dy : dy + height, dx : dx + width].reshape(height, width, 81)
            brightest = np.sort(cells, axis=-1)[..., -9:].mean(axis=-1)
            safe = np.where(brightest > 0, brightest, 1)
            contrast = np.minimum(contrast, np.where(brightest > 0, core**2 / safe - core, np.inf))
    return np.where(np.isfinite(contrast), contrast, 0)


def plain_walk(patch: Frame) -> Frame:
    """Random walker by a sparse solver."""
    values, pixels = patch.ravel(), np.arange(121).reshape(11, 11)
    pairs = [*zip(pixels[:, :-1].ravel(), pixels[:, 1:].ravel()), *zip(pixels[:-1].ravel(), pixels[1:].ravel())]
    first, second = np.array(pairs).T
    weights = np.exp(-200 * np.abs(values[first] - values[second])) + 1e-5
    adjacency = sparse.coo_matrix((weights, (first, second)), (121, 121))
    adjacency = adjacency + adjacency.T
    laplacian = (sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency).tocsr()
    free = [n for n in range(121) if 0 < n // 11 < 10 and 0 < n % 11 < 10 and n != 60 and values[n] != 1]
    result = np.zeros(121)
    result[60] = 1
    result[free] = sparse_linalg.spsolve(laplacian[free][:, free].tocsc(), -laplacian[free][:, [60]].toarray())
    return result.reshape(11, 11)


def plain_slices(tensor: np.ndarray, shrink: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One SVD per Fourier slice, all slices, those of negative frequencies too."""
    depth = tensor.shape[2]
    slices = np.fft.fft(tensor, axis=2)
    parts = [linalg.svd(slices[:, :, k], full_matrices=False) for k in range(depth)]
    shrunk = shrink(np.array([sigma for _, sigma, _ in parts[: depth // 2 + 1]]))
    for k, (u, _, vh) in enumerate(parts):
        slices[:, :, k] = (u * shrunk[min(k, depth - k)]) @ vh
    return np.fft.ifft(slices, axis=2).real, shrunk


PLAIN_FILTERS = {
    'TopHat': plain_top_hat,
    'MaxMedian': plain_max_median,
    'MPCM': plain_mpcm,
    'HBMLCM': plain_hbmlcm,
    'NWMTH': plain_nwmth,
    'TLLCM': plain_tllcm,
}


def plain_scores(method: str, image: np.ndarray) -> np.ndarray:
    """Score map of the straightforward version; (H, W) uint8 -> (H, W) float32 in [0, 1]."""
    if method in PLAIN_FILTERS:
        raw = np.maximum(PLAIN_FILTERS[method](image.astype(np.float64)), 0)
        return (raw / raw.max()).astype(np.float32) if raw.max() > 0 else raw.astype(np.float32)
    module, name, plain = {
        'FKRW': (fkrw, 'walk', plain_walk),
        'PSTNN': (pstnn, 'map_tensor_singular_values', plain_slices),
    }.get(method, (None, '', None))
    if module is None:
        return BASELINES.build({'type': method, 'svd': 'full'}).scores(image)
    fast = getattr(module, name)
    setattr(module, name, plain)
    try:
        return BASELINES.build({'type': method}).scores(image)
    finally:
        setattr(module, name, fast)


def make_frame(size: int, seed: int) -> np.ndarray:
    """Clouds, noise and a few point targets; (size, size) uint8."""
    rng = np.random.default_rng(seed)
    frame = np.zeros((size, size))
    for sigma, height in ((32, 40), (8, 12), (2, 4)):
        layer = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma)
        frame += height * layer / layer.std()
    for _ in range(max(1, size // 100)):
        row, column = rng.integers(8, size - 8, 2)
        window = np.hypot(*np.mgrid[-6:7, -6:7])
        frame[row - 6 : row + 7, column - 6 : column + 7] += 80 * np.exp(-(window**2) / 3)
    return np.clip(110 + frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)


def best_time(run: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Shortest of several runs in seconds of CPU time, and the result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = run()
        times.append(time.process_time() - start)
    return min(times), result


def time_methods(methods: list[str], sizes: list[int], frames: int, repeats: int, limit: float) -> list[dict]:
    """One row per method and size; times in milliseconds per frame."""
    rows = []
    for method in methods:
        baseline: Baseline = BASELINES.build({'type': method})
        slow = {'fast': False, 'plain': False}
        for size in sizes:
            row: dict = {'method': method, 'size': size}
            images = [make_frame(size, seed) for seed in range(frames)]
            maps = {}
            for version, run in (('fast', baseline.scores), ('plain', partial(plain_scores, method))):
                if slow[version]:
                    continue
                timed = [best_time(partial(run, image), repeats) for image in images]
                seconds = float(np.mean([t for t, _ in timed]))
                row[f'{version}_ms'] = 1000 * seconds
                slow[version] = seconds > limit
                maps[version] = [m for _, m in timed]
            if len(maps) == 2:
                row['ratio'] = row['plain_ms'] / row['fast_ms']
                row['difference'] = max(float(np.abs(a - b).max()) for a, b in zip(maps['fast'], maps['plain']))
            rows.append(row)
            print(timing_line(row), flush=True)
    return rows


def timing_line(row: dict) -> str:
    """A row of the table of times."""
    cells = [f'{row[key]:.{digits}f}' if key in row else '-' for key, digits in TIMING_COLUMNS]
    difference = f'{row["difference"]:.1e}' if 'difference' in row else '-'
    return f'| {row["method"]} | {row["size"]} | {" | ".join(cells)} | {difference} |'


TIMING_COLUMNS = (('fast_ms', 1), ('plain_ms', 1), ('ratio', 1))
TIMING_HEAD = '| method | size | ms | straightforward ms | ratio | difference |\n|---|---|---|---|---|---|'


def score_method(baseline: Baseline, split: Split, workers: int = 1) -> tuple[list[float], float]:
    """IoU, F1, Pd in per cent and Fa in 1e-6 under preset 'drpca' at 256 x 256, and seconds per image."""
    evaluator = Evaluator(['drpca'])
    start = time.perf_counter()
    maps = map_images(baseline, (split.read_image(name, baseline.grey) for name in split.names), workers)
    for name, scores in zip(split.names, maps):
        at_scoring_size = np.clip(resize_image(scores, (SIDE, SIDE)), 0, 1)
        evaluator.update(at_scoring_size, resize_mask(split.read_mask(name), (SIDE, SIDE)), name)
    figures = evaluator.compute()['drpca']
    row = [100 * figures['IoU'], 100 * figures['F1'], 100 * figures['Pd'], 1e6 * figures['Fa']]
    return row, (time.perf_counter() - start) / len(split)


def disagrees(ours: list[float], reference: list[float]) -> bool:
    """Whether a figure is off by more than 0.3 points, or Fa by more than 3 %."""
    points = max(abs(a - b) for a, b in zip(ours[:3], reference[:3]))
    return points > 0.3 or abs(ours[3] - reference[3]) > 0.03 * reference[3]


def score_table(methods: list[str], preset: str, split: Split, workers: int) -> list[dict]:
    """One row per method; prints the table."""
    reference = json.loads(REFERENCE.read_text(encoding='utf-8'))
    known = reference['rows'] if reference['dataset'] == split.dataset and preset == 'leaderboard' else {}
    print(f'{split.dataset}, {len(split)} images, preset {preset}: IoU / F1 / Pd in %, Fa x1e-6')
    print('| method | here | reference | published | s per image |\n|---|---|---|---|---|')
    rows = []
    for method in methods:
        ours, seconds = score_method(BASELINES.build({'type': method, 'preset': preset}), split, workers)
        row = {'method': method, 'here': ours, 'seconds': seconds, **known.get(method, {})}
        cells = [_figures(ours)]
        for key in ('measured', 'published'):
            cells.append(_figures(row[key]) + (' !' if disagrees(ours, row[key]) else '') if key in row else '-')
        print(f'| {method} | {" | ".join(cells)} | {seconds:.3f} |', flush=True)
        rows.append(row)
    return rows


def _figures(values: list[float]) -> str:
    return ' / '.join(f'{v:.2f}' for v in values)


@guarded
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--methods', nargs='+', default=list(METHODS), metavar='M', help='default: all twelve')
    parser.add_argument('--sizes', nargs='+', type=int, default=[256], metavar='S', help='default: 256')
    parser.add_argument('--frames', type=int, default=2, help='made-up frames per size (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='runs per frame (default: %(default)s)')
    parser.add_argument('--limit', type=float, default=10, metavar='SECONDS', help='default: %(default)s')
    parser.add_argument('--score', metavar='DATASET', help='score the test split instead of timing')
    parser.add_argument('--preset', default='leaderboard', help="'leaderboard' (default) or 'paper', for --score")
    parser.add_argument('--data-root', metavar='DIR', help='default: DRPCA_DATA, else ./datasets')
    parser.add_argument('--workers', type=int, default=1, help='processes for --score (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the rows there as well')
    options = parser.parse_args(argv)
    for method in options.methods:
        if method not in METHODS:
            raise unknown_name('method', method, METHODS)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.score:
        split = open_split(options.score, 'test', options.data_root)
        rows = score_table(options.methods, options.preset, split, options.workers)
    else:
        print(TIMING_HEAD)
        rows = time_methods(options.methods, options.sizes, options.frames, options.repeats, options.limit)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
