"""The detector: what it takes, what it returns, tiles, and damaged input."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor, nn

import drpca
from drpca.cli import infer
from drpca.deploy.export_model import input_rules
from drpca.deploy.optimise import optimise_model
from drpca.errors import UserError
from drpca.inference import tiling
from drpca.inference.detections import find_targets
from drpca.inference.frames import FrameSource
from drpca.inference.mappers import FrameMapper
from drpca.inference.tiling import map_in_tiles, ramp_window, tile_starts
from drpca.models.detector import DetectionModel
from drpca.models.unfolding import StageState, reach
from drpca.registry import MODELS
from drpca.results.folder import ResultsFolder, run_lengths
from tests.support import save_weights, write_video

RNG = np.random.default_rng(0)


class Threshold(nn.Module):
    """A detector whose answer is known: logits 20·(D − 0.5)."""

    outputs = ('target',)
    in_channels = 1
    size_multiple = 8
    min_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        assert image.shape[-1] % 8 == 0
        return (self.gain * (image - 0.5),)


def sigmoid(image: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-20 * (image - 0.5)))


@pytest.fixture(scope='module')
def detector() -> drpca.Detector:
    return drpca.Detector(Threshold())


def scene(height: int = 45, width: int = 61) -> np.ndarray:
    image = np.full((height, width), 50, np.uint8)
    image[10:13, 20:22] = 200
    image[11, 20] = 250
    image[30, 40] = 220
    return image


def test_arrays_tensors_and_sixteen_bits(detector: drpca.Detector) -> None:
    image = scene()
    unit = image.astype(np.float32) / 255
    (reference,) = detector(image)
    assert reference.scores.dtype == np.float32
    assert np.allclose(reference.scores, sigmoid(unit), atol=1e-5)
    assert np.array_equal(reference.mask, image > 127)
    tensor = torch.from_numpy(unit)
    for same in (unit, tensor, tensor[None, None], np.stack([image] * 3, axis=-1)):
        (detection,) = detector(same)
        assert np.allclose(detection.scores, reference.scores, atol=1e-6)
    (deep,) = detector((image.astype(np.uint16) * 7) + 900)  # stretched to its own range
    assert np.array_equal(deep.mask, image > 150)


@pytest.mark.parametrize(
    'change',
    [
        lambda unit: np.stack([unit.astype(np.float64)] * 3, axis=-1),
        lambda unit: np.stack([unit] * 4, axis=-1)[None],
        lambda unit: unit[..., None],
        lambda unit: unit[None],
        lambda unit: torch.from_numpy(unit[None, None]).requires_grad_(),
        lambda unit: torch.from_numpy(unit).bfloat16(),
        lambda unit: unit.astype(np.float16),
        lambda unit: Image.fromarray(np.round(255 * unit).astype(np.uint8)),
        lambda unit: ('name', Image.fromarray(np.round(255 * unit).astype(np.uint8)).convert('RGB')),
        lambda unit: Image.fromarray(unit),
        lambda unit: [torch.from_numpy(np.round(255 * unit)[..., None].astype(np.uint8))],
    ],
)
def test_types_and_shapes_of_frames(detector: drpca.Detector, change: Callable[[np.ndarray], object]) -> None:
    unit = scene().astype(np.float32) / 255
    (found,) = detector(change(unit))
    assert found.image.dtype == np.float32
    assert np.allclose(found.image, unit, atol=0.004)


@pytest.mark.parametrize('kind', [np.uint16, np.int16, np.int32, np.int64, np.uint32, 'torch'])
def test_all_integers_but_8_bits_are_counts(detector: drpca.Detector, kind: type | str) -> None:
    counts = scene().astype(np.int64) * 7 + 900
    (found,) = detector(torch.from_numpy(counts) if kind == 'torch' else counts.astype(kind))
    assert np.allclose(found.image, (scene() - 50.0) / 200, atol=1e-6)
    assert (found.frame.low, found.frame.high) == (1250, 2650)
    (mask,) = detector(scene() > 100)
    assert np.array_equal(mask.image, scene() > 100), 'bool is 0 and 1'


def test_a_range_for_a_detector() -> None:
    kelvin = 280 + scene().astype(np.float32) / 10
    detector = drpca.Detector(Threshold(), range=(285, 300), bad_pixels=True)
    kelvin[40, 5] = 4000
    (found,) = detector(kelvin)
    assert np.allclose(found.image[:30], np.clip((kelvin[:30] - 285) / 15, 0, 1), atol=1e-5)
    assert (found.frame.low, found.frame.high, found.frame.bad_pixels) == (285, 300, 2), 'with the target of one pixel'
    assert (detector.described()['range'], detector.described()['bad_pixels']) == ('285 300', True)
    with pytest.raises(UserError, match='Unknown range'):
        drpca.Detector(Threshold(), range='most')
    with pytest.raises(UserError, match='or give a range'):
        drpca.Detector(Threshold())(kelvin)


def test_targets_of_a_known_scene(detector: drpca.Detector) -> None:
    first, second = detector(scene())[0].targets
    weights = sigmoid(np.array([[200, 200], [250, 200], [200, 200]]) / 255)
    assert first.row == pytest.approx(10 + np.average([[0, 0], [1, 1], [2, 2]], weights=weights), abs=1e-5)
    assert first.column == pytest.approx(20 + np.average([[0, 1]] * 3, weights=weights), abs=1e-5)
    assert (first.box, first.area, second.box, second.area) == ((10, 20, 13, 22), 6, (30, 40, 31, 41), 1)
    assert first.peak == pytest.approx(weights.max(), abs=1e-5)
    assert first.mean == pytest.approx(weights.mean(), abs=1e-5)
    assert first.snr == np.inf, 'flat background'
    assert first.as_dict()['snr'] is None, 'JSON has no infinity'


@pytest.mark.parametrize('shape', [(250, 338), (96, 113), (45, 61), (32, 32)])
def test_positions_are_in_pixels_of_the_frame(shape: tuple[int, int]) -> None:
    image = np.full(shape, 50, np.uint8)
    row, column = shape[0] - 6, shape[1] // 4 + 2  # 86 of 338
    high, wide = (1 + side // 100 for side in shape)
    image[row - high : row + high + 1, column - wide : column + wide + 1] = 220
    (found,) = drpca.Detector(Threshold(), size=64)(image)
    assert found.image.shape == found.scores.shape == found.mask.shape == shape
    assert np.array_equal(found.mask, found.scores > 0.5)
    assert found.seen.shape == found.map_scores.shape == (64, 64)
    (target,) = found.targets
    step = max(1.0, *(side / 64 for side in shape)) / 2  # half a pixel of the map
    assert (target.row, target.column) == pytest.approx((row, column), abs=step + 0.5)
    top, left, bottom, right = target.box
    assert top <= row < bottom <= shape[0]
    assert left <= column < right
    assert target.area == found.mask.sum()
    assert target.peak == found.map_scores.max()


def test_local_snr() -> None:
    image = RNG.normal(0.4, 0.05, (80, 80))
    mask = np.zeros(image.shape, bool)
    mask[40:42, 30:33] = True
    image[mask] = 0.9
    window = np.zeros(image.shape, bool)
    window[20:62, 10:53] = True
    around = image[window & ~mask]
    (target,) = find_targets(np.where(mask, 0.8, 0.1), image, mask)
    assert target.snr == pytest.approx((0.9 - around.mean()) / around.std())


def test_mixed_sizes_keep_their_order_in_batches() -> None:
    detector = drpca.Detector(Threshold(), batch_size=3)
    sizes = [(16, 24)] * 4 + [(33, 20), (16, 24), (9, 9)]
    frames = [RNG.integers(0, 255, size, dtype=np.uint8) for size in sizes]
    detections = detector(frames)
    assert [detection.name for detection in detections] == [f'frame_{index:06d}' for index in range(7)]
    for frame, detection in zip(frames, detections):
        assert np.allclose(detection.scores, sigmoid(frame / 255), atol=1e-5)


def test_streaming_reads_no_further_than_a_batch() -> None:
    read = []

    def camera():
        for index in range(100):
            read.append(index)
            yield scene()

    stream = drpca.Detector(Threshold(), batch_size=4).stream(camera())
    assert next(stream).targets
    assert len(read) <= 5


def test_paths_folders_and_videos(detector: drpca.Detector, tmp_path: Path) -> None:
    for name in 'ba':
        cv2.imwrite(str(tmp_path / f'{name}.png'), scene())
    assert [detection.name for detection in detector(tmp_path)] == ['a', 'b']
    assert [detection.name for detection in detector([tmp_path / 'b.png', ('x', scene())])] == ['b', 'x']
    video = write_video(tmp_path / 'v.avi')
    detections = detector(str(video))
    assert [detection.name for detection in detections] == [f'v_{index:06d}' for index in range(12)]
    assert [len(detection.targets) for detection in detections] == [1] * 12


def test_a_truncated_video_gives_its_frames_and_then_an_error(detector: drpca.Detector, tmp_path: Path) -> None:
    whole = write_video(tmp_path / 'v.avi', noisy=True).read_bytes()
    (tmp_path / 'v.avi').write_bytes(whole[: len(whole) * 6 // 10])
    source = FrameSource(tmp_path / 'v.avi', keep_going=True)
    names = [detection.name for detection in detector.stream(source)]
    assert 0 < len(names) < 12
    assert len(source.failed) == 1
    assert 'v.avi ends after frame' in source.failed[0]
    with pytest.raises(UserError, match='truncated'):
        detector(tmp_path / 'v.avi')


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ('none.png', 'no such file'),
        (np.zeros((4, 40), np.uint8), 'at least 8 × 8'),
        (np.zeros((40, 40), complex), 'complex128'),
        (torch.zeros((40, 40), dtype=torch.complex64), 'complex64'),
        (torch.zeros((40, 40)).to_sparse(), 'dense tensor'),
        (torch.empty((40, 40), device='meta'), 'dense tensor'),
        (np.zeros((3, 40, 40, 2), np.uint8), r'\(3, 40, 40, 2\)'),
        (np.full((40, 40), 1e300), r'\[0, 1\]'),
        (np.full((40, 40), 300.0), r'\[0, 1\]'),
        (np.full((40, 40), np.nan), r'\[0, 1\]'),
        (np.zeros(40, np.uint8), r'\(40,\)'),
        ([3], 'got int'),
        ('none.avi', 'no such file'),
    ],
)
def test_bad_frames(detector: drpca.Detector, images: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        detector(images)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('nonet',), 'Unknown config'),
        (('RPCANet',), 'No trained weights of rpcanet_sirstv1'),
        (('rpcanet_sirstv1',), 'No trained weights of rpcanet_sirstv1'),
        ((Threshold(), 'w.pth'), 'weights come with'),
    ],
)
def test_bad_models(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        drpca.Detector(*arguments)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'threshold': 1.5}, 'threshold'),
        ({'precision': 'fp8'}, 'Unknown precision'),
        ({'device': 'quantum'}, 'Cannot use device'),
        ({'batch_size': 0}, '--batch-size must be at least 1, got 0'),  # -1 would hold all frames in memory
    ],
)
def test_bad_options(option: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        drpca.Detector(Threshold(), **option)


@pytest.mark.parametrize('shape', [(100, 100), (64, 200), (201, 97), (64, 65), (40, 150)])
def test_tiles_of_a_pointwise_network_leave_no_seam(shape: tuple[int, int]) -> None:
    image = RNG.integers(0, 255, shape, dtype=np.uint8)
    (detection,) = drpca.Detector(Threshold(), tile=64, overlap=16, batch_size=3)(image)
    assert np.allclose(detection.scores, sigmoid(image / 255), atol=1e-5)


def lively(network: nn.Module) -> nn.Module:
    """Weights under which what is pooled over the image matters, as trained ones have."""
    for name, parameter in network.named_parameters():
        if 'excitation' in name or 'fc' in name or 'generator' in name:
            nn.init.normal_(parameter, std=2)
        elif name.endswith('epsilon'):
            nn.init.ones_(parameter)
    return network


@pytest.mark.parametrize('optimise', [True, False])
@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'DRPCANet'])
def test_tiles_of_an_unfolded_network_give_the_map_of_the_whole_frame(
    name: str, optimise: bool, recwarn: pytest.WarningsRecorder
) -> None:
    torch.manual_seed(0)
    shallow = {'num_stages': 2, 'channels': 16, 'background_depth': 1, 'target_depth': 1, 'reconstruction_depth': 2}
    network = lively(MODELS.build({'type': name, **shallow}))
    image = cv2.GaussianBlur(RNG.random((100, 150), np.float32), (0, 0), 3)
    image[:, 75:] *= 0.3  # the tiles differ in what is pooled of them
    (whole,) = drpca.Detector(network, optimise=optimise)(image)
    detector = drpca.Detector(network, tile=64, batch_size=3, optimise=optimise)
    (tiled,) = detector(image)
    assert np.abs(tiled.scores - whole.scores).max() < 2e-6
    assert np.allclose(tiled.logits, whole.logits, atol=1e-4)
    assert not recwarn.list
    if name != 'RPCANet':
        (by_tiles,), _ = FrameMapper.map_large(detector.mapper, image)
        assert np.abs(by_tiles - whole.scores).max() > 1e-4, 'what each tile pools of itself alone'


@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'DRPCANet'])
def test_reach_is_how_far_a_step_sees(name: str) -> None:
    torch.manual_seed(0)
    network = MODELS.build({'type': name, 'num_stages': 1}).eval().double()
    optimised = optimise_model(DetectionModel(network).float(), torch.device('cpu')).network
    network.double()
    middle = 25
    for step, fast in zip(network.decos[0].children(), optimised.decos[0].children()):
        state = StageState(*torch.rand(4, 1, 1, 5, 51, dtype=torch.float64))
        known = [tiling._Pooled(torch.ones(1), 1, torch.ones(1))] * 20
        results = []
        for change in (0, 10):
            state.reconstruction[..., middle] += change
            state.target[..., middle] += change / 2
            with torch.no_grad(), tiling._FramePooling(known, []):
                results.append(step(state)[0, 0])
        (columns,) = (results[0] != results[1]).any(dim=0).nonzero(as_tuple=True)
        seen = (middle - int(columns.min()), int(columns.max()) - middle)
        assert seen == (reach(step), reach(fast)), step


class Blur(nn.Module):
    """A network of one's own that sees two pixels around one."""

    receptive_radius = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 5, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


