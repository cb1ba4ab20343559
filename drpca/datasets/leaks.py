"""Images of a test split that a training split holds as well, or whose scene it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drpca.datasets.fingerprints import Fingerprint, fingerprints, same_scenes
from drpca.datasets.splits import Split, find_dataset, open_split, split_members
from drpca.files import claim, save_text

_LISTS = ('train', 'val', 'trainval', 'test')
SIRST_FAMILY = ('SIRSTv1', 'SIRSTv2')


@dataclass(frozen=True)
class Leak:
    """Images of a test split that a training split holds as well.

    Attributes:
        train: 'SIRSTv1 train_half'.
        test: 'SIRSTv1 test'.
        names: Their names in the test split.
        total: Number of images in the test split.
        near: Other images of the same scenes, not the same ones.
    """

    train: str
    test: str
    names: list[str]
    total: int
    near: bool = False

    def __str__(self) -> str:
        what = 'show scenes that are' if self.near else 'are'
        return f'{len(self.names)} of the {self.total} images of {self.test} {what} in {self.train}'


def find_leaks(train: Split, tests: Iterable[Split], pixels: bool = True) -> list[Leak]:
    """Test images that a training split holds.

    Images are compared by file; between SIRST V1 and V2, which share pictures under the same names, by name;
    with ``pixels`` also by their grey values, which finds copies anywhere.

    Args:
        train: What a network is trained on; of joined data sets, each is compared by itself.
        tests: What it is to be judged on.
        pixels: Also decode and compare the images (some seconds for a thousand, once).

    Returns:
        One entry for each test split with leaks.
    """
    if train.parts:
        tests = list(tests)
        return [leak for part in train.parts for leak in find_leaks(part, tests, pixels)]
    known_digests = set(_digests(train).values()) if pixels else set()
    known_files = {train.image_path(name) for name in train.names}
    leaks = []
    for test in tests:
        known_names = set(train.names) if {train.dataset, test.dataset} == set(SIRST_FAMILY) else set()
        digests = _digests(test) if pixels else {}
        names = [
            name
            for name in test.names
            if test.image_path(name) in known_files or name in known_names or digests.get(name) in known_digests
        ]
        if names:
            leaks.append(Leak(_title(train), _title(test), names, len(test)))
    return leaks


def find_near_leaks(
    train: Split, tests: Iterable[Split], seconds: float | None = None
) -> tuple[list[Leak], dict[str, int]]:
    """Test images whose scene a training split holds, in another image; see :mod:`drpca.datasets.fingerprints`.

    Args:
        train: What a network is trained on; of joined data sets, each is compared by itself.
        tests: What it is to be judged on.
        seconds: Time for reading images that were not read before, of all splits together.

    Returns:
        One entry for each test split with such images; and the number of images that there was no time for, by
        'SIRSTv1 test'.
    """
    tests, trains = list(tests), train.parts or (train,)
    paths = {id(split): [split.image_path(name) for name in split.names] for split in (*tests, *trains)}
    known = fingerprints([path for group in paths.values() for path in group], seconds)
    leaks: list[Leak] = []
    left_out: dict[str, int] = {}
    for split in (*trains, *tests):
        if missing := sum(path not in known for path in paths[id(split)]):
            left_out[_title(split)] = missing
    for part in trains:
        ours = [path for path in paths[id(part)] if path in known]
        for test in tests:
            theirs = [path for path in paths[id(test)] if path in known]
            if not ours or not theirs:
                continue
            near = {
                theirs[i]
                for i, j in same_scenes(_scenes(theirs, known), _scenes(ours, known))
                if known[theirs[i]].digest != known[ours[j]].digest
            }
            names = [name for name, path in zip(test.names, paths[id(test)]) if path in near]
            if names:
                leaks.append(Leak(_title(part), _title(test), names, len(test), near=True))
    return leaks, left_out


def _title(split: Split) -> str:
    return f'{split.dataset} {split.split}'


def _scenes(paths: Sequence[Path], known: Mapping[Path, Fingerprint]) -> np.ndarray:
    return np.array([known[path].scene for path in paths])


def _digests(split: Split) -> dict[str, str]:
    known = fingerprints([split.image_path(name) for name in split.names])
    return {name: known[path].digest for name in split.names if (path := split.image_path(name)) in known}


def write_clean_split(
    dataset: str,
    folder: str | Path,
    data_root: str | Path | None = None,
    keep_out: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, tuple[int, int]]:
    """Writes lists of a data set without leaks: ``train_clean.txt``, ``val_clean.txt``, ``trainval_clean.txt`` and
    ``test_clean.txt``.

    The test list holds all test images. What equals one of them, or shows its scene, is left out of the others, and
    what equals a validation image or shows its scene is left out of ``train_clean``.

    Args:
        dataset: Name.
        folder: For the lists; in the data set's folder they are splits like any other.
        data_root: Folder of the data sets; default ``DRPCA_DATA``, else ``./datasets``.
        keep_out: Other data sets whose test images must not be trained on either.
        overwrite: Replace lists that are there.

    Returns:
        By split ('train', …) the number of images kept, and that of before.

    Raises:
        UserError: A data set or split is not there, or the lists are.
    """
    name, tree = find_dataset(dataset, data_root)
    claim(folder, [f'{split}_clean.txt' for split in _LISTS], overwrite)
    tests = [open_split(other, 'test', data_root) for other in (name, *keep_out)]
    against: dict[str, list[Split]] = {
        'test': [],
        'val': tests,
        'trainval': tests,
        'train': [*tests, open_split(name, 'val', data_root)],
    }
    counts = {}
    for split, others in against.items():
        whole = open_split(name, split, data_root)
        leaving: set[str] = set()
        for other in others:
            found = find_leaks(other, [whole]) + find_near_leaks(other, [whole])[0]
            leaving.update(stem for leak in found for stem in leak.names)
        members = [(part, stem) for part, stem in split_members(name, tree, split)[0] if stem not in leaving]
        lines = [f'{part.name}/{stem}\n' if part.name else f'{stem}\n' for part, stem in members]
        save_text(Path(folder) / f'{split}_clean.txt', ''.join(lines), overwrite)
        counts[split] = (len(members), len(whole))
    return counts
