"""Figures and tables of a paper, from what results folders, runs, tables and studies hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from drpca.datasets import Split, open_split
from drpca.errors import UserError, counted, unknown_name
from drpca.evaluation.bootstrap import seed_group
from drpca.evaluation.functional import mean_and_deviation
from drpca.evaluation.protocols import Protocol, build_protocol
from drpca.files import make_folder, refuse_present, save_text
from drpca.leaderboard.figures import LearningCurve, choose_images, learning_figure, tradeoff_figure
from drpca.leaderboard.latex import latex_table
from drpca.leaderboard.metafiles import measured_rows
from drpca.leaderboard.rows import KEYS, MAIN, Figures, Row, load_tables
from drpca.names import canonical_name
from drpca.options import FIGURE_KINDS, ROBUST_FIGURES, TABLE
from drpca.reports.grid import GridRow, draw_grid, grid_width, telling_images
from drpca.reports.roc import RocLine, roc_figure
from drpca.reports.tables import definition
from drpca.results.folder import ResultsFolder, find_results
from drpca.results.scoring import EIGHT_BITS, common_names, score_folder
from drpca.run_folder import RunFolder, find_runs
from drpca.studies.robustness import read_scores, robustness_figure
from drpca.visualization.charts import PAPER, inches, is_drawable, save_figure

ROWS = 4
_TABLE_KEYS = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')


@dataclass(frozen=True)
class PaperFigure:
    """What :func:`figure` has made.

    Attributes:
        files: PDF, SVG and PNG, or the LaTeX file of a table.
        caption: What they show, in a sentence: data, preset, methods. PDF, SVG and PNG files hold it too.
    """

    files: list[Path]
    caption: str


def figure(
    kind: str,
    sources: str | Path | Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    width: str | float = 'single',
    names: Sequence[str] = (),
    keys: Sequence[str] = (),
    protocol: str | None = None,
    images: Sequence[str] = (),
    rows: int = ROWS,
    surface: bool = False,
    dataset: str | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    overwrite: bool = False,
) -> PaperFigure:
    """Draws a figure of a paper as PDF, SVG and PNG, or writes a table of one as LaTeX.

    >>> figure('roc', ['results/a/SIRSTv1', 'results/b/SIRSTv1'], 'roc', names=['A', 'B'])

    ``'qualitative'``: rows of frames, columns of methods, from results folders. ``'roc'``: Pd against Fa, from results
    folders. ``'learning'``: a figure of the log over the epochs, from run folders. ``'tradeoff'``: a figure against
    parameters and latency, from tables of the leaderboard. ``'robustness'``: a figure against the strength of
    disturbances, from the robustness.json of a study. ``'table'``: methods × data sets, from tables of the leaderboard
    or results folders, whose names may end in seeds.

    Args:
        kind: One of these.
        sources: Files or folders; none: all under ``results`` or ``checkpoints``, or what the metafiles hold.
        out: The files without their suffixes; None: ``results/figures/<kind>``.
        width: ``'single'`` (89 mm), ``'double'`` (182 mm), or millimetres.
        names: What the results folders or runs are called, in their order.
        keys: The figures to show: of a table several.
        protocol: Preset; None: that of the tables, or ``'basicirstd'``.
        images: Rows of ``'qualitative'``; none: those on which the methods differ most.
        rows: How many, without ``images``.
        surface: Also draw them as surfaces.
        dataset: Data set of the results folders; of tables, the only one to show.
        split: Its split.
        data_root: Folder of the data sets.
        overwrite: Replace files that are there.

    Raises:
        UserError: A source is missing, unreadable or of another kind; names that do not fit; files that are there.
    """
    if kind not in FIGURE_KINDS:
        raise unknown_name('kind of figure', kind, FIGURE_KINDS)
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    stem = Path('results', 'figures', kind) if out is None else Path(out)
    if not stem.name or stem.is_dir():
        raise UserError(f'{stem} is a folder: name the files without their suffixes.')
    across = inches(width)
    files = [stem.with_name(stem.name + suffix) for suffix in (PAPER if kind != TABLE else ('.tex',))]
    refuse_present(files, overwrite)
    if kind != TABLE and len(keys) > 1:
        raise UserError(f'A figure shows one of {", ".join(keys)}: make several figures, or a table.')
    if names and kind in ('tradeoff', 'robustness'):
        raise UserError(
            f'names are those of results folders or runs; a figure of kind {kind} takes those of its files.'
        )
    make_folder(stem.parent)
    key = keys[0] if keys else 'IoU'
    if kind == TABLE:
        text, caption = _table(given, names, keys or _TABLE_KEYS, protocol, dataset, split, data_root)
        return PaperFigure([save_text(files[0], text, overwrite=True)], caption)
    if kind in ('qualitative', 'roc'):
        opened = _open(given, names, dataset, split, data_root)
        preset = build_protocol(protocol or 'basicirstd')
        if kind == 'roc':
            drawn, caption = _roc(opened, preset, across, data_root)
        else:
            drawn, caption = _qualitative(opened, preset, images, rows, surface, across)
    elif kind == 'learning':
        drawn, caption = _learning(given, names, keys[0] if keys else 'val/IoU', across)
    elif kind == 'tradeoff':
        drawn, caption = _tradeoff(given, key, protocol, dataset, across)
    else:
        drawn, caption = _robustness(given, key, protocol, across)
    return PaperFigure(save_figure(drawn, stem, PAPER, caption, dpi=300), caption)


_Opened = tuple[list[ResultsFolder], list[str], Split]
"""Results folders of one split, what they are called, and the split."""


def _open(
    sources: Sequence[str | Path],
    names: Sequence[str],
    dataset: str | None,
    split: str | None,
    data_root: str | Path | None,
) -> _Opened:
    """What there is to draw.

    Raises:
        UserError: They are of several, or there are not as many names.
    """
    folders = [ResultsFolder(source) for source in sources] if sources else find_results()
    data = {(canonical_name(dataset or folder.dataset), split or folder.split) for folder in folders}
    if len(data) > 1:
        listed = ', '.join(f'{name} {part}' for name, part in sorted(data))
        raise UserError(f'The results folders are of several splits ({listed}): name those of one.')
    ((name, part),) = data
    return folders, _called(folders, names), open_split(name, part, data_root)


def _called(folders: Sequence[ResultsFolder], names: Sequence[str]) -> list[str]:
    """The names given, else those of the models that made the maps, else of the folders."""
    if names and len(names) != len(folders):
        raise UserError(f'Expected a name for each of {len(folders)} folders, got {len(names)}.')
    made = [str(folder.run.get('config') or folder.path.resolve().name) for folder in folders]
    short = [Path(text).stem for text in made]
    return list(names) or [s if short.count(s) == 1 else str(f.path) for s, f in zip(short, folders)]


def _qualitative(
    opened: _Opened, protocol: Protocol, images: Sequence[str], count: int, surface: bool, width: float
) -> tuple[Figure, str]:
    folders, titles, split = opened
    grid_width(len(titles), width)  # before the images are chosen
    paths = [folder.path for folder in folders]
    common = set.intersection(*(set(common_names(folder, split, allow_partial=True)) for folder in folders))
    if images:
        chosen, how = choose_images(split, images), 'as named'
    else:
        names = [name for name in split.names if name in common]
        chosen = telling_images(split, names, paths, protocol, count)
        how = f'of {len(names)} those on which the methods differ most'
    drawn = draw_grid([GridRow.read(split, name, paths) for name in chosen], titles, protocol, width, surface)
    return drawn, f'{_of(split, protocol)}: {", ".join(titles)} on {", ".join(chosen)} ({how}).'


def _of(split: Split, protocol: Protocol) -> str:
    name, *rest = definition(protocol)
    return f'{split.dataset} {split.split}, {name} ({", ".join(rest)})'


def _roc(opened: _Opened, preset: Protocol, width: float, data_root: str | Path | None) -> tuple[Figure, str]:
    folders, titles, split = opened
    threshold = preset.threshold if preset.binarisation == 'fixed' else None
    lines = []
    for folder, title in zip(folders, titles):
        curves = score_folder(folder, [preset], split.dataset, split.split, data_root).curves
        if preset.size not in curves:
            raise UserError(f'{folder.path}: {EIGHT_BITS}')
        lines.append(RocLine(title, curves[preset.size], threshold))
    mark = '' if threshold is None else f', score > {threshold:g} marked'
    size = definition(preset)[2]
    said = f'{split.dataset} {split.split}, {counted(len(split), "image")} at size {size}: highest Pd within a Fa'
    return roc_figure(lines, width=width), f'{said}, components matched by centroid{mark}: {", ".join(titles)}.'


def _learning(sources: Sequence[str | Path], names: Sequence[str], key: str, width: float) -> tuple[Figure, str]:
    runs: list[RunFolder] = []
    groups: list[list[RunFolder]] = []
    for source in sources or sorted({run.path.parent for run in find_runs('checkpoints')}):
        inner = [RunFolder(path) for path in sorted(Path(source).glob('seed_*'))]
        groups.append(inner or [RunFolder(Path(source))])
        runs += groups[-1]
    if names and len(names) != len(groups):
        raise UserError(f'Expected a name for each of {len(groups)} runs, got {len(names)}.')
    curves, known = [], set[str]()
    for number, group in enumerate(groups):
        for run in group:
            lines = run.log()
            if not lines:
                raise UserError(f'{run.path} holds no log.jsonl of a training: name a run, or a folder of its seeds.')
            numbers = [name for line in lines for name, value in line.items() if isinstance(value, int | float)]
            known |= {*numbers} - {'epoch'}
            points = {
                line['epoch']: float(line[key])
                for line in lines
                if is_drawable(line.get(key)) and is_drawable(line['epoch'])
            }
            if points:
                label = names[number] if names else RunFolder(run.path.resolve()).name
                curves.append(LearningCurve('', label, list(points), list(points.values())))
    if not curves:
        raise unknown_name('figure of the logs', key, sorted(known)) if known else UserError('No run to draw.')
    is_ratio = key.rpartition('/')[2] in KEYS
    place, _, figure_name = key.rpartition('/')
    label = f'{ {"val": "validation "}.get(place, place and place + " ") }{figure_name}'
    label, factor = (
        (f'{label} %', 100.0) if is_ratio else (f'{label} ×1e-6', 1e6) if key.endswith('Fa') else (label, 1.0)
    )
    methods = ', '.join(dict.fromkeys(curve.label for curve in curves))
    return learning_figure(curves, label, factor, width), f'{label} over the epochs: {methods}; thin lines are seeds.'


def _rows(
    sources: Sequence[str | Path], dataset: str | None, protocol: str | None
) -> tuple[list[Row], str]:  # fmt: skip
    """Rows of tables, or of the metafiles, and the preset to show."""
    rows = load_tables([Path(source) for source in sources])[0] if sources else measured_rows()
    if not sources:  # of one size and of whole test splits
        rows = [row for row in rows if row.input_size is None and row.split == 'test']
    if dataset is not None:
        there = list(dict.fromkeys(row.dataset for row in rows))
        if canonical_name(dataset) not in there:
            raise unknown_name('data set of the tables', dataset, there)
        rows = [row for row in rows if row.dataset == canonical_name(dataset)]
    known = list(dict.fromkeys(name for row in rows for name in row.figures))
    if not known:
        raise UserError('The tables hold no figures: every run failed.')
    if protocol is not None and protocol not in known:
        raise unknown_name('preset of the tables', protocol, known)
    return rows, protocol or (MAIN if MAIN in known else known[0])


def _tradeoff(
    sources: Sequence[str | Path], key: str, protocol: str | None, dataset: str | None, width: float
) -> tuple[Figure, str]:
    if key not in KEYS:
        raise unknown_name('figure', key, KEYS)
    rows, preset = _rows(sources, dataset, protocol)
    sets = ', '.join(dict.fromkeys(f'{row.dataset} {row.split}' for row in rows))
    where = '; '.join(sorted({row.cost.machine for row in rows if row.cost.machine}))
    said = f'{key} under the preset {preset} against parameters and latency ({where or "not measured"}), {sets}.'
    return tradeoff_figure(rows, preset, key, width), said


def _robustness(sources: Sequence[str | Path], key: str, protocol: str | None, width: float) -> tuple[Figure, str]:
    if key not in ROBUST_FIGURES:
        raise unknown_name('figure', key, ROBUST_FIGURES)
    if len(sources) != 1:
        raise UserError('Name one robustness.json, or the folder that it lies in.')
    path = Path(sources[0])
    results, protocols, said = read_scores(path / 'robustness.json' if path.is_dir() else path)
    known = {one.name: one for one in protocols}
    if protocol is not None and protocol not in known:
        raise unknown_name('preset of the study', protocol, list(known))
    preset = known[protocol] if protocol else protocols[0]
    name, *rest = definition(preset)
    return robustness_figure(results, preset.name, key, width=width), f'{said}, {name} ({", ".join(rest)}): {key}.'


def _table(
    sources: Sequence[str | Path],
    names: Sequence[str],
    keys: Sequence[str],
    protocol: str | None,
    dataset: str | None,
    split: str | None,
    data_root: str | Path | None,
) -> tuple[str, str]:
    for key in keys:
        if key not in KEYS:
            raise unknown_name('figure', key, KEYS)
    folders = [source for source in sources if Path(source).is_dir()]
    if folders and len(folders) < len(sources):
        raise UserError('Expected results folders, or tables of the leaderboard, not both.')
    if folders:
        rows, preset = _scored_rows([ResultsFolder(f) for f in folders], names, protocol, dataset, split, data_root)
    elif names:
        raise UserError('Names are of results folders; a table of the leaderboard has its own.')
    else:
        rows, preset = _rows(sources, dataset, protocol)
    sets = ', '.join(dict.fromkeys(f'{row.dataset} {row.split}' for row in rows))
    return latex_table(rows, preset, keys), f'{", ".join(keys)} under the preset {preset}, {sets}.'


def _scored_rows(
    folders: Sequence[ResultsFolder],
    names: Sequence[str],
    protocol: str | None,
    dataset: str | None,
    split: str | None,
    data_root: str | Path | None,
) -> tuple[list[Row], str]:
    """A row per results folder, or per group of folders whose names differ in the seed alone."""
    preset = build_protocol(protocol or 'basicirstd')
    titles = _called(folders, names)
    groups: dict[tuple[str, str, str, str], list[tuple[str, dict[str, float]]]] = {}
    for folder, title in zip(folders, titles):
        scored = score_folder(folder, [preset], dataset, split, data_root)
        called = seed_group(title) if names else ''  # names that differ stay apart
        key = seed_group(str(folder.path)), called, scored.split.dataset, scored.split.split
        groups.setdefault(key, []).append((title, scored.figures[preset.name]))
    rows = []
    for (_, _, data, part), members in groups.items():
        spread = mean_and_deviation([figures for _, figures in members])
        mean = {key: m for key, (m, _) in spread.items() if key in KEYS and m == m}
        std = {key: d for key, (_, d) in spread.items() if key in mean and d == d}
        title = seed_group(members[0][0]) if len(members) > 1 else members[0][0]
        figures = {preset.name: Figures(preset.size, mean, std)}
        rows.append(Row(title, '', title, 'weights', data, part, '', figures=figures))
    return rows, preset.name
