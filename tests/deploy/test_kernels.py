"""Winograd's convolutions compute what PyTorch's do, and are left out where they cannot be made."""

from __future__ import annotations

import copy
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from drpca.deploy import fastest, kernels
from drpca.deploy.optimise import WinogradConv2d, optimise_model
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS

CPU = torch.device('cpu')
CAPABILITY = torch.backends.cpu.get_cpu_capability()
makes = pytest.mark.skipif(
    CAPABILITY not in kernels.FLAGS or not kernels.compiler(), reason='no AVX2 or AVX-512, or no C++ compiler'
)


@pytest.fixture
def anew() -> Iterator[None]:
    """The kernel is made again, and once more behind the test."""
    kernels.library.cache_clear()
    yield
    kernels.library.cache_clear()


@makes
@pytest.mark.parametrize('instructions', ['AVX2', 'AVX512'])
def test_kernels_compute_what_pytorch_does(instructions: str, anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if instructions > CAPABILITY:
        pytest.skip('this processor has no AVX-512')
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: instructions)
    torch.manual_seed(0)
    width = kernels.register_width()
    for batch, inputs, outputs, size, slope in (
        (1, width, 3 * width, (1, 1), 0.0),
        (3, 2 * width, width, (5, 18), 0.2),
        (1, 3 * width, 4 * width, (48, 50), 1.0),
    ):
        x = torch.randn(batch, inputs, *size).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5), torch.randn(outputs)
        exact = F.leaky_relu(F.conv2d(x.double(), weight.double(), bias.double(), padding=1), slope)
        found = kernels.convolve(x, kernels.transformed(weight), bias, slope)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert (found - exact).abs().max() < 5e-5
        weights = torch.randn(batch, 9, inputs) / (3 * inputs**0.5)
        found = kernels.convolve_to_one(x, weights, 0.3)
        for own, image, y in zip(weights, x, found):
            weight = own.T.reshape(1, inputs, 3, 3)
            assert (F.conv2d(image[None], weight, torch.tensor([0.3]), padding=1)[0] - y).abs().max() < 1e-5
        x = (x + 1000).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(inputs), torch.randn(inputs)
        exact = F.group_norm(x.double(), inputs // 4, weight.double(), bias.double(), 1e-2)
        assert (kernels.normalise_groups(x, inputs // 4, weight, bias, 1e-2) - exact).abs().max() < 2e-3
        flat = torch.full_like(x, 1000.1)
        assert (
            kernels.normalise_groups(flat, inputs // 4, weight, bias, 1e-5) - bias[:, None, None]
        ).abs().max() < 1e-3
    assert kernels.convolve(x[:0], kernels.transformed(torch.randn(outputs, inputs, 3, 3)), bias, 0.0).shape[0] == 0


@makes
@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'DRPCANet', 'LRRNet'])
def test_networks_use_it_and_compute_the_same(name: str) -> None:
    torch.manual_seed(0)
    sizes = {'channel_mults': (1, 2), 'num_res_blocks': 1} if name == 'LRRNet' else {'num_stages': 2}
    model = DetectionModel(MODELS.build({'type': name, **sizes})).eval()
    fast = optimise_model(model, CPU, winograd=True)
    assert sum(isinstance(module, WinogradConv2d) for module in fast.network.modules()) >= 3
    image = torch.rand(2, 1, 16, 23)
    with torch.inference_mode():
        expected = model.outputs(image)['target']
        for form in (fast, copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert (form.detect(image) - expected).abs().max() < 1e-4 * max(1, float(expected.abs().max()))


def small() -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel({'type': 'RPCANetPlus', 'num_stages': 1, 'channels': 16}).eval()


def test_the_compiler_that_is_named_is_taken_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in (('g++ -O2', ['g++', '-O2']), ("'/my gcc/g++'", ['/my gcc/g++']), ('g"', ['g"'])):
        monkeypatch.setenv('CXX', text)
        assert kernels.compiler() == words
    monkeypatch.setenv('CXX', '')
    assert kernels.compiler() == [program for program in map(shutil.which, ('c++', 'g++', 'clang++')) if program][:1]


def broken(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == 'no compiler':
        monkeypatch.setattr(kernels, 'compiler', list)
    elif what == 'no program':
        monkeypatch.setenv('CXX', 'true -O2')  # which says that it is done and makes nothing
    elif what == 'error':
        monkeypatch.setitem(kernels.FLAGS, CAPABILITY, ('-no-such-flag',))
    elif what == 'processor':
        monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'DEFAULT')
    else:
        monkeypatch.setattr(kernels, '_convolve', lambda loaded, x, *_: torch.zeros_like(x))


@makes
@pytest.mark.parametrize(
    ('what', 'message'),
    [
        ('no compiler', 'there is no C++ compiler'),
        ('no program', 'true -O2 does not compile it'),
        ('error', 'no-such-flag'),
        ('processor', 'neither AVX2 nor AVX-512'),
        ('nonsense', 'differs from PyTorch'),
    ],
)
def test_where_it_cannot_be_made_it_is_left_out_with_the_reason(
    what: str, message: str, anew: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken(monkeypatch, what)
    monkeypatch.setitem(fastest.CANDIDATES, 'fp32', ('optimised', 'winograd'))
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path))
    choice = fastest.fastest(small(), ([], []), side=32).choice
    assert choice.variant == 'optimised'
    assert re.search(f'not PyTorch with Winograd convolutions: .*{re.escape(message)}', str(choice))


@makes
def test_a_choice_that_no_longer_compiles_is_made_again(
    anew: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(fastest.CANDIDATES, 'fp32', ('optimised', 'winograd'))
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path))
    monkeypatch.setattr(fastest, 'milliseconds', lambda calls, _: {name: 2.0 - (name == 'winograd') for name in calls})
    assert fastest.fastest(small(), ([], []), side=32).choice.variant == 'winograd'
    broken(monkeypatch, 'error')
    kernels.library.cache_clear()
    assert fastest.fastest(small(), ([], []), side=32).choice.variant == 'optimised'


@pytest.mark.parametrize('options', [{'precision': 'bf16'}, {'device': torch.device('cuda')}])
def test_it_is_for_float32_on_a_cpu(options: dict) -> None:
    with pytest.raises(UserError, match='for float32 on a CPU'):
        optimise_model(small(), **{'device': CPU, **options}, winograd=True)


def test_the_default_form_does_without() -> None:
    fast = optimise_model(small(), CPU)
    assert not any(isinstance(module, WinogradConv2d) for module in fast.network.modules())
