"""``predict()``: a results folder from Python, as inference.py writes it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from drpca.cli import infer
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.frames import FrameSource, read_ahead
from drpca.inference.temporal import TemporalFilter
from drpca.results.folder import ResultsFolder, ResultsWriter, mat_bytes
from drpca.results.predict import predict
from tests.support import limited_files, python, save_weights

CONFIG = 'rpcanet_sirstv1'
LIMIT = 15
SMALL = {'model.network.num_stages': 1, 'model.network.channels': 4}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    generate_dataset('datasets', num_train=2, num_test=3, size=64)
    save_weights(network='RPCANet', channels=4)
    return tmp_path


def files(folder: str | Path) -> dict[str, bytes]:
    """Contents of the files; those of MATLAB begin with a date."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()[128 * (path.suffix == '.mat') :]
        for path in sorted(Path(folder).rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }


def test_the_same_files_as_the_command(workplace: Path) -> None:
    options = [f'{key}={value}' for key, value in SMALL.items()]
    formats = ['png', 'mat', 'json', 'csv', 'coco']
    arguments = [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'synthetic', '--out', 'one', '--overlay']
    assert infer.main([*arguments, '--save-stages', '--format', *formats, '--cfg-options', *options]) == 0
    done = predict(
        CONFIG, None, 'two', checkpoint='w.pth', dataset='synthetic', formats=formats, overlay=True, stages=True,
        options=SMALL,
    )  # fmt: skip
    assert (done.folder, done.done, done.failed, done.without_stages) == (Path('two/synthetic'), 3, [], 0)
    assert files('one') == files('two')
    assert len(files('two')) == 5 * 3 + 3
    run = json.loads(Path('two/synthetic/run.json').read_text())
    assert list(run) == [
        'config', 'model', 'checkpoint', 'checkpoint_sha256', 'range', 'bad_pixels', 'dataset', 'split', 'data_root',
        'input', 'size', 'tile', 'precision', 'maps', 'threshold', 'temporal', 'images', 'versions', 'sizes', 'values',
        'names',
    ]  # fmt: skip
    assert list(run['versions']) == ['drpca', 'torch', 'numpy', 'opencv', 'python']
    assert (run['size'], run['tile'], run['images']) == (256, 1024, 3)
    assert run['sizes'] == [{'frame': [64, 64], 'map': [256, 256], 'scale': [0.25, 0.25]}]
    assert (run['range'], run['values']) == ('auto', {'low': 0, 'high': 255, 'bad_pixels': 0})
    assert run['maps'] == 'detector'
    assert loadmat('two/synthetic/mat/test_000000.mat')['T'].shape == (256, 256), 'as a protocol scores it'
    assert cv2.imread('two/synthetic/overlay/test_000000.png').shape[:2] == (64, 64)


def test_a_detector_that_is_made_already(workplace: Path) -> None:
    detector = Detector(CONFIG, 'w.pth', options=SMALL, dataset='synthetic')
    assert predict(detector).folder == Path('results/synthetic')
    scores = loadmat('results/synthetic/mat/test_000000.mat')['T']
    assert scores.shape == (64, 64), 'its own size, and not that of the recipe'
    with pytest.raises(UserError, match='give threshold to Detector'):
        predict(detector, threshold=0.2)
    with pytest.raises(UserError, match='already holds the maps of another run'):
        predict('tophat', dataset='synthetic')
    with pytest.raises(UserError, match='Which images'):
        predict(Detector(torch.nn.Identity()))


def test_frames_in_memory_and_damaged_files(workplace: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 40, 48), dtype=np.uint8)
    done = predict('tophat', frames, formats=['mat'])
    assert done.folder == Path('results/frames')
    names = sorted(path.stem for path in Path('results/frames/mat').iterdir())
    assert names == ['frame_000000', 'frame_000001']
    Path('bad.png').write_bytes(b'no image')
    cv2.imwrite('good.png', frames[0])
    done = predict('tophat', [Path('bad.png'), Path('good.png')], 'mixed')
    assert done.done == 1
    assert len(done.failed) == 1
    assert 'bad.png' in done.failed[0]
    Path('worse.png').write_bytes(b'no image either')
    with pytest.raises(UserError, match=r'bad\.png.* Nor can the 1 other there'):
        predict('tophat', ['bad.png', 'worse.png'])
    with pytest.raises(UserError, match='no such image, video or folder'):
        predict('tophat', 'nothing.png')


