"""Weight files by name: those that come with the project, and those that the authors of a network published.

The metafile of a model folder names both::

    Weights:
      - {Config: lrrnet_sirstv1_cpu, File: lrrnet_sirstv1_cpu-0123abcd.pth, SHA256: 0123abcd…, Seed: 0, …}
    Downloads:
      Repository: fengyiwu98/RPCANet          # on GitHub
      Commit: 25da0805b2a642d136afd559da1611099c0fcdb1
      Licence: MIT                            # null: it states none
      Trained on: SIRST3                      # where that is not the data set of the config
      Figures of: authors                     # Source of the published figures of these files
      Files:
        - {Configs: [rpcanet_sirstv1], File: RPCANet_SIRST.pkl, Path: result/…, Bytes: 2901983, Blob: …, SHA256: …}

The project's own files lie in ``checkpoints``, bare state dicts under the published parameter names. Those of others
are fetched to the user's cache (:mod:`drpca.fetch`) under the name ``File``; ``Bytes`` and ``SHA256`` are there where
they are known, ``Blob`` always.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from drpca.checkpoint import file_hash
from drpca.config import config_folder, find_config, split_name
from drpca.errors import UserError
from drpca.files import save_text
from drpca.names import canonical_name
from drpca.options import called

PUBLISHED = 'published'
"""In place of a weight file: the one that the authors published for the config."""

_WEIGHTS = re.compile(r'^Weights:.*\n(?:  .*\n)*', re.MULTILINE)
# The same in C, where it is built in: ten times as fast.
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_RESULTS = re.compile(r'^Results:', re.MULTILINE)


@dataclass(frozen=True)
class WeightCard:
    """A weight file of the project.

    Attributes:
        config: Name of the config that it belongs to.
        path: Where it lies.
        sha256: Of the file.
        described: All of its entry in the metafile.
    """

    config: str
    path: Path
    sha256: str
    described: dict[str, Any]

    def check(self) -> Path:
        """The path of the file, once it is sure that it is the one that was published.

        Raises:
            UserError: It is not there, or it is another one.
        """
        if not self.path.is_file():
            raise UserError(f'{self.path} is not there: get it with the project again, or give --checkpoint FILE.')
        if file_hash(self.path) != self.sha256:
            raise UserError(
                f'{self.path} is not the file of the metafile, whose SHA-256 begins with {self.sha256[:8]}: get it '
                'again, or give it with --checkpoint to use it as it is.'
            )
        return self.path


def weights_folder(root: Path | None = None) -> Path:
    """Where the weight files lie: ``checkpoints`` beside the folder of the configs."""
    return (root or config_folder()).parent / 'checkpoints'


def weight_cards(root: Path | None = None) -> dict[str, WeightCard]:
    """Config name → its weight file, from all metafiles; ``root`` is ``configs`` unless given."""
    cards = {}
    for path in sorted((root or config_folder()).glob(f'*/{FILE}')):
        for entry in read_card(path).get('Weights', ()):
            file = weights_folder(root) / entry['File']
            cards[entry['Config']] = WeightCard(entry['Config'], file, entry['SHA256'], dict(entry))
    return cards


@dataclass(frozen=True)
class PublishedFile:
    """A weight file that the authors of a network published.

    Attributes:
        configs: Names of the configs that it fits, the same file for all of them → the data set of each.
        network: The network's name.
        file: What it is called in the cache.
        repository: ``'OWNER/REPO'`` on GitHub.
        commit: Of that repository.
        source: Path in it.
        blob: Git's identifier of its content.
        size: In bytes, if known.
        sha256: If known.
        licence: '' if the repository states none.
        trained_on: What it was trained on, where that is not the data set of the config.
        figures_of: ``Source`` of the published figures of it, '' if there are none.
        note: ``Note`` of these figures.
    """

    configs: dict[str, str]
    network: str
    file: str
    repository: str
    commit: str
    source: str
    blob: str
    size: int | None
    sha256: str | None
    licence: str
    trained_on: str
    figures_of: str
    note: str

    @property
    def path(self) -> Path:
        """Where it is kept once it has been fetched."""
        from drpca.fetch import cache_folder

        return cache_folder() / _IN_CACHE / self.file

    def is_here(self) -> bool:
        """Whether it is in the cache, and is the file that was published."""
        from drpca.fetch import fault_of

        return self.path.is_file() and not fault_of(self.path, self.size, self.blob, self.sha256)

    def fetch(self, progress: bool = True) -> Path:
        """Its path in the cache, once it is there and verified; see :func:`drpca.fetch.fetch`.

        Raises:
            UserError: It cannot be fetched, or what comes is another file.
        """
        from drpca import fetch

        url = fetch.file_url(self.repository, self.commit, self.source)
        known = {'size': self.size, 'blob': self.blob, 'sha256': self.sha256}
        return fetch.fetch(url, f'{_IN_CACHE}/{self.file}', **known, progress=progress)  # type: ignore[arg-type]


_IN_CACHE = 'weights'


def published_files(root: Path | None = None) -> dict[str, PublishedFile]:
    """Config name → the weight file that its authors published for it; ``root`` is ``configs`` unless given."""
    found: dict[str, PublishedFile] = {}
    for path in sorted((root or config_folder()).glob(f'*/{FILE}')):
        found |= _files_of(path)
    return found


def _files_of(metafile: Path) -> dict[str, PublishedFile]:
    card = read_card(metafile)
    source = card.get('Downloads')
    if not source:
        return {}
    files = [
        PublishedFile(
            configs={name: _dataset_of(metafile, name) for name in entry['Configs']},
            network=card['Name'],
            file=entry['File'],
            repository=source['Repository'],
            commit=source['Commit'],
            source=entry['Path'],
            blob=entry['Blob'],
            size=entry.get('Bytes'),
            sha256=entry.get('SHA256'),
            licence=source['Licence'] or '',
            trained_on=source.get('Trained on', ''),
            figures_of=source.get('Figures of', ''),
            note=entry.get('Note', ''),
        )
        for entry in source['Files']
    ]
    return {config: file for file in files for config in file.configs}


def weight_file(config: str | Path, weights: str | os.PathLike[str]) -> Path:
    """The file that ``--checkpoint`` names: a path, or ``'published'``, which is fetched unless it is in the cache.

    Args:
        config: Name or file of the config that the weights are for.
        weights: The path, or ``'published'``.

    Raises:
        UserError: No published weights are known of this config, or they cannot be fetched.
    """
    if weights != PUBLISHED:
        return Path(weights)
    path = find_config(config)
    entered = path.with_name(FILE)
    file = _files_of(entered).get(path.stem) if entered.is_file() else None
    if file is None:
        raise UserError(
            f'No published weights are known of {path.stem}: {called("weights")} lists those that are; or give the '
            f'path of a file (./{PUBLISHED}, if it has that name).'
        )
    return file.fetch()


def named_weights(text: str) -> tuple[Path, Path]:
    """``--weights CONFIG=FILE``, or ``CONFIG=published``: the config's file, and that of the weights.

    Raises:
        UserError: A text of another form, an unknown config, no such file, or as :func:`weight_file`.
    """
    name, equals, file = text.partition('=')
    if not (name and equals and file):
        raise UserError(
            f'--weights {text}: expected CONFIG=FILE or CONFIG={PUBLISHED}, for example '
            'rpcanet_sirstv1=RPCANet_SIRST.pkl.'
        )
    path = find_config(name)
    weights = weight_file(path, file)
    if not weights.is_file():
        raise UserError(f'--weights {text}: no such file {weights}; check the path.')
    return path, weights


def all_published(texts: Iterable[str], datasets: Container[str] | None = None) -> list[str]:
    """``--weights`` with ``published`` alone taken apart: ``CONFIG=published`` of all configs or of data sets'."""
    found = []
    for text in texts:
        if text != PUBLISHED:
            found.append(text)
            continue
        for name, file in published_files().items():
            if datasets is None or file.configs[name] in datasets:
                found.append(f'{name}={PUBLISHED}')
    return found


