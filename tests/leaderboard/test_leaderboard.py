"""The leaderboard's rows, tables and metafiles: what is averaged, what is marked, and what is left alone."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from drpca.config import config_folder
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocols
from drpca.leaderboard import metafiles as M
from drpca.leaderboard import page as P
from drpca.leaderboard import rows as L
from drpca.leaderboard.build import aggregate

PROTOCOLS = build_protocols(['drpca', 'basicirstd', 'opdc'])


def figures(iou: float, fa: float = 5e-6, **more: float) -> dict[str, float]:
    return {'IoU': iou, 'nIoU': iou, 'F1': iou, 'Pd': 0.9, 'Fa': fa, 'AUC': 0.99, 'images': 86, **more}


def run(seed: int | None, iou: float, state: str = 'done', **more: Any) -> L.ScoredRun:
    scored = {p.name: figures(iou, hIoU=0.5) if p.name == 'opdc' else figures(iou) for p in PROTOCOLS}
    return L.ScoredRun(seed, state, figures=scored if state == 'done' else {}, **more)


def row(runs: list[L.ScoredRun], kind: L.Kind = 'trained', **changes: Any) -> L.Row:
    defaults: dict[str, Any] = {
        'method': 'RPCANet', 'model': 'rpcanet', 'config': 'rpcanet_sirstv1', 'kind': kind, 'dataset': 'SIRSTv1',
        'split': 'test', 'command': 'python tools/leaderboard.py rpcanet_sirstv1 --dataset SIRSTv1',
        'seeds': tuple(r.seed for r in runs if r.state == 'done' and r.seed is not None),
        'figures': aggregate(runs, PROTOCOLS), 'runs': tuple(runs),
    }  # fmt: skip
    return L.Row(**{**defaults, **changes})


def published(**changes: Any) -> L.Published:
    defaults: dict[str, Any] = {
        'model': 'rpcanet', 'method': '', 'source': 'authors', 'dataset': 'SIRSTv1', 'split': 'test',
        'protocol': 'drpca', 'size': 256, 'figures': {'IoU': 0.70, 'Fa': 5e-6},
    }  # fmt: skip
    return L.Published(**{**defaults, **changes})


def test_aggregate_takes_the_runs_that_are_done() -> None:
    result = aggregate([run(0, 0.6), run(1, 0.7), run(2, 0.1, 'failed')], PROTOCOLS)
    assert set(result) == {'drpca', 'basicirstd', 'opdc'}
    assert result['drpca'].mean['IoU'] == pytest.approx(0.65)
    assert result['drpca'].std['IoU'] == pytest.approx(math.sqrt(0.005))
    assert (result['drpca'].size, result['basicirstd'].size) == (256, None)
    assert 'hIoU' in result['opdc'].mean
    assert 'hIoU' not in result['drpca'].mean
    assert 'images' not in result['drpca'].mean


def test_one_run_has_no_deviation_and_undefined_figures_are_left_out() -> None:
    lone = dataclasses.replace(run(0, 0.6), figures={p.name: figures(0.6, Pd=math.nan) for p in PROTOCOLS})
    result = aggregate([lone], PROTOCOLS)['drpca']
    assert result.std == {}
    assert 'Pd' not in result.mean
    assert aggregate([run(0, 0.5, 'failed')], PROTOCOLS) == {}


@pytest.mark.parametrize(
    ('changes', 'comparable'),
    [
        ({}, True),
        ({'size': None}, False),
        ({'protocol': 'rpcanet'}, False),
        ({'protocol': None}, False),
        ({'dataset': 'NUDT-SIRST'}, False),
        ({'split': 'test_half'}, False),
        ({'model': 'drpcanet'}, False),
        ({'method': 'TopHat'}, False),
        ({'protocol': 'basicirstd', 'size': None}, True),
    ],
)
def test_only_like_is_compared_with_like(changes: dict[str, Any], comparable: bool) -> None:
    assert L.is_comparable(row([run(0, 0.7)]), published(**changes)) is comparable


@pytest.mark.parametrize(
    ('kind', 'runs', 'iou', 'fa', 'marked'),
    [
        ('classical', [run(None, 0.700)], 0.703, 5.1e-6, set()),
        ('classical', [run(None, 0.700)], 0.704, 5.2e-6, {'IoU', 'Fa'}),
        ('weights', [run(None, 0.700)], 0.696, 5e-6, {'IoU'}),
        ('trained', [run(0, 0.700)], 0.709, 5.5e-6, set()),
        ('trained', [run(0, 0.700)], 0.711, 5.6e-6, {'IoU', 'Fa'}),
        ('trained', [run(0, 0.68), run(1, 0.72)], 0.75, 5e-6, set()),
        ('trained', [run(0, 0.68), run(1, 0.72)], 0.76, 5e-6, {'IoU'}),
    ],
)
def test_what_disagrees(kind: L.Kind, runs: list[L.ScoredRun], iou: float, fa: float, marked: set[str]) -> None:
    assert L.disagreements(row(runs, kind), published(figures={'IoU': iou, 'Fa': fa})) == marked


def test_main_table() -> None:
    rows = [
        row([run(0, 0.68), run(1, 0.72), run(2, 0, 'failed', message='NaN')], seeds=(0, 1)),
        row([run(0, 0.9)], config='rpcanet_mine', cost=L.Cost(2_000_000, 1_500_000, 12.34, 5400.0, 7.06, 1, 'X')),
        row([run(0, 0, 'missing')], config='rpcanet_other', figures={}),
    ]
    table = P.main_table(rows, [published(figures={'IoU': 0.75, 'F1': 0.8, 'Pd': 0.9, 'Fa': 5e-6})])
    header, _, first, second, third = table.splitlines()
    assert header.startswith('| method | weights | M parameters | GFLOP | training | ms | IoU % |')
    assert header.endswith('| hIoU % (opdc) | published IoU / F1 / Pd / Fa |')
    assert '| trained here: `rpcanet_mine`, 1 seed | 2.000 (1.500 used) | 12.3 | 1.5 h | 7.1 | 90.00 |' in first
    assert '| 75.00 ≠ / 80.00 ≠ / 90.00 / 5.00 |' in first
    assert '`rpcanet_sirstv1`, 2 of 3 seeds, **1 failed** | – | – | – | – | 70.00 ± 2.83 |' in second
    assert '| 75.00 / 80.00 ≠ / 90.00 / 5.00 |' in second
    assert '0 of 1 seeds, **1 missing**' in third
    assert '| – |' in third
    assert 'AUC' not in third


def test_figures_of_curves_have_columns_where_a_row_has_them() -> None:
    """Rows measured before there were any, and budgets that a method does not reach, show a dash."""
    old = row([run(0, 0.7)])
    assert 'pAUC' not in P.main_table([old], [])
    curves = {'partial_auc': 0.91968, 'pd_at_fa_1e-6': math.nan, 'pd_at_fa_1e-5': 0.945}
    scored = {p.name: figures(0.6, **curves) for p in PROTOCOLS}
    new = row([L.ScoredRun(figures=scored)], 'classical')
    header, _, first, second = P.main_table([old, new], []).splitlines()
    assert '| AUC published | pAUC Fa ≤ 0.0001 | Pd % Fa ≤ 1e-05 | hIoU % (opdc) |' in header
    assert '| 0.9900 | – | – | 50.00 |' in first
    assert '| 0.9900 | 0.9197 | 94.50 | – |' in second


def test_page_shows_every_preset_run_and_command() -> None:
    rows = [
        row([run(0, 0.68), run(1, 0.72)]),
        row([run(None, 0.3)], 'classical', model='classical', method='IPI', config='ipi'),
    ]
    text = P.page(rows, [published()], PROTOCOLS, relative_to='ipi')
    for protocol in PROTOCOLS:
        assert f'### `{protocol.name}`, ' in text
    continued = row([run(0, 0.5)], config='rpcanet_plus_sirstv1_whole')
    assert '`python run_configs.py rpcanet_plus_sirstv1_cpu` comes first' in P.page([continued], [], PROTOCOLS)
    assert (
        '| RPCANet | trained here: `rpcanet_sirstv1`, 2 seeds | authors | drpca | 256x256 | 70.00 | 70.00 ± 2.83 |'
        in text
    )
    assert '| `rpcanet_sirstv1` | 1 | done |' in text
    assert text.count(rows[0].command) == 1
    assert '+40.00' in text
    (table,) = (part for part in text.split('\n\n') if part.startswith('| method | weights | published by'))
    assert len({line.replace(' | ', '|').count('|') for line in table.splitlines()}) == 1


def test_relative_to_pairs_equal_seeds() -> None:
    base = row([run(0, 0.60), run(1, 0.70)], config='base')
    other = row([run(0, 0.62), run(1, 0.73), run(2, 0.1)], config='other')
    (cells,) = L.relative_rows([base, other], 'base', 'drpca')
    assert cells[2] == '+2.50 ± 0.71'
    unpaired = row([run(None, 0.2)], 'classical', config='ipi')
    assert L.relative_rows([base, unpaired], 'base', 'drpca')[0][2] == '-45.00'
    failed = row([run(0, 0, 'failed')], config='x', figures={})
    assert L.relative_rows([base, failed], 'base', 'drpca')[0][2] == '-'
    with pytest.raises(UserError, match='nobody'):
        L.relative_rows([base], 'nobody', 'drpca')


def test_json_round_trip(tmp_path: Path) -> None:
    lone = dataclasses.replace(run(None, 0.3), figures={p.name: figures(0.3, Pd=math.nan) for p in PROTOCOLS})
    cost, trained = L.Cost(1, 1, 0.5, 3.5, 7.0, 1), run(0, 0.68, checkpoint='w.pth', seconds=3.5)
    rows = [row([trained], cost=cost, options={'a.b': 1}), row([lone], 'classical')]
    file = tmp_path / 'f.json'
    file.write_text(json.dumps(L.to_json(rows, PROTOCOLS, {'command': 'x'}), allow_nan=False))
    again, protocols = L.load_table(file)
    assert protocols == PROTOCOLS
    assert again[0] == dataclasses.replace(rows[0], options={'a.b': 1})
    assert again[1].figures == rows[1].figures
    assert 'Pd' not in again[1].runs[0].figures['drpca']
    for wrong in ({}, [], {'rows': [{'x': 1}], 'protocols': {}}, {'rows': 3, 'protocols': {}}):
        file.write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=r'f\.json'):
            L.load_table(file)


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A copy of two model folders."""
    for model in ('rpcanet', 'lrrnet'):
        (tmp_path / model).mkdir()
        for name in ('metafile.yml', 'README.md'):
            shutil.copy(config_folder() / model / name, tmp_path / model / name)
    return tmp_path


