"""Times the evaluation of all presets and curves against the straightforward loop, and compares their
figures.

The straightforward loop is what published evaluation code does: scikit-image labels and measures the regions
anew for every preset, and for every threshold of every curve. Both run on the same made-up score maps.

    python tools/benchmark_evaluation.py                       1,000 images of 512 x 512, 20 targets each
    python tools/benchmark_evaluation.py --images 20           smaller

The loop takes seconds per image and so runs on --loop-images of them only; times are given per image. Exit
status 1 if a figure differs or the evaluation takes more than a quarter of the loop's time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage, optimize
from skimage import measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drpca.evaluation import Evaluator, curves, functional
from drpca.evaluation.metrics import ImageCase

THRESHOLDS = np.arange(200) / 200
"""At which the curves are compared: 0, 0.005, … 0.995."""
PRESETS = ('basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc')


def make_image(index: int, size: int, targets: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Score map and mask: blobs near most targets, as many false alarms as a fifth of them, and noise
    below.
    """
    rng = np.random.default_rng(index)
    scores, mask = np.zeros((size, size)), np.zeros((size, size), dtype=bool)
    window = np.hypot(*np.mgrid[-6:7, -6:7])
    for number in range(targets + targets // 5):
        row, column = rng.integers(8, size - 8, 2)
        if number < targets:
            radius = rng.uniform(1, 4)
            mask[row - 6 : row + 7, column - 6 : column + 7] |= window <= radius
            row, column = row + rng.integers(-1, 2), column + rng.integers(-1, 2)
        blob = rng.uniform(0.1, 1) * np.exp(-((window / rng.uniform(1.5, 4)) ** 2))
        part = scores[row - 6 : row + 7, column - 6 : column + 7]
        np.maximum(part, blob, out=part)
    grain = ndimage.gaussian_filter(rng.random((size, size)), 1)
    return np.clip(scores + noise * grain, 0, 1).astype(np.float32), mask


def evaluate(images: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """All figures, as this project computes them."""
    evaluator, sweep = Evaluator(PRESETS), curves.CurveSum()
    for scores, mask in images:
        evaluator.update(scores, mask)
        case = ImageCase(scores, mask)
        sweep.update(case.scores, case.targets)
    figures = {f'{p}/{k}': f[k] for p, f in evaluator.compute().items() for k in ('Pd', 'Fa', 'IoU')}
    curve = sweep.curve()
    points = [curve.at(threshold) for threshold in THRESHOLDS.tolist()]
    auc = functional.roc_auc(sum((r.roc for r in evaluator.records), functional.RocCounts.zero()))
    return figures | name_curves(auc, *np.array([(p.pd, p.fa, p.precision, p.recall) for p in points]).T)


def name_curves(auc: float, *points: np.ndarray) -> dict[str, float]:
    """Curve figures by name."""
    names = ('Pd', 'Fa', 'precision', 'recall')
    return {'AUC': auc} | {f'{n}[{i}]': v for n, c in zip(names, points) for i, v in enumerate(c)}


def loop(images: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The same figures, one threshold and one preset at a time."""
    figures: dict[str, float] = {}
    for preset in PRESETS:
        sums = np.sum([_preset_counts(*image, preset) for image in images], axis=0)
        hits, targets, false, pixels, tp, union = sums.tolist()
        figures |= {f'{preset}/Pd': hits / targets, f'{preset}/Fa': false / pixels, f'{preset}/IoU': tp / union}
    false_rate, hit_rate = [], []
    for i in range(201):
        false, hits, background, targets = np.sum([_roc_counts(*m, np.float32(i / 200)) for m in images], axis=0)
        false_rate.append(false / background)
        hit_rate.append(hits / targets)
    points = []
    for threshold in THRESHOLDS:
        hits, targets, false, pixels, tp, predicted, positive = np.sum(
            [_sweep_counts(*image, threshold) for image in images], axis=0
        )
        points.append((hits / targets, false / pixels, tp / predicted if predicted else np.nan, tp / positive))
    auc = -np.sum(np.diff(false_rate) * (np.array(hit_rate[1:]) + hit_rate[:-1]) / 2)
    return figures | name_curves(auc, *np.array(points).T)


def _regions(mask: np.ndarray) -> list:
    return measure.regionprops(measure.label(mask.astype(int), connectivity=2))


def _pairs(targets: list, predictions: list, matching: str) -> list[tuple[int, int]]:
    if not targets or not predictions:
        return []
    centroids = [np.array([r.centroid for r in regions]) for regions in (targets, predictions)]
    near = np.linalg.norm(centroids[0][:, None] - centroids[1][None], axis=2)
    pairs: list[tuple[int, int]] = []
    if matching == 'centroid':
        for i in range(len(targets)):
            taken = {b for _, b in pairs}
            pairs += [(i, j) for j in range(len(predictions)) if near[i, j] < 3 and j not in taken][:1]
        return pairs
    for rule in ('overlap', 'distance'):
        rows = [i for i in range(len(targets)) if i not in {a for a, _ in pairs}]
        columns = [j for j in range(len(predictions)) if j not in {b for _, b in pairs}]
        if rows and columns:
            for a, b in zip(*optimize.linear_sum_assignment(near[np.ix_(rows, columns)])):
                i, j = rows[a], columns[b]
                if (near[i, j] < 3) if rule == 'distance' else (_iou(targets[i], predictions[j]) >= 0.5):
                    pairs.append((i, j))
    return pairs


def _iou(a: measure._regionprops.RegionProperties, b: measure._regionprops.RegionProperties) -> float:
    first, second = set(map(tuple, a.coords.tolist())), set(map(tuple, b.coords.tolist()))
    return len(first & second) / len(first | second)


def _preset_counts(scores: np.ndarray, mask: np.ndarray, preset: str) -> tuple[int, ...]:
    normalised = preset in ('drpca', 'rpcanet')
    pred = (scores / scores.max() if normalised else scores) > 0.5
    targets = _regions(mask)
    tp, union = (pred & mask).sum(), (pred | mask).sum()
    if preset == 'rpcanet':
        hits = sum(pred[tuple(t.coords.T)].any() for t in targets)
        return hits, len(targets), (pred & ~mask).sum(), (~mask).sum(), tp, union
    if preset == 'shooting':
        boxes = [ndimage.binary_dilation(mask, np.ones((9, 9))), ndimage.binary_dilation(pred, np.ones((3, 3)))]
        hits = sum(boxes[1][tuple(t.coords.T)].any() for t in targets)
        return hits, len(targets), (pred & ~boxes[0]).sum(), mask.size, tp, union
    predictions = _regions(pred)
    pairs = _pairs(targets, predictions, 'opdc' if preset == 'opdc' else 'centroid')
    matched = {b for _, b in pairs}
    areas = {predictions[j].area for j in matched}
    false = sum(
        p.area for j, p in enumerate(predictions) if (p.area not in areas if preset == 'drpca' else j not in matched)
    )
    return len(pairs), len(targets), false, mask.size, tp, union


def _roc_counts(scores: np.ndarray, mask: np.ndarray, threshold: np.float32) -> tuple[int, ...]:
    pred, targets = scores / scores.max() >= threshold, _regions(mask)
    hits = sum(pred[tuple(t.coords.T)].any() for t in targets)
    return (pred & ~mask).sum(), hits, (~mask).sum(), len(targets)


def _sweep_counts(scores: np.ndarray, mask: np.ndarray, threshold: float) -> tuple[int, ...]:
    pred = scores > np.float32(threshold)
    targets, predictions = _regions(mask), _regions(pred)
    pairs = _pairs(targets, predictions, 'centroid')
    false = pred.sum() - sum(predictions[j].area for _, j in pairs)
    return len(pairs), len(targets), false, mask.size, (pred & mask).sum(), pred.sum(), mask.sum()


def main(argv: list[str] | None = None) -> int:
    """Runs the comparison; returns 1 if figures differ or the time is more than a quarter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=1000)
    parser.add_argument('--loop-images', type=int, default=3, help='images the straightforward loop runs on')
    parser.add_argument('--size', type=int, default=512, help='side of the maps in pixels')
    parser.add_argument('--targets', type=int, default=20, help='targets in each image')
    parser.add_argument('--noise', type=float, default=0.02, help='height of the noise under the blobs')
    arguments = parser.parse_args(argv)
    make = [arguments.size, arguments.targets, arguments.noise]

    spent = 0.0
    for index in range(arguments.images):
        image = [make_image(index, *make)]
        start = time.perf_counter()
        evaluate(image)
        spent += time.perf_counter() - start
    each = spent / arguments.images

    images = [make_image(index, *make) for index in range(min(arguments.loop_images, arguments.images))]
    start = time.perf_counter()
    expected = loop(images)
    loop_each = (time.perf_counter() - start) / len(images)
    got = evaluate(images)

    different = [k for k in expected if not np.isclose(got[k], expected[k], rtol=1e-9, atol=0, equal_nan=True)]
    share = each / loop_each
    print(f'{arguments.size} x {arguments.size}, {arguments.targets} targets each, noise {arguments.noise:g}')
    print(f'this project        {each * 1e3:9.1f} ms per image, {arguments.images} images')
    print(f'straightforward     {loop_each * 1e3:9.1f} ms per image, {len(images)} images')
    print(f'share of its time   {share:9.3f}')
    print(f'figures compared    {len(expected):9d}, of which {len(different)} differ {different[:5] or ""}')
    return int(bool(different) or share > 0.25)


if __name__ == '__main__':
    sys.exit(main())
