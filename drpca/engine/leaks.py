"""Whether a training sees images, or scenes, that it is judged on, and by whose masks."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress

from mmengine.config import Config

from drpca.datasets import find_datasets, open_split
from drpca.datasets.labels import read_card
from drpca.datasets.leaks import find_leaks, find_near_leaks
from drpca.datasets.splits import Split, open_joined
from drpca.errors import UserError
from drpca.names import joined_names
from drpca.options import called

_SECONDS = 1.5
"""For reading images that were never read before; what was read is kept."""


def check_final(config: Config) -> None:
    """Refuses a training on training and validation images that would train on the images it is tested on.

    Raises:
        UserError: It would; or there is no such split.
    """
    data = config.train_dataloader.dataset
    try:
        source = open_joined(data.dataset, data.split, data.get('data_root'))
    except UserError as error:
        raise UserError(
            f'--final trains on training and validation images together, here on the split {data.split!r}: {error}'
        ) from None
    for leak in find_leaks(source, _splits(config, 'test').values(), pixels=False):
        raise UserError(
            f'--final would train on test images: {leak}. Give a list of the training and validation images '
            f'(train_dataloader.dataset.split, test_dataloader.dataset.split), or leave --final out.'
        )


def leak_warnings(config: Config, source: Split | None) -> list[str]:
    """What to say of training images that are test or validation images too, or show the same scenes; and of masks that
    nobody drew.

    They are compared with the test and validation images of this training and, by name and file, with the test images
    of all data sets under the data root.

    Args:
        config: Of the training.
        source: What it is trained on; None: not known.
    """
    if source is None:
        return []
    root = config.train_dataloader.dataset.get('data_root')
    tests, validations = _splits(config, 'test'), _splits(config, 'val')
    for part in source.parts or (source,):  # --overfit validates on the very images on purpose
        validations.pop(f'{part.dataset} {part.split}', None)
    own = tests | validations
    splits = _open(((name, 'test') for name in find_datasets(root)), root, own) | own
    near, left_out = find_near_leaks(source, own.values(), _SECONDS)
    lines = []
    for leak in (*find_leaks(source, splits.values(), pixels=False), *near):
        what = 'show scenes that are' if leak.near else 'are'
        end = f'figures of this run on that {"test" if leak.test not in validations else "validation"} split '
        end += 'are too good' if leak.near else 'do not count'
        lines.append(
            f'{len(leak.names)} of the {leak.total} images of {leak.test} {what} in the training split {leak.train} '
            f'(for example {leak.names[0]}): {end}.'
        )
    for split in tests.values():
        with suppress(UserError):  # of a file of the same name that is no such card
            card = read_card(split.root)
            if card is not None and card.pseudo_labels:
                lines.append(
                    f'Masks of {split.dataset} were made of {card.format} labels by the rule {card.rule!r}: figures '
                    'on them measure agreement with that rule.'
                )
    if left_out:
        listed = ', '.join(f'{count} of {split}' for split, count in left_out.items())
        lines.append(
            f'Not compared yet, for want of time: scenes of {listed} images; {called("check-dataset")} compares all.'
        )
    return lines


def _splits(config: Config, part: str) -> dict[str, Split]:
    """The splits that a config tests or validates on, those that can be opened, by 'SIRSTv1 test'."""
    data = (config.get(f'{part}_dataloader') or {}).get('dataset') or {}
    names = joined_names(data['dataset']) if data.get('dataset') else []
    return _open(((name, data.get('split', part)) for name in names), data.get('data_root'))


def _open(wanted: Iterable[tuple[str, str]], root: str | None, known: Container[str] = ()) -> dict[str, Split]:
    splits = {}
    for name, split in wanted:
        if f'{name} {split}' not in known:
            with suppress(UserError):  # a data set without that split, or half unpacked, is not this run's business
                opened = open_split(name, split, root)
                splits[f'{opened.dataset} {opened.split}'] = opened
    return splits
