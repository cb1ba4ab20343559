"""The picture of a training before it begins, and programs that keep trainings."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import drpca
from drpca.cli import browse as browse_command
from drpca.errors import UserError
from drpca.studies.browse import browse

CONFIG = 'rpcanet_plus_synthetic'
SIZES = {f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')}
SMALL: dict[str, Any] = {'model.network.num_stages': 1, 'train_cfg.val_interval': 1, **SIZES}


def test_the_rates_are_those_of_the_training(data_root: Path, tmp_path: Path) -> None:
    """Also of a schedule of two parts."""
    config = f'{CONFIG}_best'
    options: dict[str, Any] = {
        'data_root': str(data_root), 'epochs': 3, 'batch_size': 4, 'workers': 0, 'limit': 8,
        'cfg_options': {**SMALL, 'model.precision': 'float32'},
    }  # fmt: skip
    shown = browse(config, out=tmp_path / 'look.png', samples=2, versions=3, **options)
    assert len(shown.rates) == 3 * shown.epoch_length == 6
    assert len(set(shown.names)) == 2
    log = drpca.train(config, work_dir=str(tmp_path), **options).folder.log()
    # The log has the rate after the steps of the schedules, which is that of the next iteration.
    assert [line['lr'] for line in log[:-1]] == pytest.approx([shown.rates[2], shown.rates[4]])
    picture = cv2.imread(str(shown.path))
    assert picture.std() > 10
    assert np.abs(picture[..., 2].astype(int) - picture[..., 0]).max() > 200, 'outlines of targets are red'


def test_the_command_says_where_the_picture_is(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = [f'{key}={value}' for key, value in SIZES.items()]
    args = [CONFIG, '--data-root', str(data_root), '--samples', '1', '--versions', '1', '--cfg-options', *sizes]
    assert browse_command.main(args) == 0
    out = capsys.readouterr().out
    assert '400 epochs of 2 steps, learning rate 0.0001 at first' in out
    assert f'wrote results/browse/{CONFIG}.png' in out
    assert browse_command.main(args) == 2
    assert 'is there already' in capsys.readouterr().err


def test_a_look_leaves_no_thread(data_root: Path, tmp_path: Path) -> None:
    """TensorBoard's would write into the folder of the look, which is gone."""
    threads = threading.enumerate()
    sizes = {**SIZES, 'model.network.type': 'DRPCA'}
    with pytest.raises(UserError, match='DRPCA'):
        browse(CONFIG, out=tmp_path / 'look.png', data_root=str(data_root), cfg_options=sizes)
    assert threading.enumerate() == threads


def tracked(tmp_path: Path, kind: str, **keys: Any) -> Path:
    path = tmp_path / f'{CONFIG}.py'
    backends = [{'type': 'mmengine.TensorboardVisBackend'}, {'type': f'mmengine.{kind}VisBackend', **keys}]
    path.write_text(f"_base_ = '{drpca.config.find_config(CONFIG)}'\nvisualizer = dict(vis_backends={backends})\n")
    return path


@pytest.mark.parametrize(('kind', 'package'), [('Wandb', 'wandb'), ('MLflow', 'mlflow'), ('ClearML', 'clearml')])
def test_a_program_that_is_not_there(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f'a package that is not there: .*pip install {package}'):
        drpca.train(tracked(tmp_path, kind), data_root=data_root, work_dir=tmp_path, cfg_options=SMALL, workers=0)


def test_what_a_run_logs_goes_there_too(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        init=lambda **keys: logged.append(keys), log=lambda values, **_: logged.append(values), Image=np.asarray,
        config=SimpleNamespace(update=lambda *_, **__: None), run=SimpleNamespace(log_code=lambda **_: None),
        join=lambda: None,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    drpca.train(
        tracked(tmp_path, 'Wandb', init_kwargs={'project': 'mine'}), data_root=data_root, work_dir=tmp_path,
        cfg_options=SMALL, workers=0, limit=2, epochs=1,
    )  # fmt: skip
    assert logged[0]['project'] == 'mine'
    assert any('train/loss' in values and 'val/IoU' in values for values in logged)
