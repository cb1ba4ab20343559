"""Figures and tables of a paper: what is drawn, in which files, of whatever names."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure
from scipy.io import savemat

import drpca
from drpca.cli import figure as command
from drpca.evaluation.protocols import build_protocol
from drpca.leaderboard import paper
from drpca.leaderboard.latex import latex_table
from drpca.leaderboard.rows import Cost, Figures, Kind, Row, to_json
from drpca.reports.plain_tables import latex_text
from drpca.studies.corruptions import KINDS
from tests.mini_results import make_maps, workplace
from tests.support import error_line

__all__ = ['workplace']
HOSTILE = r'_<a&b> $x^2$ \evil{} %"]]>'


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn; not saved, which takes most of the time."""
    kept: list[Figure] = []
    monkeypatch.setattr(paper, 'save_figure', lambda figure, *_, **__: kept.append(figure) or [])
    return kept


def write_run(folder: Path, top: float) -> None:
    folder.mkdir(parents=True)
    lines = [{'epoch': e, 'seconds': 1.0, 'loss': 1 / e, 'val/IoU': top * (1 - 0.5**e)} for e in (1, 2, 3)]
    (folder / 'log.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def make_row(
    method: str, iou: float, fa: float, dataset: str = 'SIRSTv1', kind: Kind = 'trained', **more: float
) -> Row:
    figures = Figures(256, {'IoU': iou, 'Fa': fa}, {'IoU': more['std']} if 'std' in more else {})
    cost = Cost(parameters=None if kind == 'classical' else 10**6, latency_ms=30.0, threads=1, machine='X (AVX2)')
    return Row(method, '', method.lower(), kind, dataset, 'test', '', cost=cost, figures={'drpca': figures})


def write_table(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(to_json(rows, [build_protocol('drpca')], {})))


def add_second(workplace: Path, suffix: str = '.png', top: float = 0.9) -> None:
    """Results of another method, which misses one image's target."""
    for name, (_, mask) in make_maps().items():
        file = workplace / 'other' / 'mini' / ('img' if suffix == '.png' else 'mat') / f'{name}{suffix}'
        file.parent.mkdir(parents=True, exist_ok=True)
        scores = np.where(mask, min(0.1, top) if name == 'b_1' else top, 0).astype(np.float32)
        if suffix == '.png':
            cv2.imwrite(str(file), np.uint8(255 * scores))
        else:
            savemat(file, {'T': scores})


def test_files_of_any_names_at_a_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(Path('runs', 'a', f'seed_{seed}'), 0.6)
    write_run(Path('runs', 'b', 'seed_0'), 0.8)
    arguments = ['learning', 'runs/a', 'runs/b/seed_0', '--names', HOSTILE, 'Б', '--width', '100', '--out', 'fig']
    assert command.main(arguments) == 0
    printed = capsys.readouterr()
    assert 'validation IoU %' in printed.out
    assert not printed.err
    pdf, svg = Path('fig.pdf').read_bytes(), Path('fig.svg').read_text()
    ET.fromstring(svg)  # well-formed, whatever the names
    assert f'width="{100 / 25.4 * 72:.2f}'[:11] in svg
    assert re.search(rb'/FontFile2', pdf), 'TrueType: text stays text'
    assert b'/Type3' not in pdf
    texts = ''.join(ET.fromstring(svg).itertext())
    assert f'{HOSTILE}, 2 seeds' in texts
    source = re.search(r'base64,([^)]+)\)', svg)
    assert source is not None
    font = TTFont(BytesIO(base64.b64decode(source[1])))
    assert {*map(ord, HOSTILE + 'Бvalidation')} <= font.getBestCmap().keys()
    assert cv2.imread('fig.png').shape[1] == pytest.approx(100 / 25.4 * 300, abs=1)
    assert command.main(arguments) == 2
    assert 'fig.pdf is there already' in error_line(capsys)


