"""``docs/extending.md``: its network, loss, metric, data set and backend are trained, run, exported and scored."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import drpca
from drpca.cli import export, infer, score
from drpca.cli import train as train_command
from drpca.config import config_folder, load_config
from drpca.datasets.synthetic import generate_dataset
from drpca.deploy.backends import BACKENDS
from drpca.registry import DATASETS, METRICS, MODELS
from tests.support import ROOT

PAGE = (ROOT / 'docs' / 'extending.md').read_text(encoding='utf-8')
FILES = dict(re.findall(r'```python\n# (own_\w+\.py)\n(.*?)```', PAGE, re.DOTALL))
"""The files of the page, with two more faults for the tests to find."""
FILES['own_loss.py'] += """

@MODELS.register_module()
class OwnCriterion(nn.Module):
    def forward(self, logits, gt_mask):
        return F.binary_cross_entropy_with_logits(logits, gt_mask)
"""
FILES['own_data.py'] += """

@DATASETS.register_module()
class Bare(Squares):
    def __getitem__(self, index):
        return tuple(super().__getitem__(index).values())
"""


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / 'own'
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text.replace('PATH/configs', str(config_folder())))
    monkeypatch.setattr(sys, 'path', list(sys.path))  # the config's folder joins it
    monkeypatch.chdir(tmp_path)
    yield folder / 'own_config.py'
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)
    BACKENDS.pop('reference', None)
    for registry in (MODELS, METRICS, DATASETS):
        for name in ('OwnNet', 'OwnLoss', 'OwnCriterion', 'OwnMetric', 'Squares', 'Bare'):
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

    import_module('own_backend')
    one, other = (drpca.Detector('own.onnx', backend=name)(frames)[0] for name in ('reference', 'onnx'))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


def test_a_published_recipe_with_another_network(own_config: Path) -> None:
    model = load_config(own_config.with_name('own_network_on_sirst.py')).model
    assert [*model.losses] == ['soft_iou']
    assert type(MODELS.build(model).network).__name__ == 'OwnNet'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (("type='OwnLoss'", "type='OwnCriterion'"), 'losses.own: OwnCriterion is not called as loss(outputs, '),
        (("type='OwnLoss'", "type='OwnLoss', weight=0.1"), "OwnLoss has no argument 'weight'"),
        (("'Squares', count=6", "'Bare', count=6"), 'gave tuple: expected a dict with image, float32 (1, H, W)'),
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
