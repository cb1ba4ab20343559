"""Independent oracle: every definition written out as plain loops over scikit-image regions, one image at a
time.

Slow on purpose and sharing nothing with ``drpca.evaluation``; also the yardstick of
tools/benchmark_evaluation.py.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from skimage import measure


def regions(mask):
    """8-connected regions in scan order."""
    return measure.regionprops(measure.label(mask.astype(int), connectivity=2))


def distance(a, b):
    """Distance of two centroids."""
    return float(np.linalg.norm(np.asarray(a.centroid) - np.asarray(b.centroid)))


def match_first_near(targets, predictions, limit=3):
    """Pairs (target, prediction) of the DNANet rule."""
    pairs, free = [], list(range(len(predictions)))
    for i, target in enumerate(targets):
        for j in free:
            if distance(target, predictions[j]) < limit:
                pairs.append((i, j))
                free.remove(j)
                break
    return pairs


def least_total(table):
    """Assignment with the least total by trying all: list of (row, column). For small tables without ties."""
    rows, columns = table.shape
    if rows > columns:
        return [(row, column) for column, row in least_total(table.T)]
    choices = permutations(range(columns), rows)
    best = min(choices, key=lambda c: sum(table[i, j] for i, j in enumerate(c)))
    return list(enumerate(best))


def match_opdc(targets, predictions, overlap=0.5, limit=3):
    """Pairs of the OPDC rule, by exhaustive search."""

    def iou(a, b):
        a, b = set(map(tuple, a.coords)), set(map(tuple, b.coords))
        return len(a & b) / len(a | b)

    pairs = []
    for valid in (lambda a, b: iou(a, b) >= overlap, lambda a, b: distance(a, b) < limit):
        left = [i for i in range(len(targets)) if i not in [p[0] for p in pairs]]
        free = [j for j in range(len(predictions)) if j not in [p[1] for p in pairs]]
        if left and free:
            table = np.array([[distance(targets[i], predictions[j]) for j in free] for i in left])
            for a, b in least_total(table):
                if valid(targets[left[a]], predictions[free[b]]):
                    pairs.append((left[a], free[b]))
    return pairs


def hits_and_false_pixels(pred, gt, preset):
    """(hits, false-alarm pixels, denominator) of one image for binary maps."""
    targets, predictions = regions(gt), regions(pred)
    if preset == 'rpcanet':
        if not targets:
            return 0, 0, 0
        hits = sum(any(pred[r, c] for r, c in target.coords) for target in targets)
        return hits, int((pred & ~gt).sum()), int((~gt).sum())
    if preset == 'shooting':
        hits, allowed = 0, np.zeros(gt.shape, dtype=bool)
        for target in targets:
            hit = False
            for r, c in target.coords:
                hit = hit or pred[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].any()
                allowed[max(0, r - 4) : r + 5, max(0, c - 4) : c + 5] = True
            hits += bool(hit)
        return hits, int((pred & ~allowed).sum()), gt.size
    match = match_opdc if preset == 'opdc' else match_first_near
    pairs = match(targets, predictions)
    matched = {j for _, j in pairs}
    if preset == 'drpca':
        areas = [predictions[j].area for j in matched]
        false = sum(p.area for p in predictions if p.area not in areas)
    else:
        false = sum(p.area for j, p in enumerate(predictions) if j not in matched)
    return len(pairs), int(false), gt.size


def binary(scores, preset):
    """The binary map of a preset."""
    if preset in ('rpcanet', 'drpca'):
        return scores / scores.max() > 0.5 if scores.max() > 0 else np.zeros(scores.shape, dtype=bool)
    return scores > 0.5


def published_roc(images):
    """False-alarm rate and detection rate at the 201 thresholds, over (scores, gt) pairs."""
    false, hits, background, count = np.zeros(201), np.zeros(201), 0, 0
    for scores, gt in images:
        targets = regions(gt)
        if not targets:
            continue
        background += (~gt).sum()
        count += len(targets)
        if scores.max() == 0:
            continue
        normalised = scores / scores.max()
        for i in range(201):
            pred = normalised >= np.float32(i / 200)
            false[i] += (pred & ~gt).sum()
            hits[i] += sum(any(pred[r, c] for r, c in target.coords) for target in targets)
    return false / background, hits / count


def fixed_threshold_counts(images, threshold):
    """hits, false pixels, false components, true positive and predicted pixels at values > threshold."""
    total = np.zeros(5, dtype=int)
    for values, gt in images:
        pred = values > threshold
        predictions = regions(pred)
        pairs = match_first_near(regions(gt), predictions)
        matched = sum(int(predictions[j].area) for _, j in pairs)
        total += len(pairs), pred.sum() - matched, len(predictions) - len(pairs), (pred & gt).sum(), pred.sum()
    return total.tolist()
