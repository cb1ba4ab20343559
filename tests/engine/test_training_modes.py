"""Ways to train that change the protocol, the memory or the speed, but not what a run is worth."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from mmengine import model as mmengine_model
from mmengine import optim as mmengine_optim
from torch import nn

import drpca
from drpca.config import find_config, load_config
from drpca.config_text import read_config
from drpca.datasets import open_split
from drpca.datasets.labels import Conversion
from drpca.engine import trial
from drpca.engine.leaks import leak_warnings
from drpca.engine.optimisation import ExponentialMovingAverage, MomentumAnnealingEMA, OptimWrapper
from drpca.engine.runs import TrainingOptions, build_config, plan_runs
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from drpca.run_folder import RunFolder
from tests.support import train_until_killed


def keywords(data_root: Path, work: Path, keys: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Of a small training, with changed keys of the config and further options."""
    small = {
        'model.network.num_stages': 1, 'train_cfg.val_interval': 1, 'train_dataloader.dataset.size': 48,
        'val_dataloader.dataset.size': 32, 'test_dataloader.dataset.size': 32, **(keys or {}),
    }  # fmt: skip
    return {
        'config': 'rpcanet_plus_synthetic', 'data_root': str(data_root), 'work_dir': str(work), 'epochs': 2,
        'batch_size': 2, 'workers': 0, 'cfg_options': small, **more,
    }  # fmt: skip