def _dataset_of(metafile: Path, config: str) -> str:
    """``'acm_irstd_1k_lesps'`` → ``'IRSTD-1k'``; '' where the name has none."""
    parts = split_name(metafile.with_name(f'{config}.py'))
    return canonical_name(parts[0]) if parts else ''


@dataclass(frozen=True)
class KnownWeights:
    """A row of the list of all weights that have a name.

    Attributes:
        config: Name of the config that they are for.
        network: Name of the network.
        trained_on: Data set, or several under one name.
        size: In bytes, if known.
        published: IoU as their authors give it, a ratio, and the preset or ''; None if they give none.
        measured: IoU measured here on the config's data set, a ratio, and the preset, with the split unless that is
            ``test``; None if it was not.
        licence: Of the weights; '' if none is stated.
        source: Repository, ``'drpca'`` for those that come with the project.
        is_here: Whether the file is on the disk, verified.
    """

    config: str
    network: str
    trained_on: str
    size: int | None
    published: tuple[float, str] | None
    measured: tuple[float, str] | None
    licence: str
    source: str
    is_here: bool


def known_weights(root: Path | None = None) -> list[KnownWeights]:
    """All weights that have a name, those of the project first; ``root`` is ``configs`` unless given."""
    own, others = [], []
    for path in sorted((root or config_folder()).glob(f'*/{FILE}')):
        card = read_card(path)
        for entry in card.get('Weights', ()):
            file = weights_folder(root) / entry['File']
            here = file.is_file() and file_hash(file) == entry['SHA256']
            config = entry['Config']
            own.append(
                KnownWeights(
                    config, card['Name'], _dataset_of(path, config), file.stat().st_size if here else None, None,
                    _measured(card, config, None, Seeds=[entry.get('Seed')]), 'Apache-2.0', 'drpca', here,
                )
            )  # fmt: skip
        for config, download in _files_of(path).items():
            published = _published(card, config, download)
            others.append(
                KnownWeights(
                    config, card['Name'], download.trained_on or download.configs[config], download.size, published,
                    _measured(card, config, published and published[1], Checkpoint=download.file),
                    download.licence, download.repository, download.is_here(),
                )
            )  # fmt: skip
    return own + others


