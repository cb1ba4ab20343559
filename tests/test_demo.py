"""``make demo``: ends soon, with figures and pictures, and removes nothing that is not its own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tests.support import error_line, load_tool

DEMO = load_tool('demo')


def test_what_the_demo_did_not_make_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = tmp_path / 'thesis.txt'
    mine.write_text('years')
    for out in (tmp_path, mine):
        assert DEMO.main(['--out', str(out)]) == 2
        assert 'not made by the demo' in error_line(capsys)
    (tmp_path / 'link').symlink_to(tmp_path)
    assert DEMO.main(['--out', str(tmp_path / 'link')]) == 2
    assert mine.read_text() == 'years'
    for _ in range(2):  # a new folder, then its own
        DEMO.claim(tmp_path / 'out')
        assert [path.name for path in (tmp_path / 'out').iterdir()] == [DEMO.MARK]
        (tmp_path / 'out' / 'old').touch()


def run(out: Path, *options: str) -> float:
    assert DEMO.main(['--out', str(out), *options]) == 0
    picture = cv2.imread(str(out / 'decomposition.png'))
    assert picture is not None
    assert picture.shape[1] > 5 * 256
    figures = json.loads((out / 'scores.json').read_text())
    return figures['basicirstd']['IoU']


def test_without_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path / 'out', '--seconds', '0', '--images', '4') > 0.4
    printed = capsys.readouterr().out
    assert all(f'{number}/4 ' in printed for number in (1, 2, 3, 4))


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    assert run(tmp_path / 'out') >= 0.5
