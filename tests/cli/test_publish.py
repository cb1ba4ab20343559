"""Weight files that come with the project: making them, naming them, finding them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import drpca
from drpca import cards as W
from drpca.cards import read_card
from drpca.cli import publish
from drpca.config import config_folder, find_config, load_config
from drpca.engine import publish as workflow
from drpca.errors import UserError
from drpca.inference.detector import newest_best
from drpca.registry import MODELS
from tests.support import error_line

CONFIG = 'rpcanet_plus_synthetic'


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, torch.Tensor]]:
    """Two finished runs, the second with the better validation and the worse test figure; their weights."""
    monkeypatch.chdir(tmp_path)
    weights = {}
    for seed, best, test in ((0, 0.5, 0.9), (1, 0.6, 0.1)):
        torch.manual_seed(seed)
        weights[seed] = MODELS.build({'type': 'RPCANetPlus'}).state_dict()
        folder = tmp_path / 'checkpoints' / CONFIG / f'seed_{seed}'
        folder.mkdir(parents=True)
        state = {f'network.{name}': value for name, value in weights[seed].items()}
        torch.save({'meta': {}, 'state_dict': state}, folder / 'best.pth')
        summary = {'seed': seed, 'epochs': 3, 'best': best, 'test': {'IoU': test}}
        (folder / 'summary.json').write_text(json.dumps(summary))
    return weights


def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the model's metafile in a project of its own; its path."""
    copied = tmp_path / 'project' / 'configs' / 'rpcanet_plus'
    copied.mkdir(parents=True)
    shutil.copy(config_folder() / 'rpcanet_plus' / 'metafile.yml', copied)
    monkeypatch.setattr(workflow, 'find_config', lambda name: copied / f'{name}.py')
    monkeypatch.setattr(workflow, 'load_config', lambda path: load_config(find_config(path.stem)))
    monkeypatch.setattr(W, 'config_folder', lambda: copied.parent)
    return copied / 'metafile.yml'


def test_best_on_validation_becomes_a_bare_state_dict(
    runs: dict[int, dict[str, torch.Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metafile = project(tmp_path, monkeypatch)
    before = metafile.read_text()
    assert publish.main([CONFIG]) == 0
    (file,) = (tmp_path / 'project' / 'checkpoints').glob('*.pth')
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'{CONFIG}-{digest[:8]}.pth'
    state = torch.load(file, weights_only=True)
    assert state.keys() == runs[1].keys()
    assert all(torch.equal(state[name], value) for name, value in runs[1].items())
    drpca.load_weights(MODELS.build({'type': 'RPCANetPlus'}), file)

    entry = next(known for known in read_card(metafile)['Weights'] if known['Config'] == CONFIG)
    assert [entry[key] for key in ('File', 'SHA256', 'Seed', 'Validation IoU')] == [file.name, digest, 1, 0.6]
    after = metafile.read_text()
    assert after.startswith(before[: before.index('Results:')].split('Weights:')[0])
    assert after.endswith(before[before.index('Results:') :])
    assert newest_best(CONFIG, 'nowhere') == file

    tensors = file.with_suffix('.safetensors')
    network = drpca.load_weights(MODELS.build({'type': 'RPCANetPlus'}), tensors)
    assert all(torch.equal(value, runs[1][name]) for name, value in network.state_dict().items())
    assert drpca.checkpoint.read_checkpoint(tensors)['meta'].items() >= {'Config': CONFIG, 'SHA256': digest}.items()
    detector = drpca.Detector(None, tensors)
    assert (detector.method, detector.config.test_dataloader.dataset.dataset) == ('RPCANetPlus', 'synthetic')

    assert publish.main([CONFIG, '--seed', '0']) == 0
    entries = [known for known in read_card(metafile)['Weights'] if known['Config'] == CONFIG]
    assert [known['Seed'] for known in entries] == [0]


def test_a_changed_file_is_refused(runs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, monkeypatch)
    publish.main([CONFIG])
    file = newest_best(CONFIG, 'nowhere')
    file.write_bytes(file.read_bytes() + b'x')
    with pytest.raises(UserError, match='is not the file of the metafile'):
        newest_best(CONFIG, 'nowhere')
    file.unlink()
    with pytest.raises(UserError, match='is not there'):
        newest_best(CONFIG, 'nowhere')


def test_own_runs_come_before_the_files_of_the_project(runs: dict) -> None:
    assert newest_best(CONFIG).parent.parent.name == CONFIG
    with pytest.raises(UserError, match='No trained weights of rpcanet_plus under checkpoints'):
        newest_best('rpcanet_plus')


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['nonesuch'], 'Unknown config'),
        ([CONFIG, '--seed', '7'], 'No finished run of seed 7'),
        ([CONFIG, '--work-dir', 'elsewhere'], 'No finished run of any seed'),
        ([CONFIG, '--limit-mb', '0.1'], 'more than 0.1: raise --limit-mb'),
        (['rpcanet_plus_synthetic', '--final'], 'No finished run'),
    ],
)
def test_bad_input(runs: dict, capsys: pytest.CaptureFixture, options: list[str], expected: str) -> None:
    assert publish.main([*options, '--out', 'out', '--no-metafile']) == 2
    assert expected in error_line(capsys)
    assert not Path('out').exists()


def test_files_of_the_project_are_whole_and_small() -> None:
    for card in W.weight_cards().values():
        assert card.check().stat().st_size <= 5e6
        assert card.path.name == f'{card.config}-{card.sha256[:8]}.pth'
        network = MODELS.build(load_config(find_config(card.config)).model.network)
        assert set(torch.load(card.path, weights_only=True)) == set(network.state_dict())
        drpca.load_weights(network, card.path)
