"""The detectors to choose from, by names that say nothing about folders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from drpca.baselines import Baseline, WindowBaseline
from drpca.cards import all_published, named_weights, published_files, weight_cards
from drpca.config import find_config, list_configs, load_config
from drpca.errors import UserError, unknown_name
from drpca.inference.detector import Detector
from drpca.inference.mappers import is_baseline
from drpca.options import NATIVE, RECIPE
from drpca.registry import BASELINES
from drpca.run_folder import find_runs

SIZES = {RECIPE: 'size of the recipe', NATIVE: "frame's own size"}
"""The size that the config's recipe resizes frames to, or each frame's own."""

RANGE_RULES = {'auto': 'as usual', 'minmax': 'lowest to highest', 'percentile 1 99': '1 % to 99 %'}
"""Which grey values become black and white; others are typed in."""
_KEPT = 3


@dataclass(frozen=True)
class Choice:
    """A detector that can be loaded.

    Attributes:
        label: What the page calls it.
        config: Name of its config; None where the checkpoint holds it.
        checkpoint: Its weights; None for classical methods.
    """

    label: str
    config: str | None
    checkpoint: Path | None = None


def size_text(detector: Detector) -> str:
    """The size it works at, in words."""
    fixed = detector.mapper.frame_size
    return "each frame's own size" if fixed is None else f'{fixed[0]} × {fixed[1]} pixels'


def list_choices(checkpoints: str | Path, weights: Sequence[str] = ()) -> dict[str, Choice]:
    """Weight files of the command line, runs trained here, weights of the project, those of others that have been
    fetched, classical methods, by their labels.

    Args:
        checkpoints: Folder of the runs; may be missing.
        weights: ``CONFIG=FILE`` or ``CONFIG=published`` each; ``published``: all that are known.

    Raises:
        UserError: A text of another form, an unknown config, or no such file.
    """
    choices = [_given(text) for text in all_published(weights)]
    given = {choice.checkpoint for choice in choices}
    for run in find_runs(checkpoints):
        if run.weights is not None:
            choices.append(Choice(f'{run.name}, seed {run.seed}', None, run.weights))
    choices += [
        Choice(f'{card.config}, weights of the project', card.config, card.path)
        for card in weight_cards().values()
        if card.path.is_file()
    ]
    choices += [
        Choice(f'{file.path.name} ({config})', config, file.path)
        for config, file in published_files().items()
        if file.path not in given and file.is_here()
    ]
    labelled: dict[str, Choice] = {}
    for choice in [*choices, *_classical()]:
        label, count = choice.label, 1
        while label in labelled:
            count += 1
            label = f'{choice.label} ({count})'
        labelled[label] = Choice(label, choice.config, choice.checkpoint)
    return labelled


def _given(text: str) -> Choice:
    config = text.partition('=')[0]
    if config in list_configs() and is_baseline(load_config(find_config(config))):
        raise UserError(f'--weights {text}: {config} is a classical method and takes no weights.')
    path, weights = named_weights(text)
    return Choice(f'{weights.name} ({path.stem})', config, weights)


def _classical() -> list[Choice]:
    """Classical methods, those that separate B and T first."""
    found = []
    for name, path in list_configs().items():
        if path.parent.name == 'classical':
            model = load_config(path).model
            if issubclass(BASELINES.get(model.type), WindowBaseline):
                continue  # the page takes single images
            is_filter = BASELINES.get(model.type).decompose is Baseline.decompose
            kind = 'classical filter' if is_filter else 'classical RPCA'
            label = f'{model.type}, {kind}, {model.get("preset", "leaderboard")} preset'
            found.append((is_filter, label, Choice(label, name)))
    return [choice for *_, choice in sorted(found, key=lambda entry: entry[:2])]


class DetectorStore:
    """Loads detectors and keeps the last few. Several threads may ask at once.

    Args:
        choices: By label.
    """

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        self.choices = dict(choices)
        self._lock = Lock()
        self._loaded: OrderedDict[tuple[str, str], Detector] = OrderedDict()

    def get(self, label: str, size: str = RECIPE, range: str | None = None, bad_pixels: bool | None = None) -> Detector:
        """The detector of that label at a size of ``SIZES``; classical methods have the size of their preset.

        ``range`` and ``bad_pixels`` are those of :class:`drpca.Detector`, and the caller's alone; networks are shared.

        Raises:
            UserError: Unknown label, size or range, or weights that cannot be read or do not fit. Folders are left
                out of the message.
        """
        if label not in self.choices:
            raise unknown_name('detector', str(label), list(self.choices))
        if size not in SIZES:
            raise unknown_name('size', str(size), list(SIZES))
        key = (label, size)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(self.choices[label], size)
            self._loaded.move_to_end(key)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            detector = copy(self._loaded[key])
        detector.mapper = copy(detector.mapper)
        detector.set_range(range, bad_pixels)
        return detector

    @staticmethod
    def _load(choice: Choice, size: str) -> Detector:
        try:
            detector = Detector(choice.config, choice.checkpoint, size=RECIPE if size == RECIPE else None)
        except UserError as error:
            file = choice.checkpoint
            raise UserError(str(error).replace(str(file), file.name) if file else str(error)) from None
        detector.name = choice.label
        return detector
