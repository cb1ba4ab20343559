"""Images of a test split that a training split holds as well."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from drpca.datasets.io import parallel_map
from drpca.datasets.splits import Split

SIRST_FAMILY = ('SIRSTv1', 'SIRSTv2')


@dataclass(frozen=True)
class Leak:
    """Images of a test split that a training split holds as well.

    Attributes:
        train: 'SIRSTv1 train_half'.
        test: 'SIRSTv1 test'.
        names: Their names in the test split.
        total: Number of images in the test split.
    """

    train: str
    test: str
    names: list[str]
    total: int

    def __str__(self) -> str:
        return f'{len(self.names)} of the {self.total} images of {self.test} are in {self.train}'


def pixel_hash(image: np.ndarray) -> str:
    """Hash of the size and the grey values, whatever file they came from."""
    return hashlib.sha256(f'{image.dtype}{image.shape}'.encode() + image.tobytes()).hexdigest()


def find_leaks(train: Split, tests: Iterable[Split], pixels: bool = True) -> list[Leak]:
    """Test images that a training split holds.

    Images are compared by file; between SIRST V1 and V2, which share pictures under the same names, by name;
    with ``pixels`` also by their grey values, which finds copies anywhere.

    Args:
        train: What a network is trained on; of joined data sets, each is compared by itself.
        tests: What it is to be judged on.
        pixels: Also decode and compare the images (some seconds for a thousand).

    Returns:
        One entry for each test split with leaks.
    """
    if train.parts:
        tests = list(tests)
        return [leak for part in train.parts for leak in find_leaks(part, tests, pixels)]
    known_digests = set(_digests(train)) if pixels else set()
    known_files = {train.image_path(name) for name in train.names}
    leaks = []
    for test in tests:
        known_names = set(train.names) if {train.dataset, test.dataset} == set(SIRST_FAMILY) else set()
        digests: Sequence[str | None] = _digests(test) if pixels else [None] * len(test)
        names = [
            name
            for name, digest in zip(test.names, digests)
            if test.image_path(name) in known_files or name in known_names or digest in known_digests
        ]
        if names:
            leaks.append(Leak(f'{train.dataset} {train.split}', f'{test.dataset} {test.split}', names, len(test)))
    return leaks


def _digests(split: Split) -> list[str]:
    return parallel_map(lambda name: pixel_hash(split.read_image(name)), split.names)
