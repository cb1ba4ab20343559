"""Named evaluation protocols: what a published Pd, Fa or IoU means, in one declarative object each.

Figures of different papers are not comparable, because the definitions differ. A :class:`Protocol` says all
of it: how a score map becomes binary, when a target is detected, which pixels are false alarms and what they
are divided by, and what happens to images without targets. The presets:

==============  ============================================================================================
``basicirstd``  BasicIRSTD; this project's own default
``drpca``       DRPCA-Net, LRRNet; DNANet family, offline scoring
``rpcanet``     RPCANet, RPCANet+
``shooting``    DTUM
``opdc``        Pang et al., NeurIPS 2025 Datasets & Benchmarks
==============  ============================================================================================

A configuration may change a preset, ``dict(type='basicirstd', name='strict', threshold=0.7)``, or state one
in full, ``dict(type='Protocol', name='mine', matching='box', …)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from drpca.errors import UserError, unknown_name
from drpca.registry import PROTOCOLS

Binarisation = Literal['fixed', 'max']
MatchingRule = Literal['overlap', 'centroid', 'box', 'opdc']
FalseAlarmRule = Literal['outside_targets', 'unmatched', 'unmatched_by_value', 'outside_boxes']
Denominator = Literal['all', 'background']
EmptyImages = Literal['count', 'skip']

DEFAULT_PROTOCOLS = ('basicirstd', 'drpca', 'rpcanet')
"""What is scored unless told otherwise."""

_PAIRING_RULES = ('centroid', 'opdc')


@PROTOCOLS.register_module()
@dataclass(frozen=True)
class Protocol:
    """A complete definition of the target-level figures.

    Attributes:
        name: Name in tables and files.
        binarisation: 'fixed': score > threshold. 'max': score divided by the map's own maximum > threshold.
        threshold: In [0, 1).
        size: Side of the square at which the source scores, None for each image's own size. Only the scoring
            command resizes, the metrics take maps as they come.
        matching: When a target is detected. 'overlap': any predicted pixel on it. 'centroid': targets in scan
            order take the first free component whose centroid is nearer than ``distance``. 'box': any
            predicted pixel within ``hit_radius`` of one of its pixels. 'opdc': optimal assignment, overlap
            IoU ≥ ``overlap`` first, then ``distance``.
        false_alarms: Pixels counted as false alarms. 'outside_targets': predicted pixels outside targets.
            'unmatched': area of unmatched components. 'unmatched_by_value': area of components whose area
            value equals that of no matched one (a published slip). 'outside_boxes': predicted pixels farther
            than ``clear_radius`` from all targets.
        over: What Fa divides them by: 'all' pixels or 'background' pixels.
        empty_images: Images without targets 'count' in Fa or are left out of it ('skip'). Pixel-level figures
            always count them.
        distance: Pixels, for 'centroid' and 'opdc'.
        overlap: IoU, for 'opdc'.
        hit_radius: Pixels, for 'box'.
        clear_radius: Pixels, for 'outside_boxes'.
        source: Where the definition comes from.

    Raises:
        UserError: A value outside its range, or a false-alarm rule that needs matched pairs with a matching
            rule that makes none.
    """

    name: str
    binarisation: Binarisation = 'fixed'
    threshold: float = 0.5
    size: int | None = None
    matching: MatchingRule = 'centroid'
    false_alarms: FalseAlarmRule = 'unmatched'
    over: Denominator = 'all'
    empty_images: EmptyImages = 'count'
    distance: float = 3.0
    overlap: float = 0.5
    hit_radius: int = 1
    clear_radius: int = 4
    source: str = ''

    def __post_init__(self) -> None:
        choices = {
            'binarisation': get_args(Binarisation),
            'matching': get_args(MatchingRule),
            'false_alarms': get_args(FalseAlarmRule),
            'over': get_args(Denominator),
            'empty_images': get_args(EmptyImages),
        }
        for field, known in choices.items():
            if getattr(self, field) not in known:
                raise unknown_name(f'{field} of protocol {self.name!r}:', str(getattr(self, field)), known)
        if not 0 <= self.threshold < 1:
            raise UserError(f'Protocol {self.name!r}: expected a threshold in [0, 1), got {self.threshold}.')
        if not 0 < self.overlap <= 1:
            raise UserError(f'Protocol {self.name!r}: expected an overlap in (0, 1], got {self.overlap}.')
        for field in ('distance', 'hit_radius', 'clear_radius'):
            if getattr(self, field) < 0:
                raise UserError(f'Protocol {self.name!r}: expected {field} ≥ 0 px, got {getattr(self, field)}.')
        if self.size is not None and self.size <= 0:
            raise UserError(f'Protocol {self.name!r}: expected a size above 0 or None, got {self.size}.')
        if self.false_alarms.startswith('unmatched') and self.matching not in _PAIRING_RULES:
            raise UserError(
                f'Protocol {self.name!r}: false_alarms={self.false_alarms!r} needs matched pairs, which '
                f'matching={self.matching!r} does not make; use '
                f'matching={" or ".join(map(repr, _PAIRING_RULES))}.'
            )

    @property
    def threshold_text(self) -> str:
        """The threshold in words, for tables."""
        return f'> {self.threshold:g}' + (' of maximum' if self.binarisation == 'max' else '')

    @property
    def matching_text(self) -> str:
        """The matching rule in words, for tables."""
        return {
            'overlap': 'any overlap',
            'centroid': f'centroid < {self.distance:g} px',
            'box': f'{self.hit_radius} px box',
            'opdc': f'optimal, IoU >= {self.overlap:g} then < {self.distance:g} px',
        }[self.matching]

    @property
    def false_alarm_text(self) -> str:
        """What Fa counts, in words, for tables."""
        counted = {
            'outside_targets': 'pixels outside targets',
            'unmatched': 'area of unmatched components',
            'unmatched_by_value': 'area of components of unmatched area value',
            'outside_boxes': f'pixels outside {self.clear_radius} px boxes',
        }[self.false_alarms]
        skipped = ', images without targets skipped' if self.empty_images == 'skip' else ''
        return f'{counted} / {self.over} pixels{skipped}'


def _preset(**defaults: Any) -> None:
    def build(**changes: Any) -> Protocol:
        return Protocol(**{**defaults, **changes})

    PROTOCOLS.register_module(name=defaults['name'], module=build)


_preset(name='basicirstd', source='BasicIRSTD (github.com/XinyiYing/BasicIRSTD)')
_preset(
    name='drpca', binarisation='max', size=256, false_alarms='unmatched_by_value',
    source='DRPCA-Net and LRRNet, offline scoring, after DNANet (Li et al., IEEE TIP 2023)',
)  # fmt: skip
_preset(
    name='rpcanet', binarisation='max', size=256, matching='overlap', false_alarms='outside_targets',
    over='background', empty_images='skip', source='RPCANet (Wu et al., WACV 2024) and RPCANet+',
)  # fmt: skip
_preset(name='shooting', matching='box', false_alarms='outside_boxes', source='DTUM (Li et al., IEEE TNNLS 2023)')
_preset(name='opdc', matching='opdc', source='Pang et al., NeurIPS 2025 Datasets & Benchmarks (arXiv 2509.16888)')


def known_protocols() -> list[str]:
    """Names of the registered presets, in the order they are shown."""
    return [name for name in PROTOCOLS.module_dict if name != 'Protocol']


def build_protocol(spec: str | dict[str, Any] | Protocol) -> Protocol:
    """Makes a protocol from its name, a configuration or itself.

    Args:
        spec: Name of a preset; a dict whose ``type`` names a preset (its other entries change it) or is
            'Protocol'; or a protocol.

    Raises:
        UserError: Unknown preset, unknown field, or a value that does not fit.
    """
    if isinstance(spec, Protocol):
        return spec
    changes = {'type': spec} if isinstance(spec, str) else dict(spec)
    kind = str(changes.pop('type', None))
    factory = PROTOCOLS.module_dict.get(kind)
    if factory is None:
        raise unknown_name('protocol', kind, known_protocols())
    fields = [field.name for field in dataclasses.fields(Protocol)]
    for key in changes:
        if key not in fields:
            raise unknown_name(f'field of protocol {kind!r}:', key, fields)
    if kind == 'Protocol' and 'name' not in changes:
        raise UserError("A protocol stated in full needs a name: dict(type='Protocol', name='mine', …).")
    return factory(**changes)


def choose_protocols(
    specs: str | Sequence[str | dict[str, Any] | Protocol] = DEFAULT_PROTOCOLS,
    size: int | Literal['native'] | None = None,
) -> list[Protocol]:
    """Makes protocols as the commands take them.

    Args:
        specs: Each as in :func:`build_protocol`, or the name of a config file (``….py``) with a list of one's own,
            ``protocols = [dict(type='basicirstd', name='strict', threshold=0.7)]``.
        size: Scoring size of all of them in pixels, 'native' for that of each mask; None leaves each its own.

    Raises:
        UserError: As :func:`build_protocols`, or the file cannot be read.
    """
    given = [specs] if isinstance(specs, str) else specs
    protocols = build_protocols([one for spec in given for one in _read_specs(spec)])
    if size is None:
        return protocols
    return [dataclasses.replace(p, size=None if size == 'native' else size) for p in protocols]


def _read_specs(spec: str | dict[str, Any] | Protocol) -> list[Any]:
    """A protocol as it is, or what the config file of that name lists under ``protocols``."""
    if not isinstance(spec, str) or not spec.endswith('.py'):
        return [spec]
    if not Path(spec).is_file():
        raise UserError(f'No config file {spec}; name a preset ({", ".join(known_protocols())}) or a file.')
    from mmengine.config import Config

    try:
        specs = Config.fromfile(spec).get('protocols')
    except Exception as error:  # the file is Python: anything may go wrong in it
        raise UserError(f'Cannot read {spec}: {type(error).__name__}: {error}') from error
    if not isinstance(specs, list) or not specs:
        raise UserError(f"{spec}: expected a list, protocols = [dict(type='basicirstd', name='mine', …)].")
    return specs


def build_protocols(specs: Sequence[str | dict[str, Any] | Protocol]) -> list[Protocol]:
    """Makes several protocols; their names must differ.

    Args:
        specs: Each as in :func:`build_protocol`; a lone name will do for a list of one.

    Raises:
        UserError: As :func:`build_protocol`; no protocol at all; or two of the same name.
    """
    protocols = [build_protocol(spec) for spec in ([specs] if isinstance(specs, str) else specs)]
    names = [protocol.name for protocol in protocols]
    if not names:
        raise UserError(f'Expected at least one protocol; known: {", ".join(known_protocols())}.')
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise UserError(f'Two protocols are called {double[0]!r}; give one another name.')
    return protocols
