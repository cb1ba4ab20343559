"""One detector on one frame: analysis, pictures and the download."""

import base64
import csv
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from app_support import frame, save_run
from scipy.io import loadmat

from drpca.app import analysis as analysis_module
from drpca.app import charts, pictures
from drpca.app.analysis import AnalysedFrame, analyse
from drpca.app.choices import NATIVE, DetectorStore, list_choices
from drpca.app.download import results_zip
from drpca.app.verdicts import joint_figures, judge
from drpca.errors import UserError
from drpca.inference.detections import Detection

RPCA = 'PSTNN, classical RPCA, paper preset'
FILTER = 'TopHat, classical filter, paper preset'


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkpoints')
    save_run(folder)
    return DetectorStore(list_choices(folder))


@pytest.fixture(scope='module')
def found(store):
    """TopHat on a frame with one target."""
    return analyse(store.get(FILTER), 'one', frame())


def decode(url):
    head, _, data = url.partition(',')
    assert head == 'data:image/png;base64'
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)


def test_network_has_stages(store):
    label = np.zeros((40, 48), bool)
    label[10:12, 20:22] = True
    result = analyse(store.get('rpcanet_tiny, seed 0'), 'one', frame(), label)
    assert len(result.stages) == 2
    assert result.scores.shape == result.image.shape == result.gt_mask.shape == (40, 48), 'as the frame came'
    assert result.stages[0].background.shape == (40, 48)
    assert result.detection.map_scores.shape == (32, 32), 'as the recipe resizes it'
    assert result.note == ''
    last = 1 / (1 + np.exp(-result.stages[-1].target.astype(np.float64)))
    assert result.scores == pytest.approx(last, abs=1e-5), 'the last target are the logits of the scores'
    native = analyse(store.get('rpcanet_tiny, seed 0', NATIVE), 'one', frame(dtype=np.uint16))
    assert native.scores.shape == native.stages[0].background.shape == (40, 48)


def test_large_frames_have_scores_but_no_stages(store, monkeypatch):
    monkeypatch.setattr(analysis_module, 'TILE', 39)
    result = analyse(store.get('rpcanet_tiny, seed 0', NATIVE), 'one', frame())
    assert result.scores.shape == (40, 48)
    assert not result.stages
    assert '39 × 39' in result.note


def test_classical_methods(store, found):
    result = analyse(store.get(RPCA), 'one', frame())
    (stage,) = result.stages
    parts = store.get(RPCA).mapper.baseline.decompose(frame())
    assert np.array_equal(stage.background, parts.background)
    assert np.array_equal(stage.target, parts.target)
    assert not found.stages
    assert 'TopHat is a filter' in found.note
    with pytest.raises(UserError, match='641'):
        analyse(store.get(FILTER), 'one', np.zeros((641, 640), np.uint8))
    leaderboard = store.get('TopHat, classical filter, leaderboard preset')
    resized = analyse(leaderboard, 'one', np.eye(641, dtype=np.uint8))
    assert (resized.scores.shape, resized.detection.map_scores.shape) == ((641, 641), (256, 256))
    with pytest.raises(UserError, match='at least 8'):
        analyse(store.get(FILTER), 'one', np.zeros((4, 4), np.uint8))


def test_threshold_moves_without_the_detector(found):
    low, high = found.detect(0.0), found.detect(0.9)
    assert len(high.targets) == 1
    assert round(high.targets[0].row) in (10, 11)
    assert round(high.targets[0].column) in (20, 21)
    assert low.mask.sum() > high.mask.sum()
    assert low.scores is high.scores is found.scores


def test_pictures():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode(pictures.data_url(grey)), grey)
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert decode(pictures.data_url(red))[0, 0].tolist() == [0, 0, 255]
    assert decode(pictures.data_url(np.zeros((2048, 1024), np.uint8))).shape == (1024, 512)
    assert decode(pictures.thumbnail_url(frame(dtype=np.uint16))).shape == (96, 96)


def test_displays():
    image = np.full((32, 32), 0.5, np.float32)
    image[0, :16], image[5, 5] = 0.4, 1
    assert pictures.frame_picture(image)[5, 5] == 255
    stretched = pictures.frame_picture(image, 'percentile')
    assert (stretched[9, 9], stretched[0, 0]) == (255, 0)
    assert pictures.frame_picture(image, 'clahe').shape == (32, 32)
    assert pictures.frame_picture(image, colours='inferno')[5, 5].tolist() == [252, 255, 164], 'RGB'


