"""Training on joined data sets, from the command line's name to the figures of each set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from drpca.config import find_config, load_config
from drpca.config_text import config_text
from drpca.datasets.synthetic import generate_dataset
from drpca.engine.hooks.log import TrainingLogHook
from drpca.engine.loop import Interrupted
from drpca.engine.runs import TrainingResult, plan_runs, train
from drpca.errors import UserError
from drpca.inference.detector import resolve
from drpca.registry import DATASETS, MODELS

JOINED = 'synthetic+NUDT-SIRST'


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('data')
    for name, seed, count in (('NUDT-SIRST', 1, 5), ('synthetic', 0, 10)):
        generate_dataset(path / 'made' / name, num_train=count, num_test=2, size=48, seed=seed)
        shutil.move(path / 'made' / name / 'synthetic', path / name)
    shutil.rmtree(path / 'made')
    return path


def run(root: Path, work: Path, resume: bool = False, **options: Any) -> TrainingResult:
    small = {f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')}
    small |= {'model.network.num_stages': 1, 'train_cfg.val_interval': 1}
    small |= options.pop('cfg_options', {})
    return train(
        'rpcanet_plus_synthetic', dataset=JOINED, resume=resume, data_root=root, work_dir=work,
        epochs=2, batch_size=2, workers=0, cfg_options=small, **options,
    )  # fmt: skip


@pytest.fixture(scope='module')
def reference(root: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(root, tmp_path_factory.mktemp('reference'))


def test_figures_of_each_set_and_of_the_union(reference: TrainingResult) -> None:
    assert reference.folder.path.parts[-2] == 'rpcanet_plus_synthetic_on_synthetic+nudtsirst'
    log = reference.folder.log()
    assert {f'val/{lead}IoU' for lead in ('', 'synthetic/', 'NUDT-SIRST/')} <= log[0].keys()
    assert [log[0][f'val/{lead}images'] for lead in ('synthetic/', 'NUDT-SIRST/', '')] == [2, 1, 3]
    assert reference.best == max(line['val/IoU'] for line in log), 'the union selects'
    assert reference.test is not None
    assert {'IoU', 'drpca/Pd', 'synthetic/IoU', 'NUDT-SIRST/rpcanet/Fa'} <= reference.test.keys()
    assert reference.test['images'] == 4


def test_a_run_that_was_stopped_goes_on_alike(root: Path, tmp_path: Path, reference: TrainingResult) -> None:
    original = TrainingLogHook.after_train_iter

    def interrupt(self: Any, runner: Any, batch_idx: int, **rest: Any) -> None:
        original(self, runner, batch_idx, **rest)
        if runner.iter == 8:
            runner.train_loop.request_stop('enough')

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainingLogHook, 'after_train_iter', interrupt)
        with pytest.raises(Interrupted):
            run(root, tmp_path)
    resumed = run(root, tmp_path, resume=True)
    first, second = (torch.load(one.folder.last, weights_only=True)['state_dict'] for one in (reference, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert resumed.best == reference.best
    assert resumed.test == pytest.approx(reference.test, nan_ok=True)


def test_images_may_stay_on_the_device(root: Path, tmp_path: Path) -> None:
    result = run(root, tmp_path, cfg_options={'train_dataloader.on_device': True})
    assert result.test is not None
    assert 'NUDT-SIRST/IoU' in result.test


@pytest.mark.parametrize('written', [JOINED, JOINED.split('+')])
def test_the_network_sees_images_as_of_their_own_sets(root: Path, written: str | list[str]) -> None:
    """Also where a config names the sets, and of a set that is scored alone."""

    def prepared(config: Any, part: str) -> dict[str, torch.Tensor]:
        model, dataset = MODELS.build(config.model), DATASETS.build(config[f'{part}_dataloader'].dataset)
        return {sample['name']: model._prepare(sample['image'][None]) for sample in dataset}

    path, names = find_config('acm_sirstv1'), JOINED.split('+')
    options = {f'{part}_dataloader.dataset.dataset': written for part in ('train', 'val')}
    options |= {'train_dataloader.dataset.pipeline': [], 'test_dataloader.dataset.dataset': names[1]}
    single = {name: load_config(path, name, root, {'train_dataloader.dataset.pipeline': []}) for name in names}
    assert single[names[0]].model.mean != single[names[1]].model.mean
    config = load_config(path, names[0], root, options)
    assert config.train_dataloader.dataset.dataset == JOINED
    seen = prepared(config, 'train') | {f'{names[1]}/{k}': v for k, v in prepared(config, 'test').items()}
    wanted = {f'{name}/{k}': v for name in names for k, v in prepared(single[name], 'train').items()}
    wanted |= {f'{names[1]}/{k}': v for k, v in prepared(single[names[1]], 'test').items()}
    assert seen.keys() == wanted.keys()
    for name, image in seen.items():
        torch.testing.assert_close(image, wanted[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dataset', [JOINED, 'NUDT-SIRST'])
def test_a_network_goes_back_to_one_set(root: Path, tmp_path: Path, dataset: str) -> None:
    """Inference on one set of those trained on takes its mean and standard deviation."""
    trained = load_config(find_config('acm_sirstv1'), dataset, root)
    file = tmp_path / 'joined.pth'
    torch.save({'meta': {'cfg': config_text(trained)}, 'state_dict': {}}, file)
    for name, dataset in ((None, 'NUDT-SIRST'), ('acm_sirstv1', 'NUDT')):
        config, _ = resolve(name, file, dataset=dataset)
        assert config is not None
        assert config.model.mean == load_config(find_config('acm_sirstv1'), 'NUDT-SIRST').model.mean
        assert 'normalisation' not in config.test_dataloader.dataset


def test_unknown_parts_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown data set 'nothing'"):
        train('rpcanet_plus_synthetic', dataset='synthetic+nothing', data_root=root, work_dir=tmp_path)
    with pytest.raises(UserError, match='names synthetic twice'):
        train('rpcanet_plus_synthetic', dataset='synthetic+synthetic', data_root=root, work_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_model_on_joined_sets_has_a_folder_of_its_own() -> None:
    (planned,) = plan_runs(models=['acm'], datasets=['SIRSTv1+NUDT-SIRST'])
    assert planned.name == 'acm_sirstv1+nudtsirst'
