"""The detectors that come with the project, on test frames chosen before the trainings or before any was scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import drpca
from drpca.cards import weight_cards
from drpca.cli.infer import told
from drpca.config import default_models, find_config, load_config
from drpca.datasets import InfraredDataset
from drpca.evaluation.functional import connected_components
from drpca.registry import MODELS
from tests.support import shared_path

(DETECTOR,) = default_models('detect')
MISSED = pytest.mark.xfail(strict=True, reason='its second target, at the lower border, is missed: docs/training.md')


@pytest.mark.parametrize('name', ['Misc_58', 'Misc_349', 'Misc_8'])
@pytest.mark.filterwarnings('ignore:No trained weights')
def test_the_target_of_a_test_frame_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_found(drpca.Detector(), 'SIRSTv1', name)


@pytest.mark.filterwarnings('ignore:No trained weights')
def test_it_is_called_by_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    detector = drpca.Detector(size='recipe')
    assert told(detector, ['f/'], 'test') == f'{DETECTOR} (ResUNet), weights {detector.checkpoint}; f/; at 256 pixels'
    detector.name = str(detector.checkpoint)  # as of weights without a config
    assert told(detector, ['f/'], 'test') == f'ResUNet, weights {detector.checkpoint}; f/; at 256 pixels'


@pytest.mark.parametrize('name', ['000297', pytest.param('000678', marks=MISSED), '001075'])
def test_targets_of_nudt_sirst_are_found(name: str) -> None:
    assert_found(drpca.Detector('resunet_nudt_sirst_cpu'), 'NUDT-SIRST', name)


def assert_found(detector: drpca.Detector, dataset: str, name: str) -> None:
    frames = InfraredDataset(dataset, 'test', shared_path('datasets'), size=None, cache=False)
    image, gt_mask, _ = frames.load(frames.names.index(name))
    (detection,) = detector(image)
    found = [(target.row, target.column) for target in detection.targets]
    for target in connected_components(gt_mask).centroids:
        assert any(np.hypot(*(target - place)) < 3 for place in found), (target, found)


@pytest.mark.parametrize('config', [DETECTOR, 'resunet_nudt_sirst_cpu'])
def test_detectors_of_the_project_are_small(config: str) -> None:
    card = weight_cards()[config]
    network = MODELS.build(load_config(find_config(config)).model.network)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 700_000
    assert card.path.with_suffix('.safetensors').stat().st_size < 3e6
