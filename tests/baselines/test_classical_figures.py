"""Figures of all methods on the real SIRST V1 test split: minutes, run with ``-m slow``."""

from __future__ import annotations

import json

import pytest

from drpca.datasets import open_split
from drpca.registry import BASELINES
from tests.support import DATA, load_tool, shared_path

CASES = json.loads((DATA / 'classical_expected.json').read_text(encoding='utf-8'))['cases']


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES, ids=lambda case: '-'.join(str(v) for v in case['build'].values()))
def test_figures(case: dict) -> None:
    split = open_split('SIRSTv1', 'test', shared_path('datasets', 'SIRSTdevkit-master').parent)
    assert len(split) == 86
    figures, _ = load_tool('benchmark_baselines').score_method(BASELINES.build(dict(case['build'])), split)
    assert figures[:3] == pytest.approx(case['figures'][:3], abs=case['points'])
    assert figures[3] == pytest.approx(case['figures'][3], rel=case['fa'])
