"""Detectors that look at several frames, on arrays, folders, videos and live."""

from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import drpca
from drpca.cli import infer
from drpca.datasets.sequence_dataset import SequenceDataset
from drpca.datasets.sequences import border_place, reported_places
from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.deploy.backends import InputRules
from drpca.errors import UserError
from drpca.inference.decomposer import make_decomposer
from drpca.inference.mappers import ExportedMapper
from drpca.inference.temporal import TemporalFilter
from drpca.inference.window_stream import delay_of, stream_windows
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from tests.support import write_video

SMALL = {'type': 'TensorRPCANet', 'frames': 3, 'num_stages': 1, 'channels': 4, 'target_depth': 0}


def network(**options: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build({**SMALL, **options}).eval()


class Places(nn.Module):
    """Logits are the frames themselves, of which it reports on all."""

    outputs = ('target',)
    frames = in_channels = 4
    reported = (0, 1, 2, 3)

    def forward(self, image: Tensor) -> Tensor:
        return image


def sequence(count: int, shape: tuple[int, int] = (16, 20), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *shape), np.float32)


def test_auto_is_pytorch_for_networks_of_several_frames() -> None:
    with pytest.warns(UserWarning, match='looks at several frames: PyTorch runs it'):
        assert drpca.Detector(network(), size=16, backend='auto').runtime is None
    with pytest.raises(UserError, match='leave out backend'):
        drpca.Detector(network(), backend='onnx')


@pytest.mark.parametrize('placement', ['causal', 'centred'])
def test_windows_of_a_stream_are_those_of_the_sequence(placement: Any) -> None:
    for frames in (1, 2, 5, 8):
        (place,) = reported_places(frames, placement)
        for count in range(1, 12):
            expected = [
                [border_place(number - place + k, count, 'repeat') for k in range(frames)] for number in range(count)
            ]
            assert [window for window, _ in stream_windows(range(count), frames, (place,))] == expected


def test_blocks_report_on_every_frame_once() -> None:
    for count in range(1, 14):
        found = list(stream_windows(range(count), 4, range(4)))
        assert [window[place] for window, places in found for place in places] == list(range(count))
        assert all(len(window) == 4 for window, _ in found)
    assert found[-1] == ([9, 10, 11, 12], range(3, 4)), 'the last one reaches back'


@pytest.mark.parametrize(('placement', 'delay'), [('causal', 0), ('centred', 1)])
def test_a_detector_looks_at_windows_holds_one_and_says_how_late_it_is(placement: str, delay: int) -> None:
    model = DetectionModel(network(placement=placement)).eval()
    detector = drpca.Detector(model)
    assert (detector.frames, detector.delay) == (3, delay)
    frames = sequence(7)
    alive: list[Any] = []
    ahead = []

    def source() -> Iterator[tuple[str, np.ndarray]]:
        for number, frame in enumerate(frames):
            copy = frame.copy()
            alive.append(weakref.ref(copy))
            yield f'a/{number}', copy

    found = []
    for detection in detector.stream(source()):
        found.append(detection)
        ahead.append(len(alive) - len(found))
        del detection
        found[-1] = (found[-1].name, found[-1].scores)
        assert sum(reference() is not None for reference in alive) <= 3 + 2, 'a window, and what is on its way'
    assert max(ahead) == delay
    assert [name for name, _ in found] == [f'a/{number}' for number in range(7)]
    for number, (_, scores) in enumerate(found):
        window = [border_place(number - 2 + delay + k, 7, 'repeat') for k in range(3)]
        with torch.no_grad():
            expected = torch.sigmoid(model.detect(torch.from_numpy(frames[window])[None]))[0, 0]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_folders_and_sizes_are_sequences_of_their_own() -> None:
    detector = drpca.Detector(DetectionModel(network()))
    first, second, wide = sequence(4), sequence(3, seed=1), sequence(2, (24, 20))
    named = [(f'one/{n}', frame) for n, frame in enumerate(first)] + [
        (f'two/{n}', frame) for n, frame in enumerate(second)
    ]
    together = detector([*named, *((f'two/w{n}', frame) for n, frame in enumerate(wide))])
    apart = [*detector(first), *detector(second), *detector(wide)]
    assert len(together) == 9
    for one, other in zip(together, apart):
        np.testing.assert_array_equal(one.scores, other.scores)
    assert detector(first[0])[0].scores.shape == (16, 20), 'a single image stands for equal frames'


def test_a_network_of_blocks_reports_on_all_its_frames() -> None:
    detector = drpca.Detector(DetectionModel(Places()))
    assert detector.delay == delay_of(4, range(4)) == 3
    frames = sequence(6)
    for detection, frame in zip(detector(frames), frames, strict=True):
        np.testing.assert_allclose(detection.logits, frame, atol=1e-6)