def test_frames_are_read_before_and_written_after_their_turn(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, bool]] = []

    def note(kind: str, method: str, owner: type, name: int) -> None:
        original = getattr(owner, method)

        def call(self, *arguments):
            here = threading.current_thread() is threading.main_thread()
            seen.append((kind, getattr(arguments[name], 'name', arguments[name]), here))
            return original(self, *arguments)

        monkeypatch.setattr(owner, method, call)

    note('read', '_check', FrameSource, 0)
    note('write', 'write', ResultsWriter, 0)
    done = predict('tophat', [(name, np.full((16, 16), 9, np.uint8)) for name in 'abcdef'], formats=['csv'])
    assert done.done == 6
    in_threads = [(kind, name) for kind, name, is_main in seen if not is_main]
    assert [name for kind, name in in_threads if kind == 'read'] == [*'abcdef'], 'but for the first look'
    assert [name for kind, name in in_threads if kind == 'write'] == [*'abcdef'], 'in order'
    with pytest.raises(UserError, match='Two frames are called a'):
        predict('tophat', [('a', np.zeros((16, 16), np.uint8))] * 2, 'twice', formats=['csv'])

    def numbers():
        yield 1
        raise UserError('no more')

    ahead = read_ahead(numbers(), 3)
    assert next(ahead) == 1
    with pytest.raises(UserError, match='no more'):
        next(ahead)


def test_a_temporal_filter_and_a_live_stream(workplace: Path) -> None:
    frames = np.full((6, 40, 48), 40, np.uint8)
    frames[:, 20:22, 20:22] = 220
    temporal = TemporalFilter(2, 3, min_speed=0.5)
    done = predict('tophat_paper', frames, temporal=temporal, live='block', queue=2, formats=['csv'])
    assert len(done.latencies) == done.done == 6
    assert done.dropped == 0
    assert json.loads((done.folder / 'run.json').read_text())['temporal'] == {
        'm': 2, 'n': 3, 'candidate_threshold': 0.25, 'min_speed': 0.5,
    }  # fmt: skip
    assert len((done.folder / 'targets.csv').read_text().splitlines()) == 1, 'nothing moves'
    with pytest.raises(UserError, match='--queue needs --live'):
        predict('tophat_paper', frames, queue=2)


def test_run_json_says_at_which_size_a_classical_method_worked(workplace: Path) -> None:
    cases = ('tophat_paper', 'recipe', 'native'), ('tophat', 'recipe', 256), ('tophat', 32, 32)
    for config, size, expected in cases:
        done = predict(config, dataset='synthetic', size=size, out=f'{config}{size}')
        assert json.loads((done.folder / 'run.json').read_text())['size'] == expected


def infer_again(*more: str) -> int:
    options = ['--dataset', 'synthetic', '--size', '64', '--format', 'mat', 'csv']
    return infer.main(['tophat', *options, *more])


def test_logits_are_saved_and_tell_targets_of_equal_scores_apart(workplace: Path) -> None:
    """float32 calls every score 1 whose logit is above 17."""
    done = predict(
        CONFIG, None, 'out', checkpoint='w.pth', dataset='synthetic', formats=['mat'], options=SMALL, device='cpu'
    )
    name = next((done.folder / 'mat').iterdir()).name
    saved = loadmat(done.folder / 'mat' / name)
    assert saved['T'].dtype == saved['logits'].dtype == np.float32
    np.testing.assert_array_equal(torch.sigmoid(torch.from_numpy(saved['logits'])), saved['T'])
    classical = predict('tophat', out='classical', dataset='synthetic', formats=['mat'])
    assert 'logits' not in loadmat(classical.folder / 'mat' / name)
    logits = np.full((9, 9), -20, np.float32)
    logits[2, 2], logits[6, 6] = 20, 40
    scores = torch.sigmoid(torch.from_numpy(logits)).numpy()
    first, second = Detection('a', scores, scores, scores > 0.5, logits=logits).targets
    assert first.peak == second.peak == 1
    assert (first.as_dict()['logit'], second.as_dict()['logit']) == (20, 40)
    assert (first.strength, second.strength, replace(first, logit=None).strength) == (20, 40, 1)


