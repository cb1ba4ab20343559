"""Checks of a data set on disk: completeness, masks, lists, duplicates and leaks between splits; and splits without.

Every finding is either a *problem*, something to repair, or a *note*, something to know.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from drpca.datasets.fingerprints import Fingerprint, fingerprint, remember, same_scenes
from drpca.datasets.io import parallel_map, read_image
from drpca.datasets.labels import read_card
from drpca.datasets.leaks import SIRST_FAMILY, Leak
from drpca.datasets.splits import (
    Part,
    Tree,
    available_splits,
    find_dataset,
    find_datasets,
    image_files,
    split_members,
    unknown_folders,
)
from drpca.errors import UserError
from drpca.names import KNOWN_DATASETS

_SHOWN = 8
_NEIGHBOURS = 3
_INVISIBLE, _VISIBLE, _BETTER = 1.2, 3.0, 3.0
_RING = 6
_ROLE = re.compile(r'(trainval|train|val|test)((?![a-z]).*)')

Member = tuple[str, str]


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: 'unreadable', 'orphan image', 'orphan mask', 'ambiguous name', 'size mismatch', 'grey mask',
            'foreign mask', 'list', 'leak', 'duplicate', 'near duplicate', 'near leak', 'incomplete', 'empty mask',
            'faint target', 'pseudo labels' or 'unlisted'.
        message: One line for people.
        names: The images concerned.
    """

    kind: str
    message: str
    names: list[str]


@dataclass
class Report:
    """What a check found.

    Attributes:
        dataset: Name of the data set.
        root: Its folder.
        images: Number of image files.
        masks: Number of mask files.
        targets: Number of 8-connected components of mask pixels above zero.
        empty_masks: Number of masks without any.
        sizes: 'smallest', 'median' and 'largest' image as (height, width), the median of each side apart, and
            'distinct', the number of different sizes.
        splits: Number of images by split.
        problems: Findings to repair.
        notes: Findings to know about.
        contents: Pixel hashes by split and by (part, name); not written to JSON.
        scenes: Images of one scene, each with the others, by (part, name); not written to JSON.
        prints: What each image is recognised by, by (part, name); not written to JSON.
    """

    dataset: str
    root: str
    images: int
    masks: int
    targets: int = 0
    empty_masks: int = 0
    sizes: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    contents: dict[str, dict[Member, str]] = field(default_factory=dict, repr=False)
    scenes: dict[Member, set[Member]] = field(default_factory=dict, repr=False)
    prints: dict[Member, Fingerprint] = field(default_factory=dict, repr=False)

    @property
    def clean(self) -> bool:
        """True where there is nothing to repair."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        values = asdict(replace(self, contents={}, scenes={}, prints={}))
        del values['contents'], values['scenes'], values['prints']
        return {'clean': self.clean} | values


@dataclass(frozen=True)
class _Picture:
    """One image and its mask, as far as they could be read."""

    errors: list[str]
    size: tuple[int, ...] | None = None
    print: Fingerprint | None = None
    mask_size: tuple[int, ...] | None = None
    targets: int = 0
    grey: bool = False
    contrast: float = 0.0


def mask_contrast(image: np.ndarray, labels: np.ndarray) -> float:
    """How much a mask stands out of an image, wherever it stands out most.

    Args:
        image: (H, W) grey values.
        labels: (H, W), the number of each pixel's target, 0 outside; see :func:`label_targets`.

    Returns:
        Of the targets the largest |mean inside − median around| in units of 1 + σ, where σ is 1.4826 times the median
        absolute deviation around, in grey levels, and around is within 6 pixels of the target's box, without targets
        and the pixels beside them; 0 without targets.
    """
    best = 0.0
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        window = tuple(slice(max(side.start - _RING, 0), side.stop + _RING) for side in (rows, columns))
        values, near = image[window].astype(np.float32), labels[window]
        around = values[cv2.dilate((near > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0]
        if len(around) >= 8:
            middle = np.median(around)
            spread = 1.4826 * np.median(np.abs(around - middle))
            best = max(best, float(abs(values[near == label].mean() - middle) / (1 + spread)))
    return best


def label_targets(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers the 8-connected components of a mask (H, W), and counts them."""
    return ndimage.label(mask, np.ones((3, 3)))


