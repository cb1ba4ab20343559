"""The leaderboard, by its function and its command: trains what is missing, keeps what is there, marks what fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from drpca.cli import leaderboard
from drpca.config import config_folder
from drpca.config_text import read_config
from drpca.datasets import open_split
from drpca.datasets.synthetic import generate_dataset
from drpca.engine import runs as engine_runs
from drpca.engine.faults import TrainingDiverged
from drpca.engine.loop import Interrupted
from drpca.leaderboard import build, metafiles
from drpca.leaderboard.build import build_leaderboard
from drpca.leaderboard.page import BEGIN, END
from drpca.leaderboard.rows import Row, load_table, to_json
from tests.call_trace import entered_files
from tests.support import error_line, save_weights

CONFIG = 'rpcanet_plus_synthetic'
OPTIONS: dict[str, Any] = {
    'model.network.num_stages': 1, 'train_dataloader.num_workers': 0, 'train_dataloader.batch_size': 2,
    **{f'{name}_dataloader.dataset.size': 32 for name in ('train', 'val', 'test')},
}  # fmt: skip
DATA = ['--dataset', 'synthetic']
TEXTS = [f'{key}={value}' for key, value in OPTIONS.items()]
SMALL = [*DATA, '--size', '32', '--epochs', '1', '--cfg-options', *TEXTS]


def small(methods: Sequence[str] = (CONFIG,), **changes: Any) -> list[Row]:
    """Two seeds of a small training, unless told otherwise."""
    options = {
        'size': 32, 'epochs': 1, 'cfg_options': OPTIONS, 'seeds': [0, 1], 'latency': False,
        'protocols': ['basicirstd', 'opdc'],
    }  # fmt: skip
    return build_leaderboard(methods, ['synthetic'], **{**options, **changes})


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('leaderboard')
    generate_dataset(folder / 'datasets', num_train=8, num_test=3, size=32)
    return folder / 'datasets'


@pytest.fixture(scope='module')
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds trained by the command."""
    work = tmp_path_factory.mktemp('runs')
    places = ['--data-root', str(data), '--work-dir', str(work / 'checkpoints'), '--maps', str(work / 'maps')]
    args = [CONFIG, *SMALL, '--seeds', '0', '1', '--no-latency', '--protocol', 'basicirstd', 'opdc', *places]
    assert leaderboard.main([*args, '--json', str(work / 'table.json')]) == 0
    return work


