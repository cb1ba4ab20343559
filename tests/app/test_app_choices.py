"""What the page offers: detectors and samples."""

import numpy as np
import pytest
import torch
from app_support import save_run, weights

from drpca.app import choices, samples
from drpca.app.choices import NATIVE, RECIPE, DetectorStore, list_choices, size_text
from drpca.cards import weight_cards
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError


def test_a_fresh_clone_offers_the_weights_of_the_project_and_classical_methods(tmp_path, monkeypatch):
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))  # where no test before has fetched anything
    found = list_choices(tmp_path / 'nothing')
    own = [label for label in found if label.endswith('weights of the project')]
    assert list(found)[: len(own)] == own == [f'{name}, weights of the project' for name in weight_cards()]
    found = {label: choice for label, choice in found.items() if label not in own}
    labels = list(found)
    assert labels[0] == 'IPI, classical RPCA, leaderboard preset'
    assert 'TopHat, classical filter, paper preset' in labels
    kinds = [label.split(', ')[1] for label in labels]
    assert kinds == sorted(kinds, key=lambda kind: kind == 'classical filter'), 'decompositions come first'
    assert all(choice.checkpoint is None for choice in found.values())


def test_runs_and_weight_files_are_named_without_folders(tmp_path):
    save_run(tmp_path, seed=0)
    save_run(tmp_path, seed=3)
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        torch.save(weights(), tmp_path / folder / 'W.pkl')
    given = [f'rpcanet_sirstv1={tmp_path}/{folder}/W.pkl' for folder in ('a', 'b')]
    labels = list(list_choices(tmp_path, given))
    files = ['W.pkl (rpcanet_sirstv1)', 'W.pkl (rpcanet_sirstv1) (2)']
    assert labels[:4] == [*files, 'rpcanet_tiny, seed 0', 'rpcanet_tiny, seed 3']
    assert not any(str(tmp_path) in label for label in labels)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('W.pkl', 'expected CONFIG=FILE'),
        ('=W.pkl', 'expected CONFIG=FILE'),
        ('rpcanet_sirst1=W.pkl', "Did you mean 'rpcanet_sirstv1'"),
        ('rpcanet_sirstv1=nowhere.pkl', 'no such file nowhere.pkl'),
        ('tophat=W.pkl', 'takes no weights'),
    ],
)
def test_bad_weights_argument(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        list_choices(tmp_path, [text])


def test_store_loads_once_and_keeps_the_last_few(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, '_KEPT', 2)
    save_run(tmp_path)
    store = DetectorStore(list_choices(tmp_path))
    network = store.get('rpcanet_tiny, seed 0')
    assert network.method == 'RPCANet'
    assert size_text(network) == '32 × 32 pixels'
    assert size_text(store.get('rpcanet_tiny, seed 0', NATIVE)) == "each frame's own size"
    again = store.get('rpcanet_tiny, seed 0', RECIPE, 'minmax')
    assert again.mapper.model is network.mapper.model
    assert str(network.mapper.values) == 'auto', 'the range of another visitor is another one'
    classical = store.get('TopHat, classical filter, leaderboard preset')
    assert size_text(classical) == '256 × 256 pixels'
    assert store.get('rpcanet_tiny, seed 0').mapper.model is network.mapper.model, 'used last but one'
    store.get('TopHat, classical filter, paper preset')
    again = store.get('TopHat, classical filter, leaderboard preset')
    assert again.mapper.baseline is not classical.mapper.baseline, 'dropped'


def test_what_cannot_be_loaded_is_told_without_folders(tmp_path):
    (tmp_path / 'broken.pkl').write_bytes(b'no weights')
    store = DetectorStore(list_choices(tmp_path, [f'rpcanet_sirstv1={tmp_path / "broken.pkl"}']))
    with pytest.raises(UserError, match=r'Cannot read checkpoint broken\.pkl') as caught:
        store.get('broken.pkl (rpcanet_sirstv1)')
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UserError, match='Unknown detector'):
        store.get('/etc/passwd')
    with pytest.raises(UserError, match='Unknown size'):
        store.get('broken.pkl (rpcanet_sirstv1)', '10000')


def test_samples_without_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = samples.list_samples(), samples.list_samples()
    assert len(first) == 6
    assert all(sample.frame.shape == sample.gt_mask.shape == (256, 256) for sample in first)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(first, second))
    assert len({sample.frame.tobytes() for sample in first}) == 6
    with pytest.raises(UserError, match='nowhere'):
        samples.list_samples(tmp_path / 'nowhere')


def test_samples_of_a_data_set_and_a_damaged_one(tmp_path, capsys):
    generate_dataset(tmp_path, num_train=1, num_test=4, size=32)
    other = tmp_path / 'damaged' / 'images'
    other.mkdir(parents=True)
    (tmp_path / 'damaged' / 'masks').mkdir()
    (other / 'one.png').write_bytes(b'no image')
    found = samples.list_samples(tmp_path)[6:]
    assert [sample.name for sample in found] == ['test_000000', 'test_000001', 'test_000002']
    assert {sample.source for sample in found} == {'synthetic'}
    assert found[0].frame.shape == (32, 32)
    assert 'no samples of damaged' in capsys.readouterr().err