def test_tiles_of_a_network_that_says_how_far_it_sees() -> None:
    image = RNG.random((100, 70), np.float32)
    network = Blur()
    (whole,) = drpca.Detector(network)(image)
    for tile, overlap in ((8, 0), (32, 16)):
        (tiled,) = drpca.Detector(network, tile=tile, overlap=overlap, batch_size=2)(image)
        assert np.allclose(tiled.scores, whole.scores, atol=1e-6)
        assert np.allclose(tiled.logits, whole.logits, atol=1e-6)
    with pytest.warns(UserWarning, match='tiles of at least 8 would not'):
        drpca.Detector(network, tile=6, overlap=0)(image)


def test_a_warning_where_tiles_change_the_map() -> None:
    detector = drpca.Detector(MODELS.build({'type': 'LRRNet'}), tile=64)
    frame = np.zeros((64, 80), np.uint8)
    with pytest.warns(UserWarning, match=r'LRRNet is computed in tiles of 64 x 64.*tile=None') as caught:
        detector([frame, frame])
    assert len(caught) == 1
    assert MODELS.build({'type': 'RPCANet'}).receptive_radius == 103
    assert input_rules(DetectionModel({'type': 'RPCANet'})).radius == 103
    assert input_rules(DetectionModel({'type': 'RPCANet'}, scale_to_max=True)).radius is None
    assert input_rules(DetectionModel({'type': 'RPCANetPlus'})).radius is None


