"""The registries find every class by its file, import no other, and nothing else names a network."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from drpca import registry
from drpca.config import list_models
from drpca.evaluation.protocols import known_protocols
from drpca.names import simplify
from drpca.registry import BASELINES, MODELS, OPTIMIZERS, LazyRegistry, network_names
from tests.support import ROOT, python

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, LazyRegistry)]


PROGRAM = """
import json, sys
folder = sys.argv[1]
moments = {}

def note(moment):
    moments[moment] = [name for name in sys.modules if name.startswith('drpca.')]

from drpca.registry import BASELINES, MODELS
assert 'DetectionModel' not in BASELINES
assert MODELS.defines('ISNet') and not MODELS.defines('Adam')
note('asked')

from drpca.losses import SoftIoULoss
note('imported a loss')

from drpca.cli import infer, train
from drpca.datasets.synthetic import generate_dataset
generate_dataset(folder, num_train=4, num_test=1, size=32)
small = [f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test')]
training = ['rpcanet_plus_synthetic', '--data-root', folder, '--work-dir', f'{folder}/runs', '--epochs', '1']
training += ['--batch-size', '2', '--workers', '0', '--cfg-options', 'model.network.num_stages=1', *small]
assert train.main(training) == 0
weights = f'{folder}/runs/rpcanet_plus_synthetic/seed_0/best.pth'
assert infer.main(['--checkpoint', weights, '--data-root', folder, '--out', f'{folder}/results']) == 0
note('trained and ran')

from torch import nn
MODELS.register_module(name='own')(nn.Identity)
assert isinstance(MODELS.build(dict(type='own')), nn.Identity)
try:
    MODELS.register_module(name='ISNet')(nn.Identity)
except KeyError as error:
    moments['taken'] = str(error)
print(json.dumps(moments))
"""


@pytest.fixture(scope='module')
def moments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Modules of the project in a new interpreter, moment by moment, and why a name could not be taken."""
    done = python(PROGRAM, str(tmp_path_factory.mktemp('made')))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: set(value) if isinstance(value, list) else value for name, value in found.items()}


@pytest.mark.parametrize('lazy', REGISTRIES, ids=lambda lazy: lazy.name)
def test_what_is_read_off_the_files_is_what_they_register(lazy: LazyRegistry) -> None:
    homes = {name: kind.__module__ for name, kind in lazy.module_dict.items()}
    assert {name: home for name, home in homes.items() if home.startswith('drpca.')} == lazy._files
    assert len(lazy) == len(lazy.module_dict)


def test_training_and_running_a_network_import_its_file_alone(moments: dict[str, Any]) -> None:
    modules = moments['trained and ran']
    homes = {MODELS._files[name] for name in network_names()}
    assert modules & homes == {'drpca.models.rpcanet_plus'}
    assert {name for name in modules if name.startswith('drpca.losses.')} == {
        f'drpca.losses.{name}' for name in ('base', 'pixel', 'region', 'weights')
    }
    assert modules & set(BASELINES._files.values()) == set()


def test_asking_whether_a_name_is_registered_imports_no_file(moments: dict[str, Any]) -> None:
    assert 'drpca.registry' in moments['asked']
    assert not any(name.startswith(('drpca.models', 'drpca.losses', 'drpca.baselines')) for name in moments['asked'])


def test_names_of_packages_can_be_imported_from_them(moments: dict[str, Any]) -> None:
    assert 'drpca.losses.region' in moments['imported a loss']
    assert 'drpca.losses.edge' not in moments['imported a loss']
    import drpca.baselines
    import drpca.losses

    for package in (drpca.losses, drpca.baselines):
        assert package.__all__
        assert all(hasattr(package, name) for name in package.__all__)


def test_a_name_of_the_project_cannot_be_taken(moments: dict[str, Any]) -> None:
    """Also of a file that was not imported; a name of one's own can."""
    assert 'drpca.models.isnet' not in moments['trained and ran']
    assert 'already registered in model at drpca.models.isnet' in moments['taken']


def test_lookups_with_scopes_parents_and_unknown_names() -> None:
    assert MODELS.get('drpca.LRRNet') is MODELS.get('LRRNet')
    assert 'LRRNet' in MODELS
    assert 'LRRNett' not in MODELS
    assert 'LRRNet' not in BASELINES
    assert OPTIMIZERS.get('Adam').__module__.startswith('torch')
    assert MODELS.get('ExponentialMovingAverage').__module__ == 'drpca.engine.optimisation'
    assert 'TopHat' in repr(BASELINES)
    with pytest.raises(KeyError, match='LRRNett is not in the drpca::model registry'):
        MODELS.build({'type': 'LRRNett'})


def test_networks_are_the_models_in_their_folder() -> None:
    files = {name for name, module in MODELS._files.items() if module.startswith('drpca.models.')}
    assert set(network_names()) == files - {'DetectionModel'}


def test_no_network_is_named_outside_its_folder() -> None:
    """No import of a network's file, no identifier and no text that is the name of a network or of its configs."""
    names = {simplify(name) for name in (*network_names(), *list_models())}
    homes = {MODELS._files[name] for name in network_names()}
    allowed = set(known_protocols())  # presets of metrics are called as the code that they come from
    found = []
    for path in sorted(ROOT.joinpath('drpca').rglob('*.py')):
        if ROOT / 'drpca' / 'models' in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = {'Constant': 'value', 'Name': 'id', 'Attribute': 'attr'}.get(type(node).__name__)
            text = getattr(node, named) if named else None
            if isinstance(text, str) and simplify(text) in names and text not in allowed:
                found.append(f'{path.name}:{node.lineno}: {text}')
            if isinstance(node, ast.ImportFrom) and node.module in homes:
                found.append(f'{path.name}:{node.lineno}: {node.module}')
    assert found == []
