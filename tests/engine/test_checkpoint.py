"""Reading and writing of weight files."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import drpca
from drpca import checkpoint
from drpca.checkpoint import read_checkpoint, read_training_state, save_checkpoint
from drpca.errors import DiskFull, UserError
from drpca.registry import MODELS, network_names
from tests.support import Mark, limited_files, shared_path


def small(**options: Any) -> nn.Module:
    torch.manual_seed(1)
    return MODELS.build({'type': 'RPCANet', 'num_stages': 2, **options})


def equal(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ('file', 'config'),
    [
        ('RPCANet_SIRST.pkl', {'type': 'RPCANet'}),
        ('RPCANet_SIRST-Aug.pkl', {'type': 'RPCANet'}),
        ('RPCANetPlus_SIRST-Aug.pkl', {'type': 'RPCANetPlus', 'bottleneck': 4, 'noise_depth': 6}),
        ('RPCANetPlus_IRSTD-1k.pkl', {'type': 'RPCANetPlus', 'bottleneck': 16, 'noise_depth': 3}),
    ],
)
def test_published_files_load_strictly(file: str, config: dict[str, Any]) -> None:
    path = shared_path('checkpoints', file)
    network = drpca.load_weights(MODELS.build(config), path)
    published = torch.load(path, map_location='cpu', weights_only=True)
    assert all(torch.equal(value, published[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state, 'epoch': 3},
        lambda state: {'module.' + name: value for name, value in state.items()},
        lambda state: {'state_dict': {'module.network.' + name: value for name, value in state.items()}},
        lambda state: {'net._orig_mod.' + name: value for name, value in state.items()},
        lambda state: {'state_dict': {'model.' + name: value for name, value in state.items()}},
    ],
)
def test_wrappers_are_recognised(tmp_path: Path, wrap: Callable[[dict], dict]) -> None:
    source = small()
    torch.save(wrap(dict(source.state_dict())), tmp_path / 'w.pth')
    torch.manual_seed(2)
    target = MODELS.build({'type': 'RPCANet', 'num_stages': 2})
    assert not equal(source, target)
    assert equal(source, drpca.load_weights(target, tmp_path / 'w.pth'))


def test_safetensors(tmp_path: Path) -> None:
    file = tmp_path / 'w.safetensors'
    file.write_bytes(checkpoint.tensor_bytes(small().state_dict(), {'Config': 'mine'}))
    torch.manual_seed(2)
    assert equal(small(), drpca.load_weights(MODELS.build({'type': 'RPCANet', 'num_stages': 2}), file))
    assert read_checkpoint(file)['meta'] == {'Config': 'mine'}
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:100], b'', b'\xff' * 100, whole[:8] + b'}' + whole[9:]):
        file.write_bytes(content)
        with pytest.raises(UserError, match='file, or truncated'):
            read_checkpoint(file)
    file.write_bytes(checkpoint.tensor_bytes({'x': torch.zeros(2)}, {}))
    with pytest.raises(UserError, match='does not hold the weights of this RPCANet'):
        drpca.load_weights(small(), file)


def test_another_architecture_is_refused_with_the_one_that_fits(tmp_path: Path) -> None:
    published = MODELS.build({'type': 'RPCANetPlus', 'bottleneck': 16, 'noise_depth': 3})
    torch.save(published.state_dict(), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r"fits dict\(type='RPCANetPlus', bottleneck=16, noise_depth=3\)"):
        drpca.load_weights(MODELS.build({'type': 'RPCANetPlus'}), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'\d+ missing \(.*\d+ unexpected'):
        drpca.load_weights(small(), tmp_path / 'w.pth')
    torch.save(small().state_dict(), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r"fits dict\(type='RPCANet', num_stages=2\)"):
        drpca.load_weights(MODELS.build({'type': 'RPCANet'}), tmp_path / 'w.pth')


@pytest.mark.parametrize('writer', ['torch', 'pickle'])
def test_a_file_that_would_run_code_does_not(tmp_path: Path, writer: str) -> None:
    marker, path = tmp_path / 'ran', tmp_path / 'w.pth'
    if writer == 'torch':
        torch.save({'state_dict': Mark(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({'state_dict': Mark(marker)}))
    with pytest.raises(UserError, match='could run code'):
        drpca.load_weights(small(), path)
    assert not marker.exists()


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'\x89PNG\r\n\x1a\n' + bytes(100)])
def test_other_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(UserError, match='Cannot read checkpoint'):
        read_checkpoint(tmp_path / 'w.pth')


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    torch.save(small().state_dict(), tmp_path / 'w.pth')
    whole = (tmp_path / 'w.pth').read_bytes()
    (tmp_path / 'w.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match='Cannot read checkpoint'):
        read_checkpoint(tmp_path / 'w.pth')
    with pytest.raises(UserError, match='No checkpoint at'):
        read_checkpoint(tmp_path / 'none.pth')


@pytest.mark.parametrize('size', [4, 100_000])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, size: int) -> None:
    """Also where the last bytes alone find no room, when the library looks after itself."""
    path = tmp_path / 'last.pth'
    save_checkpoint({'epoch': 1}, path)
    with limited_files(1000), pytest.raises(DiskFull, match=r'Cannot write .*last\.pth: the disk is full'):
        save_checkpoint({'epoch': 2, 'weights': torch.zeros(size)}, path)
    assert read_checkpoint(path) == {'epoch': 1}
    assert [file.name for file in tmp_path.iterdir()] == ['last.pth']


@pytest.mark.parametrize('name', network_names())
def test_every_network_is_recognised_by_the_names_of_its_parts(name: str) -> None:
    """These are read off the sources, which a network that names its parts in another way would get past."""
    with torch.device('meta'):
        state = MODELS.build({'type': name}).state_dict()
    parts = {part for key in state for part in key.split('.')[:-1] if not part.isdigit()}
    assert checkpoint._could_be(name, parts)


def test_refusing_foreign_weights_imports_and_builds_next_to_nothing(tmp_path: Path) -> None:
    """It took 9 seconds: all networks were built, some of them ten times."""
    torch.save({'layer1.0.conv1.weight': torch.zeros(3), 'fc.bias': torch.zeros(3), 1: 2}, tmp_path / 'w.pth')
    network = small()
    started = time.process_time()
    with pytest.raises(UserError, match='fits no network known here'):
        drpca.load_weights(network, tmp_path / 'w.pth')
    assert time.process_time() - started < 1


UNUSABLE = {
    'is no dense tensor': [
        lambda v: v.to_sparse(), lambda v: v.to('meta'), lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
    ],
    'expected torch.float32': [lambda v: v.to(torch.complex64), lambda v: v > 0, lambda v: v.to(torch.int64)],
    'holds NaN or infinity': [
        lambda v: v * float('nan'), lambda v: v.index_fill(0, torch.tensor(0), float('-inf')),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ('reason', 'change'), [(reason, change) for reason, changes in UNUSABLE.items() for change in changes]
)
@pytest.mark.filterwarnings('ignore')
def test_what_is_no_plain_finite_weight_is_refused(tmp_path: Path, reason: str, change: Callable) -> None:
    state = small().state_dict()
    name = next(name for name, value in state.items() if value.ndim == 4)
    state[name] = change(state[name])
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(UserError, match=rf'w\.pth.*({reason}|not a weight file|found other objects)'):
        drpca.load_weights(small(), tmp_path / 'w.pth')


def test_half_precision_is_taken(tmp_path: Path) -> None:
    torch.save(small().half().state_dict(), tmp_path / 'w.pth')
    drpca.load_weights(small(), tmp_path / 'w.pth')


@pytest.mark.parametrize('missing', ['optimizer', 'param_schedulers', 'random_state', 'state_dict', 'meta'])
def test_a_training_goes_on_from_everything_or_not_at_all(tmp_path: Path, missing: str) -> None:
    whole: dict[str, Any] = {'state_dict': {}, 'optimizer': {}, 'param_schedulers': [], 'random_state': {}}
    whole['meta'] = {'cfg': '{}', 'epoch': 1, 'iter': 4}
    torch.save(whole, tmp_path / 'last.pth')
    assert read_training_state(tmp_path / 'last.pth') == whole
    del whole[missing]
    torch.save(whole, tmp_path / 'last.pth')
    with pytest.raises(UserError, match=r'last\.pth holds less than a training needs.*--load-from'):
        read_training_state(tmp_path / 'last.pth')