def test_tile_positions_and_weights() -> None:
    for length in (65, 100, 257, 1000):
        starts = tile_starts(length, 64, 16)
        assert starts[0] == 0
        assert starts[-1] == length - 64
        assert max(np.diff(starts)) <= 48
    assert tile_starts(50, 64, 16) == [0]
    window = ramp_window(64, 16)
    assert window.min() > 0
    assert np.allclose(window[:16] + window[:16][::-1], 1, atol=1e-6), 'two neighbours sum to one'
    with pytest.raises(UserError, match='overlap'):
        map_in_tiles(np.zeros((99, 99), np.float32), lambda tiles: tiles, 64, 40)


def test_run_lengths_restore_the_mask() -> None:
    labels = np.zeros((9, 11), int)
    labels[2:5, 3:6] = 1
    labels[4, 4] = 0
    labels[0, 0] = 2
    for label, box in ((1, (2, 3, 5, 6)), (2, (0, 0, 1, 1))):
        counts = run_lengths(labels, label, box)
        values = np.repeat(np.arange(len(counts)) % 2, counts).reshape(labels.shape[::-1]).T
        assert np.array_equal(values, labels == label)


# inference.py


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_weights()
    (tmp_path / 'frames').mkdir()
    for name in 'abc':
        cv2.imwrite(f'frames/{name}.png', scene())
    return tmp_path


