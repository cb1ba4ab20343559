"""Trainings over the values of a config, in one table."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

import drpca
from drpca.cli import train as train_command
from drpca.engine import runs
from drpca.engine.runs import Outcome, Run, TrainingOptions, TrainingResult, plan_runs
from drpca.errors import UserError
from drpca.inference.detector import Detector
from drpca.leaderboard import sweeps
from drpca.leaderboard.sweeps import NAMED, parse_sweep, plan_sweep, report_sweep
from drpca.registry import MODELS
from drpca.run_folder import RunFolder

CONFIG = 'rpcanet_plus_synthetic'
FIGURES = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')


def arguments(data_root: Path, work: Path, *sweep: str) -> list[str]:
    sizes = [f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test')]
    return [
        *(CONFIG, '--data-root', str(data_root), '--work-dir', str(work), '--epochs', '1', '--limit', '4'),
        *('--workers', '0', '--batch-size', '2', '--sweep', *sweep),
        *('--cfg-options', 'inference_size=32', 'model.network.channels=16', 'model.network.num_stages=1', *sizes),
    ]


def test_a_sweep_is_one_line(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two trainings, a table, a plot; the same command again trains nothing."""
    args = arguments(data_root, tmp_path, 'model.network.num_stages=1,2')
    assert train_command.main(args) == 0
    first = capsys.readouterr().out
    assert f'{CONFIG}_limit4 num_stages, test split, preset basicirstd' in first
    stem = tmp_path / 'sweeps' / f'{CONFIG}_limit4_num_stages'
    content = json.loads(stem.with_suffix('.json').read_text())
    assert [row['values'] for row in content['rows']] == [[1], [2]]
    for stages, row in zip((1, 2), content['rows']):
        folder = tmp_path / f'{CONFIG}_limit4_num_stages={stages}' / 'seed_0'
        summary = json.loads((folder / 'summary.json').read_text())
        assert row['parameters'] == summary['parameters']
        assert row['figures']['IoU'] == {'mean': summary['test']['IoU'], 'std': None}
    assert content['rows'][0]['parameters'] < content['rows'][1]['parameters']
    assert cv2.imread(f'{stem}.png').std() > 5
    assert f'{CONFIG}_limit4 num_stages, test split, preset basicirstd' in Path(f'{stem}.svg').read_text()
    written = (tmp_path / f'{CONFIG}_limit4_num_stages=1' / 'seed_0' / 'last.pth').stat().st_mtime_ns
    assert train_command.main(args) == 0
    assert capsys.readouterr().out.rpartition('test split')[2] == first.rpartition('test split')[2]
    assert (tmp_path / f'{CONFIG}_limit4_num_stages=1' / 'seed_0' / 'last.pth').stat().st_mtime_ns == written