def test_learning_curves(tmp_path: Path, drawn: list[Figure], capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path / 'seed_0', 0.5)
    drpca.figure('learning', tmp_path, tmp_path / 'x')
    (line,) = drawn[0].axes[0].lines
    assert line.get_ydata() == pytest.approx([25, 37.5, 43.75])
    drpca.figure('learning', tmp_path, tmp_path / 'x', keys=['loss'], width='double')
    assert drawn[1].axes[0].lines[0].get_ydata() == pytest.approx([1, 1 / 2, 1 / 3])
    assert drawn[1].get_size_inches()[0] == pytest.approx(182 / 25.4)
    assert command.main(['learning', str(tmp_path), '--key', 'val/IuO', '--out', str(tmp_path / 'x')]) == 2
    assert "Did you mean 'val/IoU'" in error_line(capsys)


def test_roc_has_steps_and_measured_points(workplace: Path, drawn: list[Figure]) -> None:
    add_second(workplace, '.mat', top=0)
    made = drpca.figure('roc', ['results/mini', 'other/mini'], 'roc', names=['A', 'nothing'])
    line, mark, empty, _ = drawn[0].axes[0].lines
    assert np.isnan(empty.get_ydata()).all()
    assert len(line.get_markevery()) == len(line.get_ydata()) - 1, 'the step to the edge is not measured'
    assert line.get_drawstyle() == 'steps-post'
    assert line.get_marker() == 'o'
    assert mark.get_ydata() == [1.0], 'at a score above 0.5 every target is found'
    assert 'mini test, 3 images at size native' in made.caption


def test_qualitative_takes_the_rows_on_which_methods_differ(workplace: Path, drawn: list[Figure]) -> None:
    add_second(workplace)
    made = drpca.figure('qualitative', ['results/mini', 'other/mini'], 'q', rows=1, names=['A', 'B'])
    assert 'A, B on b_1 (of 3 those on which the methods differ most)' in made.caption
    assert [axis.get_title() for axis in drawn[0].axes] == ['image', 'label', 'A', 'B']
    made = drpca.figure('qualitative', ['results/mini'], 'q', images=['a_2', 'a_1'])
    assert 'on a_2, a_1 (as named)' in made.caption