def run_inference(*arguments: str) -> int:
    return infer.main(
        ['rpcanet_plus_synthetic', '--checkpoint', 'w.pth', '--size', 'native', *arguments,
         '--cfg-options', 'model.network.num_stages=1']
    )  # fmt: skip


def test_every_format(workplace: Path) -> None:
    formats = ['--format', 'png', 'mat', 'json', 'csv', 'coco']
    assert run_inference('--input', 'frames', *formats, '--overlay', '--save-stages', '--threshold', '0') == 0
    folder = Path('results/frames')
    suffixes = {'img': 'png', 'mat': 'mat', 'json': 'json', 'overlay': 'png', 'stages': 'png'}
    for part, suffix in suffixes.items():
        names = [path.name for path in sorted((folder / part).iterdir())]
        assert names == [f'{name}.{suffix}' for name in 'abc']
    scores = loadmat(folder / 'mat/a.mat')['T']
    listed = json.loads((folder / 'json/a.json').read_text())
    rows = [row for row in csv.DictReader((folder / 'targets.csv').open()) if row['name'] == 'a']
    coco = json.loads((folder / 'coco.json').read_text())
    annotations = [entry for entry in coco['annotations'] if entry['image_id'] == 1]
    assert (listed['height'], listed['width']) == scores.shape
    assert len(listed['targets']) == len(rows) == len(annotations) >= 1
    for target, row, entry in zip(listed['targets'], rows, annotations):
        assert float(row['row']) == pytest.approx(target['row'], abs=1e-5)
        assert entry['area'] == target['area'] == sum(entry['segmentation']['counts'][1::2])
        assert entry['score'] == pytest.approx(float(row['peak']), abs=1e-5)
        assert entry['logit'] == target['logit'] == pytest.approx(float(row['logit']), abs=1e-5)
    stages = cv2.imread(str(folder / 'stages/a.png'))
    assert stages.shape[1] > 4 * 61, 'D, B, T and N side by side'


