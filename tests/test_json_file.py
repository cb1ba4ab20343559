"""JSON files: what fits is handed over, anything else is one line that names the file and the place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocols
from drpca.json_file import read_json, read_json_lines
from drpca.leaderboard.rows import Figures, Row, Table, to_json
from drpca.run_folder import RunFolder

ROW = Row(
    'TopHat', 'classical', 'tophat', 'classical', 'mini', 'test', '…', figures={'drpca': Figures(256, {'IoU': 0.5})}
)  # fmt: skip


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('null', 'expected .*, got None'),
        ('[1]', 'expected .*'),
        ('[' * 100000, 'expected JSON'),
        ('{"a": "x"}', 'a: expected a valid number.*got .x.'),
        ('{"a": [1]}', 'a: expected a valid number'),
        ('{"a": 1' + '0' * 400 + '}', r'Cannot read .*f\.json'),
        ('{"a": 1' + '0' * 5000 + '}', 'expected JSON'),
        ('\udcff', 'expected UTF-8 text'),
    ],
)
def test_other_contents_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / 'f.json'
    file.write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match=message) as caught:
        read_json(file, dict[str, float])
    assert 'f.json' in str(caught.value)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', Path('/dev/zero'), tmp_path, tmp_path / 'none'):
        with pytest.raises(UserError, match='no such file'):
            read_json(path, dict[str, Any])


def test_the_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'log.jsonl'
    file.write_text('{"epoch": 1, "seconds": 2.5, "loss": 0.1}\n{"epoch": "x", "seconds": 2}\n')
    with pytest.raises(UserError, match=r'line 2 of .*log.jsonl: epoch: expected a valid integer.*got .x.'):
        RunFolder(tmp_path).log()
    file.write_text('{"epoch": 1, "seconds": 2.5, "val/IoU": [[]]}\n')
    with pytest.raises(UserError, match='val/IoU: expected a valid number'):
        RunFolder(tmp_path).log()
    file.write_text('{"epoch": 1, "seconds": 2.5, "loss": 0.1}\n')
    assert RunFolder(tmp_path).log() == [{'epoch': 1, 'seconds': 2.5, 'loss': 0.1}]
    assert read_json_lines(file, dict[str, float])[0]['loss'] == 0.1


def test_a_place_deep_in_a_table_is_named(tmp_path: Path) -> None:
    content = to_json([ROW], build_protocols(['drpca']), {})
    content['rows'][0]['figures']['drpca']['mean']['IoU'] = None
    file = tmp_path / 'table.json'
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'rows.0.figures.drpca.mean.IoU: expected a valid number, got None'):
        read_json(file, Table)