def test_tradeoff_and_robustness(tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(Path('t.json'), [make_row('A', 0.6, 1e-5, std=0.02), make_row('B_', 0.3, 1e-6, kind='classical')])
    drpca.figure('tradeoff', 't.json', 'x')
    parameters, latency = drawn[0].axes
    assert [text.get_text() for text in parameters.texts] == ['A'], 'classical methods have no parameters'
    assert {text.get_text() for text in latency.texts} == {'A', 'B_'}
    protocol = build_protocol('basicirstd')
    entries = [
        {'detector': 'D', 'corruption': None if level == 0 else 'gaussian', 'level': level,
         'figures': {'basicirstd': {'IoU': 0.7 - level / 100, 'Fa': None}}}
        for level in (0, 10, 20)
    ]  # fmt: skip
    study = {'dataset': 'd', 'split': 'test', 'images': ['a'], 'protocols': [asdict(protocol)], 'results': entries}
    Path('robustness.json').write_text(json.dumps(study))
    drpca.figure('robustness', '.', 'x')
    assert drawn[1].axes[0].lines[0].get_ydata() == pytest.approx([70, 60, 50])
    assert drawn[1].axes[0].get_title() == KINDS['gaussian'].title


def test_values_that_no_axis_takes_are_left_out(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(Path('t.json'), [make_row('A', 0.6, 1e-5), make_row('B', float('inf'), 1e-6)])
    text = Path('t.json').read_text().replace('1000000', '1' + '0' * 400, 1).replace('"drpca"', '"\\udcff"')
    Path('t.json').write_text(text)
    drpca.figure('tradeoff', 't.json', 'x')
    assert [text.get_text() for axis in drawn[0].axes for text in axis.texts] == ['A'], 'its latency alone'
    drpca.figure('table', 't.json', 'x', keys=['IoU'])
    assert Path('x.tex').read_text().startswith('% Preset  . ')
    Path('log.jsonl').write_text(
        '\n'.join(
            f'{{"epoch": {e}, "seconds": 1, "loss": {v}}}'
            for e, v in ((1, 2), (2, 'NaN'), (3, '1e999'), ('1' + '0' * 400, 1))
        )
    )
    drpca.figure('learning', '.', 'y', keys=['loss'])
    assert drawn[1].axes[0].lines[0].get_ydata() == [2]


def test_the_table_marks_best_and_second_best_of_each_data_set() -> None:
    rows = [
        make_row('A', 0.7, 2e-5, std=0.012), make_row('B', 0.6, 1e-5), make_row('[C]', 0.6, 3e-5, kind='classical'),
        make_row('A', 0.5, 1e-5, dataset='NUDT-SIRST'),
    ]  # fmt: skip
    lines = latex_table(rows, 'drpca', ['IoU', 'Fa']).splitlines()
    assert r' & \multicolumn{2}{c}{SIRST V1} & \multicolumn{2}{c}{NUDT-SIRST} \\' in lines
    assert r'\cmidrule(lr){2-3}\cmidrule(lr){4-5}' in lines
    assert r'A & \textbf{70.00} $\pm$ 1.20 & \underline{20.00} & 50.00 & 10.00 \\' in lines
    assert r'B & \underline{60.00} & \textbf{10.00} & -- & -- \\' in lines
    assert r'{[}C{]} & \underline{60.00} & 30.00 & -- & -- \\' in lines, 'equal ones alike'
    assert lines.index(r'\midrule') < lines.index(r'\bottomrule')


def test_seeds_of_results_folders_become_mean_and_deviation(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    for seed in (0, 1):
        (workplace / f'run_seed{seed}').symlink_to('results')
    folders = ['run_seed0/mini', 'run_seed1/mini']
    assert command.main(['table', *folders, '--names', 'M_seed0', 'M_seed1', '--key', 'Pd', '--out', 'tab']) == 0
    assert r'M & 100.00 $\pm$ 0.00 \\' in Path('tab.tex').read_text()
    assert 'wrote tab.tex' in capsys.readouterr().out
    drpca.figure('table', folders, 'two', names=['A', 'B'], keys=['Pd'])
    assert [line[:1] for line in Path('two.tex').read_text().splitlines() if '100.00' in line] == ['A', 'B']


def test_latex_shows_every_letter() -> None:
    shown = latex_text('a_b\\c{d}\n$ 50% #1 ~ ^ & [x]* <= "q" | ±')
    assert shown == (
        r'a\_b\textbackslash{}c\{d\} \$ 50\% \#1 \textasciitilde{} \textasciicircum{} \& {[}x{]}{*} $\le$ '
        r'\textquotedbl{}q\textquotedbl{} $|$ $\pm$'
    )


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['rock', 'results/mini'], "Did you mean 'roc'"),
        (['roc', 'nowhere'], 'No results folder nowhere'),
        (['roc', 'results/mini', '--width', '5'], 'Expected a width of single, double or 30 to 600 mm'),
        (['roc', 'results/mini', '--names', 'a', 'b'], 'a name for each of 1 folders'),
        (['roc', 'other/mini'], 'The maps have 8 bits'),
        (['qualitative', 'results/mini', '--images', 'a_3'], "Unknown image of mini test 'a_3'"),
        (['learning', 'results/mini'], 'holds no log.jsonl'),
        (['tradeoff', 'results/mini/run.json'], 'no such file'),
        (['tradeoff', 't.json', '--key', 'IuO'], "Did you mean 'IoU'"),
        (['tradeoff', 't.json', '--key', 'IoU', 'Fa'], 'A figure shows one of'),
        (['table', 't.json', '--protocol', 'opdc'], "Unknown preset of the tables 'opdc'"),
        (['table', 't.json', '--dataset', 'SIRSTv3'], "Did you mean 'SIRSTv1'"),
        (['table', 't.json', 'results/mini'], 'not both'),
        (['robustness', 't.json'], 'Cannot read t.json'),
        (['robustness'], 'Name one robustness.json'),
        (['table', '--out', 'results'], 'results is a folder'),
    ],
    ids=range(16),
)
def test_bad_input(workplace: Path, capsys: pytest.CaptureFixture, arguments: list[str], expected: str) -> None:
    add_second(workplace)
    write_table(Path('t.json'), [make_row('A', 0.6, 1e-5)])
    assert command.main(arguments) == 2
    assert expected in error_line(capsys)
    assert not Path('results/figures').is_dir() or not list(Path('results/figures').iterdir())
