"""The report and the other files of cal_from_mask.py."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io

from drpca.cli.score import main
from drpca.reports.svg_charts import Axis, Line, line_chart, linear_axis, log_axis
from tests.mini_results import NAMES, make_maps

FOLDERS = ['results/mini', 'runs/seed0/mini', 'runs/seed1/mini']


@pytest.fixture
def three_folders(workplace):
    """The results, and two seeds of another method: one blind on b_1, one with false alarms."""
    for number, folder in enumerate(FOLDERS[1:]):
        Path(folder, 'mat').mkdir(parents=True)
        for name, (scores, _) in make_maps().items():
            changed = scores * (0.1 if name == 'b_1' and number == 0 else 1)
            if number == 1:
                changed[30:33, 5:9] = 0.9
            scipy_io.savemat(f'{folder}/mat/{name}.mat', {'T': changed})
    return workplace


class Page(HTMLParser):
    """Collects what a page would fetch, its tables' cells, and unclosed elements."""

    VOID = {'meta', 'img', 'input', 'link', 'br'}

    def __init__(self, text):
        super().__init__()
        self.sources, self.open, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ('src', 'href', 'action')]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ('td', 'th'):
            self.cells.append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.cells and 'table' in self.open:
            self.cells[-1] += data.strip()


def make_report(*arguments):
    assert main(['--results', *FOLDERS, '--report', 'report.html', *arguments]) == 0
    return Path('report.html').read_text(encoding='utf-8')


def test_page_is_self_contained_and_names_every_definition(three_folders):
    text = make_report('--protocol', 'basicirstd', 'opdc', 'rpcanet')
    page = Page(text)
    assert page.open == []
    assert page.sources
    assert all(source.startswith('data:image/') for source in page.sources)
    assert not re.search(r'url\(|@import|fetch\(|XMLHttp|<link|<script src', text)
    for words in ('> 0.5 of maximum', 'centroid < 3 px', 'any overlap', '256x256', 'native', 'hIoU'):
        assert words in text.replace('&gt;', '>').replace('&lt;', '<'), words


def test_page_shows_the_figures_of_the_table(three_folders, capsys):
    page = Page(make_report('--protocol', 'basicirstd'))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('basicirstd')]
    assert len(rows) == 3
    for row in rows:
        cells = [*row[-14:-2], row[-1]]  # from IoU to Pd at a Fa, then targets
        assert any(page.cells[i : i + 13] == cells for i in range(len(page.cells)))


def test_page_compares_with_the_first_folder_and_over_seeds(three_folders):
    page = Page(make_report('--protocol', 'basicirstd'))
    assert 'runs/mini' in page.cells  # the two seeds as one
    seeds = page.cells[page.cells.index('runs/mini') :]
    assert seeds[1] == '2'
    assert sum(' ± ' in cell for cell in seeds[:20]) == 12
    # One of three images is missed by seed 0: Pd is 33.33 points lower.
    assert any(cell.startswith('-33.33') for cell in page.cells)


@pytest.mark.parametrize(('order', 'verdict', 'other'), [(1, 'worse', 'better'), (-1, 'better', 'worse')])
def test_page_marks_clear_differences(three_folders, order, verdict, other):
    """Seed 1 has one false alarm more in every image, and equal pixels otherwise."""
    folders = [FOLDERS[0], FOLDERS[2]][::order]
    assert main(['--results', *folders, '--protocol', 'shooting', '--report', 'r.html']) == 0
    text = Path('r.html').read_text()
    cell = rf'<td class="{verdict}">[-+]\d+\.\d\d<span class="interval">[^<]*</span></td></tr>'
    assert re.search(cell, text)
    assert f'<td class="{other}">' not in text


def test_page_shows_misses_and_false_alarms(three_folders):
    text = make_report('--protocol', 'basicirstd')
    assert 'runs/seed0/mini: misses, most visible first (1 of 1)' in text
    assert 'runs/seed1/mini: false alarms, highest score first (3 of 3)' in text
    assert text.count('<figure>') == 4
    assert text.count('data:image/jpeg') == text.count('data:image/png') == 4