@pytest.fixture
def workplace(data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the data set and the trained runs."""
    monkeypatch.chdir(tmp_path)
    Path('datasets').symlink_to(data)
    shutil.copytree(trained / 'checkpoints', 'checkpoints')
    return tmp_path


def rows_of(path: str = 'table.json') -> list[dict[str, Any]]:
    return json.loads(Path(path).read_text())['rows']


def never(*args: Any, **options: Any) -> Any:
    raise AssertionError('not to be called')


def test_trains_scores_and_tabulates(trained: Path) -> None:
    (row,) = rows_of(str(trained / 'table.json'))
    keys = ('method', 'kind', 'seeds', 'selection')
    assert [row[key] for key in keys] == ['RPCANet+', 'trained', [0, 1], 'val']
    assert [run['state'] for run in row['runs']] == ['done', 'done']
    ious = [run['figures']['basicirstd']['IoU'] for run in row['runs']]
    assert row['figures']['basicirstd']['mean']['IoU'] == pytest.approx(sum(ious) / 2)
    assert 'hIoU' in row['figures']['opdc']['mean']
    assert row['cost']['parameters'] < 50_000
    assert row['cost']['gflop'] > 0
    assert row['cost']['training_seconds'] > 0
    for run in row['runs']:
        summary = json.loads(Path(run['checkpoint']).with_name('summary.json').read_text())
        assert run['figures']['basicirstd']['IoU'] == pytest.approx(summary['test']['IoU'], abs=1e-6)


def test_nothing_is_done_twice(workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runs, 'train_run', never)
    monkeypatch.setattr(build, 'predict', never)
    (row,) = small(maps=trained / 'maps')
    (before,), _ = load_table(trained / 'table.json')
    assert row.figures == before.figures
    assert row.command == before.command


def test_maps_of_other_weights_are_not_reused(workplace: Path, trained: Path) -> None:
    best = Path('checkpoints', CONFIG, 'seed_0', 'best.pth')
    content = torch.load(best, weights_only=True)
    content['state_dict'] = {name: value * 0 for name, value in content['state_dict'].items()}
    torch.save(content, best)
    maps = workplace / 'maps'
    shutil.copytree(trained / 'maps', maps)
    before = {path.name for path in maps.iterdir()}
    (row,) = small(maps=maps)
    assert len({path.name for path in maps.iterdir()} - before) == 1, 'one of the two is new'
    assert row.figures != load_table(trained / 'table.json')[0][0].figures


def test_half_a_run_is_resumed_and_a_missing_one_trained(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed once in each training: the next calls go on from there."""
    runs = workplace / 'checkpoints' / CONFIG
    (runs / 'seed_0' / 'summary.json').unlink()
    shutil.rmtree(runs / 'seed_1')
    real, calls = engine_runs.train_run, []

    def interrupted(run: Any, resume: bool) -> Any:
        calls.append((run.seed, resume))
        raise Interrupted(75)

    monkeypatch.setattr(engine_runs, 'train_run', interrupted)
    assert leaderboard.main([CONFIG, *SMALL, '--no-latency', '--json', 'table.json']) == 75
    assert not Path('table.json').exists(), 'half a table takes nobody in'

    def counted(run: Any, resume: bool) -> Any:
        calls.append((run.seed, resume))
        return real(run, resume)

    monkeypatch.setattr(engine_runs, 'train_run', counted)
    (row,) = small()
    assert calls == [(0, True), (0, True), (1, False)]
    assert row.seeds == (0, 1)


@pytest.mark.parametrize('executor', [[], ['--executor', 'debug']])
def test_a_failed_run_is_marked_and_the_others_go_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, executor: list[str]
) -> None:
    shutil.rmtree(workplace / 'checkpoints' / CONFIG / 'seed_0')

    def diverged(run: Any, resume: bool) -> Any:
        raise TrainingDiverged('the loss became NaN in epoch 1')

    monkeypatch.setattr(engine_runs, 'train_run', diverged)
    args = [CONFIG, *SMALL, '--seeds', '0', '1', '--no-latency', '--json', 'table.json']
    assert leaderboard.main([*args, '--markdown', 'table.md', *executor]) == 1
    (row,) = rows_of()
    assert row['seeds'] == [1]
    assert row['figures']['basicirstd']['std'] == {}
    assert row['runs'][0]['message'] == 'the loss became NaN in epoch 1'
    assert '1 of 2 seeds, **1 failed**' in Path('table.md').read_text()
    assert f'failed: {CONFIG} on synthetic seed 0: the loss became NaN' in capsys.readouterr().err