def folder(work: Path, name: str = 'rpcanet_plus_synthetic') -> Path:
    return work / name / 'seed_0'


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def log(path: Path) -> list[dict[str, Any]]:
    return RunFolder(path).log()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def test_final_mode_trains_on_trainval_and_scores_the_averaged_last_weights(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[dict[str, torch.Tensor]] = []
    forward = DetectionModel.forward

    def remember(self: DetectionModel, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get('mode') == 'predict':
            scored.append({key: value.clone() for key, value in self.state_dict().items()})
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(DetectionModel, 'forward', remember)
    result = drpca.train(**keywords(data_root, tmp_path, final=True, ema=0.1))
    run = folder(tmp_path, 'rpcanet_plus_synthetic_final')
    assert not (run / 'best.pth').exists()
    final, last = load(run / 'final.pth'), load(run / 'last.pth')
    assert final.keys() == {'meta', 'state_dict'}
    assert equal(final['state_dict'], last['state_dict'])
    raw = {key[7:]: value for key, value in last['ema_state_dict'].items() if key.startswith('module.')}
    assert not equal(final['state_dict'], raw), 'the average differs from the last weights'
    assert len(scored) == 1, 'one batch of the test split, once'
    assert equal(scored[0], final['state_dict'])
    assert last['meta']['iter'] == 2 * 8, 'all 16 training images'
    assert not any(key.startswith('val/') for line in log(run) for key in line)
    assert result.selection == 'final'
    assert result.best is result.best_epoch is None
    assert result.checkpoint == str(run / 'final.pth')
    assert result.test is not None
    assert 0 <= result.test['Fa'] <= 1


def test_final_mode_resumes(data_root: Path, tmp_path: Path) -> None:
    options = keywords(data_root, tmp_path, final=True)
    first = load(Path(drpca.train(**options).checkpoint))
    again = load(Path(drpca.train(**options, resume=True).checkpoint))
    assert equal(first['state_dict'], again['state_dict'])


def test_final_mode_does_not_train_on_test_images(data_root: Path, tmp_path: Path) -> None:
    """A config that names lists of its own keeps them: train_half becomes trainval_half, never trainval."""
    shutil.copytree(data_root / 'synthetic', tmp_path / 'synthetic')
    lists = tmp_path / 'synthetic/lists'
    stems = [name for split in ('val', 'train') for name in open_split('synthetic', split, data_root).names]
    lists.mkdir()
    for name, members in (('train_half', stems[:8]), ('test_half', stems[8:])):
        (lists / f'{name}.txt').write_text('\n'.join(f'trainval/{stem}' for stem in members))

    def plan(train: str = 'train', test: str = 'test_half', final: bool = True) -> Any:
        splits = {'train_dataloader.dataset.split': train, 'test_dataloader.dataset.split': test}
        options = TrainingOptions(data_root=tmp_path, work_dir=tmp_path, final=final, cfg_options=splits)
        return build_config(plan_runs(['rpcanet_plus_synthetic'], options=options)[0])

    with pytest.raises(UserError, match='8 of the 8 images of synthetic test_half are in synthetic trainval'):
        plan()
    with pytest.raises(UserError, match=r"on the split 'trainval_half': .* has no split"):
        plan('train_half')
    (lists / 'trainval_half.txt').write_text((lists / 'train_half.txt').read_text())
    assert plan('train_half').train_dataloader.dataset.split == 'trainval_half'
    assert plan(test='test').train_dataloader.dataset.split == 'trainval'
    half, test = (open_split('synthetic', split, tmp_path) for split in ('train_half', 'test'))
    cv2.imwrite(str(test.image_path(test.names[0])), half.read_image(half.names[0]) // 2 + 9)
    card = Conversion('yolo', 'grow', True, 20, 9, 0, 9, 0, 0)
    (tmp_path / 'synthetic/dataset.json').write_text(json.dumps(asdict(card)))
    same, near, pseudo = leak_warnings(plan('train_half', 'test', False), half)
    assert pseudo.startswith("Masks of synthetic were made of yolo labels by the rule 'grow'")
    assert same.startswith('3 of the 3 images of synthetic val are in the training split synthetic train_half (for')
    assert same.endswith('figures of this run on that validation split do not count.')
    assert near.startswith('1 of the 4 images of synthetic test show scenes that are in the training split synthetic')
    assert near.endswith('figures of this run on that test split are too good.')


def test_final_mode_has_nothing_to_be_patient_for() -> None:
    options = {'selection': 'final', 'default_hooks.checkpoint.patience': 3}
    with pytest.raises(UserError, match='leave out --patience'):
        load_config(find_config('rpcanet_synthetic'), options=options)
    with pytest.raises(UserError, match=r"Unknown selection 'test'.*Known: final, val"):
        load_config(find_config('rpcanet_synthetic'), options={'selection': 'test'})


def test_the_published_convention_is_logged_and_selects_nothing(data_root: Path, tmp_path: Path) -> None:
    results = [
        drpca.train(**keywords(data_root, tmp_path / part, ema=0.1, log_test_every=every))
        for part, every in (('plain', None), ('logged', 1))
    ]
    plain, logged = (result.folder.path for result in results)
    for name in ('best.pth', 'last.pth'):
        assert equal(load(plain / name)['state_dict'], load(logged / name)['state_dict'])
    lines = log(logged)
    figures = [line['test/IoU'] for line in lines]
    assert len(figures) == 2
    best = [line['test_best_published_convention'] for line in lines]
    assert best == [figures[0], max(figures)]
    assert results[0].selection == results[1].selection == 'val'
    assert results[0].test == results[1].test
    assert not any('test' in key for line in log(plain) for key in line)


@pytest.mark.parametrize(
    ('more', 'keys'),
    [
        ({'fast': True}, {'model.precision': 'float32'}),
        ({'accumulate': 3, 'ema': 0.1, 'clip_grad': 1, 'checkpoint_stages': True}, {}),
    ],
    ids=['on_device', 'accumulate'],
)
def test_killed_and_resumed_is_bit_identical(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], keys: dict[str, Any]
) -> None:
    """With augmentation, and between two updates of accumulated gradients; both in the same memory order."""
    monkeypatch.setattr('drpca.engine.runs.faster_order', lambda config: True)
    config = tmp_path / 'rpcanet_plus_mine.py'
    config.write_text(
        f'_base_ = {str(find_config("rpcanet_plus_synthetic"))!r}\n'
        "steps = [dict(type='RandomCrop', size=32), dict(type='RandomFlip'), dict(type='GainJitter')]\n"
        'train_dataloader = dict(dataset=dict(pipeline=steps))\n'
    )
    keys = {**keys, 'default_hooks.checkpoint.interval_iters': 2}
    interrupted, whole = (
        keywords(data_root, tmp_path / part, keys, **more, config=str(config)) for part in ('cut', 'whole')
    )
    train_until_killed(interrupted)
    cut, uncut = (folder(tmp_path / part, config.stem) for part in ('cut', 'whole'))
    last = load(cut / 'last.pth')
    assert last['meta']['iter'] == 4
    assert ('gradients' in last) == ('accumulate' in more)
    drpca.train(**whole)
    drpca.train(**interrupted, resume=True)
    assert equal(load(uncut / 'last.pth')['state_dict'], load(cut / 'last.pth')['state_dict'])
    losses = [[line['loss'] for line in log(run)] for run in (cut, uncut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_fast_float32_is_the_same_mathematics(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Data on the device, the faster memory order, the fused optimiser: the losses of the plain run, but for rounding.

    A run that goes on keeps its order.
    """
    timed: list[int] = []

    def milliseconds(functions: dict[str, Any], rounds: int) -> dict[str, float]:
        for function in functions.values():
            function()
        timed.append(rounds)
        return dict(zip(('NHWC', 'NCHW'), (2.0, 1.0)))

    monkeypatch.setattr(trial, 'milliseconds', milliseconds)
    drpca.train(**keywords(data_root, tmp_path / 'plain'))
    options = keywords(data_root, tmp_path / 'fast', {'model.precision': 'float32'}, fast=True)
    drpca.train(**options)
    assert 'memory order NCHW: NHWC 2 ms, NCHW 1 ms a step' in capsys.readouterr().out
    plain, fast = (log(folder(tmp_path / part)) for part in ('plain', 'fast'))
    assert [line['loss'] for line in fast] == pytest.approx([line['loss'] for line in plain], rel=1e-5)
    last = folder(tmp_path / 'fast') / 'last.pth'
    saved = read_config(load(last)['meta']['cfg'], last)
    assert saved.model.channels_last is False
    drpca.train(**options, resume=True)
    assert len(timed) == 1


@pytest.mark.parametrize('network', ['RPCANet', 'RPCANetPlus', 'DRPCANet'])
@pytest.mark.parametrize(('precision', 'synchronised'), [('float32', False), ('bfloat16', False), ('float32', True)])
def test_stages_run_again_give_the_same_gradients_and_statistics(
    network: str, precision: str, synchronised: bool
) -> None:
    torch.manual_seed(0)
    plain = MODELS.build({'type': network, 'num_stages': 2}).train()
    plain = nn.SyncBatchNorm.convert_sync_batchnorm(plain) if synchronised else plain
    again = copy.deepcopy(plain)
    again.checkpoint_stages = True
    image = torch.rand(2, 1, 16, 16)
    kept = []
    for model in (plain, again):
        size = [0]

        def keep(tensor: torch.Tensor, size: list[int] = size) -> torch.Tensor:
            size[0] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bfloat16'):
                reconstruction, target = model(image)
            loss = reconstruction.float().square().mean() + torch.sigmoid(target.float()).mean()
        loss.backward()
        kept.append(size[0])
    assert kept[1] < kept[0] / 50, 'nothing inside the stages is kept'
    gradients = [{name: p.grad for name, p in model.named_parameters()} for model in (plain, again)]
    assert equal(*gradients)
    assert equal(*(dict(model.named_buffers()) for model in (plain, again)))
    assert any(value.any() for name, value in plain.named_buffers() if name.endswith('running_mean'))


@pytest.mark.parametrize(
    ('config', 'compiled', 'reason'),
    [
        ('lrrnet_synthetic', False, 'LRRNet has no stages to run again'),
        ('rpcanet_plusplus_synthetic', False, 'RPCANetPlusPlus has no stages to run again'),
        ('rpcanet_synthetic', True, 'RPCANet is compiled'),
    ],
)
def test_checkpointing_is_refused_where_it_would_do_nothing(
    data_root: Path, tmp_path: Path, config: str, compiled: bool, reason: str
) -> None:
    options = keywords(data_root, tmp_path, config=config, checkpoint_stages=True, compile=compiled)
    del options['cfg_options']['model.network.num_stages']
    with pytest.raises(UserError, match=reason):
        drpca.train(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has graphs')
def test_cuda_graphs_need_a_gpu(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='cuda_graphs=True needs a GPU'):
        drpca.train(**keywords(data_root, tmp_path, {'cuda_graphs': True}))


def test_accumulated_batches_make_the_step_of_a_large_one() -> None:
    """For a loss that is a mean over images and a network without BatchNorm, exactly."""
    torch.manual_seed(0)
    data, wanted = torch.rand(6, 3), torch.rand(6, 1)
    models = [nn.Linear(3, 1) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, parts in zip(models, (1, 3)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        wrapper = OptimWrapper(optimizer, accumulative_counts=parts, clip_grad={'max_norm': 0.1})
        wrapper.initialize_count_status(model, 0, parts)
        for x, y in zip(data.chunk(parts), wanted.chunk(parts)):
            wrapper.update_params((model(x) - y).square().mean())
    torch.testing.assert_close(models[0].weight, models[1].weight)


def test_clipping_and_averaging_are_those_of_mmengine() -> None:
    for ours, theirs, options in (
        (ExponentialMovingAverage, mmengine_model.ExponentialMovingAverage, {'momentum': 0.3}),
        (MomentumAnnealingEMA, mmengine_model.MomentumAnnealingEMA, {'momentum': 0.3, 'gamma': 1}),
    ):
        results = [averaged(mmengine_optim.OptimWrapper, theirs, options), averaged(OptimWrapper, ours, options)]
        assert equal(*results)


def averaged(wrapper_type: type, average_type: type, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    data = torch.rand(8, 3)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    wrapper = wrapper_type(torch.optim.SGD(model.parameters(), lr=0.5), clip_grad={'max_norm': 0.2})
    average = average_type(model, interval=2, update_buffers=True, **options)
    for _ in range(9):
        wrapper.update_params(model(data).square().mean())
        average.update_parameters(model)
    return {**model.state_dict(), **average.state_dict()}


def test_fast_settings_fit_every_config() -> None:
    for name in ('drpcanet_sirstv1', 'lrrnet_sirstv1_cpu', 'isnet_synthetic', 'acm_sirstv1_basicirstd'):
        for device in ('cuda', 'cpu'):
            config = load_config(find_config(name), fast=device)
            assert config.train_dataloader.on_device
            assert bool(config.val_dataloader.get('on_device')) == (not name.endswith('basicirstd'))
            assert config.optim_wrapper.optimizer.get('fused', False) == (name != 'isnet_synthetic')
            assert config.model.get('compiled', False) == (device == 'cuda')
