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

from drpca.checkpoint import load_weights
from drpca.cli import infer, score, train
from drpca.config import find_config, load_config
from drpca.datasets import open_split
from drpca.datasets.io import to_unit
from drpca.datasets.synthetic import generate_dataset
from drpca.registry import MODELS
from drpca.results.folder import ResultsFolder
from drpca.visualization.panels import caption, decomposition_panel, outline, side_by_side

CONFIG = 'lrrnet_synthetic_cpu'


def pictures(
    config_name: str, checkpoint: Path, data_root: str, results: Path, out: Path, count: int = 4
) -> Path:
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', default='results/demo', help='everything goes there (default: %(default)s)')
    parser.add_argument('--epochs', default='12', help='training epochs (default: %(default)s)')
    args = parser.parse_args()
    out = Path(args.out)
    if out.exists():
        shutil.rmtree(out)
    root, runs, maps = str(out / 'data'), str(out / 'checkpoints'), str(out / 'maps')
    print('1. synthetic data set', flush=True)
    generate_dataset(root, num_train=200, num_test=60)
    print('2. training', flush=True)
    code = train.main([CONFIG, '--data-root', root, '--work-dir', runs, '--epochs', args.epochs])
    if code:
        return code
    checkpoint = out / 'checkpoints' / CONFIG / 'seed_0' / 'best.pth'
    print('3. inference', flush=True)
    code = infer.main([CONFIG, '--checkpoint', str(checkpoint), '--data-root', root, '--out', maps])
    if code:
        return code
    print('4. scores', flush=True)
    code = score.main(
        ['--results', f'{maps}/synthetic', '--data-root', root, '--json', str(out / 'scores.json')]
    )
    if code:
        return code
    picture = pictures(CONFIG, checkpoint, root, Path(maps) / 'synthetic', out / 'decomposition.png')
    scores = json.loads((out / 'scores.json').read_text())
    assert scores, 'no scores'
    print(f'\nPictures: {picture.resolve()}\nScore maps: {Path(maps, "synthetic", "img").resolve()}')
    print(
        f'Scores: {(out / "scores.json").resolve()}\nLearning curve: {checkpoint.with_name("log.jsonl").resolve()}'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