def test_a_method_that_breaks_does_not_stop_the_others(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = build.predict

    def broken(detector: Any, **options: Any) -> Any:
        if detector.method == 'MaxMedian':
            raise RuntimeError('no such thing')
        return real(detector, **options)

    monkeypatch.setattr(build, 'predict', broken)
    monkeypatch.setattr('tempfile.tempdir', str(workplace))
    args = ['maxmedian', 'tophat', '--dataset', 'synthetic', '--no-latency', '--json', 'table.json']
    assert leaderboard.main(args) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith('failed: maxmedian on synthetic: A fault in drpca')
    assert 'RuntimeError: no such thing' in line
    assert 'Traceback' in next(workplace.glob('drpca-fault-*')).read_text()
    assert [row['figures'] == {} for row in rows_of()] == [True, False]


def test_images_that_cannot_be_read_fail_the_method(workplace: Path, data: Path) -> None:
    Path('datasets').unlink()
    shutil.copytree(data, 'datasets')
    split = open_split('synthetic', 'test', 'datasets')
    split.image_path(split.names[0]).write_bytes(b'no image')
    (row,) = small(['tophat'])
    ((state, message),) = [(run.state, run.message) for run in row.runs]
    assert state == 'failed'
    assert message.startswith('1 of 3 inputs gave no score map: '), 'and why'
    assert split.names[0] in message


def test_no_train_marks_what_is_missing(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runs, 'train_run', never)
    shutil.rmtree(workplace / 'checkpoints' / CONFIG / 'seed_1')
    (row,) = small(train=False)
    assert [run.state for run in row.runs] == ['done', 'missing']


@pytest.mark.parametrize(('changes', 'asked'), [({'epochs': 7}, 7), ({'epochs': None, 'cfg_options': {}}, 400)])
def test_a_run_with_other_options_is_not_shown_as_this_one(
    workplace: Path, changes: dict[str, Any], asked: int
) -> None:
    (row,) = small(**changes)
    assert f'was trained with train_cfg.max_epochs = 1, not {asked}' in row.runs[0].message
    assert row.figures == {}


def test_a_run_of_an_earlier_version_is_taken_as_it_is(workplace: Path, trained: Path) -> None:
    """Its checkpoint holds the config as Python text."""
    best = Path('checkpoints', CONFIG, 'seed_0', 'best.pth')
    content = torch.load(best, weights_only=True)
    content['meta']['cfg'] = read_config(content['meta']['cfg'], best).pretty_text
    torch.save(content, best)
    (row,) = small(seeds=[0])
    before = load_table(trained / 'table.json')[0][0].runs[0]
    (figures,) = ([run['figures'] for run in entry['runs']] for entry in to_json([row], [], {})['rows'])
    assert figures == [before.figures]


def test_figures_of_other_options_stay_out_of_the_metafiles(
    trained: Path, workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    args = ['--from', str(trained / 'table.json'), '--no-latency', '--update-metafiles']
    assert leaderboard.main(args) == 2
    assert 'was made with other options' in error_line(capsys)


def test_curves_of_several_tables(trained: Path, workplace: Path, capsys: pytest.CaptureFixture) -> None:
    assert leaderboard.main(['tophat', '--dataset', 'synthetic', '--no-latency', '--json', 'all.json']) == 0
    table = str(trained / 'table.json')
    assert leaderboard.main(['--from', table, 'all.json', '--no-latency']) == 2
    assert 'all.json has other presets' in capsys.readouterr().err
    presets = ['--size', '32', '--protocol', 'basicirstd', 'opdc']
    args = ['tophat', '--dataset', 'synthetic', '--no-latency', *presets, '--json', 'classical.json']
    assert leaderboard.main(args) == 0
    args = ['--from', table, 'classical.json', '--no-latency', '--json', 'both.json', '--curves', 'curves']
    assert leaderboard.main(args) == 0
    assert [row['method'] for row in rows_of('both.json')] == ['RPCANet+', 'TopHat']
    assert 'rpcanet_plus_synthetic, 2 seeds' in Path('curves.svg').read_text()
    assert Path('curves.png').stat().st_size > 1000
    capsys.readouterr()
    assert leaderboard.main(['--from', 'classical.json', '--no-latency', '--curves', 'none']) == 2
    assert '--curves: no training' in error_line(capsys)


@pytest.mark.parametrize('killed', ['log.jsonl', 'best.pth'])
def test_a_run_killed_before_its_first_save_is_begun_again(workplace: Path, killed: str) -> None:
    folder = Path('checkpoints') / CONFIG / 'seed_0'
    for path in folder.iterdir():
        if path.is_file() and path.name != killed:
            path.unlink()
    (row,) = small(seeds=[0])
    assert row.runs[0].state == 'done'


def test_classical_weights_grid_and_difference(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    save_weights()
    args = [
        'TopHat', 'max-median', 'tophat_paper', '--weights', f'{CONFIG}=w.pth', '--dataset', 'synthetic',
        '--size', '32', '--cfg-options', TEXTS[0], '--relative-to', 'tophat', '--grid', 'grid.png', '--overwrite',
    ]  # fmt: skip
    assert leaderboard.main([*args, '--json', 'table.json', '--jobs', '2']) == 0
    out = capsys.readouterr().out
    assert [row['method'] for row in rows_of()] == ['TopHat', 'MaxMedian', 'TopHat (paper)', 'RPCANet+']
    assert [row['kind'] for row in rows_of()] == ['classical'] * 3 + ['weights']
    assert all(row['cost']['latency_ms'] > 0 and row['cost']['threads'] for row in rows_of())
    assert set(rows_of()[0]['figures']) == {'basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc'}
    assert 'Δ IoU' in out
    assert '`w.pth`' in out
    assert Path('grid.png').stat().st_size > 1000

    latency = [row['cost'].pop('latency_ms') for row in rows_of()]
    assert leaderboard.main([*args, '--json', 'table.json', '--no-latency']) == 0
    assert [row['cost'].pop('latency_ms') for row in rows_of()] == latency, 'kept from the earlier file'
    assert leaderboard.main(['--from', 'table.json', '--json', 'again.json']) == 0
    again = rows_of('again.json')
    assert [row['cost']['latency_ms'] for row in again] != latency, 'measured again'
    assert [row['figures'] for row in again] == [row['figures'] for row in rows_of()]


def test_dry_run(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(engine_runs, 'train_run', never)
    monkeypatch.setattr(build, 'predict', never)
    (workplace / 'checkpoints' / CONFIG / 'seed_1' / 'summary.json').unlink()
    assert leaderboard.main([CONFIG, 'tophat', *SMALL, '--seeds', '0', '1', '2', '--dry-run']) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        [CONFIG, 'synthetic', '0', 'there', 'to', 'do'],
        [CONFIG, 'synthetic', '1', 'resume', 'after', 'epoch', '1', '-'],
        [CONFIG, 'synthetic', '2', 'to', 'do', '-'],
        ['tophat', 'synthetic', '-', '-', 'to', 'do'],
    ]


def test_a_classical_row_enters_few_files(workplace: Path) -> None:
    """What the maps of a data set, the list of them and their figures need, and two files of the leaderboard's own."""
    files = entered_files(lambda: small(['tophat']))
    assert [row.method for row in small(['tophat'])] == ['TopHat']
    assert len(files) <= 21, files
    assert not any(file.startswith(('cli/', 'app/', 'engine/', 'losses/', 'models/')) for file in files)


def test_nothing_named_means_the_unfolded_networks_and_the_classical_methods(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    assert leaderboard.main(['--dataset', 'synthetic', '--dry-run']) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert named[:4] == [f'{name}_synthetic' for name in ('rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet')]
    assert len(named) == 17
    assert not {'tensorring', 'tensortrain', 'npstt', 'stt'} & set(named), 'they need sequences'


def test_metafiles_and_readme(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = workplace / 'configs' / 'classical'
    copied.mkdir(parents=True)
    for name in ('metafile.yml', 'README.md'):
        shutil.copy(config_folder() / 'classical' / name, copied / name)
    monkeypatch.setattr(metafiles, 'config_folder', lambda: workplace / 'configs')
    Path('README.md').write_text(f'# Mine\n\n{BEGIN}\n{END}\n')
    args = ['tophat', '--dataset', 'synthetic', '--no-latency', '--update-metafiles', '--readme', 'README.md']
    assert leaderboard.main([*args, '--markdown', 'docs/table.md']) == 0
    card = metafiles.read_card(copied / 'metafile.yml')
    row = next(row for row in card['Results']['Measured'] if row['Dataset'] == 'synthetic')
    assert row['Command'] == 'python tools/leaderboard.py tophat --dataset synthetic'
    readme = Path('README.md').read_text()
    assert readme.startswith('# Mine\n')
    assert '| TopHat | classical |' in readme
    assert '(docs/table.md)' in readme
    assert '| `tophat` | synthetic |' in (copied / 'README.md').read_text()
    for page, link in (('here/t.md', 't.md'), ('docs/other.md', '../docs/other.md'), ('../t.md', None)):
        assert leaderboard._link(Path(page), Path('here/README.md')) == link


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['tophat'], 'Give --dataset'),
        (['nonesuch', *DATA], "Unknown method 'nonesuch'"),
        (['dtum', *DATA], 'dtum_synthetic_sequence looks at several frames, a leaderboard is of single images'),
        (['tensorring', *DATA], 'sequences.py scores it on labelled sequences'),
        (['tophat', '--dataset', 'nowhere'], 'nowhere'),
        (['tophat', 'TopHat', *DATA], 'named twice'),
        (['--weights', 'w.pth', *DATA], 'expected CONFIG=FILE'),
        (['--weights', f'{CONFIG}=no.pth', *DATA], 'no such file'),
        (['--weights', f'rpcanet_sirstv1={__file__}', *DATA], 'the config is of SIRSTv1'),
        (['tophat', *DATA, '--protocol', 'mine'], "Unknown protocol 'mine'"),
        (['tophat', *DATA, '--jobs', '0'], '--jobs must be at least 1'),
        (['tophat', *DATA, '--images', 'a'], 'give --grid'),
        (['tophat', *DATA, '--curves', '.'], '--curves . is a folder'),
        (['tophat', '--from', 'table.json'], 'leave out METHOD'),
        (['--from', 'nofile.json'], 'Cannot read nofile.json'),
        (['tophat', *DATA, '--epochs', '3', '--update-metafiles'], 'leave out --epochs'),
        (['tophat', *DATA, '--protocol', 'drpca', '--update-metafiles'], 'leave out --protocol'),
        (['tophat', *DATA, '--relative-to', 'ipi'], "method to compare with (--relative-to) 'ipi'"),
        (['tophat', *DATA, '--grid', 'g.png', '--images', 'no'], "Unknown image of synthetic test 'no'"),
        (['tophat', *DATA, '--readme', 'no.md'], 'no.md: no such file'),
        (['rpcanet', *DATA, '--seeds', '1', '1'], 'expected different whole numbers'),
    ],
)
def test_bad_input_is_one_line(workplace: Path, capsys: pytest.CaptureFixture, args: list[str], message: str) -> None:
    assert leaderboard.main(args) == 2
    assert message in error_line(capsys)