def test_metafile_round_trip_and_idempotence(configs: Path) -> None:
    path = configs / 'lrrnet' / 'metafile.yml'
    before, card = path.read_text(), M.read_card(path)
    head = before[: before.index('  Measured:')]
    new = row(
        [run(0, 0.612345678), run(1, 0.65)], method='LRRNet', model='lrrnet', config='lrrnet_sirstv1', selection='val',
        cost=L.Cost(10, 9, 1.5, 60.0, 7.0, 1, 'X (Y), 1 thread'),
        command="python tools/leaderboard.py x --cfg-options 'a: b'",
    )  # fmt: skip
    bare = dataclasses.replace(new, runs=())
    readme = configs / 'lrrnet' / 'README.md'
    assert set(M.update_metafiles([new], configs)) == {path, readme}
    text = path.read_text()
    assert text.startswith(head), 'what was there is left as it was'
    assert M.read_card(path)['Results']['Published'] == card['Results']['Published']
    read = next(r for r in M.measured_rows(configs) if r.config == 'lrrnet_sirstv1' and r.kind == 'trained')
    assert read.figures['drpca'].mean['IoU'] == pytest.approx(bare.figures['drpca'].mean['IoU'], rel=1e-4)
    assert read.figures['drpca'].std['IoU'] == pytest.approx(bare.figures['drpca'].std['IoU'], rel=1e-4)
    unrounded = {'figures': {}}
    assert dataclasses.replace(read, **unrounded) == dataclasses.replace(bare, **unrounded)
    assert (
        '| `lrrnet_sirstv1` | 2 | best on validation | SIRST V1 | test | drpca | 256 | 63.12 ± 2.66 |'
        in readme.read_text()
    )

    assert M.update_metafiles([new], configs) == [], 'the same figures change nothing'
    untimed = dataclasses.replace(new, cost=dataclasses.replace(new.cost, latency_ms=None, threads=None, machine=None))
    assert M.update_metafiles([untimed], configs) == [], 'a latency stays until it is measured again'
    other_seed = row([run(0, 0.5)], method='LRRNet', model='lrrnet', config='lrrnet_sirstv1', selection='val')
    before = len(M.measured_rows(configs))
    M.update_metafiles([other_seed], configs)
    assert len(M.measured_rows(configs)) == before, 'a new measurement takes the place of the old one'
    M.update_metafiles([dataclasses.replace(other_seed, selection='final')], configs)
    assert len(M.measured_rows(configs)) == before + 1, 'another kind of selection is another row'
    assert yaml.safe_load(path.read_text())['Name'] == 'LRRNet'


