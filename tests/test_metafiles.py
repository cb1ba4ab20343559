"""Every model folder describes its model, and what it says about size and figures is true."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from drpca.cards import CLASSICAL
from drpca.cli import infer, score
from drpca.cli.leaderboard import build_parser
from drpca.config import config_folder, find_config, list_configs, list_models, load_config, window_models
from drpca.evaluation.protocols import known_protocols
from drpca.leaderboard.metafiles import with_result_tables
from drpca.registry import MODELS
from tests.support import shared_path

MODEL_NAMES = [*list_models(), *sorted(window_models())]
FIGURES = ('IoU', 'F1', 'Pd', 'Fa')


def metafile(model: str) -> dict[str, Any]:
    return yaml.safe_load((config_folder() / model / 'metafile.yml').read_text())


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_parameters_are_those_of_the_network(model: str) -> None:
    card = metafile(model)
    with torch.device('meta'):
        network = MODELS.build(dict(card['Network']))
    assert card['Parameters'] == sum(value.numel() for value in network.parameters())
    config = next(path for path in list_configs().values() if path.parent.name == model)
    assert card['Network']['type'] == load_config(config).model.network.type
    assert (card['Leaderboard'] or 0) <= card['Parameters'] / 1e6 + 5e-4, 'counters miss parameters, never add any'


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_metafile_is_complete(model: str) -> None:
    card = metafile(model)
    if card['Paper'] is not None:  # of a network of this project
        assert set(card['Paper']) == {'Title', 'Authors', 'Venue', 'Year'}
        assert all(card['Paper'].values())
    assert set(card['Results']) == {'Published', 'Measured'}
    for row in card['Results']['Published']:
        assert {'Source', 'Dataset'} <= set(row)
        assert row.get('Protocol', 'rpcanet') in known_protocols()
        assert_ratios(row)


def assert_ratios(row: dict[str, Any]) -> None:
    figures = {key: row[key] for key in FIGURES if key in row}
    assert 'IoU' in figures or {'Pd', 'Fa', 'AUC'} <= set(row), 'those by points know no IoU'
    assert all(isinstance(value, float) and 0 < value <= 1 for value in figures.values()), row


@pytest.mark.parametrize('model', [*MODEL_NAMES, CLASSICAL])
def test_measured_rows_are_complete(model: str) -> None:
    for row in metafile(model)['Results']['Measured']:
        assert {'Config', 'Dataset', 'Split', 'Command', 'Figures'} <= set(row)
        assert find_config(row['Config']).parent.name == model
        assert (model == CLASSICAL) + ('Checkpoint' in row) + ('Seeds' in row) == 1, 'what the figures are of'
        assert row['Command'].startswith('python tools/leaderboard.py ')
        assert build_parser().parse_args(shlex.split(row['Command'])[2:]).dataset == [row['Dataset']]
        for line in row['Figures']:
            assert line['Protocol'] in known_protocols()
            assert line['Size'] == 'native' or isinstance(line['Size'], int)
            assert_ratios(line)


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_readme_agrees_with_metafile(model: str) -> None:
    card = metafile(model)
    text = (config_folder() / model / 'README.md').read_text()
    flat = ' '.join(text.split())
    assert text.startswith(f'# {card["Name"]}\n')
    paper = card['Paper']
    named = f'{paper["Title"]}.* {paper["Venue"]} {paper["Year"]}' if paper else 'A network of this project.'
    assert named in flat
    assert f'{card["Parameters"]:,} parameters' in flat
    if card['Leaderboard'] is not None:
        assert f'{card["Leaderboard"]:.3f} M' in flat
    for line in text.splitlines():
        if line.startswith(('python run_configs.py', 'python inference.py')):
            find_config(line.split()[2])


@pytest.mark.parametrize('model', [*MODEL_NAMES, CLASSICAL])
def test_readme_tables_are_those_of_the_metafile(model: str) -> None:
    text = (config_folder() / model / 'README.md').read_text()
    assert with_result_tables(text, metafile(model), model) == text, (
        'make them again: python tools/leaderboard.py … --update-metafiles'
    )


def measured() -> list[Any]:
    rows = (row for model in MODEL_NAMES for row in metafile(model)['Results']['Measured'])
    rows = (row for row in rows if 'Checkpoint' in row)
    return [pytest.param(row, id=f'{row["Config"]}-{row.get("Input", "own")}') for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize('row', measured())
def test_measured_figures_come_out_again(row: dict[str, Any], tmp_path: Path) -> None:
    """Published weights on real images, through the two commands: within 0.1 point and 0.1e-6."""
    checkpoint, data_root = shared_path('checkpoints', row['Checkpoint']), shared_path('datasets')
    data = ['--data-root', str(data_root)]
    source = ['--checkpoint', str(checkpoint), '--dataset', row['Dataset'], '--split', row['Split']]
    size = ['--size', str(row['Input'])] if 'Input' in row else []
    assert infer.main([row['Config'], *source, *data, *size, '--out', str(tmp_path)]) == 0
    report = tmp_path / 'scores.json'
    results = ['--results', str(tmp_path / row['Dataset']), *size]
    presets = ['--protocol', *(line['Protocol'] for line in row['Figures'])]
    assert score.main([*results, *presets, *data, '--json', str(report)]) == 0
    figures = json.loads(report.read_text())
    for line in row['Figures']:
        for key in FIGURES:
            tolerance = 1e-7 if key == 'Fa' else 1e-3
            assert figures[line['Protocol']][key] == pytest.approx(line[key], abs=tolerance), (row, key)
