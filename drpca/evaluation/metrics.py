"""Accumulating metrics: per-image counts, pooled over a data set, for any number of protocols at once.

One image is labelled once: the mask's components, each binary map and its components are shared by all
protocols that need them, and made only if one does. What is kept of an image is a handful of counts, so that
evaluation can be split over processes and merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from drpca.errors import UserError
from drpca.evaluation import functional as F
from drpca.evaluation.protocols import Protocol, build_protocols
from drpca.registry import METRICS


class ImageCase:
    """One score map with its mask, and everything derived from the two that protocols share.

    Args:
        scores: (H, W) in [0, 1].
        gt_mask: (H, W) bool, of which each component is a target; or the targets.
        name: What messages and tables call the image.
        logits: (H, W), of which the scores are the sigmoid.

    Raises:
        UserError: As :func:`drpca.evaluation.functional.check_pair`.
    """

    def __init__(
        self,
        scores: np.ndarray,
        gt_mask: np.ndarray | F.Components,
        name: str = 'image',
        logits: np.ndarray | None = None,
    ) -> None:
        self.name, self.logits = name, logits
        mask = gt_mask.mask if isinstance(gt_mask, F.Components) else gt_mask
        self.scores, self.gt_mask = F.check_pair(scores, mask, name)
        self._known = gt_mask if isinstance(gt_mask, F.Components) else self.gt_mask
        self._pred_masks: dict[tuple[str, float], np.ndarray] = {}
        self._predictions: dict[tuple[str, float], F.Components] = {}

    @cached_property
    def targets(self) -> F.Components:
        """Components of the mask, or those that are known."""
        return F.connected_components(self._known)

    def peak(self, components: F.Components, index: int) -> tuple[float, float]:
        """Highest score, and highest logit (NaN without logits), on a component."""
        box = components.boxes[index]
        inside = components.labels[box] == index + 1
        logit = float('nan') if self.logits is None else float(self.logits[box][inside].max())
        return float(self.scores[box][inside].max()), logit

    def pred_mask(self, protocol: Protocol) -> np.ndarray:
        """(H, W) bool: the binary map of a protocol."""
        key = (protocol.binarisation, protocol.threshold)
        if key not in self._pred_masks:
            self._pred_masks[key] = F.binarise(self.scores, protocol.threshold, protocol.binarisation == 'max')
        return self._pred_masks[key]

    def predictions(self, protocol: Protocol) -> F.Components:
        """Components of the binary map of a protocol."""
        key = (protocol.binarisation, protocol.threshold)
        if key not in self._predictions:
            self._predictions[key] = F.connected_components(self.pred_mask(protocol))
        return self._predictions[key]

    def match(self, protocol: Protocol) -> F.Matching:
        """Which targets are detected under a protocol."""
        if protocol.matching == 'overlap':
            return F.match_overlap(self.targets, self.pred_mask(protocol))
        if protocol.matching == 'box':
            return F.match_box(self.targets, self.pred_mask(protocol), protocol.hit_radius)
        if protocol.matching == 'centroid':
            return F.match_centroid(self.targets, self.predictions(protocol), protocol.distance)
        return F.match_optimal(self.targets, self.predictions(protocol), protocol.overlap, protocol.distance)

    def false_alarm_pixels(self, protocol: Protocol, matching: F.Matching) -> int:
        """Pixels that a protocol counts as false alarms."""
        if protocol.false_alarms == 'outside_targets':
            return F.pixel_counts(self.pred_mask(protocol), self.gt_mask)[1]
        if protocol.false_alarms == 'outside_boxes':
            return F.area_outside_boxes(self.targets, self.pred_mask(protocol), protocol.clear_radius)
        if protocol.false_alarms == 'unmatched':
            return F.unmatched_area(self.predictions(protocol), matching)
        return F.unmatched_area_by_value(self.predictions(protocol), matching)


@dataclass(frozen=True)
class ProtocolCounts:
    """What one image adds to the figures of one protocol.

    Attributes:
        tp: True positive pixels.
        fp: False positive pixels.
        fn: False negative pixels.
        targets: Targets.
        hits: Detected targets.
        false_pixels: False-alarm pixels under the protocol's rule.
        pixels: What they are divided by; 0 for an image that the protocol skips.
        errors: Parts of hIoU, for matching rule 'opdc'.
    """

    tp: int
    fp: int
    fn: int
    targets: int
    hits: int
    false_pixels: int
    pixels: int
    errors: F.ErrorCounts | None = None


@dataclass(frozen=True)
class ImageRecord:
    """All that is kept of one image.

    Attributes:
        name: Name of the image.
        counts: By the name of the protocol.
        roc: Its part of the published ROC, the same for all protocols.
    """

    name: str
    counts: dict[str, ProtocolCounts]
    roc: F.RocCounts


def count_image(case: ImageCase, protocol: Protocol) -> ProtocolCounts:
    """Counts of one image under one protocol.

    Without targets an image has ``targets = hits = 0``; its false alarms count unless the protocol skips it.
    Without predictions (an all-zero map always) nothing is hit and nothing false.
    """
    tp, fp, fn = F.pixel_counts(case.pred_mask(protocol), case.gt_mask)
    targets = len(case.targets)
    if targets == 0 and protocol.empty_images == 'skip':
        return ProtocolCounts(tp, fp, fn, 0, 0, 0, 0)
    matching = case.match(protocol)
    errors = None
    if protocol.matching == 'opdc':
        errors = F.error_counts(case.targets, case.predictions(protocol), matching, protocol.overlap, protocol.distance)
    return ProtocolCounts(
        tp,
        fp,
        fn,
        targets,
        hits=int(np.count_nonzero(matching.hit)),
        false_pixels=case.false_alarm_pixels(protocol, matching),
        pixels=case.gt_mask.size - (tp + fn if protocol.over == 'background' else 0),
        errors=errors,
    )


def error_scores(counts: Iterable[F.ErrorCounts]) -> dict[str, float]:
    """hIoU and its decomposition from the counts of images (Pang et al., arXiv 2509.16888).

    hIoU = seg_IoU × loc_IoU. The ``seg_`` parts are means over matched pairs and add up to 1, and so do the
    ``loc_`` parts, shares of all matched pairs, unmatched predictions and unmatched targets. Segmentation
    parts are 0 without a matched pair, all are NaN without any target or prediction. The reference package
    pyirstdmetrics 1.0.2 counts one phantom missed target per image without targets and one phantom false
    alarm per image without predictions; here both are zero.
    """
    total: Counter[str] = Counter()
    for count in counts:
        total.update(vars(count))
    pairs = total['matched']
    components = pairs + total['unmatched_predictions'] + total['unmatched_targets']
    segmentation = {
        'seg_IoU': 'iou',
        'seg_merge': 'merge',
        'seg_interference': 'interference',
        'seg_perception': 'perception',
    }
    localisation = {
        'loc_IoU': pairs,
        'loc_interference': total['lone_predictions'],
        'loc_perception': total['lone_targets'],
        'loc_multiple_to_single': total['unmatched_predictions'] - total['lone_predictions'],
        'loc_single_to_multiple': total['unmatched_targets'] - total['lone_targets'],
    }
    return {
        'hIoU': F.ratio(total['iou'], components, components),
        **{key: F.ratio(total[part], pairs, components) for key, part in segmentation.items()},
        **{key: F.ratio(part, components, components) for key, part in localisation.items()},
    }


def summarise(records: Sequence[ImageRecord], protocol: Protocol) -> dict[str, float]:
    """Figures of a set of images under one protocol; see :meth:`Evaluator.compute`."""
    counts = [record.counts[protocol.name] for record in records]
    tp, fp, fn = np.array([(c.tp, c.fp, c.fn) for c in counts], dtype=np.int64).reshape(-1, 3).T
    targets = sum(c.targets for c in counts)
    pixels = sum(c.pixels for c in counts)
    pooled = F.pixel_scores(int(tp.sum()), int(fp.sum()), int(fn.sum()))
    errors = [c.errors for c in counts if c.errors is not None]
    return {
        'IoU': pooled['IoU'],
        'nIoU': F.normalised_iou(tp, fp, fn),
        'F1': pooled['F1'],
        'precision': pooled['precision'],
        'recall': pooled['recall'],
        'Pd': F.ratio(sum(c.hits for c in counts), targets, targets),
        'Fa': F.ratio(sum(c.false_pixels for c in counts), pixels, pixels),
        'AUC': F.roc_auc(sum((record.roc for record in records), F.RocCounts.zero())),
        'images': len(records),
        'targets': targets,
        **(error_scores(errors) if protocol.matching == 'opdc' else {}),
    }


class Evaluator:
    """Accumulates images and gives the figures of several protocols.

    Args:
        protocols: Names of presets, configurations, or :class:`Protocol` objects; their names must differ.

    Example:
        >>> evaluator = Evaluator(['basicirstd', 'drpca'])
        >>> evaluator.update(scores, gt_mask, 'Misc_1')
        >>> evaluator.compute()['drpca']['Pd']
    """

    def __init__(self, protocols: Sequence[str | dict[str, Any] | Protocol] = ('basicirstd',)) -> None:
        self.protocols = build_protocols(protocols)
        self.records: list[ImageRecord] = []

    def update(self, scores: np.ndarray, gt_mask: np.ndarray | F.Components, name: str | None = None) -> ImageRecord:
        """Adds one image.

        Args:
            scores: (H, W) scores in [0, 1].
            gt_mask: (H, W) bool, or numbers of which those above 0 are target, each component one; or the targets.
            name: Name of the image, by default its number.

        Returns:
            What is kept of it.

        Raises:
            UserError: Sizes differ, or the scores hold NaN or values outside [0, 1].
        """
        case = ImageCase(scores, gt_mask, f'image {len(self.records)}' if name is None else name)
        counts = {protocol.name: count_image(case, protocol) for protocol in self.protocols}
        record = ImageRecord(case.name, counts, F.roc_counts(case.scores, case.targets))
        self.records.append(record)
        return record

    def merge(self, other: Evaluator) -> Evaluator:
        """Adds the images of another evaluator of the same protocols; returns itself."""
        if self.protocols != other.protocols:
            names = [', '.join(p.name for p in evaluator.protocols) for evaluator in (self, other)]
            raise UserError(f'Cannot merge evaluators of different protocols: {names[0]} and {names[1]}.')
        self.records.extend(other.records)
        return self

    def compute(self) -> dict[str, dict[str, float]]:
        """Figures by the name of the protocol.

        Returns:
            For each protocol: ``IoU`` (foreground, pixels pooled over images), ``nIoU`` (mean of the IoU of
            each image), ``F1``, ``precision``, ``recall`` (pooled pixels), ``Pd`` (detected / all targets),
            ``Fa`` (false-alarm pixels / pixels), ``AUC`` (of the published ROC, which is max-normalised and
            the same for all protocols), all ratios; ``images`` and ``targets`` are numbers. Protocols with
            matching rule 'opdc' add ``hIoU`` and its decomposition, see :func:`error_scores`. NaN is 'nothing
            to judge': Pd and AUC without targets, pixel-level figures without target and predicted pixels.
        """
        return {protocol.name: summarise(self.records, protocol) for protocol in self.protocols}


def _as_array(value: Any, name: str) -> np.ndarray:
    """(H, W) array from an array or tensor of shape (H, W) or (1, H, W)."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise UserError(f'{name}: expected shape (H, W) or (1, H, W), got {array.shape}.')
    return array