def test_noise_of_the_test_images_trains_once(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures are those of the study; a classical method stands in for the network."""
    result = TrainingResult(RunFolder(tmp_path), 'x', 0, 1, 'val', 1, 0.5, 1000, 2.0, 'best.pth', {'IoU': 0.5})
    monkeypatch.setattr(sweeps, 'Detector', lambda **_: Detector('tophat', dataset='synthetic', data_root=data_root))
    runs_ = plan_runs([CONFIG], options=TrainingOptions(work_dir=tmp_path, data_root=data_root))
    points = plan_sweep(runs_, NAMED['salt_pepper'])
    assert [run for point in points for run in point.runs] == runs_
    outcomes = {runs_[0].folder.path: Outcome('done', result)}
    (table,) = report_sweep(NAMED['salt_pepper'], points, outcomes)
    detector = Detector('tophat', dataset='synthetic', data_root=data_root)
    study = drpca.robustness(detector, data_root=str(data_root), corruptions=['salt_pepper=1,3,5'])
    assert [row.values for row in table.rows] == [(0,), (1,), (3,), (5,)]
    found = [row.figures['Fa'][0] for row in table.rows]
    assert found == [score.figures['basicirstd']['Fa'] for score in study.results]
    assert len(set(found)) == 4
    assert 'salt and pepper (%)' in table.as_markdown()


def test_published_figures_stand_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two seeds of trainings that take no time, one of which fails."""

    def train_run(run: Run, resume: bool) -> TrainingResult:
        keys = {key.rpartition('.')[2]: value for key, value in run.options.cfg_options.items()}
        if run.seed == 1 and keys['num_stages'] == 2:
            raise UserError('no more')
        count = 0 if run.seed else sum(v.numel() for v in MODELS.build({'type': 'RPCANetPlus', **keys}).parameters())
        figures = {f'{prefix}{key}': 0.5 + 0.25 * run.seed for key in FIGURES for prefix in ('', 'rpcanet/')}
        return TrainingResult(run.folder, 'x', run.seed, 1, 'val', 1, 0.5, count, 2.0, 'best.pth', figures)

    monkeypatch.setattr(runs, 'train_run', train_run)
    options, sweep = TrainingOptions(work_dir=tmp_path, data_root=tmp_path), NAMED['rpcanet_plus_stages']
    points = plan_sweep(plan_runs(['rpcanet_plus_sirst_aug'], seeds=[0, 1], options=options), sweep)
    outcomes = {run.folder.path: runs.attempt(run) for point in points for run in point.runs}
    (table,) = report_sweep(sweep, points, outcomes)
    lines = [line.split() for line in table.as_text().splitlines()[2:]]
    assert table.preset == 'rpcanet'
    assert [line[0] for line in lines] == list('1234567')
    assert (lines[0][2], lines[0][-2]) == ('0.0360', '0.0360'), 'parameters here and published'
    assert (lines[6][2], lines[6][-2]) == ('0.2519', '0.2519')
    assert lines[0][3:6] == ['62.50', '±', '17.68']
    assert lines[1][1:4] == ['1', 'of', '2']
    assert lines[5][-7:] == ['74.56', '/', '85.43', '/', '99.17', '/', '297.80'], 'six stages are the published network'
    for name, config, own in (
        ('bottleneck', 'rpcanet_plus_nudt_sirst', 16),
        ('channels', 'rpcanet_plus_sirst_aug', 32),
    ):
        points = plan_sweep(plan_runs([config], options=options), NAMED[f'rpcanet_plus_{name}'])
        assert [point.values[0] for point in points if point.published] == [own]


def test_several_keys(tmp_path: Path) -> None:
    options = TrainingOptions(work_dir=tmp_path, data_root=tmp_path)
    sweep = parse_sweep(['model.network.num_stages=1,2', 'optim_wrapper.optimizer.type=Adam,AdamW'])
    points = plan_sweep(plan_runs([CONFIG], options=options), sweep)
    assert [point.values for point in points] == [(1, 'Adam'), (1, 'AdamW'), (2, 'Adam'), (2, 'AdamW')]
    assert points[1].runs[0].name == f'{CONFIG}_num_stages=1_type=AdamW'


@pytest.mark.parametrize(
    ('texts', 'expected'),
    [
        (['rpcanet_plus_stage'], "Unknown sweep 'rpcanet_plus_stage'. Did you mean 'rpcanet_plus_stages'"),
        (['a=1', 'b'], '--sweep b: expected KEY=VALUE,VALUE'),
        (['a='], '--sweep a=: expected'),
        (['a=1,1'], 'a value is named twice'),
        (['a=1,2', 'a=3,4'], 'the key is named twice'),
    ],
)
def test_bad_sweeps(texts: list[str], expected: str) -> None:
    with pytest.raises(UserError) as error:
        parse_sweep(texts)
    assert expected in str(error.value)


def test_keys_that_are_not_there(tmp_path: Path) -> None:
    options = TrainingOptions(work_dir=tmp_path, data_root=tmp_path)
    with pytest.raises(UserError, match='Unknown config key'):
        plan_sweep(plan_runs([CONFIG], options=options), parse_sweep(['model.netwrk.num_stages=1,2']))
    with pytest.raises(UserError, match=r"parameter of RPCANetPlus 'num_stage'\. Did you mean 'num_stages'"):
        plan_sweep(plan_runs([CONFIG], options=options), parse_sweep(['model.network.num_stage=1,2']))
    with pytest.raises(UserError, match='two keys end in the same word'):
        plan_sweep(
            plan_runs([CONFIG], options=options),
            parse_sweep(['train_dataloader.batch_size=1,2', 'val_dataloader.batch_size=2,1']),
        )


def test_the_help_names_them(capsys: pytest.CaptureFixture) -> None:
    help_text = ' '.join(train_command.build_parser().format_help().split())
    assert all(name in help_text for name in NAMED)
