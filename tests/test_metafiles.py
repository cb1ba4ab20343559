"""Every model folder describes its model, and what it says about size and figures is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from drpca.cli import infer, score
from drpca.engine.config import config_folder, find_config, list_models, load_config
from drpca.evaluation.protocols import known_protocols
from drpca.registry import MODELS
from tests.support import shared_path

MODEL_NAMES = list_models()
FIGURES = ('IoU', 'F1', 'Pd', 'Fa')


def metafile(model: str) -> dict[str, Any]:
    return yaml.safe_load((config_folder() / model / 'metafile.yml').read_text())


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_parameters_are_those_of_the_network(model: str) -> None:
    card = metafile(model)
    with torch.device('meta'):
        network = MODELS.build(dict(card['Network']))
    assert card['Parameters'] == sum(value.numel() for value in network.parameters())
    assert card['Network']['type'] == load_config(find_config(f'{model}_sirstv1')).model.network.type
    assert (card['Leaderboard'] or 0) <= card['Parameters'] / 1e6 + 5e-4, (
        'counters miss parameters, never add any'
    )


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_metafile_is_complete(model: str) -> None:
    card = metafile(model)
    assert set(card['Paper']) == {'Title', 'Authors', 'Venue', 'Year'}
    assert all(card['Paper'].values())
    assert set(card['Results']) == {'Published', 'Measured'}
    for row in card['Results']['Published']:
        assert {'Source', 'Dataset', 'IoU'} <= set(row)
    for row in card['Results']['Measured']:
        assert {'Checkpoint', 'Dataset', 'Split', 'Protocol', 'Size', 'IoU'} <= set(row)
        assert find_config(row['Config']).parent.name == model
    for row in [*card['Results']['Published'], *card['Results']['Measured']]:
        assert row.get('Protocol', 'rpcanet') in known_protocols()
        assert all(isinstance(row[key], float) and 0 < row[key] < 1 for key in FIGURES if key in row), row


@pytest.mark.parametrize('model', MODEL_NAMES)
def test_readme_agrees_with_metafile(model: str) -> None:
    card = metafile(model)
    text = (config_folder() / model / 'README.md').read_text()
    flat = ' '.join(text.split())
    assert text.startswith(f'# {card["Name"]}\n')
    assert f'{card["Paper"]["Title"]}.* {card["Paper"]["Venue"]} {card["Paper"]["Year"]}' in flat
    assert f'{card["Parameters"]:,} parameters' in flat
    if card['Leaderboard'] is not None:
        assert f'{card["Leaderboard"]:.3f} M' in flat
    for row in [*card['Results']['Published'], *card['Results']['Measured']]:
        for key in FIGURES:
            if key in row:
                assert f'| {row[key] * (1e6 if key == "Fa" else 100):.2f} |' in flat, (row, key)
    for line in text.splitlines():
        if line.startswith(('python run_configs.py', 'python inference.py')):
            find_config(line.split()[2])


def measured() -> list[Any]:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for model in MODEL_NAMES:
        for row in metafile(model)['Results']['Measured']:
            key = tuple(str(row[k]) for k in ('Config', 'Checkpoint', 'Dataset', 'Split', 'Size'))
            groups.setdefault(key, []).append(row)
    return [pytest.param(rows, id=f'{key[0]}-{key[3]}') for key, rows in groups.items()]


@pytest.mark.slow
@pytest.mark.parametrize('rows', measured())
def test_measured_figures_come_out_again(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """Published weights on real images, through the two commands: within 0.1 point and 0.1e-6."""
    row = rows[0]
    checkpoint, data_root = shared_path('checkpoints', row['Checkpoint']), shared_path('datasets')
    data = ['--data-root', str(data_root)]
    source = ['--checkpoint', str(checkpoint), '--dataset', row['Dataset'], '--split', row['Split']]
    assert infer.main([row['Config'], *source, *data, '--out', str(tmp_path)]) == 0
    report = tmp_path / 'scores.json'
    protocols = ['--protocol', *(row['Protocol'] for row in rows), '--size', str(row['Size'])]
    results = ['--results', str(tmp_path / row['Dataset'])]
    assert score.main([*results, *protocols, *data, '--json', str(report)]) == 0
    figures = json.loads(report.read_text())
    for row in rows:
        for key in FIGURES:
            if key in row:
                tolerance = 1e-7 if key == 'Fa' else 1e-3
                assert figures[row['Protocol']][key] == pytest.approx(row[key], abs=tolerance), (row, key)
