"""Losses against published figures, straightforward NumPy versions and limits that can be seen by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from drpca import losses
from drpca.errors import UserError
from drpca.losses.base import pool_mask
from drpca.losses.pixel import centre_heatmap
from drpca.registry import MODELS
from tests.reference import load, load_rule_weights, rule_image, rule_mask

GENERATOR = torch.Generator().manual_seed(3)
LOGITS = 3 * torch.randn(2, 1, 12, 10, generator=GENERATOR, dtype=torch.float64)
IMAGE = torch.rand(2, 1, 12, 10, generator=GENERATOR, dtype=torch.float64)
MASK = torch.zeros(2, 1, 12, 10, dtype=torch.float64)
MASK[0, 0, 3:6, 2:4] = 1
MASK[1, 0, 8, 7] = 1
EMPTY = torch.zeros_like(MASK)


def build(name: str, **options: Any) -> losses.Loss:
    return MODELS.build({'type': name, **options})


def value(name: str, output: Tensor = LOGITS, gt_mask: Tensor = MASK, **options: Any) -> float:
    loss = build(name, **options)
    return loss({loss.on[0]: output}, IMAGE.to(output.dtype), gt_mask).item()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


X, M = LOGITS.numpy(), MASK.numpy()
P = sigmoid(X)


def entropy(p: np.ndarray, m: np.ndarray) -> np.ndarray:
    return -m * np.log(p) - (1 - m) * np.log(1 - p)


def ratios(numerator: float, smooth: float, per_image: bool, dice: bool) -> float:
    groups = [(P[0], M[0]), (P[1], M[1])] if per_image else [(P, M)]
    values = []
    for p, m in groups:
        both = (p * m).sum()
        values.append((numerator * both + smooth) / (p.sum() + m.sum() - (not dice) * both + smooth))
    return 1 - float(np.mean(values))


@pytest.mark.parametrize('per_image', [True, False])
@pytest.mark.parametrize('smooth', [0.0, 1.0])
def test_overlap_losses(per_image: bool, smooth: float) -> None:
    options = {'per_image': per_image, 'smooth': smooth}
    assert value('SoftIoULoss', **options) == pytest.approx(ratios(1, smooth, per_image, dice=False))
    assert value('DiceLoss', **options) == pytest.approx(ratios(2, smooth, per_image, dice=True))


def test_pixel_losses() -> None:
    assert value('BCELoss') == pytest.approx(entropy(P, M).mean())
    assert value('MaskMSELoss') == pytest.approx(((P - M) ** 2).mean())
    focal = np.where(M > 0, (1 - P) ** 2, P**2) * entropy(P, M)
    assert value('FocalLoss') == pytest.approx(focal.sum() / M.sum())
    assert value('FocalLoss', gt_mask=EMPTY) == pytest.approx((P**2 * entropy(P, 0 * M)).sum())
    assert value('FidelityLoss', output=LOGITS) == pytest.approx(0.1 * np.square(X - IMAGE.numpy()).mean())


def test_focal_iou() -> None:
    p = 0.999 * (P - 0.5) + 0.5
    both = (p * M).sum()
    iou = (both + 1) / (p.sum() + M.sum() - both + 1)
    b = entropy(p, M)
    f = (1 - np.exp(-b)) ** 2 * b
    expected = (np.where(M > 0, 0.75, 0.25) * (1 - iou) * f ** (0.5 + 0.5 * iou)).sum()
    assert value('FocalIoULoss') == pytest.approx(expected)


@pytest.mark.parametrize(('smooth', 'per_image'), [(1.0, False), (0.0, True)])
def test_edge_loss(smooth: float, per_image: bool) -> None:
    padded = np.pad(M, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    columns = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    edge = np.sqrt(rows**2 + columns**2 + 1e-6)
    assert edge.max() > 1, 'corners of the target exceed 1, as published'
    twice = sigmoid(P)
    parts = []
    for p, g in zip(twice, edge) if per_image else [(twice, edge)]:
        parts.append(((p * g).sum() + smooth) / (p.sum() + g.sum() - (p * g).sum() + smooth))
    expected = 10 * entropy(P, edge).mean() + 1 - np.mean(parts)
    assert value('EdgeLoss', smooth=smooth, per_image=per_image) == pytest.approx(expected)


class TestSLSIoU:
    """The published figures of MSHNet's loss, on the published network with weights by rule."""

    HEADS = ('target', 'aux1', 'aux2', 'aux3', 'aux4')

    @pytest.mark.parametrize('case', [c for c in load('comparator_cases.json.gz') if c['model'] == 'MSHNet'])
    def test_published_values(self, case: dict[str, Any]) -> None:
        batch, channels, height, width = case['input_shape']
        network = MODELS.build({'type': 'MSHNet', 'in_channels': channels}).double().eval()
        load_rule_weights(network, case)
        grey = rule_image(batch, height, width)
        image = grey
        if channels == 3:
            mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None]
                         for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # fmt: skip
            image = (grey - mean) / std
        with torch.no_grad():
            outputs = dict(zip(network.outputs, network(image), strict=True))
        expected = case['published_loss_eval_mode']
        gt_mask = rule_mask(batch, height, width)
        final = build('SLSIoULoss', warm_epoch=5)
        final.set_epoch(1)
        warm = final(outputs, grey, gt_mask).item()
        assert warm == pytest.approx(expected['final_only_warm (epoch 1, warm_epoch 5)'], rel=1e-12)
        final.set_epoch(6)
        main = final(outputs, grey, gt_mask).item()
        assert main == pytest.approx(expected['final_only_main (epoch 6, warm_epoch 5)'], rel=1e-12)
        all_five = build('SLSIoULoss', on=self.HEADS)(outputs, grey, gt_mask).item()
        assert all_five == pytest.approx(expected['all_five_mean_main'], rel=1e-12)

    def test_warm_up_acts_on_outputs_of_its_own_and_lasts_as_long_as_published(self) -> None:
        loss = build('SLSIoULoss', on=['target', 'aux1'], warm_epoch=5, warm_on='aux1')
        outputs = {'target': LOGITS.clone().requires_grad_(), 'aux1': LOGITS.clone().requires_grad_()}
        loss.set_epoch(5)
        loss(outputs, IMAGE, MASK).backward()
        assert outputs['target'].grad is None
        assert outputs['aux1'].grad.abs().sum() > 0
        loss.set_epoch(6)
        loss(outputs, IMAGE, MASK).backward()
        assert outputs['target'].grad.abs().sum() > 0

    def test_without_epochs_there_is_no_warm_up(self) -> None:
        told = build('SLSIoULoss')
        told.set_epoch(100)
        outputs = {'target': LOGITS}
        assert build('SLSIoULoss')(outputs, IMAGE, MASK) == told(outputs, IMAGE, MASK)

    def test_nothing_predicted_where_nothing_is_has_a_finite_gradient(self) -> None:
        logits = torch.full((1, 1, 8, 8), -200.0, requires_grad=True)
        loss = build('SLSIoULoss')({'target': logits}, torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()

    def test_location_term(self) -> None:
        assert losses.location_loss(MASK, MASK).item() == pytest.approx(0, abs=1e-6)
        moved = MASK.roll((2, 3), dims=(2, 3))
        assert losses.location_loss(moved, MASK).item() > 0.1


@pytest.mark.parametrize('kind', ['SoftIoU', 'Dice', 'BCE', 'MaskMSE', 'Focal', 'FocalIoU'])
@pytest.mark.parametrize('gt_mask', [MASK, EMPTY], ids=['targets', 'empty'])
def test_a_perfect_prediction_costs_nothing_and_gradients_point_to_it(kind: str, gt_mask: Tensor) -> None:
    name, perfect = f'{kind}Loss', 40 * (2 * gt_mask - 1)
    # FocalIoU never lets a score come closer to 0 or 1 than 0.0005.
    assert value(name, perfect, gt_mask) == pytest.approx(0, abs=2e-3 if name == 'FocalIoULoss' else 1e-9)
    logits = torch.zeros_like(gt_mask, requires_grad=True)
    build(name)({'target': logits}, IMAGE, gt_mask).backward()
    if gt_mask.any():
        assert (logits.grad[gt_mask > 0] < 0).all()
    assert (logits.grad[gt_mask == 0] > 0).all()


def test_several_outputs_are_averaged_or_summed() -> None:
    outputs = {'target': LOGITS, 'aux1': -LOGITS}
    single = [value('BCELoss', output) for output in outputs.values()]
    mean = build('BCELoss', on=['target', 'aux1'])(outputs, IMAGE, MASK).item()
    total = build('BCELoss', on=['target', 'aux1'], over='sum', weight=0.5)(outputs, IMAGE, MASK).item()
    assert mean == pytest.approx(sum(single) / 2)
    assert total == pytest.approx(0.5 * sum(single))


def test_masks_are_max_pooled_to_the_output() -> None:
    gt_mask = torch.zeros(1, 1, 16, 24)
    gt_mask[0, 0, 5, 9] = gt_mask[0, 0, 15, 23] = 1
    pooled = pool_mask(gt_mask, torch.zeros(1, 1, 4, 6))
    assert torch.equal(pooled, torch.nn.functional.max_pool2d(gt_mask, 4))
    assert pool_mask(gt_mask[..., :13, :21], torch.zeros(1, 1, 4, 6)).sum() == 1, 'sizes that do not divide'
    small = torch.zeros(1, 1, 4, 6)
    assert build('BCELoss', on='aux2')({'aux2': small}, gt_mask, gt_mask).item() == pytest.approx(np.log(2))


def test_half_precision_outputs_are_summed_in_float32() -> None:
    half = LOGITS.bfloat16()
    loss = build('SoftIoULoss')({'target': half}, IMAGE.float(), MASK.float())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(value('SoftIoULoss', half.float(), MASK.float()), rel=1e-6)


def test_centre_heatmap() -> None:
    gt_mask = torch.zeros(1, 1, 20, 24)
    gt_mask[0, 0, 6:9, 10:13] = 1
    gt_mask[0, 0, 0, 0] = 1
    heat = centre_heatmap(gt_mask)[0, 0]
    assert heat[7, 11] == heat[0, 0] == 1
    assert heat[7, 12].item() == pytest.approx(np.exp(-1 / (2 * (7 / 6) ** 2)))
    assert heat[9, 13].item() == pytest.approx(np.exp(-8 / (2 * (7 / 6) ** 2)))
    assert torch.count_nonzero(heat) == 49 + 16, 'a square of 7 × 7, and the quarter of one inside the image'
    assert torch.count_nonzero(centre_heatmap(torch.zeros(2, 1, 8, 8))) == 0
    perfect = torch.logit(heat.clamp(1e-6, 1 - 1e-6))[None, None]
    loss = build('CentreLoss', on='aux1')({'aux1': perfect}, gt_mask, gt_mask)
    assert loss.item() == pytest.approx(0, abs=1e-10)


def test_cross_entropy_brings_back_scores_that_have_sunk_to_0() -> None:
    logits = torch.full_like(MASK, -1000.0, requires_grad=True)
    for name in ('SoftIoULoss', 'BCELoss'):
        (gradient,) = torch.autograd.grad(build(name)({'target': logits}, IMAGE, MASK), logits)
        assert bool((gradient[MASK > 0] < 0).all()) == (name == 'BCELoss')
        assert bool((gradient == 0).all()) == (name == 'SoftIoULoss')


def test_l1_is_the_mean_score_and_has_the_gradient_that_the_published_count_lacks() -> None:
    logits = LOGITS.clone().requires_grad_()
    assert not (logits > 0).double().mean().requires_grad, "the published term's graph ends here"
    loss = build('L1Loss', weight=0.2)({'target': logits}, IMAGE, MASK)
    assert loss.item() == pytest.approx(0.2 * P.mean())
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), 0.2 * P * (1 - P) / P.size, rtol=1e-9)
    sharp = value('L1Loss', 1e6 * LOGITS)
    assert sharp == pytest.approx((X > 0).mean()), 'where scores are 0 or 1 it is the published count'