def test_files_are_in_pixels_of_the_frame(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    cv2.imwrite('frames/b.bmp', scene(96, 48))
    Path('frames/b.png').unlink()
    formats = ['--format', 'png', 'mat', 'json', 'csv', 'coco', '--threshold', '0', '--overlay', '--save-stages']
    assert run_inference('--input', 'frames', *formats, '--size', '32', '--video-out', 'found.avi') == 0
    out = capsys.readouterr().out
    assert 'frames of 2 sizes from 45 × 61 to 96 × 48 pixels, resized to 32 × 32 for the detector' in out
    folder = Path('results/frames')
    run = json.loads((folder / 'run.json').read_text())
    first, second = run['sizes']
    assert first == {'frame': [45, 61], 'map': [32, 32], 'scale': [45 / 32, 61 / 32]}
    assert (run['maps'], second['frame']) == ('frame', [96, 48])
    sides = {'height': 96, 'width': 48, 'map_height': 32, 'map_width': 32}
    coco = json.loads((folder / 'coco.json').read_text())
    assert [entry['file_name'] for entry in coco['images']] == ['a.png', 'b.bmp', 'c.png'], 'with its suffix'
    (row, *_) = [row for row in csv.DictReader((folder / 'targets.csv').open()) if row['name'] == 'b']
    for holder in (coco['images'][1], json.loads((folder / 'json/b.json').read_text()), row):
        assert {key: int(holder[key]) for key in sides} == sides
    (entry, *_) = [entry for entry in coco['annotations'] if entry['image_id'] == 2]
    assert (entry['segmentation']['size'], sum(entry['segmentation']['counts'])) == ([96, 48], 96 * 48)
    assert loadmat(folder / 'mat/b.mat')['T'].shape == (96, 48)
    for part in ('img', 'overlay'):
        assert cv2.imread(str(folder / part / 'b.png')).shape[:2] == (96, 48)
    assert next(iter(FrameSource('found.avi')))[1].shape == (9 * 45 + 19, 9 * 61 + 1), 'not squashed to a square'


def tophat(*arguments: str) -> int:
    return infer.main(['tophat_paper', '--input', *arguments])


def written(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob('*.png'))


def test_sequences_in_folders_stay_apart(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    for index, place in enumerate(('seq1', 'seq2', 'deep/seq3', 'seq1/masks')):
        Path('nest', place).mkdir(parents=True)
        image = np.full((40, 48), 50, np.uint8)
        for number in range(2):
            image[20:22, 10 * index + number] = 250
            cv2.imwrite(f'nest/{place}/{number:04d}.bmp', image)
    assert tophat('nest', '--format', 'png', 'mat', 'coco', '--confirm', '2', '2') == 0
    told = capsys.readouterr()
    assert told.out.startswith('tophat_paper (TopHat); nest; at the frames')
    assert 'note: 1 folder of masks left out: nest/seq1/masks\n' in told.err
    names = [f'{place}/{number:04d}' for place in ('deep/seq3', 'seq1', 'seq2') for number in range(2)]
    assert written('results/nest') == [f'img/{name}.png' for name in names]
    assert ResultsFolder('results/nest').names == names
    coco = json.loads(Path('results/nest/coco.json').read_text())
    assert [image['file_name'] for image in coco['images']] == [f'{name}.bmp' for name in names]
    found = {entry['image_id'] for entry in coco['annotations']}
    assert found <= {2, 4, 6}, 'the first frame of a sequence confirms nothing of the one before'
    cv2.imwrite('nest/own.png', scene())
    assert tophat('nest', '--out', 'own') == 0
    assert written('own/nest') == ['img/own.png']
    assert capsys.readouterr().err.count('note: images in nest/') == 3, 'and masks'
    Path('nest').rename('gt')
    assert tophat('gt', '--out', 'of_gt') == 0
    assert capsys.readouterr().err.count('note: images in gt/') == 3, 'names above the input say nothing'


def test_several_inputs_and_patterns(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    Path('more').mkdir()
    cv2.imwrite('more/a.png', scene())
    write_video(workplace / 'flight.avi')
    assert tophat('frames/[ab].png', 'more', 'more/a.png', 'frames/a.png', '--out', 'one') == 2
    assert 'Two inputs are called more/a' in capsys.readouterr().err
    shutil.copy('flight.avi', 'more/flight.avi')
    assert tophat('more/flight.avi', 'flight.avi', '--out', 'one') == 2
    assert 'Two inputs are called flight' in capsys.readouterr().err
    Path('more/flight.avi').unlink()
    assert tophat('frames/[ab].png', 'more', 'flight.avi', '--out', 'one', '--format', 'png') == 0
    (folder,) = Path('one').iterdir()
    assert written(str(folder)) == [
        *(f'img/flight_{index:06d}.png' for index in range(12)), 'img/frames/a.png', 'img/frames/b.png',
        'img/more/a.png',
    ]  # fmt: skip
    assert infer.main(['--input', 'frames/*.png', 'tophat', '--out', 'two', '--format', 'png']) == 0
    assert written('two/frames') == ['img/a.png', 'img/b.png', 'img/c.png']


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('notes.txt', 'not an image'),
        ('cut.png', 'truncated or damaged'),
        ('empty', 'no images there'),
        ('*.jpg', 'nothing is called so'),
        ('cut.mp4', 'not a video'),
    ],
)
def test_an_input_without_frames_leaves_nothing(
    workplace: Path, given: str, message: str, capfd: pytest.CaptureFixture
) -> None:
    Path('notes.txt').write_text('no picture\n')
    Path('cut.png').write_bytes(Path('frames/a.png').read_bytes()[:60])
    Path('cut.mp4').write_bytes(b'ftyp')
    Path('empty').mkdir()
    assert tophat(given) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count('\n') == 1
    assert not Path('results').exists()


def test_raw_frames_by_command(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    raw = scene().astype(np.uint16) * 3 + 7000
    raw[0, 0], raw[44, 60] = 0, 16383
    cv2.imwrite('frames/a.png', raw)
    cv2.imwrite('frames/b.tif', raw.astype(np.float32) / 100)
    Path('frames/b.png').unlink()
    options = ['--input', 'frames', '--format', 'json']
    with pytest.warns(UserWarning, match='a: 3 isolated pixels'):
        assert run_inference(*options) == 0
    with pytest.warns(UserWarning, match='a: 3 isolated pixels'):
        assert run_inference(*options, '--live', 'block', '--out', 'live') == 0
    for out in ('results', 'live'):
        limits = [json.loads(Path(f'{out}/frames/json/{name}.json').read_text()) for name in 'abc']
        assert [(limit['low'], limit['high']) for limit in limits] == [
            (7150, 7750), (pytest.approx(71.5), pytest.approx(77.5)), (0, 255),
        ]  # fmt: skip
    assert run_inference(*options, '--range', '7000', '8000', '--bad-pixels') == 2, 'other maps there'
    assert 'already holds' in capsys.readouterr().err
    assert run_inference(*options, '--range', 'percentile', '1', '--out', 'p') == 2
    assert "Unknown range 'percentile 1'" in capsys.readouterr().err
    assert run_inference('--input', 'frames/a.png', '--range', '7000', '8000', '--bad-pixels', '--out', 'q') == 0
    run = json.loads(Path('q/a/run.json').read_text())
    assert (run['range'], run['bad_pixels']) == ('7000 8000', True)
    assert run['values'] == {'low': 7000, 'high': 8000, 'bad_pixels': 3}, 'with the target of one pixel'


def test_the_range_of_a_config_is_that_of_its_detector(workplace: Path) -> None:
    options = {'test_dataloader.dataset.range': [7000, 9000], 'test_dataloader.dataset.bad_pixels': True}
    detector = drpca.Detector('tophat', options=options)
    assert (str(detector.mapper.values), detector.mapper.values.bad_pixels) == ('7000 9000', True)
    assert str(drpca.Detector('tophat', range='minmax', options=options).mapper.values) == 'minmax'


def test_only_the_asked_format_is_written(workplace: Path) -> None:
    assert run_inference('--input', 'frames', '--format', 'csv') == 0
    assert sorted(path.name for path in Path('results/frames').iterdir()) == [
        '.lock', 'run.json', 'targets.csv'
    ]  # fmt: skip


def test_precision_and_tiles_by_command(workplace: Path) -> None:
    assert run_inference('--input', 'frames/a.png', '--out', 'one') == 0
    half = ['--input', 'frames/a.png', '--precision', 'bf16']
    assert run_inference(*half, '--out', 'two', '--tile', '64') == 0
    one, two = (loadmat(f'{name}/a/mat/a.mat')['T'] for name in ('one', 'two'))
    assert np.abs(one - two).max() < 0.05
    assert json.loads(Path('two/a/run.json').read_text())['precision'] == 'bf16'
    assert run_inference(*half, '--out', 'one') == 2, 'other maps there'


def test_cuda_graphs_need_a_gpu() -> None:
    network = MODELS.build({'type': 'RPCANetPlus', 'num_stages': 2})
    with pytest.raises(UserError, match='CUDA graphs need an NVIDIA GPU, but the device is cpu'):
        drpca.Detector(network, device='cpu', cuda_graph=True)


def test_a_damaged_file_does_not_hide_the_rest_of_its_folder(tmp_path: Path) -> None:
    for name in 'abc':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full((16, 16), 9, np.uint8))
    (tmp_path / 'b.png').write_bytes(b'')
    source = FrameSource([tmp_path], keep_going=True)
    assert [name for name, _ in source] == ['a', 'c']
    assert len(source.failed) == 1
