"""INT8 files: what is quantised, what it costs, what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import drpca
from drpca.cli import export as command
from drpca.deploy.backends import open_backend
from drpca.deploy.export_model import Agreement, agreement, export_model, plain_logits
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from tests.support import exit_code

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

RNG = np.random.default_rng(0)
IMAGES = [RNG.random((40, 48), dtype=np.float32) for _ in range(3)]
LABELS = [image > 0.9 for image in IMAGES]


def model() -> DetectionModel:
    """A network that finds about half of the pixels."""
    torch.manual_seed(0)
    model = DetectionModel(MODELS.build({'type': 'RPCANet', 'num_stages': 1})).eval()
    step = model.network.decos[0].sparse
    with torch.inference_mode():
        middle = model.detect(torch.from_numpy(IMAGES[0])[None, None]).median()
        step.convs[-1].bias += middle / step.epsilon
    return model


@pytest.mark.parametrize('format', ['onnx', 'openvino'])
def test_int8_file(tmp_path: Path, format: str) -> None:
    pytest.importorskip('onnxruntime' if format == 'onnx' else 'openvino')
    path = tmp_path / ('n.onnx' if format == 'onnx' else 'n.xml')
    network = model()
    agreement = export_model(network, path, format, images=IMAGES, labels=LABELS, calibration=IMAGES, max_iou_loss=0.1)
    assert 1e-4 < agreement.max_error < 0.05 * max(1, agreement.max_logit)
    expected, got = drpca.Detector(network)(IMAGES)[0], drpca.Detector(path)(IMAGES)[0]
    assert np.abs(got.scores - expected.scores).max() < 0.02


def test_convolutions_of_a_single_channel_stay_float(tmp_path: Path) -> None:
    path = tmp_path / 'n.onnx'
    export_model(model(), path, images=IMAGES, calibration=IMAGES, max_iou_loss=1)
    graph = onnx.load(path).graph
    made_by = {output: node for node in graph.node for output in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == 'Conv']
    assert len(convolutions) == 13, 'P has 5, S has 8; M of the last stage is left out'
    quantised = 0
    for node in convolutions:
        weight = made_by.get(node.input[1])
        if weight is None:
            assert 1 in shapes[node.input[1]][:2]
        else:
            assert weight.op_type == 'DequantizeLinear'
            assert shapes[weight.input[1]] == (32,), 'one scale per output channel'
            quantised += 1
    assert quantised == 9


def test_a_file_that_loses_too_much_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / 'n.onnx'
    dark = [image / 1000 for image in IMAGES]
    with pytest.raises(UserError, match=r'n.onnx was not written: in INT8 it loses .* points of IoU'):
        export_model(model(), path, images=IMAGES, calibration=dark)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match='not as torch'):
        export_model(model(), tmp_path / 'n.pt2', 'torch', images=IMAGES, calibration=IMAGES)


def test_loss_of_iou() -> None:
    assert Agreement(1, 0, 1, 0.97, 0.70, 0.69).iou_loss == pytest.approx(0.01)
    assert Agreement(1, 0, 1, 0.97).iou_loss == pytest.approx(0.03)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    network = "dict(type='RPCANet', num_stages=1)"
    Path('small.py').write_text(f"model = dict(type='DetectionModel', network={network})\ninference_size = None\n")
    Path('frames').mkdir()
    for name, image in zip('abc', IMAGES):
        cv2.imwrite(f'frames/{name}.png', (255 * image).astype(np.uint8))
    torch.save(model().network.state_dict(), 'w.pth')
    arguments = ['small.py', '--checkpoint', 'w.pth', '--out', 'n.onnx', '--images', 'frames', '--int8']
    assert exit_code(command.main, [*arguments, '--calibration', '0']) == 2
    assert '--calibration: expected a whole number above 0' in capsys.readouterr().err
    assert command.main([*arguments, '--count', 'some']) == 2
    assert "or 'all', got some" in capsys.readouterr().err
    assert command.main([*arguments, '--count', 'all', '--calibration', '2', '--max-iou-loss', '50']) == 0
    assert 'on 3 images the logits differ' in capsys.readouterr().out
    assert agreement(plain_logits(model()), open_backend('n.onnx', 'onnx').logits, IMAGES).max_error > 1e-4
