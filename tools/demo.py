"""From nothing to a table and pictures within five minutes of CPU: ``make demo``.

Makes a small set of synthetic frames of the sky, trains the network of the demo on from the weights that come with the
project for a minute, writes score maps of the test split, scores them, and draws the decomposition of some test images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import drpca
from drpca.cards import weight_cards
from drpca.checkpoint import load_weights
from drpca.cli.common import positive, write_file
from drpca.cli.guard import guarded
from drpca.config import find_config, load_config
from drpca.datasets import open_split
from drpca.datasets.io import to_unit
from drpca.engine.loop import Interrupted
from drpca.errors import UserError
from drpca.files import make_folder, save
from drpca.registry import MODELS
from drpca.reports.tables import as_json, as_text
from drpca.results.folder import ResultsFolder
from drpca.visualization.panels import caption, outline, side_by_side, to_grey

CONFIG = 'rpcanet_synthetic_demo'
"""Its weights come with the project."""
MARK = '.demo'
"""In the folders that this script has made."""
STAGES = 4
LATEST = 120
"""Seconds after the start at which no training begins any more, so that a slow machine ends in time, too."""


@torch.no_grad()
def pictures(checkpoint: Path, data_root: str, results: Path, out: Path, count: int = 4) -> Path:
    """A row per test image: D and B on the scale of the frame, T on its own, mask, and the detections in the image."""
    model = MODELS.build(load_config(find_config(CONFIG), data_root=data_root).model).eval()
    load_weights(model.network, checkpoint)
    split = open_split('synthetic', 'test', data_root)
    folder = ResultsFolder(results)
    with_targets = [name for name in split.names if split.read_mask(name).any()]
    rows = []
    for name in with_targets[:count]:
        image, gt_mask = to_unit(split.read_image(name)), split.read_mask(name)
        last = model.decompose(torch.from_numpy(image)[None, None])[-1]
        target = last.target[0, 0].numpy()
        titled = {
            'D image': to_grey(image),
            'B background': to_grey(last.background[0, 0].numpy()),
            'T target': to_grey((target - target.min()) / max(np.ptp(target), 1e-6)),
            'mask (label)': to_grey(gt_mask),
            'found: red, label: green': outline(image, folder.read(name) > 0.5, gt_mask),
        }
        rows.append(side_by_side([caption(picture, title) for title, picture in titled.items()]))
    save(out, lambda draft: cv2.imwrite(str(draft), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)))
    return out


def claim(out: Path) -> None:
    """An empty folder; what an earlier demo left there is removed, anything else is not.

    Raises:
        UserError: Something else is there.
    """
    if out.is_symlink() or (out.exists() and not (out / MARK).is_file() and (out.is_file() or any(out.iterdir()))):
        raise UserError(f'{out} is there already, and not made by the demo: name another folder with --out.')
    shutil.rmtree(out, ignore_errors=True)
    make_folder(out)
    (out / MARK).touch()


@guarded
def main(argv: list[str] | None = None) -> int:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='results/demo', help='everything goes there (default: %(default)s)')
    parser.add_argument(
        '--seconds', type=int, default=60, metavar='N', help='for training; 0: none (default: %(default)s)'
    )
    parser.add_argument(
        '--images', type=positive, default=40, metavar='N', help='to train on, and to test (default: %(default)s)'
    )
    args = parser.parse_args(argv)
    out = Path(args.out)
    claim(out)

    def step(number: int, text: str) -> None:
        print(f'{number}/{STAGES} {text}  [{time.perf_counter() - started:.0f} s]', flush=True)

    root, runs, maps = str(out / 'data'), str(out / 'checkpoints'), str(out / 'maps')
    step(1, f'synthetic frames of the sky, {args.images} to train on and {args.images} to test')
    drpca.generate_dataset(root, num_train=args.images, num_test=args.images, scenes=['sky'])
    checkpoint = weight_cards()[CONFIG].check()
    seconds = args.seconds if time.perf_counter() - started < LATEST else 0
    step(2, f'training on from {checkpoint.name}, for {seconds} s')
    curve = None
    if seconds:
        try:
            options = {'optim_wrapper.optimizer.lr': 1e-4, 'train_cfg.max_epochs': 100, 'train_cfg.val_interval': 5}
            run = drpca.train(
                CONFIG, data_root=root, work_dir=runs, load_from=checkpoint, time=seconds / 3600, cfg_options=options
            )
            checkpoint, curve = Path(run.checkpoint), Path(run.checkpoint).with_name('log.jsonl')
        except Interrupted:
            print('the time was up before the training ended: going on without it', flush=True)
        except UserError as error:
            print(f'going on without training: {error}', flush=True)
    step(3, 'score maps of the test images')
    written = drpca.predict(CONFIG, out=maps, checkpoint=checkpoint, data_root=root, progress=True)
    step(4, 'scores and pictures')
    scores = drpca.score(written.folder, data_root=root)
    print(as_text(scores[0]))
    write_file(out / 'scores.json', json.dumps(as_json(scores), indent=2) + '\n')
    picture = pictures(checkpoint, root, written.folder, out / 'decomposition.png')
    print(f'\nPictures: {picture.resolve()}\nScore maps: {(written.folder / "img").resolve()}')
    print(f'Scores: {(out / "scores.json").resolve()}')
    if curve is not None:
        print(f'Learning curve: {curve.resolve()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