def test_a_latency_is_shown_with_its_machine_and_not_without() -> None:
    old, timed = (row([run(0, 0.5)], method=name, cost=L.Cost(latency_ms=12.5, threads=1)) for name in ('old', 'new'))
    timed = timed.with_latency(dataclasses.replace(timed.cost, machine='X (AVX2), 1 thread'))
    assert '12.5' not in P.block([old], [])
    assert 'score map' not in P.block([old], [])
    content = P.block([old, timed], [])
    assert content.count('| 12.5 |') == 1
    assert 'ms: from an image to its score map. X (AVX2), 1 thread.' in content
    other = timed.with_latency(dataclasses.replace(timed.cost, machine='Y'))
    assert 'new: X (AVX2), 1 thread; new: Y.' in P.block([timed, other], [])


def test_rows_without_figures_or_metafile_are_not_entered(configs: Path) -> None:
    rows = [row([run(0, 0, 'failed')], figures={}), row([run(0, 0.5)], model='')]
    assert M.update_metafiles(rows, configs) == []


def test_metafile_with_measured_in_the_middle_is_refused(configs: Path) -> None:
    path = configs / 'rpcanet' / 'metafile.yml'
    path.write_text(path.read_text() + 'Remarks: none\n')
    before = path.read_text()
    with pytest.raises(UserError, match='last entry'):
        M.update_metafile(path, [row([run(0, 0.5)])])
    assert path.read_text() == before
    path.write_text('Results: [')
    with pytest.raises(UserError, match='expected Results'):
        M.read_card(path)


