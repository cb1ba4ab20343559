"""A network is one file and one config: one from outside the source tree is trained, run, exported and scored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from drpca.cli import export, infer, score
from drpca.cli import train as train_command
from drpca.config import config_folder
from drpca.datasets.synthetic import generate_dataset
from drpca.registry import DATASETS, METRICS, MODELS

FILES = {
    'own_network.py': """
from torch import nn
from drpca.registry import MODELS


@MODELS.register_module()
class OwnNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def forward(self, image):
        return self.body(image)
""",
    'own_loss.py': """
from torch import nn
from torch.nn import functional as F
from drpca.registry import MODELS


@MODELS.register_module()
class OwnLoss(nn.Module):
    def forward(self, outputs, image, gt_mask):
        return F.binary_cross_entropy_with_logits(outputs['target'], gt_mask)


@MODELS.register_module()
class OwnCriterion(nn.Module):
    def forward(self, logits, gt_mask):
        return F.binary_cross_entropy_with_logits(logits, gt_mask)
""",
    'own_metric.py': """
from mmengine.evaluator import BaseMetric
from drpca.registry import METRICS


@METRICS.register_module()
class OwnMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(((s['scores'] > 0.5) == s['gt_mask']).float().mean()) for s in data_samples]

    def compute_metrics(self, results):
        return {'correct': sum(results) / len(results)}
""",
    'own_data.py': """
import torch
from torch.utils.data import Dataset
from drpca.registry import DATASETS


@DATASETS.register_module()
class Squares(Dataset):
    def __init__(self, count, side=32, bare=False):
        self.count, self.side, self.bare = count, side, bare

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = 0.2 * torch.rand(1, self.side, self.side)
        mask = torch.zeros(1, self.side, self.side, dtype=torch.bool)
        mask[:, 8 + index : 11 + index, 10:13] = True
        return (image, mask) if self.bare else dict(image=image + 0.7 * mask, gt_mask=mask)
""",
    'own_config.py': """
_base_ = ['BASE/schedules/poly_400e.py', 'BASE/default_runtime.py']
custom_imports = dict(imports=['own_network', 'own_loss', 'own_metric', 'own_data'])
model = dict(type='DetectionModel', network=dict(type='OwnNet'), losses=dict(own=dict(type='OwnLoss')))
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(monitor='correct'))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='SeededSampler'), dataset=dict(type='Squares', count=6)
)
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='SeededSampler', shuffle=False),
    dataset=dict(type='Squares', count=3),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='OwnMetric')
""",
}


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / 'own'
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text.replace('BASE', str(config_folder() / '_base_')))
    monkeypatch.setattr(sys, 'path', list(sys.path))  # the config's folder joins it
    monkeypatch.chdir(tmp_path)
    yield folder / 'own_config.py'
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)
    for registry in (MODELS, METRICS, DATASETS):
        for name in ('OwnNet', 'OwnLoss', 'OwnCriterion', 'OwnMetric', 'Squares'):
            registry._module_dict.pop(name, None)


def test_from_files_to_figures(own_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = str(own_config)
    assert train_command.main([config, '--work-dir', 'runs', '--fast']) == 0
    run = tmp_path / 'runs' / 'own_config' / 'seed_0'
    summary = json.loads((run / 'summary.json').read_text())
    assert 0 <= summary['test']['correct'] <= 1
    assert json.loads((run / 'log.jsonl').read_text())['loss_own'] > 0
    assert train_command.main([config, '--work-dir', 'runs', '--resume']) == 0

    root, weights = tmp_path / 'data', str(run / 'best.pth')
    generate_dataset(root, num_train=1, num_test=2, size=40)
    data = ['--dataset', 'synthetic', '--data-root', str(root)]
    frames = str(next((root / 'synthetic').glob('**/*.png')))
    given = ['--checkpoint', weights, '--input', frames]
    assert infer.main([config, *given, '--out', 'maps', '--size', 'native']) == 0
    (map_,) = (tmp_path / 'maps').glob('*/img/*.png')
    assert Image.open(map_).size == (40, 40)

    assert infer.main([config, '--checkpoint', weights]) == 2
    assert export.main([config, '--checkpoint', weights, '--out', 'own.onnx']) == 2
    assert capsys.readouterr().err.count('Which images?') == 2
    exported = ['--out', 'own.onnx', '--images', str(Path(frames).parent), '--count', '1']
    assert export.main([config, '--checkpoint', weights, *exported]) == 0
    assert infer.main([config, '--checkpoint', 'own.onnx', *data, '--out', 'maps', '--size', 'native']) == 0
    assert score.main(['--results', 'maps/synthetic', *data, '--json', 'scores.json']) == 0
    assert json.loads((tmp_path / 'scores.json').read_text())['basicirstd']['images'] == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (("type='OwnLoss'", "type='OwnCriterion'"), 'losses.own: OwnCriterion is not called as loss(outputs, '),
        (("type='OwnLoss'", "type='OwnLoss', weight=0.1"), "OwnLoss has no argument 'weight'"),
        (('count=6', 'count=6, bare=True'), 'gave tuple: expected a dict with image, float32 (1, H, W)'),
        (('count=6', ''), 'Squares needs'),
        (('count=6', "count=6, data_root='data'"), "Squares has no argument 'data_root'"),
        (("monitor='correct'", "monitor='IoU'"), "'IoU'"),
        (('model = ', "custom_hooks = [dict(type='TrainingLogHook', log_test_every=1)]; model = "), '(log_test_every)'),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_line(
    own_config: Path, change: tuple[str, str], message: str, capsys: pytest.CaptureFixture
) -> None:
    own_config.write_text(own_config.read_text().replace(*change))
    assert train_command.main([str(own_config), '--work-dir', 'runs']) in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if 'error' in line]
    assert len(lines) == 1
    assert message in lines[0]