def test_one_folder_has_no_comparison_and_empty_masks_do_not_break_the_page(workplace):
    from PIL import Image

    for name in NAMES:
        file = Path(f'data/mini/test/masks/{name}.png')
        Image.fromarray(np.zeros_like(np.asarray(Image.open(file)))).save(file)
    assert main(['--report', 'report.html']) == 0
    page = Page(Path('report.html').read_text())
    assert page.open == []
    assert 'id="comparison"' not in Path('report.html').read_text()


def test_results_of_other_images_are_not_compared(three_folders):
    Path('runs/seed0/mini/mat/a_1.mat').unlink()
    text = make_report('--protocol', 'basicirstd', '--allow-partial')
    assert 'other images than the first folder: not compared' in text
    assert '2 of 3 images' in text


def test_names_are_escaped(workplace):
    Path('results/mini').rename('results/<b>&')
    Path('results/<b>&/run.json').write_text(json.dumps({'dataset': 'mini'}))
    arguments = ['--report', 'r.html', '--latex', 't.tex', '--markdown', 't.md']
    assert main(['--results', 'results/<b>&', *arguments]) == 0
    assert '<b>&' not in Path('r.html').read_text()
    assert '<b>&' in Path('t.md').read_text()
    assert r'$<$b$>$\&' in Path('t.tex').read_text()


