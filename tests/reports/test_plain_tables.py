"""Tables of the console: within its width, nothing left out; and how far long work is."""

from __future__ import annotations

import re

import pytest

from drpca import progress
from drpca.cli import score
from drpca.reports.plain_tables import markdown_table, text_table

HEADER = ['method', 'weights', *(f'figure {number}' for number in range(9))]


def test_a_table_that_fits_is_one_block() -> None:
    assert text_table(['a', 'b'], [['x', '10'], ['yy', '9']], width=6) == 'a    b\nx   10\nyy   9'


def test_names_do_not_break_a_markdown_table() -> None:
    text = markdown_table(['a|b', 'SNR <= 3'], [['x\ny', '<script>']])
    assert text == '| a\\|b | SNR <= 3 |\n| --- | ---: |\n| x y | &lt;script> |\n'


@pytest.mark.parametrize('width', [40, 60, 80])
def test_a_wide_table_folds_into_blocks_beside_what_tells_the_rows_apart(width: int) -> None:
    rows = [['A', 'published', *'012345678'], ['B', 'trained here', *'abcdefghi']]
    text = text_table(HEADER, rows, 2, width)
    blocks = [block.splitlines() for block in text.split('\n\n')]
    assert max(map(len, text.splitlines())) <= width
    assert all([line.split()[0] for line in block] == ['method', 'A', 'B'] for block in blocks)
    assert re.findall(r'figure \d', text) == HEADER[2:]
    assert ''.join(word for block in blocks for word in block[1].split()[1:] if len(word) == 1) == '012345678'


def test_long_cells_break_where_two_columns_tell_the_rows_apart() -> None:
    rows = [['A', f'published weights: {"long_" * 12}.pkl', '1'], ['A', 'trained here, 3 seeds', '2']]
    text = text_table(['method', 'weights', 'IoU'], rows, 2, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert 'long_' * 12 in re.sub(r'\s|^A|  1', '', text)


def test_the_scores_fit_a_console(workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, 'INTERVAL', 0)
    wide = score.main(['--results', 'results/mini']), capsys.readouterr()
    assert re.search(r'image 3/3  \S+ s each  00:00 left', wide[1].err)
    monkeypatch.undo()
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.chdir(workplace)
    monkeypatch.setenv('DRPCA_DATA', str(workplace / 'data'))
    assert score.main(['--results', 'results/mini']) == 0 == wide[0]
    out, err = capsys.readouterr()
    assert not err, 'short work'
    table = out.partition('3D-ROC')[0]
    assert max(map(len, table.splitlines())) <= 80
    for word in ('matching rule', 'IoU %', 'Fa x1e-6', 'targets'):
        assert word in table
    assert table.count('preset') > 1