def test_published_figures_come_from_metafiles_and_reference() -> None:
    found = M.published_figures()
    rpcanet = [p for p in found if p.model == 'rpcanet' and p.dataset == 'SIRSTv1']
    assert {(p.source, p.protocol, p.size, p.figures['IoU']) for p in rpcanet} == {
        ('authors', 'rpcanet', 256, 0.7037),
        ('DRPCA-Net README (best on test)', 'drpca', 256, 0.6837),
    }
    tophat = next(p for p in found if p.method == 'TopHat')
    assert tophat.figures == pytest.approx({'IoU': 0.2693, 'F1': 0.4244, 'Pd': 0.8899, 'Fa': 182.7e-6})
    halves = {p.split for p in found if p.source == 'BasicIRSTD' and p.dataset == 'SIRSTv1'}
    assert halves == {'test_half'}, 'BasicIRSTD scores the half-and-half list'


def test_block_is_put_between_the_markers() -> None:
    text = f'# Title\n\n{P.BEGIN}\nold\n{P.END}\n\nrest\n'
    rows = [row([run(0, 0.68)]), row([run(0, 0.5)], config='big', input_size=512)]
    content = P.block(rows, [published()], 'docs/x.md')
    once = P.insert_block(text, content, 'README.md')
    assert once.startswith(f'# Title\n\n{P.BEGIN}\n')
    assert once.endswith(f'{P.END}\n\nrest\n')
    assert 'old' not in once
    assert '**SIRST V1**' in once
    assert '(docs/x.md)' in once
    assert '`big`' not in once, 'another size than that of the recipe belongs on the page'
    assert P.insert_block(once, content, 'README.md') == once
    for broken in ('', text.replace(P.END, ''), text + P.BEGIN, f'{P.END}\n{P.BEGIN}', text + text):
        with pytest.raises(UserError, match=r'README\.md: put the lines'):
            P.insert_block(broken, content, 'README.md')
    assert P.block([], []) == 'Nothing is measured yet.\n'


@pytest.mark.parametrize(('seconds', 'text'), [(None, '–'), (38.2, '38 s'), (1688, '28 min'), (14580, '4.0 h')])
def test_durations(seconds: float | None, text: str) -> None:
    table = P.main_table([row([run(0, 0.5)], cost=L.Cost(training_seconds=seconds))], [])
    assert f'| {text} |' in table.splitlines()[2]
