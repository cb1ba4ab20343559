"""The command that shows configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from drpca.cli.config import main
from drpca.config import KNOWN_KEYS, find_config, list_configs, load_config


def test_what_is_printed_is_the_config(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = {'train_cfg.max_epochs': 7}
    assert main(['acm_sirstv1', '--dataset', 'NUDT-SIRST', '--cfg-options', 'train_cfg.max_epochs=7']) == 0
    shown = tmp_path / 'shown.py'
    shown.write_text(capsys.readouterr().out)
    wanted = load_config(find_config('acm_nudt_sirst'), options=options).to_dict()
    assert load_config(shown).to_dict() == {key: value for key, value in wanted.items() if key in KNOWN_KEYS}


def test_every_name_is_listed(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '80')
    assert main([]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 80
    monkeypatch.setenv('COLUMNS', '9999')
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.split() == narrow.split()
    *folders, _, stills, sequences = out.replace('<data set>', '*').replace('<sequences>', '+').splitlines()
    forms = [form for line in folders for form in line.split()[1:]]
    listed = {form.replace('*', name) for form in forms if '+' not in form for name in stills.split()[1:]}
    listed |= {form.replace('+', name) for form in forms if '+' in form for name in sequences.split()[1:]}
    assert listed == set(list_configs())


def test_an_unknown_config_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(['acm_sirst1']) == 2
    assert "Did you mean 'acm_sirstv1'" in capsys.readouterr().err