def test_csv_files_hold_plain_ratios(three_folders):
    files = ['--csv', 'f.csv', '--targets-csv', 't.csv', '--json', 'f.json']
    assert main(['--results', *FOLDERS, '--protocol', 'opdc', 'rpcanet', *files]) == 0
    figures = json.loads(Path('f.json').read_text())
    with Path('f.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        expected = figures[row['results']][row['preset']]
        for key in ('IoU', 'nIoU', 'Pd', 'Fa', 'AUC', 'images', 'targets'):
            assert float(row[key]) == expected[key]
        assert (row['hIoU'] == '') == (row['preset'] == 'rpcanet')
    with Path('t.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert {row['preset'] for row in rows} == {'opdc'}
    assert [row['hit'] for row in rows if row['results'] == FOLDERS[1]] == ['True', 'True', 'False']


def test_markdown_and_latex_hold_the_printed_rows(workplace, capsys):
    assert main(['--markdown', 't.md', '--latex', 't.tex']) == 0
    printed = capsys.readouterr().out.splitlines()
    markdown, latex = Path('t.md').read_text(), Path('t.tex').read_text()
    rows = printed[2:5]
    for line in rows:
        numbers = line.split()[-14:]
        assert ' | '.join(numbers) in markdown
        assert ' & '.join(numbers) in latex
    assert latex.count(r'\\') == len(rows) + 1
    assert len({line.count(' & ') for line in latex.splitlines() if line.endswith(r'\\')}) == 1


class TestThresholdFrom:
    @pytest.fixture
    def validation(self, workplace):
        """A split 'train' of one image, and results whose best threshold lies between 0.2 and 0.4."""
        shutil.copytree('data/mini/test', 'data/mini/trainval')
        Path('val/mini/mat').mkdir(parents=True)
        for kind in ('images', 'masks'):
            for file in Path('data/mini/trainval', kind).iterdir():
                file.rename(file.with_name('t' + file.name))
        for name, (_, mask) in make_maps().items():
            scores = np.where(mask, 0.4, np.where(np.roll(mask, 3, axis=0), 0.2, 0)).astype(np.float32)
            scipy_io.savemat(f'val/mini/mat/t{name}.mat', {'T': scores})
        Path('val/mini/run.json').write_text(json.dumps({'dataset': 'mini', 'split': 'trainval'}))
        return workplace

    def test_best_threshold_is_chosen_and_shown(self, validation, capsys):
        arguments = ['--threshold-from', 'val/mini', '--protocol', 'basicirstd', '--json', 'f.json']
        assert main(arguments) == 0
        chosen = json.loads(Path('f.json').read_text())['basicirstd']['protocol']['threshold']
        assert 0.2 <= chosen < 0.4
        out = capsys.readouterr().out
        assert f'thresholds chosen on val/mini, mini trainval: basicirstd > {chosen:g} (native)' in out
        assert f'> {chosen:g} ' in out.splitlines()[-2]

    def test_each_binarisation_has_its_own(self, validation):
        arguments = ['--threshold-from', 'val/mini', '--size', 'native', '--json', 'f.json']
        assert main(arguments) == 0
        chosen = {k: v['protocol']['threshold'] for k, v in json.loads(Path('f.json').read_text()).items()}
        assert chosen['drpca'] == chosen['rpcanet'] >= 0.5
        assert chosen['basicirstd'] < 0.4

    def test_a_budget_chooses_there_and_reports_here(self, validation, capsys):
        """There, a false alarm of 16 pixels and 0.2 in each image; here the target is 0.8 and the rest below 0.1."""
        for file in Path('val/mini/mat').iterdir():
            scores = 0.4 * (scipy_io.loadmat(file)['T'] > 0.3)
            scores[30:34, 5:9] = 0.2
            scipy_io.savemat(file, {'T': scores})
        arguments = ['--threshold-from', 'val/mini', '--protocol', 'basicirstd', '--at-fa', '2.1e-3']
        files = ['--json', 'f.json', '--report', 'r.html']
        assert main([*arguments, '--at-alarms', '0/image', *files]) == 0
        fa, alarms = json.loads(Path('f.json').read_text())['basicirstd']['chosen']
        assert fa['budget'] == {'amount': 2.1e-3, 'per': 'pixel'}
        assert alarms['budget'] == {'amount': 0, 'per': 'image'}
        for chosen in (fa, alarms):
            assert chosen['validation']['score'] == pytest.approx(0.3)
            assert (chosen['validation']['pd'], chosen['validation']['fa']) == (1, 0)
            assert (chosen['test']['pd'], chosen['test']['fa'], chosen['test']['alarms_per_image']) == (1, 0, 0)
        out = capsys.readouterr().out
        assert 'thresholds chosen on val/mini, mini trainval:' in out
        assert 'Fa ≤ 0.0021, native: score 0.3' in out
        assert '≤ 0 false alarms per image, native: score 0.3' in out
        assert '> 0.5 ' in out, 'the presets keep their thresholds'
        assert 'Fa ≤ 0.0021 on val/mini' in Path('r.html').read_text()

    def test_a_budget_that_is_not_reached_is_no_number(self, validation, capsys):
        for file in Path('val/mini/mat').iterdir():
            scores = scipy_io.loadmat(file)['T'] * 0
            scores[30:] = 0.9
            scipy_io.savemat(file, {'T': scores})
        assert main(['--threshold-from', 'val/mini', '--at-fa', '1e-5', '--protocol', 'basicirstd']) == 0
        assert 'Fa ≤ 1e-05, native: not reached' in capsys.readouterr().out

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (['--at-fa', '1e-5'], 'needs --threshold-from'),
            (['--threshold-from', 'val/mini', '--at-fa', '-1'], 'budget of at least 0, got -1'),
            (['--threshold-from', 'val/mini', '--at-alarms', '3'], "as 0.1/image or 2/Mpx, got '3'"),
            (['--threshold-from', 'val/mini', '--at-alarms', 'many/Mpx'], 'as 0.1/image or 2/Mpx'),
            (['--threshold-from', 'results/mini', '--at-fa', '1e-5'], 'shares 3 images'),
        ],
    )
    def test_wrong_budgets(self, validation, capsys, options, message):
        assert main([*options, '--protocol', 'basicirstd']) == 2
        assert message in capsys.readouterr().err

    def test_the_scored_images_are_refused(self, workplace, capsys):
        assert main(['--threshold-from', 'results/mini']) == 2
        error = capsys.readouterr().err
        assert 'choose it on a validation split' in error
        assert 'shares 3 images' in error


def test_charts_break_at_nan_and_bear_extremes():
    x = np.array([0, 1e-5, np.nan, 1e-3, 1e-2])
    axis = log_axis('Fa', [x])
    assert (axis.low, axis.high) == pytest.approx((1e-6, 1e-2))
    svg = line_chart('a <b>', [Line('"x" & y', x, np.linspace(0, 1, 5), mark=(1e-5, 0.25))], axis, Axis('Pd'))
    path = re.search(r'class="line".* d="([^"]*)"', svg).group(1)
    assert path.count('M') == 2
    assert '<b>' not in svg
    assert svg.count('<circle') == 1
    nothing = np.full(3, np.nan)
    empty = line_chart('e', [Line('n', nothing, nothing, mark=(np.nan, np.nan))], log_axis('Fa', [nothing]), Axis('Pd'))
    assert 'class="line"' not in empty
    assert '<circle' not in empty