def _fetch(values: Sequence[Any]) -> Sequence[Any]:
    """Tensors of one shape come from a GPU in one piece: each copy waits for it."""
    on_gpu = all(isinstance(value, torch.Tensor) and value.is_cuda for value in values)
    if on_gpu and len({value.shape for value in values}) == 1:
        return list(torch.stack(list(values)).cpu())
    return values


@METRICS.register_module()
class TargetMetric(BaseMetric):
    """Figures of a validation or test run in MMEngine.

    Each sample is a dict with ``name`` (str), ``scores`` (H, W) in [0, 1] and ``gt_mask`` (H, W) bool, arrays
    or tensors. The figures of the first protocol are called ``IoU``, ``nIoU``, ``F1``, ``Pd``, ``Fa``, …;
    those of further ones ``drpca/IoU`` and so on. Of joined data sets, named in ``dataset_meta['parts']`` and
    before the samples' names (``SIRSTv1/Misc_1``), these are the figures of the union; each one's own are
    ``SIRSTv1/IoU``, ``SIRSTv1/drpca/IoU``.

    Args:
        protocols: Names of presets or configurations.
        collect_device: Device for collecting the counts of several processes, 'cpu' or 'gpu'.
        prefix: Put before all names as ``prefix/``.
    """

    default_prefix = ''

    def __init__(
        self,
        protocols: Sequence[str | dict[str, Any]] = ('basicirstd',),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.protocols = build_protocols(protocols)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts one batch.

        Args:
            data_batch: Not used.
            data_samples: One dict per image.

        Raises:
            UserError: As :meth:`Evaluator.update`.
        """
        maps = zip(*(_fetch([sample[key] for sample in data_samples]) for key in ('scores', 'gt_mask')))
        for sample, (scores, gt_mask) in zip(data_samples, maps):
            name = str(sample.get('name', f'image {len(self.results)}'))
            evaluator = Evaluator(self.protocols)
            self.results.append(evaluator.update(_as_array(scores, name), _as_array(gt_mask, name), name))

    def compute_metrics(self, results: list[ImageRecord]) -> dict[str, float]:
        """Figures of all images of all processes."""
        figures: dict[str, float] = {}
        for part in ('', *(f'{name}/' for name in (self.dataset_meta or {}).get('parts', ()))):
            records = [record for record in results if record.name.startswith(part)]
            for index, protocol in enumerate(self.protocols):
                lead = part + f'{protocol.name}/' * (index > 0)
                figures.update({lead + key: value for key, value in summarise(records, protocol).items()})
        return figures
