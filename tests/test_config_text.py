"""The config inside a checkpoint is data: it comes back whole, and nothing in it runs."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from drpca.cli import infer
from drpca.config import find_config, list_configs, load_config
from drpca.config_text import config_text, read_config
from drpca.engine.train import _check_same_experiment
from drpca.errors import UserError
from drpca.registry import MODELS
from tests.support import ROOT, error_line

NETWORK = {'type': 'RPCANet', 'num_stages': 2, 'channels': 4}
CONFIGS = [path for path in list_configs().values() if re.search('_sirstv1.py|classical', str(path))]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_comes_back_as_it_was(path: Path) -> None:
    config = load_config(path)
    config.pop('custom_imports', None)
    wanted = config.to_dict()
    assert read_config(config.pretty_text, 'old.pth').to_dict() == wanted
    back = read_config(config_text(config), 'new.pth').to_dict()
    assert back == json.loads(json.dumps(wanted))  # tuples are lists


PAYLOADS = [
    '__import__("os").mkdir({marker!r})',
    'model = __import__("os").mkdir({marker!r})',
    'model = dict(type="RPCANet", x=[open({marker!r}, "w")])',
    'import os\nos.mkdir({marker!r})',
    'model = dict(type="RPCANet", **__import__("os").mkdir({marker!r}))',
    'model = dict(__import__("os").mkdir({marker!r}))',
    'model = {{**__import__("os").mkdir({marker!r})}}',
    'dict = __import__("os").mkdir\nmodel = dict(name={marker!r})',
    'model = f"{{__import__(\'os\').mkdir({marker!r})}}"',
    'model = (lambda: open({marker!r}, "w"))()',
    'model = [open({marker!r}, "w") for _ in (1,)]',
    '_base_ = {marker!r}',
    'model = dict(type="os.mkdir", name={marker!r})',
    'model = dict(type="payload", name={marker!r})',
    'custom_imports = dict(imports=["payload"])\nmodel = dict(type="DetectionModel", network=dict(type="payload"))',
    'model = dict(type="DetectionModel", network=dict(type="os.mkdir", name={marker!r}))',
    'model = dict(type="DetectionModel", network=dict(type="RPCANet", _scope_="payload"))',
    'model = dict(type="DetectionModel", network=dict(type="RPCANet"), data_preprocessor=dict(type="payload"))',
    '{{"model": {{"type": "os.mkdir", "name": "{marker}"}}}}',
    '{{"custom_imports": {{"imports": ["payload"]}}, "model": {{"type": "payload"}}}}',
    '{{"default_scope": "payload", "model": {{"type": "RPCANet"}}}}',
    '{{"model": {{"type": "mmengine.dump", "obj": 1, "file": "{marker}.json"}}}}',
]  # fmt: skip


@pytest.mark.parametrize('text', PAYLOADS)
def test_nothing_in_it_runs(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'payload').mkdir()
    for name in ('__init__', 'registry'):
        (tmp_path / 'payload' / f'{name}.py').write_text(f'open({str(tmp_path / "marker")!r}, "w")')
    monkeypatch.syspath_prepend(str(tmp_path))
    marker = tmp_path / 'marker'
    state = {f'network.{name}': value for name, value in MODELS.build(dict(NETWORK)).state_dict().items()}
    content = {'meta': {'cfg': text.format(marker=str(marker))}, 'state_dict': state}
    checkpoint, image = tmp_path / 'last.pth', tmp_path / 'a.png'
    torch.save(content, checkpoint)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(image)
    before = set(tmp_path.iterdir())
    out = str(tmp_path / 'out')
    assert infer.main(['--checkpoint', str(checkpoint), '--input', str(image), '--out', out]) == 2
    assert str(checkpoint) in error_line(capsys)
    with suppress(UserError):
        _check_same_experiment(load_config(find_config('rpcanet_sirstv1')), content, checkpoint)
    assert 'payload' not in sys.modules
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    'text',
    [None, 3, b'{}', '[' * 10**5, '{"a":' * 10**5, 'a = ' + '[' * 150 + ']' * 150, 'x' * 2**21, '{"a": ', 'a = 1j',
     'a = b"1"', 'a = 1 + 1', 'a = {1: 2}', 'a, b = 1, 2', 'a = ...', 'filename = 1', 'model = 3', 'train_cfg = [1]',
     'test_dataloader = dict(dataset=3)', 'inference_size = "a"',
     'custom_hooks = 3', 'custom_hooks = [3]', '\0'],
)  # fmt: skip
def test_what_is_no_config_is_one_line(text: Any) -> None:
    with pytest.raises(UserError, match=r'The config inside w\.pth is not read'):
        read_config(text, 'w.pth')


def test_no_other_reader_of_config_texts() -> None:
    sources = (ROOT / 'drpca').rglob('*.py')
    assert not [path for path in sources if 'Config.fromstring' in path.read_text(encoding='utf-8')]