def test_charts_show_the_values():
    image, scores = np.zeros((40, 50), np.float32), np.zeros((40, 50), np.float32)
    image[3, 4], scores[3, 4] = 0.5, 0.75
    counts = charts.histogram(image, scores, 0.6)
    assert [sum(count or 0 for count in line['y']) for line in counts['data']] == [2000, 2000]
    assert counts['layout']['shapes'][0]['x0'] == 0.6
    lines = {line['name']: line for line in charts.profile(image, scores, 3, 4, 0.6)['data']}
    along = lines['score along the row']
    assert along['y'][along['x'].index(0)] == 0.75
    assert (along['x'][0], along['x'][-1]) == (-4, 16), 'cut at the edge of the frame'
    (data,) = charts.surface(image, 3, 4, 'grey value')['data']
    assert data['z'][data['y'].index(3)][data['x'].index(4)] == 0.5
    assert (len(data['z']), len(data['z'][0])) == (20, 21)


def analysed(mask, label=None):
    scores = mask.astype(np.float32)
    return AnalysedFrame('one', 'd', 'm', 'auto', Detection('one', scores, scores, mask), [], '', label, 0.0)


def test_boxes_lie_around_the_targets():
    mask = np.zeros((40, 50), bool)
    mask[10:12, 20:23] = True
    label = np.zeros_like(mask)
    label[30, 5] = True
    frame_ = analysed(mask, label)
    svg = pictures.boxes_svg(frame_.detection, judge(frame_, 0.5))
    assert '<rect x="18.0" y="8.0" width="7.0" height="6.0" fill="none" stroke="#ff4d4f"' in svg
    assert '<rect x="-1.0" y="24.0" width="13.0" height="13.0" fill="none" stroke="#ffe14d"' in svg
    assert svg.count('<text') == 1
    assert '>1</text>' in svg


def test_verdicts():
    mask, label = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    label[10:14, 10:14] = label[30:40, 30:32] = label[50, 50] = True
    mask[10:14, 10:12] = mask[10:14, 13] = True  # a hit and a fragment
    mask[50, 2] = True
    verdicts = judge(analysed(mask, label), 0.5)
    assert verdicts.detections == ['hit', 'fragment of a target', 'false alarm']
    assert [kind for kind, _ in verdicts.targets] == ['hit', 'missed', 'missed']
    figures = verdicts.figures
    assert figures['IoU'] == 12 / (16 + 20 + 1 + 1)
    assert figures['Pd'] == 1 / 3
    assert figures['Fa'] == 5 / 3600
    assert joint_figures([verdicts, verdicts])[0]['targets'] == 6
    assert judge(analysed(mask), 0.5) is None


def test_only_the_strongest_are_drawn(monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_BOXES', 2)
    scores = np.zeros((9, 9), np.float32)
    scores[1, 1], scores[4, 4], scores[7, 7] = 0.9, 0.6, 0.8
    detection = Detection('one', scores, scores, scores > 0.5)
    assert pictures.strongest(detection) == [0, 2]
    svg = pictures.boxes_svg(detection)
    assert ['>1<' in svg, '>2<' in svg, '>3<' in svg] == [True, False, True]


def test_download(store, found, tmp_path):
    archive = zipfile.ZipFile(io.BytesIO(results_zip([found], 0.9)))
    assert sorted(archive.namelist()) == [
        'coco.json', 'img/one.png', 'json/one.json', 'mask/one.png', 'mat/one.mat', 'overlay/one.png', 'run.json',
        'targets.csv',
    ]  # fmt: skip
    assert np.array_equal(loadmat(io.BytesIO(archive.read('mat/one.mat')))['T'], found.scores)
    mask = cv2.imdecode(np.frombuffer(archive.read('mask/one.png'), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, 255 * found.detect(0.9).mask)
    (row,) = csv.DictReader(archive.read('targets.csv').decode().splitlines())
    assert float(row['row']) == pytest.approx(found.detect(0.9).targets[0].row, abs=1e-5)
    assert json.loads(archive.read('json/one.json'))['threshold'] == 0.9
    run = json.loads(archive.read('run.json'))
    assert (run['config'], run['input_size'], run['threshold']) == ('TopHat', [40, 48], 0.9)

    staged = analyse(store.get('rpcanet_tiny, seed 0'), 'one', frame())
    archive = zipfile.ZipFile(io.BytesIO(results_zip([staged], 0.5)))
    assert 'stages/one.png' in archive.namelist()
    content = b''.join(archive.read(name) for name in ('run.json', 'json/one.json', 'targets.csv'))
    assert b'/' not in content.replace(b'\\/', b''), 'no path in any text of the archive'


def test_download_of_several_frames(store):
    analyses = [analyse(store.get(FILTER), name, frame()) for name in ('a', 'b')]
    archive = zipfile.ZipFile(io.BytesIO(results_zip(analyses, 0.9)))
    assert {f'{part}/{name}' for part in ('mat', 'overlay') for name in 'ab'} == {
        name.rsplit('.', 1)[0] for name in archive.namelist() if name.startswith(('mat', 'overlay'))
    }
    coco = json.loads(archive.read('coco.json'))
    assert [image['file_name'] for image in coco['images']] == ['a', 'b']
    left, top, width, height = coco['annotations'][0]['bbox']
    assert (top <= 10 < top + height, left <= 20 < left + width) == (True, True), 'in pixels of the frame'
