"""Exported files are the network, and files that are not are refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch import nn

import drpca
from drpca.cli import export as command
from drpca.cli import infer
from drpca.config import find_config, load_config
from drpca.deploy import export_model as module
from drpca.deploy.backends import InputRules, open_backend
from drpca.deploy.export_model import export_model, exportable, input_rules
from drpca.errors import DiskFull, UserError
from drpca.inference import export as exporting
from drpca.inference.export import split_images
from drpca.models.detector import DetectionModel, unused_parameter_names
from drpca.models.dtum import coded_pool
from drpca.options import EXPORT_FORMATS
from drpca.registry import MODELS
from tests.support import ROOT, Mark, limited_files, python, small

RNG = np.random.default_rng(0)
IMAGES = [RNG.random(shape, dtype=np.float32) for shape in ((40, 40), (45, 61))]


def model(name: str = 'RPCANet') -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(MODELS.build({'type': name, 'num_stages': 1})).eval()


def needs_onnx() -> None:
    for package in ('onnx', 'onnxruntime'):
        pytest.importorskip(package)


def test_networks_of_windows_are_compared_on_windows() -> None:
    config = load_config(find_config('tensor_rpcanet_synthetic_sequence'))
    config.test_dataloader.dataset.synthetic.update(test=2, num_frames=9, size=32)
    windows, masks = split_images(config, 'test', 3, None, None)
    assert [window.shape for window in windows] == [(8, 32, 32)] * 3
    assert [(mask.shape, mask.dtype) for mask in masks] == [((32, 32), bool)] * 3
    assert len(np.unique(windows[1], axis=0)) == 7, 'spread over the split, not the first of a sequence again and again'


def test_windows_of_a_folder_are_of_consecutive_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((16, 16), number, np.uint8))
    given: dict[str, Any] = {}
    monkeypatch.setattr(exporting, 'export_model', lambda *_, **options: given.update(options))
    monkeypatch.setattr(exporting, 'build_model', lambda *_: DetectionModel(MODELS.build({'type': 'DTUM'})))
    weights = tmp_path / 'w.pth'
    weights.touch()
    options = {'count': 3, 'int8': True, 'calibration': 1}

    def numbers(of: str, images: Any) -> list[list[float]]:
        drpca.export('dtum_synthetic_sequence', weights, 'd.onnx', images=images, **options)
        return [[255 * float(frame.mean()) for frame in window] for window in given[of]]

    expected = [[0] * 5, [0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]
    assert numbers('images', tmp_path) == [pytest.approx(window) for window in expected]
    assert numbers('calibration', tmp_path) == [pytest.approx(expected[0])]
    frames = [np.full((16, 16), number / 255, np.float32) for number in range(7)]
    assert numbers('images', frames) == [pytest.approx(window) for window in expected]
    assert numbers('images', [np.stack(frames[:5])]) == [pytest.approx(range(5))]
    cv2.imwrite(str(tmp_path / '7.png'), np.zeros((16, 24), np.uint8))
    options['count'] = None
    with pytest.raises(UserError, match=r'windows of 5 consecutive images: expected one size, got 16 x 16 and 16 x 24'):
        numbers('images', tmp_path)


@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'DRPCANet'])
def test_onnx_file_in_the_detector(tmp_path: Path, name: str) -> None:
    needs_onnx()
    network = model(name)
    path = tmp_path / 'network.onnx'
    agreement = export_model(network, path, images=IMAGES, labels=[image > 0.9 for image in IMAGES])
    assert agreement.images == 2
    assert agreement.max_error < 1e-3
    assert agreement.iou_file == pytest.approx(agreement.iou_pytorch, abs=1e-3)
    frames = [*IMAGES, *IMAGES[:1] * 2]
    for expected, got in zip(drpca.Detector(network)(frames), drpca.Detector(path, batch_size=2)(frames)):
        assert got.scores.shape == expected.scores.shape
        assert np.abs(got.scores - expected.scores).max() < 1e-4
    with pytest.raises(UserError, match='is there already'):
        export_model(network, path, images=IMAGES)


@pytest.mark.parametrize(('format', 'limit'), [('onnx', 8_000), ('openvino', 60_000), ('torch', 8_000)])
def test_a_full_disk(tmp_path: Path, format: str, limit: int) -> None:
    """A limit on the size of files stands in for the disk; the ONNX file inside OpenVINO's way is below its."""
    for package in module.PACKAGES[format]:
        pytest.importorskip(package)
    path = tmp_path / f'network{EXPORT_FORMATS[format]}'
    path.write_text('old')
    with limited_files(limit), pytest.raises(DiskFull, match=rf'Cannot write {path.name}: the disk is full'):
        export_model(model(), path, format, images=IMAGES, overwrite=True)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_openvino_file(tmp_path: Path) -> None:
    needs_onnx()
    pytest.importorskip('openvino')
    path = tmp_path / 'network.xml'
    assert export_model(model(), path, 'openvino', images=IMAGES).max_error < 1e-3
    assert path.with_suffix('.bin').is_file()
    assert open_backend(path).logits(IMAGES[0][None, None]).shape == (1, 1, 40, 40)


