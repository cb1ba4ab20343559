"""Folders of a thousand images, damaged ones among them, and frames of 4096 × 4096 pixels."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

import drpca
from drpca.cli import infer
from drpca.errors import UserError
from drpca.files import in_use
from drpca.inference.frames import list_images
from drpca.inference.mappers import FrameMapper
from tests.support import python, shared_path

COUNT = 1000


def _image(index: int) -> np.ndarray:
    image = np.full((64, 64), 40, np.uint8)
    image[20 + index % 20, 30] = 200
    return image


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 images; the names of the twelve that cannot be read begin with 'bad'."""
    folder = tmp_path_factory.mktemp('many') / 'frames'
    folder.mkdir()
    whole = cv2.imencode('.png', _image(0))[1].tobytes()
    jpeg = cv2.imencode('.jpg', np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[1].tobytes()
    for index in range(COUNT - 12):
        (folder / f'frame_{index:04d}.png').write_bytes(cv2.imencode('.png', _image(index))[1].tobytes())
    (folder / 'bad_cut.png').write_bytes(whole[: len(whole) // 2])
    (folder / 'bad_cut_jpeg.jpg').write_bytes(jpeg[: len(jpeg) // 2])
    (folder / 'bad_empty.png').write_bytes(b'')
    (folder / 'bad_text.png').write_text('this is no picture\n')
    (folder / 'bad_bit.png').write_bytes(whole[:50] + bytes([whole[50] ^ 255]) + whole[51:])
    (folder / 'bad_header.bmp').write_bytes(b'BM' + bytes(60))
    colours = cv2.imencode('.png', np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    pixels = slice(colours.index(b'IDAT') - 4, colours.index(b'IEND') - 4)
    stream = b'IDATnothing of the kind'
    broken = struct.pack('>I', len(stream) - 4) + stream + struct.pack('>I', zlib.crc32(stream))
    for name, part in (('bad_stream', broken), ('bad_no_pixels', b'')):
        (folder / f'{name}.png').write_bytes(colours[: pixels.start] + part + colours[pixels.stop :])
    (folder / 'bad_folder.png').mkdir()
    (folder / 'bad_link.png').symlink_to('nowhere.png')
    cv2.imwrite(str(folder / 'bad_float.tiff'), np.full((64, 64), np.nan, np.float32))
    tiff = cv2.imencode('.tiff', _image(0))[1].tobytes()
    (folder / 'bad_cut_tiff.tif').write_bytes(tiff[: len(tiff) // 2])
    return folder


def test_twelve_damaged_images_of_a_thousand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert infer.main(['tophat_paper', '--input', str(folder), '--format', 'png']) == 1
    told = capsys.readouterr()
    damaged = sorted(path.stem for path in folder.glob('bad*'))
    lines = [line for line in told.err.splitlines() if line.startswith('error: ')]
    assert len(damaged) == len(lines) == 12
    assert all(sum(f'/{name}.' in line for line in lines) == 1 for name in damaged)
    assert f'12 of {COUNT} inputs could not be read' in told.err
    assert f'{COUNT - 12} maps' in told.out
    written = sorted(path.stem for path in Path('results/frames/img').iterdir())
    assert written == [f'frame_{index:04d}' for index in range(COUNT - 12)]
    scores = cv2.imread('results/frames/img/frame_0007.png', cv2.IMREAD_UNCHANGED)
    assert np.argwhere(scores > 127).tolist() == [[27, 30]], 'each map belongs to its image'


def test_an_image_too_small_for_the_method_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('frames').mkdir()
    for name, side in (('a', 40), ('b', 12), ('c', 40)):
        cv2.imwrite(f'frames/{name}.png', _image(0)[:side])
    options = ['--cfg-options', 'model.patch_size=20', 'model.step=20']
    assert infer.main(['ipi_paper', '--input', 'frames', '--format', 'png', *options]) == 1
    assert 'error: b is 12 × 64 pixels; at least 20 × 20 are needed.' in capsys.readouterr().err
    assert sorted(path.name for path in Path('results/frames/img').iterdir()) == ['a.png', 'c.png']


def test_a_folder_called_like_an_image_is_not_one(tmp_path: Path) -> None:
    (tmp_path / 'x.png').mkdir()
    cv2.imwrite(str(tmp_path / 'x.png' / 'a.png'), np.zeros((16, 16), np.uint8))
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((16, 16), np.uint8))
    done = drpca.predict('tophat', tmp_path, tmp_path / 'whole')
    assert (done.done, len(done.failed)) == (1, 1), 'named, and the rest done'
    with pytest.raises(UserError, match='Two frames are called a'):
        drpca.predict('tophat', [tmp_path / 'a.png', tmp_path / 'x.png' / 'a.png'], tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out' / 'frames' / 'img').iterdir()] == ['a.png']


def test_listing_images_grows_with_their_number(tmp_path: Path) -> None:
    for number in range(4000):
        (tmp_path / f'{number:05d}.png').touch()
    times = []
    for _ in range(3):
        started = time.process_time()
        assert len(list_images(tmp_path)) == 4000
        times.append(time.process_time() - started)
    assert min(times) < 0.2, 'it was quadratic: 0.4 s for these, 2.5 s for 10,000'


def test_a_results_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    frame = np.zeros((16, 16), np.uint8)
    with in_use(tmp_path / 'frames'), pytest.raises(UserError, match='is in use by process'):
        drpca.predict('tophat', frame, tmp_path)
    assert drpca.predict('tophat', frame, tmp_path).done == 1, 'the lock went with its holder'


def test_images_that_differ_in_suffix_alone_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('frames').mkdir()
    for name in ('a.png', 'a.bmp', 'b.png'):
        cv2.imwrite(f'frames/{name}', _image(0))
    assert infer.main(['tophat_paper', '--input', 'frames']) == 2
    assert 'two images are called a' in capsys.readouterr().err
    assert not Path('results').exists()


PEAK = """
import sys
import cv2, numpy as np, torch
from drpca.cli import infer
from drpca.inference.detector import Detector
from drpca.registry import MODELS

class Pointwise(torch.nn.Module):
    outputs, in_channels, size_multiple, min_size = ('target',), 1, 1, 8

    def forward(self, image):
        return (20 * (image - 0.5),)

torch.set_num_threads(1)
frame = np.random.default_rng(0).integers(900, 9000, (4096, 4096), dtype=np.uint16)
frame[1500:1503, 2000:2002] = 60000
if sys.argv[1:]:
    config, network, *stages = sys.argv[1:]
    own = {'num_stages': int(stages[0])} if stages else {}
    torch.save(MODELS.build({'type': network, **own}).state_dict(), 'w.pth')
    cv2.imwrite('frame.png', frame)
    del frame
    options = ['--checkpoint', 'w.pth', '--size', 'native', '--input', 'frame.png', '--overlay']
    options += ['--cfg-options', f'model.network.num_stages={stages[0]}'] if stages else []
    assert infer.main([config, *options]) == 0
else:
    (detection,) = Detector(Pointwise()).stream([frame])
    assert [target.box for target in detection.targets] == [(1500, 2000, 1503, 2002)]
# Not ru_maxrss, in which a new process starts with the memory of the one that started it.
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(int(status['VmHWM'].split()[0]) / 2**10)
"""


def peak_memory(folder: Path, *arguments: str) -> float:
    """MB that a process held at most."""
    done = python(PEAK, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])


def test_memory_around_the_network_on_a_large_frame(tmp_path: Path) -> None:
    assert peak_memory(tmp_path) < 1000, 'MB, with Python and PyTorch'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'network', 'stages'),
    [
        ('rpcanet_sirstv1', 'RPCANet', ['2']),
        ('rpcanet_plus_sirstv1', 'RPCANetPlus', ['2']),
        ('drpcanet_sirstv1', 'DRPCANet', ['2']),
        ('lrrnet_sirstv1', 'LRRNet', []),
    ],
)
def test_memory_of_a_large_frame(tmp_path: Path, config: str, network: str, stages: list[str]) -> None:
    """Two stages hold as much as six, one after the other."""
    assert peak_memory(tmp_path, config, network, *stages) < 2000, 'MB, with reading and writing'


@pytest.mark.slow
@pytest.mark.parametrize('side', [512, 1024])
@pytest.mark.parametrize(
    ('config', 'weights', 'is_exact'),
    [
        ('rpcanet_sirstv1', 'RPCANet_SIRST.pkl', True),
        ('rpcanet_plus_irstd_1k', 'RPCANetPlus_IRSTD-1k.pkl', True),
        ('rpcanet_plus_sirstv1', 'RPCANetPlus_SIRST-Aug.pkl', True),
        ('acm_sirstv1', 'ACM_full_SIRST3.pth.tar', False),
    ],
)
@pytest.mark.filterwarnings('ignore:.* is computed in tiles')
def test_tiles_beside_the_whole_frame(config: str, weights: str, is_exact: bool, side: int) -> None:
    """A frame put together from real ones, half of them of SIRST V1, half of NUDT-SIRST. ``-s`` shows the figures."""
    file = shared_path('checkpoints', weights)
    count = side // 256
    names = [
        sorted(shared_path('datasets', *folder).glob('*.png'))[:: 16 // count]
        for folder in (('SIRSTdevkit-master', 'PNGImages'), ('NUDT-SIRST', 'test', 'images'))
    ]
    frames = [cv2.resize(cv2.imread(str(path), 0), (256, 256)) for pair in zip(*names) for path in pair]
    frame = np.vstack([np.hstack(frames[row * count :][:count]) for row in range(count)])
    (whole,) = drpca.Detector(config, file, tile=None)(frame)
    detector = drpca.Detector(config, file, tile=side // 2)
    (tiled,) = detector(frame)
    (blended,), _ = FrameMapper.map_large(detector.mapper, frame.astype(np.float32) / 255)
    for title, scores in (('Detector', tiled.scores), ('each tile by itself', blended)):
        mask = scores > 0.5
        iou = (mask & whole.mask).sum() / max((mask | whole.mask).sum(), 1)
        print(
            f'{weights}, {side}, {title}: IoU {iou:.4f} of {whole.mask.sum()} pixels, largest difference '
            f'{np.abs(scores - whole.scores).max():.1e}'
        )
    assert (np.array_equal(tiled.mask, whole.mask) and np.abs(tiled.scores - whole.scores).max() < 1e-3) == is_exact
