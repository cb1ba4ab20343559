"""Every registered network exports, and the file computes what PyTorch computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drpca.deploy.backends import BACKENDS, is_installed, open_backend
from drpca.deploy.export_model import input_rules, write_model
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS, network_names
from tests.support import small


@dataclass
class Exported:
    model: DetectionModel
    path: Path
    images: list[np.ndarray]
    logits: list[np.ndarray]


def with_varied_parameters(network: nn.Module) -> nn.Module:
    """BatchNorm statistics and single scalars (attention starts with a factor of 0) away from their start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    for parameter in network.parameters():
        if parameter.numel() == 1:
            nn.init.constant_(parameter, 0.5)
    return network


@pytest.fixture(scope='module', params=network_names())
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    pytest.importorskip('onnx')
    torch.manual_seed(0)
    network = MODELS.build(small(request.param))
    model = DetectionModel(with_varied_parameters(network)).eval()
    path = tmp_path_factory.mktemp('exported') / f'{request.param}.onnx'
    write_model(model, path, 'onnx', input_rules(model))
    side = max(32, network.min_size)
    generator = np.random.default_rng(0)
    # Two sizes, one of a batch and one that needs padding by most networks.
    images = [generator.random(shape, np.float32) for shape in ((2, 1, side, side), (1, 1, side + 3, side + 21))]
    with torch.inference_mode():
        logits = [model.detect(torch.from_numpy(image)).numpy() for image in images]
    return Exported(model, path, images, logits)


@pytest.mark.parametrize('backend', ['onnx', 'openvino'])
def test_file_and_pytorch_agree(exported: Exported, backend: str) -> None:
    if not is_installed(backend):
        pytest.skip(f'needs {", ".join(BACKENDS[backend][2])}')
    session = open_backend(exported.path, backend)
    for image, expected in zip(exported.images, exported.logits):
        assert np.ptp(expected) > 1e-4, 'a constant would not tell much'
        got = session.logits(image)
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 1e-4 * max(1, np.abs(expected).max())
