"""One way to a detector: names, configs, weights and files that mean the same give the same maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import drpca
from drpca.cards import weight_cards
from drpca.config import default_models, find_config, load_config
from drpca.deploy.export_model import export_model
from drpca.errors import UserError
from drpca.inference.mappers import build_model
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from tests.app.app_support import save_run
from tests.support import shared_path

IMAGE = np.random.default_rng(0).random((48, 56), np.float32)


@pytest.fixture
def acm(tmp_path: Path) -> Path:
    torch.save(MODELS.build({'type': 'ACM'}).state_dict(), tmp_path / 'acm.pth')
    return tmp_path / 'acm.pth'


def scores(detector: drpca.Detector, image: np.ndarray = IMAGE) -> np.ndarray:
    return detector(image)[0].map_scores


def test_a_networks_name_stands_for_its_home_config(acm: Path) -> None:
    with pytest.warns(UserWarning, match='ACM normalises as in acm_sirstv1; name a config') as said:
        by_name = drpca.Detector('ACM', acm)
    assert len(said) == 1
    by_config = drpca.Detector('acm_sirstv1', acm)
    assert np.array_equal(scores(by_name), scores(by_config))
    assert by_name.described() == by_config.described()
    other = drpca.Detector('acm_nudt_sirst', acm)
    assert not np.array_equal(scores(by_name), scores(other)), 'another mean and deviation than SIRST V1'


def test_another_data_set_leaves_the_normalisation_of_the_weights(acm: Path) -> None:
    """As the published test code does: mean and deviation of the images that the network was trained on."""
    own = drpca.Detector('acm_sirstv1', acm)
    other = drpca.Detector('acm_sirstv1', acm, dataset='NUDT-SIRST')
    assert (other.mapper.model.mean, other.mapper.model.std) == (own.mapper.model.mean, own.mapper.model.std)
    assert other.config.test_dataloader.dataset.dataset == 'NUDT-SIRST'


@pytest.mark.filterwarnings('error')
def test_a_name_without_such_normalisation_says_nothing(tmp_path: Path) -> None:
    torch.save(MODELS.build({'type': 'RPCANetPlus'}).state_dict(), tmp_path / 'w.pth')
    assert drpca.Detector('RPCANetPlus', tmp_path / 'w.pth').config.inference_size == 256


def test_published_weights_by_name_and_by_config() -> None:
    weights = shared_path('checkpoints', 'ACM_full_SIRST3.pth.tar')
    image = shared_path('datasets', 'SIRSTdevkit-master', 'PNGImages', 'Misc_1.png')
    with pytest.warns(UserWarning, match='acm_sirstv1'):
        by_name = drpca.Detector('ACM', weights)(image)[0]
    by_config = drpca.Detector('acm_sirstv1', weights)(image)[0]
    assert np.array_equal(by_name.scores, by_config.scores)
    assert [target.area for target in by_name.targets] == [target.area for target in by_config.targets]


def test_weights_that_come_with_the_project_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    card = weight_cards()['rpcanet_plus_sirstv1_whole']
    found, given = drpca.Detector(card.config), drpca.Detector(card.config, card.path)
    assert found.checkpoint == card.path
    assert np.array_equal(scores(found), scores(given))


def test_nothing_means_the_newest_run_else_the_detector_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (config,) = default_models('detect')
    with pytest.warns(UserWarning, match=f'No trained weights under checkpoints: taking {config}'):
        own = drpca.Detector()
    assert own.checkpoint == weight_cards()[config].path
    assert np.array_equal(scores(own), scores(drpca.Detector(config)))
    path = save_run(tmp_path / 'checkpoints')
    newest, named = drpca.Detector(), drpca.Detector(None, path)
    assert newest.checkpoint == path.relative_to(tmp_path)
    assert newest.method == named.method == 'RPCANet'
    assert np.array_equal(scores(newest), scores(named))
    assert scores(drpca.Detector(size='recipe')).shape == (32, 32)
    assert drpca.Detector(options={'inference_size': 40}, size='recipe').size == 40


def test_sizes_by_number_and_by_name(acm: Path) -> None:
    def shape(model: str, size: int | str | None, weights: Path | None = None) -> tuple[int, ...]:
        return scores(drpca.Detector(model, weights, size=size)).shape

    assert shape('rpcanet_plus_sirstv1_whole', 'recipe') == (256, 256)
    assert shape('acm_sirstv1', 'recipe', acm) == shape('acm_sirstv1', 'native', acm) == IMAGE.shape
    assert shape('tophat', None) == shape('tophat', 'recipe') == (256, 256), 'of the preset'
    assert shape('tophat_paper', None) == shape('tophat', 'native') == IMAGE.shape
    assert shape('tophat', 64) == shape('tophat_paper', 64) == (64, 64)
    whole = drpca.Detector('tophat', size=64)
    resized = whole(IMAGE)[0].seen
    assert np.array_equal(scores(whole), whole.mapper.baseline.scores(resized)), 'resized before'
    with pytest.raises(UserError, match=r"'native' or 'recipe', got 'own'"):
        drpca.Detector('tophat', size='own')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'tile': 128, 'backend': 'auto'}, 'tophat is a classical method: leave out tile.'),
        ({'backend': 'onnx'}, 'tophat is a classical method: leave out backend'),
        ({'tile': 1024, 'precision': 'bf16'}, 'leave out precision, tile'),
        ({'compile': True}, 'leave out compile'),
        ({'weights': 'w.pth'}, 'takes no weights'),
        ({'tile': 'small'}, "'auto', got 'small'"),
    ],
)
def test_options_that_a_classical_method_would_ignore(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        drpca.Detector('tophat', **options)


def test_exported_files(tmp_path: Path) -> None:
    model = DetectionModel({'type': 'RPCANet', 'num_stages': 1, 'channels': 4}).eval()
    path = tmp_path / 'n.pt2'
    export_model(model, path, 'torch', images=[IMAGE], inference_size=40)
    alone = drpca.Detector(path, trust=True)
    described = drpca.Detector('rpcanet_sirstv1', path, trust=True)
    assert np.array_equal(scores(alone), scores(described))
    assert np.abs(scores(alone) - scores(drpca.Detector(model))).max() < 1e-4
    assert (alone.method, alone.checkpoint) == ('RPCANet', path)
    assert drpca.Detector(path, size='recipe', trust=True).size == 40
    with pytest.raises(UserError, match='holds RPCANet, but lrrnet_sirstv1 describes LRRNet'):
        drpca.Detector('lrrnet_sirstv1', path, trust=True)
    for options in ({'precision': 'bf16'}, {'device': 'cpu'}, {'optimise': False}):
        with pytest.raises(UserError, match=f'compiled, precision included: leave out {next(iter(options))}'):
            drpca.Detector(path, **options)
    with pytest.raises(UserError, match='options were settled'):
        drpca.Detector(path, options={'model.scale_to_max': True})


def test_a_network_of_ones_own_without_a_config(tmp_path: Path) -> None:
    class Plain(torch.nn.Module):
        outputs = ('target',)
        in_channels = size_multiple = min_size = 1

        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(20.0))

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.gain * (image - 0.5),)

    MODELS.register_module(name='PlainOfTheTest', module=Plain)
    torch.save(Plain().state_dict(), tmp_path / 'w.pth')
    try:
        detector = drpca.Detector('PlainOfTheTest', tmp_path / 'w.pth')
        assert np.allclose(scores(detector), 1 / (1 + np.exp(-20 * (IMAGE - 0.5))), atol=1e-5)
        with pytest.raises(UserError, match='PlainOfTheTest has no config'):
            drpca.Detector('PlainOfTheTest')
    finally:
        MODELS._module_dict.pop('PlainOfTheTest')


def test_no_losses_are_built_for_inference(acm: Path) -> None:
    config = load_config(find_config('acm_sirstv1'))
    assert config.model.losses
    assert len(build_model(config, acm).losses) == 0


def test_targets_are_described_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from drpca.inference import detections

    asked = []
    real = detections.find_targets
    monkeypatch.setattr(detections, 'find_targets', lambda *given: asked.append(1) or real(*given))
    (detection,) = drpca.Detector('tophat', threshold=0.9)(IMAGE)
    assert not asked
    assert detection.targets is detection.targets
    assert len(asked) == 1