class TestLowRank:
    @staticmethod
    def of(background: Tensor) -> float:
        image = torch.zeros_like(background)
        return build('LowRankLoss', weight=1.0)({'background': background}, image, image).item()

    def test_against_numpy(self) -> None:
        background = torch.randn(3, 1, 12, 20, generator=GENERATOR, dtype=torch.float64)
        ratios = [np.linalg.norm(b, 'nuc') / np.linalg.norm(b) for b in background[:, 0].numpy()]
        assert self.of(background) == pytest.approx(np.mean(ratios) / np.sqrt(12), rel=1e-12)

    def test_range_and_scale(self) -> None:
        row, column = torch.rand(16, generator=GENERATOR), torch.rand(9, generator=GENERATOR)
        rank_one = torch.outer(row, column)[None, None]
        assert self.of(rank_one) == pytest.approx(1 / 3, rel=1e-5)
        assert self.of(100 * rank_one) == pytest.approx(1 / 3, rel=1e-5), 'a smaller B is not a lower rank'
        assert self.of(torch.eye(16)[None, None]) == pytest.approx(1, rel=1e-5)
        assert self.of(torch.rand(1, 1, 64, 64, generator=GENERATOR)) < 1

    def test_nothing_has_a_finite_gradient(self) -> None:
        background = torch.zeros(1, 1, 8, 8, requires_grad=True)
        build('LowRankLoss')({'background': background}, torch.zeros(1, 1, 8, 8), EMPTY).backward()
        assert background.grad.isfinite().all()

    def test_it_lowers_the_rank(self) -> None:
        """A rank-2 image in noise: with the penalty the fit drops the noise, without it keeps it."""

        def fit(weight: float) -> np.ndarray:
            generator = torch.Generator().manual_seed(0)
            clean = torch.rand(24, 2, generator=generator) @ torch.rand(2, 24, generator=generator)
            image = (clean + 0.05 * torch.randn(24, 24, generator=generator))[None, None]
            background = image.clone().requires_grad_()
            optimiser = torch.optim.SGD([background], lr=20.0)
            penalty = build('LowRankLoss', weight=weight)
            for _ in range(200):
                optimiser.zero_grad()
                loss = (background - image).square().mean()
                (loss + penalty({'background': background}, image, EMPTY)).backward()
                optimiser.step()
            values = np.linalg.svd(background.detach()[0, 0].numpy(), compute_uv=False)
            assert values[0] > 5, 'the background is still there'
            return values / values[0]

        assert (fit(0.0) > 0.01).sum() > 10
        assert (fit(0.1) > 0.01).sum() == 2