def _published(card: dict[str, Any], config: str, file: PublishedFile) -> tuple[float, str] | None:
    wanted = (file.figures_of, file.configs[config], file.note)
    for row in card['Results']['Published']:
        if (row['Source'], row['Dataset'], row.get('Note', '')) == wanted:
            return row['IoU'], row.get('Protocol', '')
    return None


def _measured(card: dict[str, Any], config: str, preset: str | None, **of: Any) -> tuple[float, str] | None:
    """By the preset of the published figure where there is one."""
    for row in card['Results']['Measured']:
        if row['Config'] == config and all(row.get(key) == value for key, value in of.items()) and 'Input' not in row:
            figures = {line['Protocol']: line['IoU'] for line in row['Figures']}
            chosen = next(name for name in (preset, 'drpca', *figures) if name in figures)
            split = '' if row['Split'] == 'test' else f', {row["Split"]}'
            return figures[chosen], f'{chosen}{split}'
    return None


def update_weights(path: Path, entry: dict[str, Any]) -> bool:
    """Puts a weight file into a metafile, in place of an earlier one of the same config.

    Everything else in the file is left as it is, byte for byte.

    Args:
        path: The metafile.
        entry: With ``Config``, ``File`` and ``SHA256``.

    Returns:
        Whether the file has changed.

    Raises:
        UserError: The file is not as it should be, or cannot be written.
    """
    entries = {known['Config']: known for known in read_card(path).get('Weights', ())}
    entries[entry['Config']] = entry
    block = ''.join(['Weights:\n', *(f'  - {flow_text(known)}\n' for known in entries.values())])
    text = path.read_text(encoding='utf-8')
    without = _WEIGHTS.sub('', text)
    return write_changed(path, _RESULTS.sub(lambda match: block + match.group(), without, count=1), text)


CLASSICAL = 'classical'


FILE = 'metafile.yml'


def metafile_path(model: str, root: Path | None = None) -> Path:
    """The metafile of a model folder; ``root`` is ``configs`` unless given."""
    return (root or config_folder()) / model / FILE


def read_card(path: Path) -> dict[str, Any]:
    """The contents of a metafile.

    Raises:
        UserError: There is none, or it has no ``Results`` with ``Published`` and ``Measured``.
    """
    try:
        card = yaml.load(path.read_text(encoding='utf-8'), _LOADER)
        if not {'Published', 'Measured'} <= set(card['Results']):
            raise KeyError('Published, Measured')
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f'Cannot read {path}: expected Results with Published and Measured ({" ".join(str(error).split())}).'
        ) from None
    return card


def flow_text(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix('\n').removesuffix('\n...')


def write_changed(path: Path, text: str, before: str) -> bool:
    if text == before:
        return False
    save_text(path, text, overwrite=True)
    return True
