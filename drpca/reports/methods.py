"""What the results folders of a report are called, and where their maps come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any

from drpca.reports.tables import size_text
from drpca.results.folder import RUN
from drpca.results.scoring import Score


def method_names(scores: Sequence[Score]) -> list[str]:
    """Short names, all different, for results folders.

    That of the network or method as ``run.json`` has it; where several have the same, that of their config; where these
    are the same as well, or there is no ``run.json``, also the parts of the paths that differ.
    """
    parts = _differing_parts([score.folder.path for score in scores])
    names = [_network(s.folder.run) or part or s.folder.path.name for s, part in zip(scores, parts)]
    configs = [str(s.folder.run.get('config') or name) for s, name in zip(scores, names)]
    for finer in (configs, [name if part in ('', name) else f'{name} ({part})' for name, part in zip(configs, parts)]):
        names = [better if names.count(name) > 1 else name for name, better in zip(names, finer)]
    return [name if names.count(name) == 1 else f'{name} [{number}]' for number, name in enumerate(names, start=1)]


def _network(run: dict[str, Any]) -> str:
    """'RPCANet' of a run of a network, 'TopHat' of one of a classical method; '' where it is not said."""
    model = run.get('model')
    if not isinstance(model, dict):
        return ''
    network = model.get('network')
    return str((network if isinstance(network, dict) else model).get('type') or '')


def _differing_parts(paths: Sequence[PurePath]) -> list[str]:
    """Of each path what is not common to the begin or the end of all; '' where nothing is left."""
    split = [path.parts for path in paths]
    shortest = min(map(len, split))
    first = next((i for i in range(shortest) if len({parts[i] for parts in split}) > 1), shortest)
    common = next((i for i in range(shortest - first) if len({parts[-1 - i] for parts in split}) > 1), shortest - first)
    return ['/'.join(parts[first : len(parts) - common]) for parts in split]


def provenance(scores: Sequence[Score]) -> list[tuple[str, list[str]]]:
    """Rows of what made the maps, a cell per folder; '-' for what ``run.json`` does not say."""
    columns = [_described(score) for score in scores]
    return [(key, [column[key] for column in columns]) for key in columns[0]]


def _described(score: Score) -> dict[str, str]:
    run = score.folder.run

    def said(key: str) -> str:
        value = run.get(key)
        return '-' if value is None else str(value)

    size, weights, made_with = run.get('size'), run.get('checkpoint'), run.get('versions')
    images = len(next(iter(score.records.values())))
    return {
        'network or method': _network(run) or '-',
        'config': said('config'),
        'weights': PurePath(str(weights)).name if weights else '-',
        'SHA-256 of the weights': said('checkpoint_sha256'),
        'data set': score.split.dataset,
        'split': score.split.split,
        'images': f'{images} of {len(score.split)} images',
        'maps': f'{score.folder.kind}/, made at {size_text(size) if isinstance(size, int) else said("size")}',
        'precision': said('precision'),
        'run.json written': _written(score.folder.path / RUN),
        'with': ', '.join(f'{k} {v}' for k, v in made_with.items()) if isinstance(made_with, dict) else '-',
        'thresholds from': '-' if score.threshold_from is None else _source(score),
        'folder': str(score.folder.path),
    }


def _written(path: Path) -> str:
    return utc_text(datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)) if path.is_file() else '-'


def utc_text(moment: datetime) -> str:
    """'2026-01-31 12:00 UTC'."""
    return f'{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC'


def _source(score: Score) -> str:
    assert score.threshold_from is not None
    folder, split = score.threshold_from
    return f'{folder.path} ({split.dataset} {split.split})'


def page_title(scores: Sequence[Score], names: Sequence[str]) -> str:
    """'RPCANet and TopHat on NUDT-SIRST test'."""
    where = list(dict.fromkeys(f'{score.split.dataset} {score.split.split}' for score in scores))
    who = names if len(names) < 4 else [*names[:2], f'{len(names) - 2} others']
    return f'{_listed(who)} on {_listed(where)}'


def _listed(words: Sequence[str]) -> str:
    return ' and '.join(part for part in (', '.join(words[:-1]), words[-1]) if part)
