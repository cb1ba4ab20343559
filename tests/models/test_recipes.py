"""What the recipes switch on: supervision of stages, terms on B, learned weights, the signed subtraction."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from drpca import load_weights
from drpca.cli import train as train_command
from drpca.config import config_folder, find_config, list_configs, load_config
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import DATASETS, MODELS
from tests.support import decomposing_networks, small, train_one_step

DECOMPOSING = decomposing_networks()
PLAIN = {'soft_iou': {'type': 'SoftIoULoss'}, 'fidelity': {'type': 'FidelityLoss'}}
STAGES = {'stages': {'type': 'SoftIoULoss', 'on': 'stages'}}
ABLATIONS = sorted(path.stem for path in (config_folder() / 'ablations').glob('*.py'))
BEST = sorted(name for name in list_configs() if name.endswith('_synthetic_best'))
SIDE = 48
GENERATOR = torch.Generator().manual_seed(5)
IMAGE = torch.rand(2, 1, 33, 40, generator=GENERATOR)
MASK = torch.zeros(2, 1, 33, 40)
MASK[:, :, 10:13, 20:23] = 1


def detector(name: str, losses: dict[str, Any], **options: Any) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel({**small(name), **options}, losses).train()


@pytest.mark.parametrize('name', DECOMPOSING)
def test_terms_of_the_decomposition_leave_the_others_as_they_are(name: str) -> None:
    more = {**PLAIN, **STAGES, 'low_rank': {'type': 'LowRankLoss', 'weight': 0.0}}
    plain, extended = detector(name, PLAIN), detector(name, more)
    expected, values = (model(IMAGE, MASK, mode='loss') for model in (plain, extended))
    assert all(torch.equal(values[key], expected[key]) for key in expected)
    assert set(values) - set(expected) == {'loss_stages', 'loss_low_rank'}
    for terms in (expected, values):
        (terms['loss_soft_iou'] + terms['loss_fidelity']).backward()
    for (key, a), b in zip(plain.network.named_parameters(), extended.network.parameters()):
        assert (a.grad is None) == (b.grad is None), key
        assert a.grad is None or torch.equal(a.grad, b.grad), key


def test_training_decomposes_only_where_a_loss_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    decompose = DetectionModel.decompose
    monkeypatch.setattr(
        DetectionModel, 'decompose', lambda self, image: calls.append('decompose') or decompose(self, image)
    )
    detector('RPCANet', PLAIN)(IMAGE, MASK, mode='loss')
    assert calls == []
    model = detector('RPCANet', {**PLAIN, 'late': {'type': 'SLSIoULoss', 'warm_on': 'stages'}})
    for mode in ('tensor', 'predict'):
        model(IMAGE, MASK, ('first', 'second'), mode)
    assert calls == []
    model(IMAGE, MASK, mode='loss')
    assert calls == ['decompose']


@pytest.mark.parametrize('name', [name for name in DECOMPOSING if 'num_stages' in small(name)])
def test_the_target_of_every_stage_is_supervised(name: str) -> None:
    """Where the second stage hears nothing from the first, only deep supervision teaches the first."""

    class Deaf(nn.Module):
        def __init__(self, stage: nn.Module) -> None:
            super().__init__()
            self.stage = stage
            for step in ('lowrank', 'sparse', 'merge'):  # RPCANet++ calls the steps itself
                setattr(self, step, lambda *args, step=step: getattr(stage, step)(*map(_detached, args)))

        def forward(self, state: Any, reconstruct: bool = True) -> Any:
            return self.stage(_detached(state), reconstruct)

    def gradients(losses: dict[str, Any]) -> set[str]:
        model = detector(name, losses)
        model.network.decos[1] = Deaf(model.network.decos[1])
        sum(model(IMAGE, MASK, mode='loss').values()).backward()
        return {
            key
            for key, value in model.network.decos[0].named_parameters()
            if value.grad is not None and value.grad.any()
        }

    first_stage = dict(detector(name, PLAIN).network.decos[0].named_parameters())
    learning = {key for key in first_stage if key.startswith('sparse.')}
    assert not gradients(PLAIN) & learning
    # Biases before a BatchNorm cancel, and a dead unit has none: not all, but nearly.
    assert len(gradients(STAGES) & learning) > 0.7 * len(learning)


def _detached(state: Any) -> Any:
    if isinstance(state, Tensor) or state is None:
        return None if state is None else state.detach()
    values = [_detached(value) for value in state]
    return type(state)(*values) if hasattr(state, '_fields') else tuple(values)


def test_stages_and_background_are_those_of_the_decomposition() -> None:
    losses = {**STAGES, 'low_rank': {'type': 'LowRankLoss', 'weight': 2.0}}
    model = detector('RPCANetPlus', losses).eval()
    with torch.no_grad():
        values, states = model(IMAGE, MASK, mode='loss'), model.network.decompose(IMAGE)
    single = [model.losses['stages']({'stages': [state.target]}, IMAGE, MASK) for state in states]
    assert single[0] != single[1]
    torch.testing.assert_close(values['loss_stages'], sum(single) / 2)
    low_rank = model.losses['low_rank']({'background': states[-1].background}, IMAGE, MASK)
    torch.testing.assert_close(values['loss_low_rank'], low_rank)


def test_networks_without_decomposition_say_so() -> None:
    with pytest.raises(UserError, match='ACM has no decomposition'):
        DetectionModel({'type': 'ACM'}, STAGES)


class TestChangingWeights:
    LOSSES = {
        'soft_iou': {'type': 'SoftIoULoss', 'weight': {'type': 'LearnedWeight', 'start': 2.0}},
        'fidelity_loss': {'type': 'FidelityLoss', 'weight': {'type': 'ScheduledWeight', 'start': 1, 'end': 3}},
        'l1': {'type': 'L1Loss', 'weight': 0.2},
    }

    def test_they_are_logged_and_not_added(self) -> None:
        model = detector('RPCANet', self.LOSSES)
        values = model(IMAGE, MASK, mode='loss')
        total, log = model.parse_losses(values)
        terms = [value for key, value in values.items() if key.startswith('loss_')]
        assert len(terms) == 3
        torch.testing.assert_close(total, sum(terms))
        assert {key: value.item() for key, value in log.items() if 'weight' in key} == {
            'weight_soft_iou': pytest.approx(2.0),
            'weight_fidelity_': 3.0,
        }

    def test_they_learn_and_stay_out_of_the_network(self, tmp_path: Path) -> None:
        model = detector('RPCANet', self.LOSSES)
        assert set(model.network.state_dict()) == set(detector('RPCANet', PLAIN).network.state_dict())
        sum(value for key, value in model(IMAGE, MASK, mode='loss').items() if 'loss' in key).backward()
        assert model.losses['soft_iou'].weight.log_variance.grad.abs() > 0
        torch.save({'state_dict': model.state_dict()}, tmp_path / 'best.pth')
        network = MODELS.build(small('RPCANet'))
        load_weights(network, tmp_path / 'best.pth')
        assert torch.equal(network.decos[1].sparse.epsilon, model.network.decos[1].sparse.epsilon)


def test_an_interrupted_run_goes_on_with_its_learned_and_scheduled_weights(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged weights too: interrupted within the second epoch, resumed, the same in the end."""
    config = tmp_path / 'changing.py'
    config.write_text(f"""
_base_ = {str(find_config('rpcanet_synthetic'))!r}
model = dict(
    network=dict(num_stages=1, channels=8),
    losses=dict(
        soft_iou=dict(weight=dict(type='LearnedWeight')),
        fidelity=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=1.0, end=0.0)),
    ),
)
train_dataloader = dict(dataset=dict(size=32))
val_dataloader = dict(dataset=dict(size=32))
test_dataloader = dict(dataset=dict(size=32))
optim_wrapper = dict(optimizer=dict(lr=0.05))
""")

    def train(work: str, *more: str) -> int:
        options = ['--epochs', '3', '--batch-size', '2', '--workers', '0', '--ema', '0.1', *more]
        return train_command.main(
            [str(config), '--data-root', str(data_root), '--work-dir', str(tmp_path / work), *options]
        )

    def last(work: str) -> dict[str, Any]:
        return torch.load(tmp_path / work / 'changing' / 'seed_0' / 'last.pth', weights_only=True)

    assert train('whole') == 0
    train_step, steps = DetectionModel.train_step, []

    def interrupted(self: DetectionModel, *args: Any, **kwargs: Any) -> Any:
        steps.append(None)
        if len(steps) == 9:  # seven in an epoch
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(self, *args, **kwargs)

    monkeypatch.setattr(DetectionModel, 'train_step', interrupted)
    assert train('broken') == 130
    monkeypatch.undo()
    assert last('broken')['meta']['iter'] == 9
    assert train('broken', '--resume') == 0
    whole, resumed = last('whole'), last('broken')
    name = 'losses.soft_iou.weight.log_variance'
    assert whole['state_dict'][name] != 0
    assert whole['ema_state_dict'][f'module.{name}'] != whole['state_dict'][name]
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(whole[part][key], resumed[part][key]) for key in whole[part])


