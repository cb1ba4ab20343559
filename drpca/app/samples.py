"""Images to start with: synthetic ones, and a few of each data set at hand."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drpca.datasets import find_datasets, open_split
from drpca.datasets.splits import spread
from drpca.datasets.synthetic import FOLDER, generate_frame
from drpca.errors import UserError

# Seeds of frames that differ in scene and difficulty.
_SYNTHETIC = {'clouds': 17, 'haze': 13, 'ground': 14, 'sea': 4, 'horizon': 22, 'city': 6}
_SEED = 7
_PER_DATASET = 3


UPLOADED = 'upload'
"""``source`` of what visitors send."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image, with its label where there is one.

    Attributes:
        name: For the page and for files.
        source: Data set, ``'synthetic'`` or ``UPLOADED``.
        frame: (H, W) grey values.
        gt_mask: (H, W) bool.
    """

    name: str
    source: str
    frame: np.ndarray
    gt_mask: np.ndarray | None = None

    @property
    def label(self) -> str:
        """What addresses call it."""
        return f'{self.source}/{self.name}'


def synthetic_samples() -> list[Sample]:
    """Always the same frames of the synthetic generator, 256² pixels."""
    return [
        Sample(name, FOLDER, *generate_frame(np.random.default_rng([_SEED, number])))
        for name, number in _SYNTHETIC.items()
    ]


def list_samples(data_root: str | Path | None = None) -> list[Sample]:
    """Synthetic samples, then some test images of every data set under the data root.

    A data set that cannot be read is left out with a line on standard error.

    Args:
        data_root: Default: ``DRPCA_DATA``, else ``./datasets``, where either may be missing.

    Raises:
        UserError: The data root that was given is missing or empty.
    """
    samples = synthetic_samples()
    try:
        names = list(find_datasets(data_root))
    except UserError:
        if data_root is not None:
            raise
        names = []
    for dataset in names:
        try:
            split = open_split(dataset, 'test', data_root)
            samples += [
                Sample(name, split.dataset, split.read_image(name), split.read_mask(name))
                for name in spread(split.names, _PER_DATASET)
            ]
        except UserError as error:
            print(f'warning: no samples of {dataset}: {error}', file=sys.stderr)
    return samples
