"""Low rank and sparsity over a data set: from a detector to tables, JSON, MATLAB and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from scipy.io import savemat

from drpca.datasets.splits import Split, spread
from drpca.errors import UserError
from drpca.files import claim, save, save_text
from drpca.inference.decomposer import make_decomposer
from drpca.inference.detector import Detector
from drpca.json_file import plain
from drpca.progress import watched
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.studies.decomposition import Measurement, measure
from drpca.studies.figures import low_rank_figure, scalars_figure, sparsity_figure
from drpca.version import versions
from drpca.visualization.charts import SUFFIXES, save_figure


@dataclass(frozen=True)
class DecompositionStudy:
    """What :func:`analyse_decomposition` found.

    Attributes:
        split: The images belong to it.
        detector: Its name in tables.
        described: What it is.
        measured: Values of every image and stage, and their means.
        files: What was written.
    """

    split: Split
    detector: str
    described: dict[str, Any]
    measured: Measurement
    files: list[Path] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """What the table is of, in a line."""
        used = f'{len(self.measured.names)} of {len(self.split)} images'
        return f'{self.detector}: {self.split.dataset} {self.split.split}, {used}, T as {self.measured.view}'

    def as_text(self) -> str:
        """The means over the images as an aligned table, a row per stage."""
        return f'{self.heading}\n{text_table(*_table(self.measured))}'

    def as_markdown(self) -> str:
        """The same in Markdown."""
        return f'**{self.heading}**\n\n{markdown_table(*_table(self.measured))}'

    def as_json(self) -> dict[str, Any]:
        """The means; undefined figures are null."""
        summary = self.measured.summary()
        return {
            'detector': self.described,
            'dataset': self.split.dataset,
            'split': self.split.split,
            'images': self.measured.names,
            'view': self.measured.view,
            'threshold': self.measured.threshold,
            'image': plain(summary[0]),
            'stages': [plain(line) for line in summary[1:]],
            'versions': versions(),
        }


def analyse_decomposition(
    detector: Detector,
    dataset: str | None = None,
    *,
    split: str = 'test',
    data_root: str | None = None,
    limit: int | None = None,
    view: str = 'deviation',
    threshold: float = 0.1,
    ranks: Sequence[int] = (1, 5, 10),
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> DecompositionStudy:
    """Measures, for every stage, how low-rank B is and how sparse T is, over images of any size.

    :mod:`drpca.studies.decomposition` defines the measures.

    Args:
        detector: Anything that decomposes: an unfolded network or an optimisation-based method.
        dataset: Data set; default: that of the detector's config.
        split: Its split.
        data_root: Folder of the data sets.
        limit: Only so many images, evenly spread over the split.
        view: What sparsity is measured of, a key of ``drpca.studies.decomposition.VIEWS``.
        threshold: Of l0, a share of the largest value, in [0, 1).
        ranks: Numbers of singular values whose energy is measured.
        out: Folder for decomposition.json, .md, .mat and the plots low_rankness, sparsity and scalars; '{dataset}'
            in it becomes the data set's name. None: no files.
        overwrite: Replace the files of an earlier run.
        progress: Show a bar on standard error, if that is a terminal.

    Raises:
        UserError: A method without decomposition, a value out of range, no such data set, unreadable images, or
            files that are there already.
    """
    if not 0 <= threshold < 1:
        raise UserError(f'--threshold is a share of the largest value: expected [0, 1), got {threshold:g}.')
    decomposer = make_decomposer(detector.mapper)
    images = detector.open_images(split, dataset, data_root)
    folder = None if out is None else Path(str(out).replace('{dataset}', images.dataset))
    texts = [f'decomposition{suffix}' for suffix in ('.json', '.md', '.mat')]
    if folder is not None:
        plots = [f'{name}{suffix}' for name in ('low_rankness', 'sparsity', 'scalars') for suffix in SUFFIXES]
        claim(folder, [*texts, *plots], overwrite)
    names = spread(images.names, limit)
    needed = images.around(names) if detector.frames > 1 else names
    shown = watched(needed, len(needed), 'image') if progress else needed
    found = decomposer.named((name, images.read_image(name)) for name in shown)
    measured = measure((one for one in found if one[0] in names), view, threshold, ranks)
    study = DecompositionStudy(images, detector.name, detector.described(), measured)
    if folder is not None:
        as_json, as_markdown, as_mat = (folder / name for name in texts)
        save_text(as_json, json.dumps(study.as_json(), indent=1) + '\n', overwrite=True)
        save_text(as_markdown, study.as_markdown(), overwrite=True)
        save(as_mat, lambda draft: savemat(draft, measured.to_mat(), do_compression=True), overwrite=True)
        study.files.extend([as_json, as_markdown, as_mat])
        for name, figure in _figures(measured, study.heading).items():
            study.files.extend(save_figure(figure, folder / name))
    return study


def _table(measured: Measurement) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the means over the images."""
    header = ['stage', 'effective rank', 'of min(H, W)']
    header += [f'energy {r}' for r in measured.ranks]
    header += [f'l0 > {measured.threshold:g}', 'l1', 'Gini', *measured.scalars]
    rows = []
    for number, line in enumerate(measured.summary()):
        cells = [f'{line["effective_rank"]:.2f}', f'{line["relative_rank"]:.4f}']
        cells += [f'{line[f"energy_{r}"]:.5f}' for r in measured.ranks]
        for key in ('l0', 'l1', 'gini', *measured.scalars):
            cells.append(f'{line[key]:.5g}' if key in line else '')
        rows.append(['image' if number == 0 else f'{number}', *cells])
    return header, rows


def _figures(measured: Measurement, heading: str) -> dict[str, Figure]:
    figures = {'low_rankness': low_rank_figure(measured, heading), 'sparsity': sparsity_figure(measured, heading)}
    return figures | ({'scalars': scalars_figure(measured, heading)} if measured.scalars else {})