def test_features_of_a_frame_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = DetectionModel(MODELS.build({'type': 'DTUM', 'frames': 3, 'channels': 4}), mean=0.4, std=0.1).eval()
    detector = drpca.Detector(model)
    inner: Any = detector.mapper
    seen, embed = [], type(inner.model.network).embed
    monkeypatch.setattr(type(inner.model.network), 'embed', lambda own, image: seen.append(1) or embed(own, image))
    frames = sequence(5, (20, 18))
    found = detector(frames)
    assert len(seen) == 5
    for number in range(5):
        window = [border_place(number - 2 + k, 5, 'repeat') for k in range(3)]
        with torch.no_grad():
            expected = model.detect(torch.from_numpy(frames[window])[None])[0, 0]
        np.testing.assert_allclose(found[number].logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('placement', ['causal', 'centred', 'online'])
def test_live_is_the_stream_with_latencies(placement: str) -> None:
    options = {'model.patch_size': 8, 'model.step': 8, 'model.memory': 3}
    online = placement == 'online'
    detector = drpca.Detector(
        'tensortrain_online' if online else DetectionModel(network(placement=placement)),
        options=options if online else {},
    )
    frames = sequence(6)
    live = detector.live(frames, queue=2)
    for number, (one, other) in enumerate(zip(live, detector.stream(frames), strict=True)):
        assert (one.name, one.index) == (other.name, number)
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.latency is not None
    assert len(live.latencies) == 6

    def broken() -> Iterator[np.ndarray]:
        yield from frames[:4]
        raise ValueError('lens cap')

    detections = iter(detector.live(broken()))
    for other in detector.stream(frames[:4]):
        np.testing.assert_array_equal(next(detections).scores, other.scores)
    with pytest.raises(ValueError, match='lens cap'):
        next(detections)


def test_an_exported_network_gets_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Backend:
        rules = InputRules('Mine', frames=3, reported=[2])

        def logits(self, images: np.ndarray) -> np.ndarray:
            return images.sum(axis=1, keepdims=True)

    frames = sequence(4)
    detector = drpca.Detector.from_mapper(ExportedMapper(Backend(), None))  # type: ignore[arg-type]
    logits = [detection.logits for detection in detector(frames)]
    np.testing.assert_allclose(logits[3], frames[1:].sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(logits[0], 3 * frames[0], rtol=1e-5)


def test_stages_are_of_the_window() -> None:
    detector: Any = drpca.Detector(DetectionModel(network(num_stages=2)))
    frames = sequence(4)
    named = [(str(number), detector.mapper.values.level(frame)) for number, frame in enumerate(frames)]
    found = list(make_decomposer(detector.mapper).stream(iter(named)))
    assert len(found) == 4
    for (parts, scores), detection, frame in zip(found, detector(frames), frames):
        assert len(parts.stages) == 2
        np.testing.assert_array_equal(parts.image, frame)
        np.testing.assert_allclose(scores, detection.scores, atol=1e-5)


def test_pictures_of_stages_are_of_consecutive_frames(tmp_path: Path) -> None:
    detector = drpca.Detector(DetectionModel(network(placement='centred')))
    (tmp_path / 'frames').mkdir()
    for number, frame in enumerate(sequence(5)):
        cv2.imwrite(str(tmp_path / f'frames/{number}.png'), np.rint(255 * frame).astype(np.uint8))
    found = detector(tmp_path / 'frames')
    drawn = list(drpca.visualize_stages(detector, tmp_path / 'frames', limit=2))
    assert [one.name for one in drawn] == ['0', '1']
    for one, detection in zip(drawn, found):
        np.testing.assert_allclose(one.decomposition.stages[-1].target, detection.logits, atol=1e-4)
    with pytest.raises(UserError, match=r'looks at 3 frames together: .*visualize.stages'):
        drpca.predict(detector, tmp_path / 'frames', tmp_path / 'out', stages=True)
    with pytest.raises(UserError, match='Places has no decomposition'):
        drpca.predict(DetectionModel(Places()), tmp_path / 'frames', tmp_path / 'out', stages=True)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('of', ['batch', 'centred', 'block', 'classical'])
def test_what_came_before_a_damaged_frame_comes_out_before_its_error(of: str, tmp_path: Path) -> None:
    """Also what a batch or window was still waiting for; too few frames for a window are not what is told."""
    options: dict[str, Any] = {'batch_size': 4} if of == 'batch' else {}
    model: Any = {
        'batch': MODELS.build({'type': 'RPCANetPlus', 'num_stages': 1}).eval(),
        'centred': DetectionModel(network(placement='centred')),
        'block': DetectionModel(Places()), 'classical': 'npstt',
    }[of]  # fmt: skip
    for number, frame in enumerate(sequence(3, (70, 72))):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.rint(255 * frame).astype(np.uint8))
    (tmp_path / '3.png').write_bytes(b'')
    names: list[str] = []
    with pytest.raises(UserError, match=r'3\.png'):
        names.extend(
            detection.name for detection in drpca.Detector(model, **options).stream(sorted(tmp_path.iterdir()))
        )
    assert names == ([] if of == 'classical' else ['0', '1', '2'])


def save_frames(folder: Path, frames: np.ndarray, numbers: Sequence[int] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in zip(numbers or range(1, 1 + len(frames)), frames, strict=True):
        cv2.imwrite(str(folder / f'{number}.png'), np.rint(255 * frame).astype(np.uint8))
    return folder


@pytest.mark.parametrize('model', ['network', 'npstt'])
@pytest.mark.parametrize(
    ('of', 'message'),
    [
        ('gap', r'b: frame 5 is missing between 4\.png and 6\.png; a window would join'),
        ('sizes', r'5\.png is 24 × 20, other frames of sequence \S+b 16 × 20: frames of a sequence have one size'),
        ('short', r'b has 2 frames, fewer than a window of [37]: choose shorter windows, or leave it out'),
        ('single', r'b has 1 frame, fewer than a window'),
        ('damaged', r'5\.png'),
        ('video', r'flight\.avi has 12 frames, fewer than a window of 13'),
    ],
)
def test_what_is_no_sequence_is_refused_before_anything_is_written(
    model: str, of: str, message: str, tmp_path: Path
) -> None:
    detector = drpca.Detector('npstt' if model == 'npstt' else DetectionModel(network()))
    save_frames(tmp_path / 'in/a', sequence(8))
    folder = save_frames(tmp_path / 'in/b', sequence(8))
    source: Path = tmp_path / 'in'
    if of == 'short':
        for number in range(3, 9):
            (folder / f'{number}.png').unlink()
    elif of == 'single':
        source = folder / '1.png'
    elif of == 'gap':
        (folder / '5.png').unlink()
    elif of == 'sizes':
        save_frames(folder, sequence(1, (24, 20)), [5])
    elif of == 'damaged':
        (folder / '5.png').write_bytes(b'\x89PNG')
    else:
        source = tmp_path / 'flight.avi'
        write_video(source)
        window = {'model.window': 13} if model == 'npstt' else {}
        detector = drpca.Detector('npstt' if window else DetectionModel(network(frames=13)), options=window)
    with pytest.raises(UserError, match=message):
        drpca.predict(detector, source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    if of != 'single':
        with pytest.raises(UserError, match=message):
            detector(source)


def test_frames_come_in_the_order_of_their_numbers_and_others_of_their_names(tmp_path: Path) -> None:
    detector = drpca.Detector(DetectionModel(network()))
    folder = save_frames(tmp_path / 'seq', sequence(4), [8, 9, 10, 11])
    assert [found.name for found in detector(folder)] == ['8', '9', '10', '11']
    (folder / '9.png').rename(folder / 'last.png')
    assert [found.name for found in detector(folder)] == ['8', '10', '11', 'last'], 'no gaps without numbers'
    single = drpca.Detector(MODELS.build({'type': 'RPCANetPlus', 'num_stages': 1}))
    assert [found.name for found in single(folder)] == ['8', '10', '11', 'last'], 'for a filter over time, too'


def test_a_data_set_of_sequences_is_written_by_sequence_and_scored(tmp_path: Path) -> None:
    for part, name in (('train', 'a'), ('test', 'b'), ('test', 'c')):
        folder = save_frames(
            tmp_path / 'data/My-Set' / part / name / 'images', sequence(4, seed=ord(name)), [8, 9, 10, 11]
        )
        (folder.parent / 'points.txt').write_text('3 4\nNone\n5 6\n7 8\n')
    model = DetectionModel(network())
    written = drpca.predict(model, dataset='myset', data_root=tmp_path / 'data', out=tmp_path / 'out')
    assert written.folder == tmp_path / 'out/My-Set'
    (scored,) = drpca.score(written.folder, protocols='rpcanet', size='native', data_root=tmp_path / 'data')
    assert scored.split.names == [f'{name}/{number}' for name in 'bc' for number in (8, 9, 10, 11)]
    assert (written.done, scored.figures['rpcanet']['targets']) == (8, 6)
    assert scored.split.read_mask('b/10')[6, 5]
    (by_masks,) = drpca.score(written.folder, protocols='rpcanet', size='native', masks=tmp_path / 'data/My-Set')
    assert by_masks.figures == scored.figures
    measured = drpca.analyse_decomposition(
        drpca.Detector(model), dataset='myset', data_root=tmp_path / 'data', limit=2, out=None
    ).measured
    drawn = list(
        drpca.visualize_stages(drpca.Detector(model), dataset='myset', data_root=str(tmp_path / 'data'), names=['c/9'])
    )
    assert (measured.names, [one.name for one in drawn]) == (['b/8', 'c/8'], ['c/9'])
    maps = {found.name: found.logits for found in drpca.Detector(model)(tmp_path / 'data/My-Set/test/c')}
    np.testing.assert_allclose(drawn[0].decomposition.stages[-1].target, maps['images/9'], atol=1e-4)
    (tmp_path / 'data/My-Set/test/b/points.txt').unlink()
    with pytest.raises(UserError, match=r'Sequence b has no labels: expected masks/, points\.txt'):
        drpca.score(written.folder, protocols='rpcanet', size='native', data_root=tmp_path / 'data')


def test_images_of_a_data_set_are_no_sequence() -> None:
    with pytest.raises(UserError, match=r'looks at 3 consecutive frames.*a folder of frames or a video'):
        drpca.Detector(DetectionModel(network())).open_split(dataset='SIRSTv1')


def test_the_weights_of_the_project_find_what_moves_before_a_panning_camera() -> None:
    options: dict[str, Any] = {'spikes': 0, 'snr': (40, 41), 'speed': (0.8, 1.0), 'drift': (0.0, 1.0), 'noise': 0.006}
    made = generate_sequence(3, 10, 64, num_targets=1, **options)
    *_, last = drpca.Detector('tensor_rpcanet_synthetic_sequence').stream(made.frames)
    place = np.unravel_index(last.scores.argmax(), last.scores.shape)
    assert np.linalg.norm(place - made.positions[-1, 0]) < 2
    assert last.scores.max() > 0.9
    assert (last.scores > 0.5).sum() < 20


def test_a_video_by_command_with_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / 'flight.avi')
    options = {f'model.network.{key}': value for key, value in SMALL.items() if key != 'type'}
    own = network()
    stage = own.decos[-1]  # T = D − B = 0.25: the whole frame is one target
    for values, value in (
        (stage.sparse.epsilon, 0),
        (stage.lowrank.convs[-1].weight, 0),
        (stage.lowrank.convs[-1].bias, -0.25),
    ):
        nn.init.constant_(values, value)
    torch.save(own.state_dict(), 'w.pth')
    words = ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    arguments = ['tensor_rpcanet_synthetic_sequence', '--checkpoint', 'w.pth', '--input', 'flight.avi']
    assert infer.main([*arguments, '--format', 'csv', '--confirm', '3', '5', '--threshold', '0.5', *words]) == 0
    rows = list(csv.DictReader(Path('results/flight/targets.csv').read_text().splitlines()))
    assert {row['name'] for row in rows} == {f'flight_{index:06d}' for index in range(2, 12)}, 'one map a frame'
    run = json.loads(Path('results/flight/run.json').read_text())
    assert (run['temporal']['m'], run['window'], run['delay']) == (3, 3, 0)
    assert 'in windows of 3 frames, 0 frames late' in capsys.readouterr().out
    detector = drpca.Detector('tensor_rpcanet_synthetic_sequence', 'w.pth', options=options)
    filtered = list(TemporalFilter(3, 5, 0.5)(detector.stream('flight.avi')))
    assert len(filtered) == 12
    made = 'test_dataloader.dataset.synthetic'
    words += [f'{made}.test=2', f'{made}.num_frames=4', f'{made}.size=32', f'{made}.seed=3']
    assert infer.main([*arguments[:3], *words]) == 0, 'the sequences of its data set'
    sequences = SequenceDataset(split='test', frames=1, synthetic={'test': 2, 'num_frames': 4, 'size': 32, 'seed': 3})
    (scored,) = drpca.score('results/synthetic_sequence', protocols='rpcanet', size='native')
    assert scored.split.names == [f'test_{one:03d}/{place:06d}' for one in range(2) for place in range(4)]
    for name, made_one in zip(scored.split.names, sequences):
        np.testing.assert_array_equal(scored.split.read_mask(name), made_one['gt_mask'][0])
        np.testing.assert_allclose(scored.split.read_image(name) / 255, made_one['image'][0], atol=1e-6)