def check_dataset(dataset: str, tree: Tree) -> Report:
    """Reads every image and mask of a data set and reports what is wrong with it.

    Problems are: files that cannot be read, images without mask and the reverse, images and masks of
    different size, masks of more than one value above zero, masks that do not show on their own image but do on
    a neighbour's, list errors, copies of a picture, an image in both the training and the test (or validation) part
    of one division. Notes are: empty masks, masks that do not show, pictures of one scene, also across the parts of
    one division, images in no list, overlaps between lists of different divisions.

    Args:
        dataset: Name, as :func:`drpca.datasets.find_datasets` gives it.
        tree: The folder.
    """
    members = [(part.name, name) for part in tree.parts.values() for name in part.images]
    pictures = dict(zip(members, parallel_map(lambda m: _read_picture(tree.parts[m[0]], m[1]), members)))
    readable = {m: p for m, p in pictures.items() if p.size is not None}
    report = Report(dataset, str(tree.root), len(members), sum(len(p.masks) for p in tree.parts.values()))
    report.targets = sum(p.targets for p in readable.values())
    report.sizes = _sizes([p.size for p in readable.values() if p.size is not None])
    report.problems += [Finding('two folders', tree.doubled, [])] if tree.doubled else []
    for part in tree.parts.values():
        report.problems += _check_files(part)
    report.problems += [
        Finding('unreadable', error, [m[1]]) for m, picture in pictures.items() for error in picture.errors
    ]
    for member, picture in readable.items():
        if picture.mask_size not in (None, picture.size):
            message = f'{member[1]}: image {_by(picture.size)}, mask {_by(picture.mask_size)} (height × width)'
            report.problems.append(Finding('size mismatch', message, [member[1]]))
    report.problems += _some(
        'grey mask',
        'mask(s) hold more than one value above zero, so mask_rule matters',
        [m[1] for m, p in readable.items() if p.grey],
    )
    empty = [m[1] for m, p in readable.items() if p.mask_size is not None and p.targets == 0]
    report.empty_masks = len(empty)
    known = KNOWN_DATASETS.get(dataset)
    if known is not None and len(members) < (known.images or 0):
        message = f'{len(members)} images, the published set has {known.images}'
        report.notes.append(Finding('incomplete', message, []))
    report.notes += _some('empty mask', 'mask(s) are empty', empty)
    _check_lists(report, tree)
    report.notes += _pseudo_labels(tree.root)
    _check_masks(report, tree, readable)
    report.prints = {m: p.print for m, p in readable.items() if p.print is not None}
    remember({tree.parts[part].images[name]: kept for (part, name), kept in report.prints.items()})
    _check_copies(report)
    _check_splits(report, tree)
    return report


