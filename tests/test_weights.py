"""Published weights by name: listed, fetched, verified, loaded strictly, wherever weights can be named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close as assert_equal

import drpca
from drpca.app.choices import list_choices
from drpca.cards import PublishedFile, all_published, known_weights, named_weights, published_files
from drpca.cli import weights
from drpca.config import find_config
from drpca.errors import UserError
from drpca.inference.export import export
from drpca.leaderboard.contenders import LeaderboardOptions, command_of, contenders
from tests.loopback import Host, serving
from tests.support import ROOT, error_line, save_weights, shared_path

IMAGE = np.random.default_rng(0).random((32, 32), dtype=np.float32)


def path_of(file: PublishedFile) -> str:
    return f'/{file.repository}/{file.commit}/{file.source.replace("+", "%2B")}'


def blob(content: bytes) -> str:
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


def test_the_metafiles_name_what_was_published() -> None:
    files = {file.file: file for file in published_files().values()}
    assert len(files) == 4 + 12 + 3 + 4 + 1 + 3 + 1, 'RPCANet, ++, +, DRPCA-Net, LRRNet, of LESPS, RDIAN'
    assert len({file.blob for file in files.values()}) == len(files)
    for config, file in published_files().items():
        assert find_config(config).stem == config
        assert re.fullmatch('[0-9a-f]{40}', file.blob), config
        assert re.fullmatch('[0-9a-f]{40}', file.commit), config
        assert file.sha256 is None or re.fullmatch('[0-9a-f]{64}', file.sha256), config
    published = [known for known in known_weights() if known.source != 'drpca' and known.published]
    assert len(published) == 4 + 12 + 3 + 4 + 1, 'those that have figures of their authors'


def test_the_list(capsys: pytest.CaptureFixture) -> None:
    assert weights.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith('rpcanet_sirstv1 '))
    assert ' '.join(line.split()) == (
        'rpcanet_sirstv1 RPCANet SIRSTv1 2.9 70.37 (rpcanet) 70.38 (rpcanet) MIT fengyiwu98/RPCANet no'
    )
    assert any(line.startswith('rpcanet_plus_sirstv1_whole') and line.endswith('drpca      yes') for line in lines)
    assert weights.main(['--markdown']) == 0
    page = (ROOT / 'docs/weights.md').read_text()
    assert capsys.readouterr().out in page, 'make it again: python tools/weights.py --markdown'


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['get'], 'Get what?'),
        (['get', 'rpcanet_sirstv1', '--all'], 'Get what?'),
        (['get', 'rpcanet_sirst'], "Did you mean 'rpcanet_sirstv1'?"),
        (['get', 'rpcanet_plus_sirstv1_whole'], 'comes with the project'),
        (['list', 'rpcanet_sirstv1'], 'say: get NAME'),
        (['get', 'rpcanet_sirstv1'], 'Check the network or the proxy (HTTPS_PROXY)'),
    ],
)
def test_bad_input(arguments: list[str], expected: str, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr('drpca.fetch.PAUSE', 0.0)
    assert weights.main(arguments) == 2
    assert expected in error_line(capsys)


FIT = {
    'rpcanet_sirstv1': 'RPCANet_SIRST.pkl',
    'rpcanet_sirst_aug': 'RPCANet_SIRST-Aug.pkl',
    'rpcanet_plus_irstd_1k': 'RPCANetPlus_IRSTD-1k.pkl',
    'rpcanet_plus_sirst_aug': 'RPCANetPlus_SIRST-Aug.pkl',
    'acm_sirstv1_lesps': 'ACM_full_SIRST3.pth.tar',
    'alcnet_nudt_sirst_lesps': 'ALCNet_full_SIRST3.pth.tar',
    'rdian_sirstv1': 'RDIAN_best.pth',
}


def test_the_files_at_hand_are_those_of_the_metafiles(monkeypatch, capsys: pytest.CaptureFixture) -> None:
    """From a server that has them under the paths of their authors."""
    known = published_files()
    content = {path_of(known[name]): shared_path('checkpoints', file).read_bytes() for name, file in FIT.items()}
    with serving(content, monkeypatch) as host:
        assert weights.main(['get', *FIT]) == 0
        assert len(host.requests) == len(FIT)
        assert capsys.readouterr().out.count('fits ') == len(FIT)
        assert {known[name].file for name in FIT} == {known[name].path.name for name in FIT if known[name].is_here()}
    by_name = drpca.Detector.from_pretrained('rpcanet_sirstv1', size=32)  # the server is gone
    by_path = drpca.Detector('RPCANet', shared_path('checkpoints', 'RPCANet_SIRST.pkl'), size=32)
    assert np.array_equal(by_name(IMAGE)[0].scores, by_path(IMAGE)[0].scores)
    assert drpca.Detector('RPCANet', 'published').checkpoint == by_name.checkpoint


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Host]]:
    """A config of one's own whose metafile names a file on a server; the path of the config."""
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))
    save_weights(tmp_path / 'w.pth')
    config = tmp_path / 'net' / 'net.py'
    config.parent.mkdir()
    base = ROOT / 'configs/rpcanet_plus/rpcanet_plus_synthetic.py'
    config.write_text(f'_base_ = {str(base)!r}\nmodel = dict(network=dict(num_stages=1), precision="bfloat16")\n')
    with serving({'/a/b/c/w.pth': (tmp_path / 'w.pth').read_bytes()}, monkeypatch) as host:
        enter(config, host.files['/a/b/c/w.pth'])
        yield str(config), host


