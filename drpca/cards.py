"""The weight files that come with the project: ``Weights`` in the metafile of a model folder.

::

    Weights:
      - {Config: lrrnet_sirstv1_cpu, File: lrrnet_sirstv1_cpu-0123abcd.pth, SHA256: 0123abcd…, Seed: 0, …}

The files lie in ``checkpoints``, bare state dicts under the published parameter names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from drpca.checkpoint import file_hash
from drpca.config import config_folder
from drpca.errors import UserError
from drpca.files import save_text

_WEIGHTS = re.compile(r'^Weights:.*\n(?:  .*\n)*', re.MULTILINE)
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
        card = yaml.safe_load(path.read_text(encoding='utf-8'))
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
