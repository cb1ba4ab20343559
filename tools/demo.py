"""From nothing to a table and pictures: ``make demo``.

Makes the synthetic data set, trains LRRNet on it for about three minutes of CPU, exports score maps of its
test split, scores them next to a top-hat filter, and draws the decomposition of a few test images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

import drpca
from drpca.checkpoint import load_weights
from drpca.cli.common import write_file
from drpca.config import find_config, load_config
from drpca.datasets import open_split
from drpca.datasets.io import to_unit
from drpca.registry import MODELS
from drpca.reports.tables import as_json, as_text
from drpca.results.folder import ResultsFolder
from drpca.visualization.panels import caption, decomposition_panel, outline, side_by_side

CONFIG = 'lrrnet_synthetic_cpu'


def pictures(config_name: str, checkpoint: Path, data_root: str, results: Path, out: Path, count: int = 4) -> Path:
    """One row per test image: D, B, T, score, mask, and the detections drawn into the image."""
    config = load_config(find_config(config_name), data_root=data_root)
    model = MODELS.build(config.model).eval()
    load_weights(model.network, checkpoint)
    split = open_split('synthetic', 'test', data_root)
    folder = ResultsFolder(results)
    with_targets = [name for name in split.names if split.read_mask(name).any()]
    rows = []
    for name in with_targets[:count]:
        image, gt_mask = to_unit(split.read_image(name)), split.read_mask(name)
        panel = decomposition_panel(
            model, torch.from_numpy(image)[None], torch.from_numpy(gt_mask.astype(np.float32))[None]
        )
        drawn = outline(image, folder.read(name) > 0.5, gt_mask)
        rows.append(side_by_side([panel, caption(drawn, 'found: red, label: green')]))
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='results/demo', help='everything goes there (default: %(default)s)')
    parser.add_argument('--epochs', type=int, default=12, help='training epochs (default: %(default)s)')
    args = parser.parse_args()
    out = Path(args.out)
    if out.exists():
        shutil.rmtree(out)
    root, runs, maps = str(out / 'data'), str(out / 'checkpoints'), str(out / 'maps')
    print('1. synthetic data set', flush=True)
    drpca.generate_dataset(root, num_train=200, num_test=60)
    print('2. training', flush=True)
    run = drpca.train(CONFIG, data_root=root, work_dir=runs, epochs=args.epochs)
    print('3. inference', flush=True)
    written = drpca.predict(CONFIG, out=maps, checkpoint=run.checkpoint, data_root=root, progress=True)
    print('4. scores', flush=True)
    scores = drpca.score(written.folder, data_root=root)
    print(as_text(scores[0]))
    write_file(out / 'scores.json', json.dumps(as_json(scores), indent=2) + '\n')
    checkpoint = Path(run.checkpoint)
    picture = pictures(CONFIG, checkpoint, root, written.folder, out / 'decomposition.png')
    print(f'\nPictures: {picture.resolve()}\nScore maps: {(written.folder / "img").resolve()}')
    print(f'Scores: {(out / "scores.json").resolve()}\nLearning curve: {checkpoint.with_name("log.jsonl").resolve()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