class TestWeights:
    @staticmethod
    def scheduled(**options: Any) -> losses.Loss:
        return build('L1Loss', weight={'type': 'ScheduledWeight', 'start': 1.0, 'end': 3.0, **options})

    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            ({'epochs': 4}, [1, 1.5, 2, 2.5, 3, 3, 3]),
            ({'epochs': 2, 'begin': 3}, [1, 1, 1, 1, 2, 3, 3]),
            ({'epochs': 4, 'shape': 'cosine'}, [1, 2 - 0.5**0.5, 2, 2 + 0.5**0.5, 3, 3, 3]),
            ({}, [1 + epoch / 3 for epoch in range(7)]),
            ({'begin': 4}, [1, 1, 1, 1, 1, 2, 3]),
        ],
    )
    def test_scheduled(self, options: dict[str, Any], expected: list[float]) -> None:
        loss = self.scheduled(**options)
        for epoch, weight in enumerate(expected):
            loss.set_epoch(epoch, last_epoch=6)
            assert loss.weight.current().item() == pytest.approx(weight)
            assert loss({'target': LOGITS}, IMAGE, MASK).item() == pytest.approx(weight * P.mean())

    def test_without_epochs_the_schedule_is_over(self) -> None:
        assert self.scheduled(epochs=9)({'target': LOGITS}, IMAGE, MASK).item() == pytest.approx(3 * P.mean())

    def test_a_term_with_a_schedule_of_its_own_passes_the_epoch_on(self) -> None:
        weight = {'type': 'ScheduledWeight', 'start': 0.0, 'end': 1.0, 'epochs': 2}
        loss = build('SLSIoULoss', weight=weight, warm_epoch=0)
        loss.set_epoch(1)
        assert (loss.warm, loss.weight.current().item()) == (False, 0.5)

    def test_learned_weights_start_where_told_and_reach_the_optimum(self) -> None:
        """Of e^(−s)·L + s: s = log L, and both terms then weigh the same."""
        weight = {'type': 'LearnedWeight', 'start': 0.1}
        terms = [build('L1Loss', weight=weight), build('FidelityLoss', weight=weight, on='target')]
        sizes = [value('L1Loss'), value('FidelityLoss', weight=1.0)]
        for term, size in zip(terms, sizes):
            assert term.weight.current().item() == pytest.approx(0.1)
            first = term({term.on[0]: LOGITS}, IMAGE, MASK)
            assert first.item() == pytest.approx(0.1 * size - np.log(0.1))
        optimiser = torch.optim.Adam([p for term in terms for p in term.parameters()], lr=0.05)
        for _ in range(400):
            optimiser.zero_grad()
            sum(term({'target': LOGITS}, IMAGE, MASK) for term in terms).backward()
            optimiser.step()
        for term, size in zip(terms, sizes):
            assert term.weight.log_variance.item() == pytest.approx(np.log(size), abs=1e-3)
            assert term.weight.current().item() * size == pytest.approx(1, abs=1e-3)

    @pytest.mark.parametrize(
        ('weight', 'message'),
        [
            ({'type': 'LearnedWeight', 'start': 0.0}, 'start must be above 0, got 0.0'),
            ({'type': 'ScheduledWeight', 'start': 0, 'end': 1, 'epochs': 0}, 'epochs must be at least 1'),
            ({'type': 'ScheduledWeight', 'start': 0, 'end': 1, 'shape': 'step'}, "'linear' or 'cosine'"),
        ],
    )
    def test_bad_options(self, weight: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            build('BCELoss', weight=weight)


def test_an_output_of_several_stages_is_averaged_over_them() -> None:
    loss = build('BCELoss', on=['stages', 'aux1'])
    both = loss({'stages': [LOGITS, -LOGITS], 'aux1': 2 * LOGITS}, IMAGE, MASK).item()
    single = [value('BCELoss', output) for output in (LOGITS, -LOGITS, 2 * LOGITS)]
    assert both == pytest.approx(sum(single) / 3)


def test_losses_say_what_they_act_on() -> None:
    assert build('BCELoss', on=['target', 'stages']).inputs == {'target', 'stages'}
    assert build('SLSIoULoss', warm_on='stages').inputs == {'target', 'stages'}


def test_bad_options_say_what_fits() -> None:
    with pytest.raises(UserError, match="'mean' or 'sum', got 'max'"):
        build('BCELoss', over='max')
    with pytest.raises(UserError, match='at least one output'):
        build('BCELoss', on=[])
    with pytest.raises(UserError, match='acts on aux1, but the network returns target'):
        build('BCELoss', on=['target', 'aux1'])({'target': LOGITS}, IMAGE, MASK)