@dataclass(frozen=True)
class Checks:
    """What a check of several data sets found.

    Attributes:
        reports: One per data set.
        leaks: Training images of one that are in another's test split, or show the same scenes.
        ignored: Folders under the data root that follow no known layout.
    """

    reports: list[Report]
    leaks: list[Leak]
    ignored: list[Path]

    @property
    def clean(self) -> bool:
        """True where there is nothing to repair."""
        return all(report.clean for report in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        leaks = [
            {'train': leak.train, 'test': leak.test, 'names': leak.names, 'near': leak.near} for leak in self.leaks
        ]
        return {'datasets': {report.dataset: report.to_dict() for report in self.reports}, 'leaks': leaks}


def check_datasets(datasets: Sequence[str] = (), data_root: str | Path | None = None) -> Checks:
    """Checks data sets on disk, as :func:`check_dataset`, and looks for leaks from one to another.

    Args:
        datasets: Their names; none: everything under the data root.
        data_root: Folder of the data sets; default ``DRPCA_DATA``, else ``./datasets``.

    Raises:
        UserError: One of them is not there, or there is none at all.
    """
    if datasets:
        trees, ignored = dict(find_dataset(name, data_root) for name in datasets), []
    else:
        trees, ignored = find_datasets(data_root), unknown_folders(data_root)
    if not trees:
        raise UserError('The data root holds no data set in a known layout; datasets/README.md lists the layouts.')
    reports = [check_dataset(name, tree) for name, tree in trees.items()]
    return Checks(reports, find_cross_leaks(reports), ignored)


def find_cross_leaks(reports: Sequence[Report]) -> list[Leak]:
    """Leaks from the training part of a checked data set to the test part of another, also of scenes."""
    leaks = []
    for train, test in permutations(reports, 2):
        same_names = {train.dataset, test.dataset} == set(SIRST_FAMILY)
        ours, theirs = train.contents.get('trainval', {}), test.contents.get('test', {})
        names, digests = {member[1] for member in ours}, set(ours.values())
        found = [m[1] for m, digest in theirs.items() if digest in digests or (same_names and m[1] in names)]
        near = _same_scenes([train.prints[m] for m in ours], {m: test.prints[m] for m in theirs if m[1] not in found})
        for leaking, is_near in ((found, False), (near, True)):
            if leaking:
                leaks.append(Leak(f'{train.dataset} trainval', f'{test.dataset} test', leaking, len(theirs), is_near))
    return leaks


def _same_scenes(ours: Sequence[Fingerprint], theirs: dict[Member, Fingerprint]) -> list[str]:
    if not ours or not theirs:
        return []
    pairs = same_scenes(np.array([kept.scene for kept in theirs.values()]), np.array([kept.scene for kept in ours]))
    found = {i for i, _ in pairs}
    return [name for i, (_, name) in enumerate(theirs) if i in found]


def _read_picture(part: Part, name: str) -> _Picture:
    errors: list[str] = []
    picture = _Picture(errors)
    try:
        image = read_image(part.images[name])
        picture = replace(picture, size=image.shape, print=fingerprint(image))
    except UserError as error:
        errors.append(str(error))
    try:
        mask = read_image(part.masks[name]) if name in part.masks else None
    except UserError as error:
        errors.append(str(error))
        mask = None
    if mask is None:
        return picture
    labels, targets = label_targets(mask)
    contrast = mask_contrast(image, labels) if picture.size == mask.shape else 0.0
    grey = len(np.unique(mask[mask > 0])) > 1
    return replace(picture, mask_size=mask.shape, targets=targets, grey=grey, contrast=contrast)


def _check_files(part: Part) -> list[Finding]:
    findings = _some('orphan image', f'image(s) without mask in {part.mask_folder}', part.images.keys() - part.masks)
    findings += _some('orphan mask', f'mask(s) without image in {part.image_folder}', part.masks.keys() - part.images)
    stems = Counter(file.stem for file in image_files(part.image_folder))
    twice = [stem for stem, count in stems.items() if count > 1]
    return findings + _some('ambiguous name', 'name(s) with several image files', twice)


def _pseudo_labels(root: Path) -> list[Finding]:
    try:
        card = read_card(root)
    except UserError as error:
        return [Finding('pseudo labels', str(error), [])]
    if card is None or not card.pseudo_labels:
        return []
    made = f'{card.grown} of {card.targets} targets grown in their box, {card.filled} the whole box'
    return [Finding('pseudo labels', f'masks made of {card.format} labels by the rule {card.rule!r}: {made}', [])]


def _check_masks(report: Report, tree: Tree, pictures: dict[Member, _Picture]) -> None:
    """Masks that nothing on their image answers to, and those among them that fit a neighbour in the list of names."""
    usable = [m for m, p in pictures.items() if p.size == p.mask_size]
    alike: dict[object, list[Member]] = defaultdict(list)
    for member in usable:
        alike[member[0], pictures[member].size].append(member)
    faint = []
    for group in alike.values():
        for at, member in enumerate(group):
            own = pictures[member].contrast
            if not pictures[member].targets or own >= _INVISIBLE:
                continue
            part = tree.parts[member[0]]
            labels, _ = label_targets(read_image(part.masks[member[1]]))
            others = group[max(at - _NEIGHBOURS, 0) : at] + group[at + 1 : at + 1 + _NEIGHBOURS]
            fits = {other[1]: mask_contrast(read_image(part.images[other[1]]), labels) for other in others}
            best = max(fits, key=lambda name: fits[name], default='')
            if best and fits[best] > max(_VISIBLE, _BETTER * own):
                message = (
                    f'{member[1]}: the mask does not show on its image (contrast {own:.1f}) but on that of {best} '
                    f'({fits[best]:.1f})'
                )
                report.problems.append(Finding('foreign mask', message, [member[1], best]))
            else:
                faint.append(member[1])
    report.notes += _some('faint target', f'mask(s) do not show on their image (contrast below {_INVISIBLE})', faint)


def _check_lists(report: Report, tree: Tree) -> None:
    listed: set[Member] = set()
    for key, path in tree.lists.items():
        try:
            members = tree.read_list(key)
        except UserError as error:
            report.problems.append(Finding('list', str(error), []))
            continue
        listed.update((part.name, name) for part, name in members)
        missing = [name for part, name in members if name not in part.images]
        report.problems += _some('list', f'name(s) in {path} without image', missing)
        twice = [name for (_, name), count in Counter((part.name, name) for part, name in members).items() if count > 1]
        report.problems += _some('list', f'name(s) more than once in {path}', twice)
    if listed and '' in tree.parts:
        unlisted = [name for name in tree.parts[''].images if ('', name) not in listed]
        report.notes += _some('unlisted', 'image(s) in no list', unlisted)


def _check_splits(report: Report, tree: Tree) -> None:
    """Counts the splits, and looks for training images in each held-out split."""
    try:
        splits = available_splits(report.dataset, tree)
    except UserError:  # a list that cannot be read, reported with the lists
        return
    sources: set[str] = set()
    for split in splits:
        members, source = split_members(report.dataset, tree, split)
        if split in tree.lists and str(tree.lists[split]) in sources:
            continue
        sources.add(source)
        report.splits[split] = len(members)
        keys = [(part.name, name) for part, name in members]
        report.contents[split] = {key: report.prints[key].digest for key in keys if key in report.prints}
    roles = {split: match for split in report.contents if (match := _ROLE.fullmatch(split))}
    for train, test in permutations(roles, 2):
        (role, ending), (held_out, other_ending) = roles[train].groups(), roles[test].groups()
        whole = role == 'trainval' or f'trainval{ending}' not in roles
        pair = (role, held_out)
        if pair not in (('train', 'val'), ('train', 'test'), ('trainval', 'test')):
            continue
        same = ending == other_ending
        if (held_out == 'test' and not whole) or (held_out == 'val' and not same):
            continue
        ours, theirs = report.contents[train], report.contents[test]
        known = set(ours.values())
        names = [member[1] for member, digest in theirs.items() if member in ours or digest in known]
        if names:
            leak = Leak(f'{report.dataset} {train}', f'{report.dataset} {test}', names, len(theirs))
            (report.problems if same else report.notes).append(Finding('leak', str(leak), names))
        near = [m[1] for m in theirs if m[1] not in names and report.scenes.get(m, set()) & ours.keys()]
        if same and near:
            leak = Leak(f'{report.dataset} {train}', f'{report.dataset} {test}', near, len(theirs), near=True)
            report.notes.append(Finding('near leak', f'{leak}: {_listing(near)}', near))


def _check_copies(report: Report) -> None:
    prints = report.prints
    groups: dict[str, list[Member]] = defaultdict(list)
    for member, kept in prints.items():
        groups[kept.digest].append(member)
    for group in groups.values():
        if len(group) > 1:
            names = [_label(member) for member in group]
            report.problems.append(Finding('duplicate', f'the same picture: {_listing(names)}', names))
    firsts = [group[0] for group in groups.values()]
    for i, j in same_scenes(np.array([prints[member].scene for member in firsts])) if firsts else ():
        names = [_label(firsts[i]), _label(firsts[j])]
        report.notes.append(Finding('near duplicate', f'nearly the same picture: {_listing(names)}', names))
        for one, other in ((i, j), (j, i)):
            copies = groups[prints[firsts[other]].digest]
            for member in groups[prints[firsts[one]].digest]:
                report.scenes.setdefault(member, set()).update(copies)


def _label(member: Member) -> str:
    return '/'.join(filter(None, member))


def _listing(names: Sequence[str]) -> str:
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more


def _some(kind: str, what: str, names: Iterable[str]) -> list[Finding]:
    """One finding for all the names; none where there are no names."""
    names = sorted(names)
    return [Finding(kind, f'{len(names)} {what}: {_listing(names)}', names)] if names else []


def _sizes(sizes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    if not sizes:
        return {}
    by_area = sorted(set(sizes), key=math.prod)
    return {
        'smallest': list(by_area[0]),
        'median': [int(side) for side in np.median(sizes, axis=0)],
        'largest': list(by_area[-1]),
        'distinct': len(by_area),
    }


def _by(size: tuple[int, ...] | None) -> str:
    return ' × '.join(map(str, size or ()))
