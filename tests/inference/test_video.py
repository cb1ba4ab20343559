"""Videos and cameras: live streams, truncated files, annotated videos, and the command."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import drpca
from drpca.cli import infer
from drpca.errors import UserError
from drpca.inference import video as module
from drpca.inference.detections import Detection, Target
from drpca.inference.frames import FrameSource
from drpca.inference.live import LiveStream
from drpca.inference.video import video_facts, video_frames
from drpca.inference.video_writer import CODECS, AnnotatedVideo, annotate
from drpca.studies.sequences import TopHatMapper
from tests.support import limited_files, write_video

FRAME = np.zeros((16, 16), np.uint8)


class Slow:
    """A detector that takes its time and finds nothing."""

    def __init__(self, seconds: float = 0.0, before: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.before = before
        self.started = threading.Event()

    def stream(self, frames) -> Iterator[Detection]:
        for name, frame in frames:
            self.started.set()
            assert self.before is None or self.before.wait(10)
            time.sleep(self.seconds)
            yield Detection(name, frame, frame, frame > 0)


def numbered(count: int) -> Iterator[tuple[str, np.ndarray]]:
    for index in range(count):
        yield f'f{index}', FRAME


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == 'drpca-reader']


# Live streams


def test_block_loses_nothing_and_reads_no_further_than_the_queue() -> None:
    read: list[int] = []
    done: list[str] = []
    ahead = []

    def source() -> Iterator[tuple[str, np.ndarray]]:
        for index, frame in enumerate(numbered(30)):
            read.append(index)
            yield frame

    stream = LiveStream(Slow(0.002), source(), queue=3, when_full='block')
    for detection in stream:
        done.append(detection.name)
        ahead.append(len(read) - len(done))
    assert done == [f'f{index}' for index in range(30)]
    assert stream.dropped == 0
    assert len(stream.latencies) == 30
    assert 1 <= max(ahead) <= 3 + 2, 'the queue, one in the reader, one on its way'
    assert not readers()


def test_drop_keeps_the_newest_in_order() -> None:
    exhausted = threading.Event()
    detector = Slow(before=exhausted)

    def source() -> Iterator[tuple[str, np.ndarray]]:
        frames = numbered(21)
        yield next(frames)
        assert detector.started.wait(10), 'frame 0 is in the detector, the queue is empty'
        yield from frames
        exhausted.set()

    stream = LiveStream(detector, source(), queue=4, when_full='drop')
    found = list(stream)
    assert [detection.index for detection in found] == [0, 17, 18, 19, 20]
    assert [detection.name for detection in found] == ['f0', 'f17', 'f18', 'f19', 'f20']
    assert stream.dropped == 16


def test_latency_is_bounded_by_the_queue_when_frames_are_dropped() -> None:
    seconds = 0.02
    stream = LiveStream(Slow(seconds), numbered(60), queue=2, when_full='drop', rate=500)
    found = list(stream)
    assert stream.dropped == 60 - len(found) > 0
    latencies = [detection.latency for detection in found]
    assert latencies == list(stream.latencies)
    assert min(latencies) >= seconds
    assert np.median(latencies) < 10 * seconds, 'three frames at most, and a busy machine'
    times = [detection.time for detection in found]
    assert times == sorted(times)


def test_block_latency_grows_to_the_length_of_the_queue() -> None:
    seconds = 0.01
    stream = LiveStream(Slow(seconds), numbered(12), queue=5, when_full='block')
    latencies = [detection.latency for detection in stream]
    assert min(latencies[6:]) >= 5 * seconds


def test_a_recording_is_played_at_its_rate() -> None:
    found = list(LiveStream(Slow(), numbered(11), rate=100))
    assert found[-1].time >= 0.1
    assert all(detection.time >= detection.index / 100 for detection in found)


def test_errors_of_the_reader_come_after_its_frames() -> None:
    def source() -> Iterator[tuple[str, np.ndarray]]:
        yield from numbered(3)
        raise ValueError('lens cap')

    detections = iter(LiveStream(Slow(0.005), source()))
    assert [next(detections).name for _ in range(3)] == ['f0', 'f1', 'f2']
    with pytest.raises(ValueError, match='lens cap'):
        next(detections)
    assert not readers()


class Broken:
    def stream(self, frames) -> Iterator[Detection]:
        raise RuntimeError('no memory')


def test_errors_of_the_detector_end_the_reader() -> None:
    with pytest.raises(RuntimeError, match='no memory'):
        list(LiveStream(Broken(), numbered(1000), queue=1))
    assert not readers()


@pytest.mark.parametrize('when_full', ['block', 'drop'])
@pytest.mark.parametrize('rate', [None, 0.5])
def test_leaving_the_loop_ends_the_reader_and_closes_the_source(when_full: str, rate: float | None) -> None:
    closed = threading.Event()

    def source() -> Iterator[tuple[str, np.ndarray]]:
        try:
            yield from numbered(10**9)
        finally:
            closed.set()

    started = time.perf_counter()
    for detection in LiveStream(Slow(), source(), queue=2, when_full=when_full, rate=rate):
        assert detection.latency is not None
        break
    assert closed.wait(5)
    assert time.perf_counter() - started < 1.5, 'not even the pause between two frames is waited for'
    assert not readers()


def test_bad_options() -> None:
    with pytest.raises(UserError, match='at least one frame'):
        LiveStream(Slow(), [], queue=0)
    with pytest.raises(UserError, match=r"'wait'.*block, drop"):
        LiveStream(Slow(), [], when_full='wait')
    with pytest.raises(UserError, match='positive'):
        LiveStream(Slow(), [], rate=0)


def test_the_detector_live_and_frame_by_frame_agree(tmp_path: Path) -> None:
    mapper = TopHatMapper()
    mapper.batch_size = 4
    detector = drpca.Detector.from_mapper(mapper)
    path = write_video(tmp_path / 'v.avi')
    stream = detector.live(path)
    for one, other in zip(stream, detector.stream(path), strict=True):
        assert one.name == other.name == f'v_{one.index:06d}'
        assert np.allclose(one.scores, other.scores, atol=1e-6)
        assert one.latency is not None
        assert other.latency is other.index is None
    assert stream.dropped == 0


class Camera:
    """In place of ``cv2.VideoCapture``."""

    opened: list[object] = []

    def __init__(self, source: object) -> None:
        self.opened.append(source)
        self.left = 3 if source != 9 else 0

    def isOpened(self) -> bool:
        return self.left > 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((16, 16, 3), 40, np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.opened.remove(self.opened[-1])


def test_cameras_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.cv2, 'VideoCapture', Camera)
    for name in (0, 'rtsp://10.0.0.4/main'):
        source = FrameSource(name, keep_going=True)
        assert source.total is None
        frames = list(source)
        assert [frame[0] for frame in frames] == ['camera_000000', 'camera_000001', 'camera_000002']
        assert frames[0][1].shape == (16, 16)
        assert len(source.failed) == 1
        assert f'{name} gave no more frames after 3' in source.failed[0]
    assert not Camera.opened, 'released'
    with pytest.raises(UserError, match='Cannot open camera or stream 9'):
        list(FrameSource(9))


# Files


@pytest.mark.parametrize(
    ('suffix', 'codec'), [('.avi', 'MJPG'), ('.avi', 'mp4v'), ('.avi', 'FFV1'), ('.mkv', 'FFV1'), ('.mkv', 'MJPG')]
)
def test_a_video_cut_anywhere_gives_whole_frames_and_then_an_error(tmp_path: Path, suffix: str, codec: str) -> None:
    whole = write_video(tmp_path / f'whole{suffix}', codec, noisy=True)
    frames = [frame for _, frame in video_frames(whole)]
    assert len(frames) == 12
    content = whole.read_bytes()
    path = tmp_path / f'cut{suffix}'
    for percent in (40, 57, 73, 90, 96):
        path.write_bytes(content[: len(content) * percent // 100])
        source = FrameSource(path, keep_going=True)
        got = [frame for _, frame in source]
        assert 0 < len(got) < 12
        assert all(np.array_equal(*pair) for pair in zip(got, frames)), 'no frame that the decoder filled up'
        (message,) = source.failed
        assert f'cut{suffix} ends after frame {len(got)} of 12' in message


def spot(row: int, column: int, track: int | None = None) -> Target:
    return Target(row, column, (row, column, row + 2, column + 2), 4, 0.75, 0.7, 3.0, track)


def test_texts_that_name_other_files_are_no_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = write_video(tmp_path / 'inner.avi')
    assert len(list(video_frames(inner))) == video_facts(inner)[0] == 12
    opened: list[str] = []
    decoder = cv2.VideoCapture
    monkeypatch.setattr(module.cv2, 'VideoCapture', lambda *names: opened.extend(names) or decoder(*names))
    for name, text in (
        ('list.avi', f"ffconcat version 1.0\nfile '{inner.name}'\n"),
        ('stream.mp4', '#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n'),
        ('empty.mkv', ''),
    ):
        (tmp_path / name).write_text(text)
        assert video_facts(tmp_path / name) == (None, None)
        with pytest.raises(UserError, match=f'{name}: not a video'):
            list(video_frames(tmp_path / name))
    assert not opened


@pytest.mark.parametrize('suffix', CODECS)
def test_annotated_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / 'new' / f'out{suffix}'
    video = AnnotatedVideo(path, 30)
    for index in range(5):
        video.write(np.full((40, 61), 0.3), [spot(10, 10 + index)], f'f_{index:06d}')
    video.close()
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30)
    pictures = []
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        pictures.append(picture.astype(int))
    assert len(pictures) == 5
    assert min(pictures[0].shape[:2]) >= 384
    reddish = [np.argwhere(p[..., 2] - p[..., 0] > 60) for p in pictures]
    top, factor = pictures[0].shape[0] - 400, 10  # 61 × 40 pixels, ten times as large, below the caption
    for index, places in enumerate(reddish):
        row, column = top + 11 * factor, (11 + index) * factor
        assert np.abs(places - (row, column)).max(axis=1).min() < 20, 'a box around the target'
        assert np.abs(places - (row, column)).max() < 80, 'and nothing elsewhere'


def test_frames_of_other_sizes_are_fitted_in(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / 'sizes.mkv')
    for shape in ((40, 80), (80, 40), (20, 30)):
        video.write(np.full(shape, 0.5), [], '')
    video.close()
    frames = [frame for _, frame in video_frames(tmp_path / 'sizes.mkv')]
    assert [frame.shape for frame in frames] == [(418, 800)] * 3
    boxes = [cv2.boundingRect((frame > 100).astype(np.uint8))[2:] for frame in frames]
    assert [width / height for width, height in boxes] == pytest.approx([2, 0.5, 1.5], rel=0.02), 'proportions stay'


def test_numbers_of_tracks_and_scores_are_drawn() -> None:
    image = np.full((100, 100), 0.3)
    drawn = [annotate(image, [target], 'f') for target in (spot(50, 50), spot(50, 50, track=12))]
    boxes = [annotate(image, [], 'f') != picture for picture in drawn]
    assert boxes[1].sum() > boxes[0].sum() > 0
    assert annotate(image, [], 'f').shape == (400 + 18, 400, 3)


def test_annotated_videos_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((40, 40))
    with pytest.raises(UserError, match=r'\.mp4, .*suffix'):
        AnnotatedVideo(tmp_path / 'out.gif')
    (tmp_path / 'there.avi').write_bytes(b'mine')
    with pytest.raises(UserError, match='there already'):
        AnnotatedVideo(tmp_path / 'there.avi')
    assert (tmp_path / 'there.avi').read_bytes() == b'mine'
    with pytest.raises(UserError, match='Cannot write'):
        AnnotatedVideo(tmp_path / 'there.avi' / 'out.avi').write(image, [], 'f')

    class NoCodec:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *arguments: object) -> None: ...

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(module.cv2, 'VideoWriter', NoCodec)
    with pytest.raises(UserError, match=r'cannot write \.mp4 videos \(mp4v, avc1\)'):
        AnnotatedVideo(tmp_path / 'none.mp4').write(image, [], 'f')
    assert not (tmp_path / 'none.mp4').exists()


# inference.py


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / 'flight.avi')
    return tmp_path


def run(*arguments: str) -> int:
    return infer.main(['tophat_paper', '--input', 'flight.avi', '--format', 'csv', *arguments])


def rows(path: str = 'results/flight/targets.csv') -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).open()))


def test_confirmed_targets_and_their_video(workplace: Path) -> None:
    assert run('--video-out', 'found.avi', '--confirm', '3', '5') == 0
    found = [row for row in rows() if abs(float(row['row']) - 21) < 1]
    assert [row['name'] for row in found] == [f'flight_{index:06d}' for index in range(2, 12)]
    assert {row['track'] for row in found} == {found[0]['track']} != {''}
    assert json.loads(Path('results/flight/run.json').read_text())['temporal'] == {
        'm': 3, 'n': 5, 'candidate_threshold': 0.25,
    }  # fmt: skip
    assert module.video_facts('found.avi') == (12, 25.0)
    assert run() == 2, 'the folder holds confirmed targets, not these'
    assert run('--video-out', 'found.avi', '--overwrite') == 0
    assert {row['track'] for row in rows()} == {''}
    assert rows()[0]['name'] == 'flight_000000'


def test_live_by_command(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    assert run('--live', 'block', '--queue', '3') == 0
    out = capsys.readouterr().out
    assert '12 maps' in out
    assert 'latency: median' in out
    assert '; 0 frames dropped' in out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--gate', '3'], '--gate needs --confirm'),
        (['--queue', '3'], '--queue needs --live'),
        (['--live', 'drop', '--queue', '0'], 'at least one frame'),
        (['--confirm', '5', '3'], '5 of 3'),
        (['--confirm', '2', '3', '--candidate-threshold', '0.8'], 'up to --threshold'),
        (['--video-out', 'flight.avi', '--overwrite'], 'flight.avi is the input'),
        (['--video-out', 'found.txt'], 'suffix'),
        (['--video-out', 'new/found.avi', '--out', 'a/b'], 'Cannot make a/b: there is no folder a'),
        (['--video-out', 'a/b/found.avi'], 'Cannot make a/b: there is no folder a'),
        (['--out', 'flight.avi'], 'flight.avi is a file'),
        (['--save-stages'], 'filter'),
    ],
)
def test_bad_options_by_command(
    workplace: Path, options: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(*options) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count('\n') == 1


@pytest.mark.parametrize('suffix', CODECS)
def test_a_full_disk_is_noticed(workplace: Path, suffix: str, capfd: pytest.CaptureFixture) -> None:
    """A limit on the size of files stands in for the disk; the encoder says nothing of it."""
    found = workplace / f'found{suffix}'
    found.write_text('old')
    write_video(workplace / 'flight.avi', noisy=True)
    with limited_files(20_000):
        assert run('--video-out', found.name, '--overwrite', '--threshold', '0.99') == 1
    err = capfd.readouterr().err.strip()
    assert err == f'error: Cannot write {found.name}: the disk is full; free some space and start again.'
    assert found.read_text() == 'old'
    assert not list(workplace.glob('.*partial*'))


@pytest.mark.parametrize('live', [[], ['--live', 'block']])
def test_a_cut_video_by_command(workplace: Path, live: list[str], capsys: pytest.CaptureFixture) -> None:
    content = write_video(workplace / 'flight.avi', noisy=True).read_bytes()
    (workplace / 'flight.avi').write_bytes(content[: len(content) * 6 // 10])
    assert run('--video-out', 'found.mkv', *live) == 1
    err = capsys.readouterr().err
    assert 'flight.avi ends after frame' in err
    count = module.video_facts('found.mkv')[0]
    assert count is not None
    assert f'ends after frame {count} of 12' in err, 'what was whole is in the annotated video'


def test_an_mp4_without_its_index_by_command(workplace: Path, capfd: pytest.CaptureFixture) -> None:
    content = write_video(workplace / 'whole.mp4', 'mp4v', noisy=True).read_bytes()
    (workplace / 'cut.mp4').write_bytes(content[: len(content) * 6 // 10])
    assert infer.main(['tophat_paper', '--input', 'cut.mp4', '--format', 'csv']) == 2
    assert 'cut.mp4: not a video, or truncated' in capfd.readouterr().err