class TestSignedSubtraction:
    def test_the_difference_reaches_the_convolution_with_its_sign(self) -> None:
        smallest = {}
        for signed in (False, True):
            model = detector('LRRNet', {}, signed_subtraction=signed)
            block = model.network.out_resblock
            block.conv_1.register_forward_pre_hook(
                lambda module, inputs, signed=signed: smallest.update({signed: inputs[0].min().item()})
            )
            model(IMAGE)
        assert smallest[False] == 0
        assert smallest[True] < -1

    def test_parameters_are_the_published_ones_and_the_default_is_as_published(self) -> None:
        published, signed = detector('LRRNet', {}), detector('LRRNet', {}, signed_subtraction=True)
        signed.network.load_state_dict(published.network.state_dict())
        default = detector('LRRNet', {}, signed_subtraction=False)
        with torch.no_grad():
            expected, same, other = (model(IMAGE)['target'] for model in (published, default, signed))
        assert torch.equal(expected, same)
        assert (expected - other).abs().max() > 0.1


def test_carried_noise_changes_the_second_stage_alone() -> None:
    carried, published = (detector('RPCANetPlus', {}, carry_noise=carry).eval() for carry in (True, False))
    with torch.no_grad():
        first, second = (
            list(zip(*pair)) for pair in zip(carried.network.decompose(IMAGE), published.network.decompose(IMAGE))
        )
    assert all(torch.equal(a, b) for a, b in first)
    assert not torch.equal(*second[1])