def test_measured_points_are_dots_and_steps_lie_between():
    x, y = np.array([1e-5, 1e-4]), np.array([0.5, 0.75])
    line = Line('x', x, y, steps='after', labels=['first', 'second'])
    svg = line_chart('steps', [line], Axis('Fa', 1e-6, 1e-3, log=True), Axis('Pd'))
    assert [re.search(r'<title>(.*)</title>', dot)[1] for dot in re.findall('<circle.*?</circle>', svg)] == [
        'first', 'second'
    ]  # fmt: skip
    points = re.search(r'class="line".* d="M([^"]*)"', svg)[1].split('L')
    places = [tuple(map(float, point.split())) for point in points]
    assert [b[0] - a[0] == 0 or b[1] - a[1] == 0 for a, b in zip(places, places[1:])] == [True] * 3, 'no slope'
    assert len({column for column, _ in places}) == 3, 'the last goes on to the edge'
    ticks = linear_axis('logit', [np.array([-168.0, np.nan, 430])]).ticks()
    assert [text for _, text in ticks] == ['-200', '0', '200', '400', '600']
    assert len(linear_axis('logit', [np.zeros(0)]).ticks()) > 2


PROBE = """
<script>
const wait = () => new Promise(done => setTimeout(done, 50));
const names = () => [...document.querySelectorAll('#per-image tbody tr')].filter(r => !r.hidden)
  .map(r => r.cells[0].textContent + ' ' + r.cells[1].textContent);
const heads = [...document.querySelectorAll('#per-image th button')];
(async () => {
  const result = {width: [document.documentElement.scrollWidth, innerWidth]};
  result.background = getComputedStyle(document.body).backgroundColor;
  heads[4].click(); heads[4].click(); result.most_misses = names()[0];
  heads[1].click(); result.by_name = names().map(n => n.split(' ')[1]);
  document.getElementById('errors').click(); result.errors = names().length;
  const filter = document.getElementById('filter');
  filter.value = 'SEED1'; filter.dispatchEvent(new Event('input')); result.filtered = names();
  document.querySelector('[data-enlarge]').click(); await wait();
  result.enlarged = document.getElementById('large').open
    && document.querySelector('#large img').src.startsWith('data:image/');
  document.querySelector('#large button').click(); result.closed = !document.getElementById('large').open;
  document.getElementById('theme').click();
  result.toggled = getComputedStyle(document.body).backgroundColor;
  result.failed = window.failed || '';
  const out = document.createElement('pre'); out.id = 'probe'; out.textContent = JSON.stringify(result);
  document.body.append(out);
})();
</script>
"""


@pytest.mark.parametrize('width', [500, 1400])
def test_page_works_in_a_browser(three_folders, tmp_path, width):
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if chromium is None:
        pytest.skip('needs Chromium')
    text = make_report('--protocol', 'basicirstd')
    watch = '<script>window.onerror = message => { window.failed = message }</script>'
    text = text.replace('<head>', '<head>' + watch, 1).replace('</body>', PROBE + '</body>')
    Path('probe.html').write_text(text, encoding='utf-8')
    options = (
        'headless no-sandbox disable-gpu no-first-run disable-component-update disable-sync dump-dom '
        f'disable-background-networking window-size={width},900 virtual-time-budget=3000'
    )
    command = [chromium, *(f'--{option}' for option in options.split()), f'--user-data-dir={tmp_path}/profile']
    command.append(Path('probe.html').resolve().as_uri())
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(found.group(1).replace('&lt;', '<').replace('&amp;', '&'))
    assert result['failed'] == ''
    assert result['width'][0] <= result['width'][1]  # no sideways scrolling of the page
    assert result['most_misses'] == 'runs/seed0/mini b_1'
    assert result['by_name'] == sorted(NAMES * 3)
    assert result['errors'] == 4
    assert result['filtered'] == [f'runs/seed1/mini {name}' for name in NAMES]
    assert result['enlarged']
    assert result['closed']
    assert result['background'] != result['toggled']
