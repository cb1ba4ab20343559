"""What ``tools/benchmark.py`` writes: a table, JSON and a plot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from matplotlib.figure import Figure

from drpca.cards import FILE, read_card
from drpca.config import config_folder
from drpca.deploy.processor import Machine
from drpca.errors import UserError
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.studies.speed import VariantSpeed
from drpca.visualization.charts import label_points, label_text, line_style, panel_grid

PACKAGES = ('torch', 'onnx', 'onnxruntime', 'openvino')


def leaderboard_parameters(root: Path | None = None) -> dict[str, float]:
    """Network → millions of parameters as published comparisons give them, from the metafiles of the configs."""
    cards = [read_card(path) for path in sorted((root or config_folder()).glob(f'*/{FILE}'))]
    return {card['Network']['type']: float(card['Leaderboard']) for card in cards if card.get('Leaderboard')}


_HEADER = (
    'network', 'variant', 'device', 'size', 'batch', 'M params', 'used', 'published', 'GFLOP at 256²', 'ms (5–95 %)',
    'images/s', 'peak MB', '× baseline', '× by processor time', 'max error',
)  # fmt: skip


def to_text(results: Iterable[VariantSpeed]) -> str:
    """A table, one row per result; parameters are all of them, those in use, and the published figure."""
    return text_table(_HEADER, _cells(results), left=3)


def to_markdown(results: Iterable[VariantSpeed]) -> str:
    """The same as Markdown."""
    return markdown_table(_HEADER, _cells(results), left=3)


def _cells(results: Iterable[VariantSpeed]) -> list[list[str]]:
    published = leaderboard_parameters()
    lines = []
    for r in results:
        device = f'{r.device}, {r.threads} threads' if r.device == 'cpu' else r.device
        figure = f'{published[r.network]:.3f}' if r.network in published else '–'
        peak = '–' if r.peak_mb is None else f'{r.peak_mb:.0f}'
        lines.append([
            r.network, r.variant, device, str(r.size), str(r.batch), f'{r.parameters:.3f}', f'{r.used_parameters:.3f}',
            figure, f'{r.gflop_256:.1f}', f'{r.latency_ms:.1f} ({r.latency_5:.1f}–{r.latency_95:.1f})',
            f'{r.images_per_s:.1f}', peak, f'{r.speedup:.2f}', f'{r.processor_speedup:.2f}', f'{r.max_error:.1e}',
        ])  # fmt: skip
    return lines


def as_json(results: Iterable[VariantSpeed], machine: Machine) -> str:
    """All figures, with the versions and the machine they were measured with, as the text of a JSON file."""
    installed = {entry.metadata['Name'].lower(): entry.version for entry in metadata.distributions()}
    content = {
        'versions': {name: installed[name] for name in PACKAGES if name in installed},
        'machine': asdict(machine),
        'published_parameters': leaderboard_parameters(),
        'results': [asdict(result) for result in results],
    }
    return json.dumps(content, indent=1) + '\n'


def tradeoff_figure(results: Sequence[VariantSpeed], scores: Mapping[str, float | str], source: str = '') -> Figure:
    """IoU against latency and against parameters, one point per network and variant.

    Args:
        results: What was measured.
        scores: Network → IoU, a ratio, and under ``'of'`` what it is of: data set, images, preset. Networks without one
            are left out.
        source: Where the scores come from, for the heading where they do not say what they are of.

    Raises:
        UserError: No measured network has an IoU.
    """
    iou = {name: 100 * value for name, value in scores.items() if not isinstance(value, str)}
    shown = [result for result in results if result.network in iou]
    if not shown:
        raise UserError(f'No IoU for any of the measured networks; the file has: {", ".join(iou) or "none"}.')
    devices = (f'{r.device}, {r.threads} threads' if r.device == 'cpu' else r.device for r in shown)
    setups = dict.fromkeys(f'{device}, {r.size}² pixels, batch {r.batch}' for device, r in zip(devices, shown))
    of = scores.get('of', f'as in {source}' if source else 'of an unnamed data set')
    figure, panels = panel_grid(2, f'IoU {of}; latency: {"; ".join(setups)}')
    figure.set_size_inches(10, 4)
    for axes, label in zip(panels, ('latency in ms per image', 'parameters in use, M')):
        axes.set(xscale='log', xlabel=label, ylabel='IoU in %')
    for number, variant in enumerate(dict.fromkeys(result.variant for result in shown)):
        mine = [result for result in shown if result.variant == variant]
        latency = [result.latency_ms / result.batch for result in mine]
        look = {**line_style(number), 'linestyle': 'none'}
        panels[0].plot(latency, [iou[result.network] for result in mine], label=variant, **look)
    each = {result.network: result for result in shown}.values()
    panels[1].scatter([r.used_parameters for r in each], [iou[r.network] for r in each], color='black')
    panels[0].legend(fontsize=8)
    figure.draw_without_rendering()  # settles where the axes lie
    label_points(panels[1], [(label_text(r.network), r.used_parameters, iou[r.network], 0.0) for r in each], size=8)
    return figure