def enter(config: Path, content: bytes) -> None:
    (config.parent / 'metafile.yml').write_text(
        'Name: Net\nDownloads:\n  Repository: a/b\n  Commit: c\n  Licence: null\n  Files:\n'
        f'    - {{Configs: [net], File: net.pth, Path: w.pth, Blob: {blob(content)}}}\n'
        'Results: {Published: [], Measured: []}\n'
    )


def test_wherever_weights_can_be_named(own: tuple[str, Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, host = own
    detector = drpca.Detector(config, 'published', size=32)
    assert np.array_equal(
        detector(IMAGE)[0].scores, drpca.Detector(config, tmp_path / 'w.pth', size=32)(IMAGE)[0].scores
    )
    assert named_weights(f'{config}=published') == (Path(config), detector.checkpoint)
    (choice,) = (
        choice
        for choice in list_choices('nowhere', [f'{config}=published']).values()
        if choice.checkpoint == detector.checkpoint
    )
    assert choice.config == config
    monkeypatch.setattr('drpca.inference.export.export_model', lambda model, *_, **__: model)
    exported = export(config, 'published', tmp_path / 'net.pt2', images=[IMAGE])
    assert exported.precision is torch.float32, 'as files compute'
    assert_equal(exported.network.state_dict(), torch.load(tmp_path / 'w.pth'), rtol=0, atol=0)
    assert len(host.requests) == 1


def test_another_file_is_refused_and_one_that_does_not_fit_is_named(own: tuple[str, Host], tmp_path: Path) -> None:
    config, host = own
    whole = host.files['/a/b/c/w.pth']
    for content in (whole[:-1], whole[:-1] + b'x', whole + b'x', b'<html>not here</html>'):
        host.files['/a/b/c/w.pth'] = content
        with pytest.raises(UserError, match='is not the file that was asked for'):
            drpca.Detector(config, 'published')
        assert not [path for path in (tmp_path / 'home').rglob('*') if path.is_file() and path.name != '.lock']
    save_weights(tmp_path / 'other.pth', network='RPCANet')
    host.files['/a/b/c/w.pth'] = (tmp_path / 'other.pth').read_bytes()
    enter(Path(config), host.files['/a/b/c/w.pth'])
    with pytest.raises(UserError, match=r"net\.pth does not hold the weights.*fits dict\(type='RPCANet'"):
        drpca.Detector(config, 'published')


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        (None, "'published' weights of what"),
        ('tophat', 'No published weights are known of tophat'),
        ('rpcanet_plus_sirstv1', 'No published weights are known of rpcanet_plus_sirstv1'),
        ('rpcanett', 'Unknown config'),
    ],
)
def test_no_published_weights(config: str | None, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        drpca.Detector(config, 'published')


def test_all_published_on_the_leaderboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(all_published(['published', 'a=b'])) == len(published_files()) + 1
    irstd = all_published(['published'], ['IRSTD-1k'])
    assert {'rpcanet_irstd_1k=published', 'lrrnet_irstd_1k=published', 'acm_irstd_1k_lesps=published'} <= {*irstd}
    assert not [text for text in irstd if 'irstd_1k' not in text]
    monkeypatch.setattr(PublishedFile, 'fetch', lambda self: tmp_path / self.file)
    (tmp_path / 'RPCANet_SIRST.pkl').touch()
    options = LeaderboardOptions(weights=['rpcanet_sirstv1=published'], datasets=['SIRSTv1'])
    (found,) = contenders(options)
    assert found.weights == tmp_path / 'RPCANet_SIRST.pkl'
    assert (
        command_of(found, options)
        == 'python tools/leaderboard.py --weights rpcanet_sirstv1=published --dataset SIRSTv1'
    )