SMALL = {
    'RPCANet': {'num_stages': 1},
    'RPCANetPlus': {'num_stages': 1},
    'DRPCANet': {'num_stages': 1, 'background_depth': 1, 'target_depth': 1, 'reconstruction_depth': 1},
}


@pytest.mark.parametrize('name', SMALL)
def test_torch_export_file_in_the_detector(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    network = DetectionModel(MODELS.build({'type': name, **SMALL[name]})).eval()
    path = tmp_path / 'network.pt2'
    assert export_model(network, path, 'torch', images=IMAGES).max_error < 1e-3
    expected, got = drpca.Detector(network)(IMAGES[1])[0], drpca.Detector(path, trust=True)(IMAGES[1])[0]
    assert np.abs(got.scores - expected.scores).max() < 1e-4


@pytest.mark.slow
def test_a_program_of_windows_takes_small_frames(tmp_path: Path) -> None:
    """torch.export leaves no number of bands open down to 1: smaller frames are padded."""
    network = DetectionModel(MODELS.build({'type': 'TensorRPCANet', 'num_stages': 1, 'channels': 4, 'frames': 3}))
    path = tmp_path / 'network.pt2'
    windows = [RNG.random((3, 48, side), dtype=np.float32) for side in (48, 60)]
    assert export_model(network.eval(), path, 'torch', images=windows).max_error < 1e-3
    assert open_backend(path, trust=True).rules.min_size == 48
    assert drpca.Detector(path, trust=True)(IMAGES[0])[0].scores.shape == (40, 40)


def test_fixed_size(tmp_path: Path) -> None:
    network = DetectionModel(MODELS.build({'type': 'RDIAN'})).eval()
    path = tmp_path / 'n.pt2'
    with pytest.raises(UserError, match='RDIAN does not export as torch; with one fixed size'):
        export_model(network, path, 'torch', images=IMAGES)
    square = [RNG.random((48, 48), dtype=np.float32)]
    assert export_model(network, path, 'torch', images=square, fixed_size=48).max_error < 1e-5
    assert drpca.Detector(path, size=48, trust=True)(IMAGES[1])[0].map_scores.shape == (48, 48)
    with pytest.raises(UserError, match='48 x 48 and got 45 x 61'):
        drpca.Detector(path, trust=True)(IMAGES[1])
    with pytest.raises(UserError, match='multiples of 16'):
        input_rules(DetectionModel(MODELS.build({'type': 'ACM'})), fixed_size=50)


@pytest.mark.parametrize('scale_to_max', [False, True])
def test_normalisation_and_padding_are_those_of_the_model(tmp_path: Path, scale_to_max: bool) -> None:
    needs_onnx()
    torch.manual_seed(0)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    network = MODELS.build({'type': 'ACM', 'in_channels': 3})
    normalising = DetectionModel(network, None, mean, std, scale_to_max=scale_to_max).eval()
    agreement = export_model(normalising, tmp_path / 'n.onnx', images=[0.7 * image for image in IMAGES])
    assert agreement.max_error < 1e-5


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('LRRNet', {'channel_mults': (1, 1, 1, 1), 'num_res_blocks': 1}),
        pytest.param('ISTDUNet', {}, marks=pytest.mark.slow),
    ],
    ids=['LRRNet', 'ISTDUNet'],
)
def test_a_program_takes_the_smallest_frames(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Whose deepest features would be one pixel: they are padded to two."""
    torch.manual_seed(0)
    network = DetectionModel(MODELS.build({**small(name), **options})).eval()
    module.write_model(network, tmp_path / 'n.pt2', 'torch', input_rules(network))
    program = open_backend(tmp_path / 'n.pt2', trust=True)
    for shape in ((8, 8), (8, 24), (45, 61)):
        image = RNG.random((1, 1, *shape), np.float32)
        logits = program.logits(image)
        assert logits.shape == image.shape
        with torch.inference_mode():
            padded = network.detect(torch.from_numpy(program.rules.pad(image)))[..., : shape[0], : shape[1]].numpy()
        assert np.abs(logits - padded).max() < 1e-5


def test_what_pytorch_prints_of_a_failure_is_kept_quiet(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    needs_onnx()
    network = model()
    network.network.detect = lambda image: torch.cartesian_prod(image[0, 0, 0], image[0, 0, 0])
    with pytest.raises(UserError, match='RPCANet does not export as onnx'):
        export_model(network, tmp_path / 'n.onnx', images=IMAGES)
    assert capfd.readouterr().out == ''
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_agree_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = exportable(model())
    with torch.no_grad():
        wrong.network.decos[0].sparse.epsilon += 0.5
    monkeypatch.setattr(module, 'exportable', lambda *_: wrong)
    with pytest.raises(UserError, match='was not written'):
        export_model(model(), tmp_path / 'n.pt2', 'torch', images=IMAGES)
    assert list(tmp_path.iterdir()) == []


class Sums(nn.Module):
    """Sums of three neighbours; exported, they are added in another order, and ``off`` to them."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off, self.is_exported = off, False

    def for_export(self) -> Sums:
        self.is_exported = True
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, middle, right = x, x.roll(-1, -1), x.roll(-2, -1)
        return left + (middle + right) + self.off if self.is_exported else (left + middle) + right


class Places(nn.Module):
    """The codes of DTUM, by which two maxima that tie are told apart."""

    size_multiple = 2

    def __init__(self, off: float) -> None:
        super().__init__()
        self.sums = Sums(off)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        codes = coded_pool(self.sums(image)) + 5
        return codes.repeat_interleave(2, -1).repeat_interleave(2, -2)


def tied(off: float = 0.0) -> tuple[DetectionModel, np.ndarray]:
    """Such a network, and an image in eight rows of which all sums are equal but for rounding."""
    image = np.random.default_rng(0).random((32, 48), np.float32)
    image[8:16] = np.tile(image[8:16, :3], 16)
    return DetectionModel(Places(off)), image


def test_a_file_may_differ_as_rounding_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    needs_onnx()
    network, image = tied()
    found = export_model(network, tmp_path / 'n.onnx', images=[image])
    assert found.rounding is not None
    assert 1e-3 * found.max_logit < found.max_error < 2 * found.rounding
    monkeypatch.setattr(drpca, 'export', lambda *_, **__: found)
    assert command.main(['any', '--checkpoint', 'any', '--out', 'any']) == 0
    assert 'Rounding does as much' in capsys.readouterr().out
    with pytest.raises(UserError, match=r'was not written: its logits differ.*; rounding alone changes them by up to'):
        export_model(tied(0.002)[0], tmp_path / 'wrong.onnx', images=[image])
    assert not (tmp_path / 'wrong.onnx').exists()


def test_rounding_excuses_neither_more_pixels_nor_other_masks() -> None:
    network, image = tied()
    expected = module.plain_logits(network)
    network.network.sums.for_export()
    rounded = module.plain_logits(network)
    allowed = 1e-3 * float(expected(image[None, None]).max())

    def reason(change: Callable[[np.ndarray], np.ndarray]) -> str:
        return module.beyond_rounding(expected, lambda batch: change(rounded(batch)), [image], allowed)[1]

    assert reason(lambda logits: logits) == ''
    assert 'its logits differ' in reason(lambda logits: logits + allowed / 2)
    assert 'its logits differ' in reason(lambda logits: np.where(np.arange(48) < 24, logits, logits + 1))
    lowest = expected(image[None, None]).min()
    assert lowest > allowed
    assert 'its masks differ at' in reason(lambda logits: np.where(logits == lowest, -logits, logits))


def test_trimmed_parameters() -> None:
    network = DetectionModel(MODELS.build({'type': 'ISTDUNet'})).eval()
    names = unused_parameter_names(network.network)
    kept, trimmed = (sum(p.numel() for p in exportable(network, trim).network.parameters()) for trim in (False, True))
    assert names
    assert trimmed < kept


def test_padding_by_the_file_s_rules() -> None:
    images = RNG.random((1, 1, 13, 16), dtype=np.float32)
    zeros = InputRules('Net', multiple=8, min_size=16).pad(images)
    assert zeros.shape == (1, 1, 16, 16)
    assert (zeros[..., 13:, :] == 0).all()
    mirrored = InputRules('Net', multiple=8, pad_mode='reflect').pad(images)
    assert np.array_equal(mirrored[..., 13, :], images[..., 11, :])


@pytest.mark.parametrize(
    ('arguments', 'message'), [(('n.onnx', 'onnxx'), 'Unknown format'), (('n.bin', 'torch'), 'ends in .pt2')]
)
def test_bad_export(tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        export_model(model(), tmp_path / arguments[0], arguments[1], images=IMAGES)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='No exported model'):
        drpca.Detector(tmp_path / 'none.onnx')
    (tmp_path / 'bad.pt2').write_bytes(b'nothing')
    with pytest.raises(UserError, match='Cannot load'):
        drpca.Detector(tmp_path / 'bad.pt2', trust=True)
    with pytest.raises(UserError, match='does not read'):
        open_backend(tmp_path / 'bad.pt2', 'onnx')


def test_a_program_runs_nothing_unless_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    marker, path = tmp_path / 'ran', tmp_path / 'n.pt2'
    export_model(model(), tmp_path / 'whole.pt2', 'torch', images=IMAGES)
    pickled = io.BytesIO()
    torch.save(Mark(marker), pickled)
    with zipfile.ZipFile(tmp_path / 'whole.pt2') as whole, zipfile.ZipFile(path, 'w') as changed:
        for name in whole.namelist():
            changed.writestr(name, pickled.getvalue() if name.endswith('.pt') else whole.read(name))
    for opened in (open_backend, drpca.Detector):
        with pytest.raises(UserError, match=r'can run any code.*--trust'):
            opened(path)
    assert infer.main(['--checkpoint', str(path), '--input', str(tmp_path)]) == 2
    assert '--trust' in capsys.readouterr().err
    assert not marker.exists()
    with suppress(Exception):
        open_backend(path, trust=True)
    assert marker.exists()  # what the mark would look like


def test_command_and_inference_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    network = "dict(type='RPCANet', num_stages=1)"
    Path('small.py').write_text(f"model = dict(type='DetectionModel', network={network})\ninference_size = None\n")
    Path('frames').mkdir()
    cv2.imwrite('frames/a.png', (255 * IMAGES[0]).astype(np.uint8))
    torch.save(model().network.state_dict(), 'w.pth')
    arguments = ['small.py', '--checkpoint', 'w.pth', '--out', 'n.pt2', '--format', 'torch']
    assert command.main([*arguments, '--images', 'frames']) == 0
    assert 'on 1 image the logits differ from PyTorch' in capsys.readouterr().out
    assert command.main([*arguments, '--images', 'nowhere']) == 2
    assert 'no such folder' in capsys.readouterr().err
    for weights, out in (('w.pth', 'one'), ('n.pt2', 'two')):
        arguments = ['small.py', '--checkpoint', weights, '--input', 'frames', '--out', out]
        assert infer.main([*arguments, '--trust']) == 0
    one, two = (loadmat(f'{out}/frames/mat/a.mat')['T'] for out in ('one', 'two'))
    assert np.abs(one - two).max() < 1e-4


RECIPE = """
import sys
for name in ('drpca', 'torch'):
    sys.modules[name] = None
import numpy as np
script = compile(open('recipe.py').read(), 'recipe.py', 'exec')
for number, arguments in enumerate((['a.onnx', 'deep.png'], ['b.onnx', 'odd.png'], ['c.onnx', 'odd.png'])):
    sys.argv[1:] = arguments
    exec(script, {})
    np.save(f'{number}.npy', np.load('scores.npy'))
"""


def test_a_file_says_what_running_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the recipe of the documents, in a process without this project and PyTorch."""
    needs_onnx()
    import onnx
    import onnxruntime

    text = (ROOT / 'docs/deployment.md').read_text().split('### Without this project')[1]
    recipe = text.split('```python\n')[1].split('```')[0]
    assert len(recipe.splitlines()) <= 25
    monkeypatch.chdir(tmp_path)
    Path('recipe.py').write_text(recipe)
    cv2.imwrite('deep.png', (9000 + 700 * IMAGES[1]).astype(np.uint16))
    cv2.imwrite('odd.png', (255 * IMAGES[0][:31, :33]).astype(np.uint8))
    torch.manual_seed(0)
    reflecting = DetectionModel(
        MODELS.build({'type': 'LRRNet', 'channel_mults': (1, 2, 2), 'num_res_blocks': 1})
    ).eval()
    normalising = DetectionModel(MODELS.build({'type': 'ACM'}), mean=0.4, std=0.13).eval()
    origin = {'config': 'own', 'dataset': 'SIRST V1', 'weights': 'w.pth', 'weights_sha256': '0123'}
    for name, network, size in (('a', model(), 32), ('b', reflecting, None), ('c', normalising, None)):
        rules = input_rules(network, size)
        module.write_model(network, Path(f'{name}.onnx'), 'onnx', rules, made_from=origin)
    done = python(RECIPE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('above the threshold') == 3
    frames = ('deep.png', 'odd.png', 'odd.png')
    for number, (name, network, frame) in enumerate(zip('abc', (model(), reflecting, normalising), frames)):
        (detection,) = drpca.Detector(network, size=32 if name == 'a' else None)(frame)
        assert np.abs(np.load(f'{number}.npy') - detection.map_scores).max() < 1e-4

    stored = onnx.load('b.onnx')
    said = {entry.key: entry.value for entry in stored.metadata_props}
    assert origin.items() <= said.items()
    assert {'network', 'input', 'size', 'values', 'grey', 'padding', 'output', 'threshold', 'versions'} <= said.keys()
    assert 'by reflection' in said['padding']
    assert all(f'{key}: {value}' in stored.doc_string for key, value in said.items() if key != 'drpca')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession('b.onnx', options)
    with pytest.raises(Exception, match='LRRNet takes sides of at least 8 that are multiples of 4: pad the image'):
        session.run(None, {'image': np.zeros((1, 1, 31, 33), np.float32)})


def test_other_formats_say_it_too(tmp_path: Path) -> None:
    needs_onnx()
    openvino = pytest.importorskip('openvino')
    network, origin = model(), {'dataset': 'SIRST V1'}
    for name in ('n.xml', 'n.pt2'):
        format = {suffix: format for format, suffix in EXPORT_FORMATS.items()}[Path(name).suffix]
        module.write_model(network, tmp_path / name, format, input_rules(network), made_from=origin)
    assert openvino.Core().read_model(tmp_path / 'n.xml').get_rt_info(['about', 'dataset']).value == 'SIRST V1'
    with zipfile.ZipFile(tmp_path / 'n.pt2') as program:
        (about,) = (name for name in program.namelist() if name.endswith('extra/about'))
        assert 'dataset: SIRST V1' in program.read(about).decode().splitlines()


def test_a_network_trained_in_bfloat16_is_compared_in_float32() -> None:
    """As the file computes; by the digits that bfloat16 lacks, no file would agree."""
    torch.manual_seed(0)
    network = {'type': 'RPCANetPlus', 'num_stages': 2}
    trained = MODELS.build({'type': 'DetectionModel', 'network': network, 'precision': 'bfloat16'}).eval()
    exact = MODELS.build({'type': 'DetectionModel', 'network': network}).eval()
    exact.load_state_dict(trained.state_dict())

    def exact_logits(batch: np.ndarray) -> np.ndarray:
        return exact.detect(torch.from_numpy(batch)).numpy()

    image = np.random.default_rng(0).random((32, 32), np.float32)
    assert module.agreement(module.plain_logits(trained), exact_logits, [image]).max_error == 0
    assert trained.precision is torch.bfloat16, 'the model stays as it was'