@pytest.mark.parametrize('name', [*ABLATIONS, *BEST])
def test_every_recipe_trains_a_step(name: str, data_root: Path) -> None:
    """On two images that come out of its pipeline."""
    options = {} if 'lrrnet' in name else {'model.network.num_stages': 2, 'model.network.channels': 16}
    config = load_config(find_config(name), options=options)
    source = config.train_dataloader.dataset
    for step in source.pipeline:
        if step.type == 'RandomCrop':
            step.size = SIDE
    dataset = DATASETS.build({**source, 'data_root': data_root, 'dataset': 'synthetic', 'size': SIDE})
    images = default_collate([dataset[index] for index in range(2)])
    assert images['image'].shape == images['gt_mask'].shape == (2, 1, SIDE, SIDE)
    train_one_step(config, images)


@pytest.mark.parametrize('name', [name for name in ABLATIONS if name != 'baseline'])
def test_an_ablation_differs_from_the_baseline_and_is_scored_alike(name: str) -> None:
    """Data, size, metric, length and selection stay."""
    config, baseline = load_config(find_config(name)), load_config(find_config('baseline'))
    shared = [
        'val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator', 'train_cfg', 'inference_size',
        'default_hooks', 'randomness',
    ]  # fmt: skip
    changing = ['model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'custom_hooks']
    assert [key for key in shared if config[key] != baseline[key]] == []
    changed = [key for key in changing if config[key] != baseline[key]]
    assert len(changed) == 1, changed
    for loader in (config.train_dataloader, baseline.train_dataloader):
        for steps in ('pipeline', 'before_resize'):
            loader.dataset.pop(steps)
    assert config.train_dataloader == baseline.train_dataloader