def test_targets_of_another_threshold_need_overwrite(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    folder = Path('results/synthetic')
    assert infer_again() == 0
    assert infer_again('--overlay') == 0, 'the same run may be repeated'
    before = files(folder)
    for formats in (('csv',), ('json',), ('coco',), ('mat',), ('png', '--overlay')):
        assert infer_again('--threshold', '0.3', '--format', *formats) == 2
        err = capsys.readouterr().err
        assert 'already holds targets of another threshold (0.5, not 0.3)' in err
        assert '--overwrite' in err
        assert files(folder) == before
    assert infer_again('--threshold', '0.3', '--format', 'csv', '--overwrite') == 0
    assert set(before) - set(files(folder)) == {name for name in before if name.startswith('overlay/')}
    assert len(files(folder)['targets.csv']) > len(before['targets.csv'])
    assert infer_again('--out', 'maps', '--format', 'mat') == 0
    assert infer_again('--out', 'maps', '--threshold', '0.3') == 0, 'maps are the same at any threshold'


def test_images_of_another_data_root_need_overwrite(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    generate_dataset('other', num_train=2, num_test=3, size=64, seed=1)
    assert infer_again() == 0
    before = files('results')
    assert infer_again('--data-root', 'other') == 2
    assert f'data in {workplace / "datasets" / "synthetic"}' in capsys.readouterr().err
    assert files('results') == before
    Path('link').symlink_to('datasets')
    assert infer_again('--data-root', 'link') == 0, 'the same folder'
    run = json.loads(Path('results/synthetic/run.json').read_text())
    del run['data_root'], run['threshold']
    Path('results/synthetic/run.json').write_text(json.dumps(run))
    assert infer_again() == 0, 'what older versions wrote'
    assert infer_again('--data-root', 'other', '--overwrite') == 0
    assert files('results') != before


def test_no_map_of_a_frame_that_is_gone_is_taken_for_one_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after a second run over fewer frames, nor where it could not be known before that they were fewer."""
    monkeypatch.chdir(tmp_path)
    Path('frames').mkdir()
    for name in 'ab':
        cv2.imwrite(f'frames/{name}.png', np.eye(16, dtype=np.uint8))
    detector = Detector('tophat')

    def run(source: object = 'frames', **options: object) -> list[str]:
        return ResultsFolder(predict(detector, source, **options).folder).names

    assert run(formats=['mat', 'csv']) == ['a', 'b']
    Path('results/frames/mat/mine.txt').touch()
    Path('frames/a.png').rename('frames/c.png')
    before = files('results')
    with pytest.raises(UserError, match=r'already holds the maps of other images \(a\): .*--overwrite'):
        run()
    assert files('results') == before
    assert run(formats=['mat'], overwrite=True) == ['b', 'c']
    assert sorted(files('results/frames')) == ['mat/b.mat', 'mat/c.mat', 'mat/mine.txt', 'run.json']

    def clip(count: int) -> str:
        video = cv2.VideoWriter('clip.avi', cv2.VideoWriter.fourcc(*'MJPG'), 5, (32, 32))
        for _ in range(count):
            video.write(np.zeros((32, 32, 3), np.uint8))
        video.release()
        return 'clip.avi'

    assert len(run(clip(3))) == 3
    with pytest.warns(UserWarning, match=r'also holds files of images .* clip_000001, clip_000002.*--overwrite'):
        assert run(clip(1)) == ['clip_000000'], 'those of the run alone'
    folder = ResultsFolder('results/clip')
    assert (folder.others, len(folder.notes)) == (['clip_000001', 'clip_000002'], 1)
    run('clip.avi', overwrite=True)
    assert not ResultsFolder('results/clip').others
    assert predict('maxmedian', 'clip.avi', overwrite=True, formats=['csv']).done == 1
    assert sorted(files('results/clip')) == ['run.json', 'targets.csv']


def test_frames_that_do_not_come_again_are_replaced_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = iter([[], [60, 90], [30]])

    def frames(camera: object) -> Iterator[tuple[str, np.ndarray]]:
        for count, value in enumerate(next(shown)):
            yield f'camera_{count:06d}', np.eye(16, dtype=np.uint8) * np.uint8(value)
        raise UserError('no more frames')

    monkeypatch.setattr('drpca.inference.frames.camera_frames', frames)
    arguments = ['tophat', '--input', '0', '--format', 'mat', 'csv']
    assert infer.main(arguments) == 1
    assert infer.main(arguments) == 1, 'nothing was seen, nothing can be lost'
    before = files('results')
    capsys.readouterr()
    assert infer.main(arguments) == 2
    assert re.search(r'already holds the maps of another run \(.*, input 0\): .*--overwrite', capsys.readouterr().err)
    assert files('results') == before
    assert infer.main([*arguments, '--overwrite']) == 1
    assert ResultsFolder('results/camera').names == ['camera_000000']

    pictures = np.zeros((2, 16, 16), dtype=np.uint8)
    detector = Detector('tophat')
    assert predict(detector, pictures).done == 2
    with pytest.raises(UserError, match=r'results/frames already holds the maps of another run \(.*, input frames\)'):
        predict(detector, pictures)
    assert predict(detector, pictures[:1], overwrite=True).done == 1
    assert ResultsFolder('results/frames').names == ['frame_000000']


def test_a_run_that_was_killed_is_told_of(tmp_path: Path) -> None:
    """It could not say of which images it was, and others may lie there."""
    run = {'maps': 'frame'}
    scores = np.eye(9, dtype=np.float32)
    whole = ResultsWriter(tmp_path, run)
    for name in 'ab':
        whole.write(Detection(name, scores, scores, scores > 0.5))
    whole.close()
    assert not ResultsFolder(tmp_path).notes
    killed = ResultsWriter(tmp_path, run)
    killed.write(Detection('b', scores, scores, scores > 0.5))
    folder = ResultsFolder(tmp_path)
    assert (folder.names, len(folder.notes)) == (['a', 'b'], 1)
    assert 'goes on or was killed' in folder.notes[0]
    (tmp_path / 'run.json').write_text('{}')
    assert not ResultsFolder(tmp_path).notes, 'what older versions wrote'


@pytest.mark.parametrize('name', ['targets.csv', 'coco.json', 'mat/mine.mat'])
def test_files_that_no_run_describes_are_left_alone(workplace: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    path = Path('results/synthetic') / name
    path.parent.mkdir(parents=True)
    path.write_text('mine')
    assert infer_again() == 2
    assert 'files without run.json' in capsys.readouterr().err
    assert path.read_text() == 'mine'


def test_a_full_disk_leaves_whole_files(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    """A limit on the size of files stands in for the disk."""
    assert infer_again() == 0
    before = files('results')
    size = max(len(content) for name, content in before.items() if name.endswith('.mat'))
    with limited_files(size):
        assert infer_again() == 1
    err = capsys.readouterr().err
    assert 'the disk is full' in err
    assert err.count('error') == 1
    assert {name: files('results')[name] for name in before if 'targets' not in name} == {
        name: content for name, content in before.items() if 'targets' not in name
    }
    assert not list(Path().rglob('*.partial*'))
    with limited_files(0):
        assert infer_again() == 1
    assert 'the disk is full' in capsys.readouterr().err, 'a config is copied when it is read'


def test_one_image_enters_few_files(workplace: Path) -> None:
    """From a config's name, a weight file and an image to its PNG, in a process of its own."""
    cv2.imwrite('frame.png', np.full((64, 64), 60, np.uint8))
    program = f"""
from drpca.inference.detector import Detector
from drpca.results.folder import ResultsWriter, mat_bytes
from drpca.results.predict import predict
from tests.call_trace import entered_files

def run():
    predict(Detector({CONFIG!r}, 'w.pth', options={SMALL}, device='cpu'), 'frame.png', formats=['png'])

print(*entered_files(run))
"""
    done = python(program, cwd=workplace)
    entered = done.stdout.split()
    assert 'results/predict.py' in entered, done.stderr
    assert len(entered) <= LIMIT, entered


def test_a_link_that_leads_to_itself_is_no_input(tmp_path: Path) -> None:
    (tmp_path / 'loop.mp4').symlink_to('loop.mp4')
    with pytest.raises(UserError, match=r'loop\.mp4: no such image, video or folder'):
        predict('tophat', tmp_path / 'loop.mp4', tmp_path / 'out')


def test_only_what_becomes_smaller_is_compressed() -> None:
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    flat = np.where(noise > 3, noise, 0)
    sizes = [len(mat_bytes('T', array)) for array in (noise, flat)]
    assert sizes[0] > noise.nbytes
    assert sizes[1] < flat.nbytes / 8
    both = loadmat(BytesIO(mat_bytes('T', flat) + mat_bytes('logits', noise)[128:]))
    assert np.array_equal(both['T'], flat)
    assert np.array_equal(both['logits'], noise)
