"""The small world that every case starts from: valid files of every kind that a command reads."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

SIDE = 32
LABELS = ('coco', 'yolo', 'voc', 'csv', 'points')

OWN = """\
dataset = 'mini'
model = dict(
    type='DetectionModel',
    network=dict(type='RPCANetPlus', num_stages=1, channels=16, background_depth=1, target_depth=1,
                 reconstruction_depth=1, bottleneck=4, noise_depth=1, carry_noise=False),
    losses=dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1)),
)
inference_size = 32
train_dataloader = dict(dataset=dict(dataset=dataset, size=32), batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(dataset=dict(dataset=dataset, size=32), batch_size=2)
test_dataloader = dict(dataset=dict(dataset=dataset, size=32), batch_size=2)
train_cfg = dict(max_epochs=1, val_interval=1)
"""

PROTOCOL = "protocols = [dict(type='basicirstd', name='mine', threshold=0.4)]\n"


def own_config(text: str = OWN) -> str:
    """The tiny network's config; its base files are those of the project."""
    base = Path(__file__).resolve().parents[2] / 'configs' / '_base_'
    files = [str(base / name) for name in ('dataloaders.py', 'schedules/poly_400e.py', 'default_runtime.py')]
    return f'_base_ = {files!r}\n{text}'


def build(root: Path) -> None:
    """Make the world below ``root``, which becomes the working directory."""
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    _images()
    _results()
    Path('own.py').write_text(own_config())
    Path('protocol.py').write_text(PROTOCOL)
    Path('iou.json').write_text(json.dumps({'RPCANet': 0.7, 'RPCANetPlus': 0.71}))
    _labelled()
    _trained()
    _exported()
    _video()


def _frame(rng: np.random.Generator, dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """A noisy (SIDE, SIDE) frame with one target, and its mask of 0 and 255."""
    high = np.iinfo(dtype).max
    frame = rng.integers(0, high // 3, (SIDE, SIDE)).astype(dtype)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(2, SIDE - 6, 2)
    mask[top : top + 3, left : left + 3] = 255
    frame[mask > 0] = high - 5
    return frame, mask


def _images() -> None:
    import cv2

    rng = np.random.default_rng(0)
    for folder, names in (('mini/trainval', 'abcdef'), ('mini/test', 'xy'), ('listed', 'abcd')):
        for kind in ('images', 'masks'):
            Path('datasets', folder, kind).mkdir(parents=True)
        for name in names:
            for kind, values in zip(('images', 'masks'), _frame(rng)):
                cv2.imwrite(f'datasets/{folder}/{kind}/{name}.png', values)
    Path('datasets/listed/trainval.txt').write_text('a\nb\nc\n')
    Path('datasets/listed/test.txt').write_text('d\n')
    Path('frames').mkdir()
    frame, _ = _frame(rng)
    deep, _ = _frame(rng, np.uint16)
    colour = cv2.merge([frame, frame // 2, frame // 3])
    frames = {'grey.png': frame, 'deep.png': deep, 'colour.png': colour, 'photo.jpg': frame, 'plain.bmp': frame}
    for name, values in {**frames, 'scan.tif': deep}.items():
        cv2.imwrite(f'frames/{name}', values)


def _results() -> None:
    import cv2
    from scipy.io import savemat

    for kind in ('mat', 'img'):
        Path('results/mini', kind).mkdir(parents=True)
    for name, compressed in (('x', False), ('y', True)):
        mask = cv2.imread(f'datasets/mini/test/masks/{name}.png', cv2.IMREAD_UNCHANGED)
        scores = (mask / 255 * 0.8 + 0.1).astype(np.float32)
        savemat(f'results/mini/mat/{name}.mat', {'T': scores}, do_compression=compressed)
        cv2.imwrite(f'results/mini/img/{name}.png', np.rint(scores * 255).astype(np.uint8))
    run = {'config': 'TopHat', 'dataset': 'mini', 'split': 'test', 'input': None, 'size': 32, 'threshold': 0.5}
    Path('results/mini/run.json').write_text(json.dumps(run))


def _trained() -> None:
    """``runs/own/seed_0`` with all files of a training, bare weights, and a table of the leaderboard."""
    import torch
    from safetensors.torch import save_file

    from drpca.checkpoint import read_checkpoint
    from drpca.cli.main import main

    assert main(['train', 'own.py', '--work-dir', 'runs']) == 0
    for file in Path('runs').rglob('*'):
        if file.is_file() and file.name not in ('last.pth', 'best.pth', 'log.jsonl', 'summary.json'):
            file.unlink()
    state = read_checkpoint('runs/own/seed_0/best.pth')['state_dict']
    weights = {name.removeprefix('network.'): value for name, value in state.items()}
    torch.save(weights, 'w.pth')
    save_file(weights, 'w.safetensors')
    Path('maps').mkdir()
    files = ['--json', 'table.json', '--maps', 'maps']
    assert main(['leaderboard', 'tophat', '--dataset', 'mini', '--no-latency', *files]) == 0


def _labelled() -> None:
    """``labelled/<format>``: the data set listed in the label formats of other programs, and packed."""
    import shutil

    from drpca.datasets import export_labels

    Path('labelled').mkdir()
    for kind in LABELS:
        export_labels('listed', kind, Path('labelled', kind), data_root=Path('datasets'))
    for kind in ('zip', 'tar'):
        shutil.make_archive('listed', kind, 'datasets', 'listed')


def _exported() -> None:
    from drpca.cli.main import main

    common = ['own.py', '--checkpoint', 'w.pth', '--images', 'frames', '--size', str(SIDE)]
    assert main(['export', *common, '--out', 'model.onnx']) == 0
    assert main(['export', *common, '--out', 'model.pt2', '--format', 'torch']) == 0


def _video() -> None:
    import cv2

    rng = np.random.default_rng(1)
    for name, codec in (('clip.avi', 'MJPG'), ('clip.mp4', 'mp4v')):
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*codec), 10, (SIDE, SIDE))
        for _ in range(4):
            writer.write(cv2.cvtColor(_frame(rng)[0], cv2.COLOR_GRAY2BGR))
        writer.release()


if __name__ == '__main__':
    build(Path(sys.argv[1]))
