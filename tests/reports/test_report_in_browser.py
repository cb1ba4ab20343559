"""The report in Chromium: what one reads off, opens, links to and prints, and how large and quick it is."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

from drpca.cli.score import main
from drpca.reports.report import BUDGET
from tests.mini_results import make_maps
from tests.reports.test_sequence_report import make_sequences
from tests.support import CHROMIUM

HOSTILE = 'a<img src=x onerror=alert(1)>'
METHODS = ['good', 'blind', 'nervous']


@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip('playwright.sync_api', reason='needs playwright (pip install ".[browser]")')
    if CHROMIUM is None:
        pytest.skip('needs Chromium')
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three methods on three images of the mini data set, one with a hostile name; 'blind' misses b_1."""
    folder = tmp_path_factory.mktemp('report')
    maps = make_maps()

    def change(number, name, scores):
        if (number, name) == (1, 'b_1'):
            return scores * 0.1
        return np.where(alarm(scores), 0.9, scores) if number == 2 else scores

    save(folder, {HOSTILE: maps.pop('a_1'), **maps}, change)
    return folder


def alarm(scores):
    """A false alarm of 3 × 4 pixels."""
    place = np.zeros(scores.shape, bool)
    place[30:33, 5:9] = True
    return place


def save(folder, maps, change):
    """Writes the data set 'mini', and results of every method."""
    for part in ('data/mini/test/images', 'data/mini/test/masks', *(f'{method}/mini/mat' for method in METHODS)):
        Path(folder, part).mkdir(parents=True)
    for name, (scores, mask) in maps.items():
        frame = (90 + 60 * mask + np.random.default_rng(1).integers(0, 20, mask.shape)).astype(np.uint8)
        Image.fromarray(frame).save(folder / 'data/mini/test/images' / f'{name}.png')
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / 'data/mini/test/masks' / f'{name}.png')
        for number, method in enumerate(METHODS):
            content = {'T': change(number, name, scores).astype(np.float32)}
            scipy_io.savemat(folder / method / 'mini/mat' / f'{name}.mat', content)


def report(folder, *options):
    """URL of the report."""
    page = folder / 'report.html'
    arguments = ['--results', *(str(folder / method / 'mini') for method in METHODS), '--report', str(page)]
    assert main([*arguments, '--data-root', str(folder / 'data'), '--overwrite', *options]) == 0
    return page.as_uri()


def open_page(browser, url, **options):
    page = browser.new_page(**options)
    page.errors = []
    page.on('pageerror', lambda error: page.errors.append(str(error)))
    page.on('dialog', lambda dialog: page.errors.append(dialog.message))
    outside = re.compile(r'(?!file:|data:|blob:)')
    page.on('request', lambda request: page.errors.append(request.url) if outside.match(request.url) else None)
    page.goto(url)
    page.wait_for_selector(':root[data-drawn]', state='attached')
    return page


def hidden_parts(page):
    """Boxes whose content is wider than they are."""
    return page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('.scroll, .card, figure')]"
        '.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel || box.tagName)'
    )


@pytest.mark.slow
def test_everything_that_one_does_with_a_report(browser, folder):
    url = report(folder, '--protocol', 'basicirstd', 'shooting')
    page = open_page(browser, url, viewport={'width': 1400, 'height': 900})
    assert page.locator('h1').text_content() == 'good, blind and nervous on mini test'
    # reading off
    page.locator('#free_response').scroll_into_view_if_needed()
    page.locator('#free_response .trace:has(path) .points path').first.hover(force=True)
    text = page.locator('#free_response .hovertext').first
    text.wait_for()
    assert re.search(r'(good|blind|nervous).*Pd % [\d.]+', text.text_content())
    # presets
    assert 'blind: misses, most visible first (1 of 1)' in page.locator('#cases').text_content()
    page.select_option('#preset', '1')
    assert page.locator('#cases').text_content().count('false alarms') == 3
    assert all('shooting' in text for text in page.locator('.chosen-preset').all_text_contents())
    # an image from a point, a case and the table
    page.locator('#pairs .points path').first.click(force=True)
    page.locator('#tiles canvas').nth(4).wait_for()
    page.keyboard.press('Escape')
    page.wait_for_function("location.hash === ''")  # the browser tells of a closed dialog a little later
    page.locator('#cases figure button').first.click()
    assert page.locator('#viewer-name').text_content() == 'b_1 (mini test)'
    assert page.evaluate('view.zoom') == 5
    page.keyboard.press('Escape')
    page.get_by_role('button', name=HOSTILE, exact=True).first.click()
    assert page.locator('#viewer-name').text_content() == f'{HOSTILE} (mini test)'
    page.locator('#tiles canvas').nth(4).wait_for()
    # verdicts, values, zoom
    verdicts = page.locator('#verdicts tbody tr').all_text_contents()
    assert [re.match(r'(\w+?)(hit|false alarm)', row).groups() for row in verdicts] == [
        ('good', 'hit'), ('blind', 'hit'), ('nervous', 'hit'), ('nervous', 'false alarm')
    ]  # fmt: skip
    box = page.locator('#tiles canvas').nth(2).bounding_box()
    at = box['x'] + 22.5 / 60 * box['width'], box['y'] + 11.5 / 40 * box['height']
    page.mouse.move(*at)
    values = page.locator('#tiles output').all_text_contents()
    assert values[1:] == ['target', 'score 0.800', 'score 0.800', 'score 0.800']
    assert re.fullmatch(r'1\d\d of 255', values[0])
    assert page.locator('#readout').text_content() == 'row 11, column 22 of 40×60'
    before = [page.locator('#tiles canvas').nth(i).screenshot() for i in (0, 4)]
    page.mouse.wheel(0, -600)
    page.wait_for_function('location.hash.includes("zoom=7.39")')
    assert all(page.locator('#tiles canvas').nth(i).screenshot() != old for i, old in zip((0, 4), before))
    assert page.locator('#tiles output').nth(2).text_content() == 'score 0.800', 'the place under the pointer stays'
    page.keyboard.press('Shift+ArrowDown')
    page.wait_for_function('view.y > 0.3')
    link = page.url
    page.keyboard.press('ArrowRight')
    page.wait_for_function("document.getElementById('viewer-name').textContent.startsWith('a_2')")
    page.keyboard.press('Escape')
    # the table
    page.fill('#filter', 'NERVOUS')
    assert page.locator('#per-image tbody tr').count() == 3
    page.fill('#filter', '')
    page.check('#errors')
    assert page.locator('#per-image tbody tr').count() == 4
    page.locator('#per-image th button').nth(4).click()
    page.locator('#per-image th button').nth(4).click()
    assert page.locator('#per-image tbody tr').first.text_content().startswith('blindb_1')
    # light and dark
    colours = []
    for _ in range(2):
        colours.append(page.evaluate('getComputedStyle(document.body).backgroundColor'))
        page.click('#theme')
    assert len(set(colours)) == 2
    assert page.errors == []
    # a link to an image
    page = open_page(browser, link)
    assert page.locator('#viewer-name').text_content() == f'{HOSTILE} (mini test)'
    assert page.evaluate('[preset, Math.round(view.zoom)]') == [1, 7]
    assert page.errors == []


@pytest.mark.slow
@pytest.mark.parametrize(('width', 'media'), [(400, 'screen'), (1400, 'screen'), (718, 'print')])
def test_nothing_is_cut_off(browser, folder, width, media):
    """A4 without margins of 10 mm is 718 pixels wide; on a small screen tables scroll in themselves."""
    page = open_page(browser, report(folder), viewport={'width': width, 'height': 900}, color_scheme='dark')
    page.emulate_media(media=media)
    cut = hidden_parts(page)
    assert 'HTML' not in cut
    if media == 'print':
        assert cut == []
        paper = page.pdf(format='A4', prefer_css_page_size=True)
        assert paper.startswith(b'%PDF')
        assert page.evaluate('document.documentElement.dataset.theme') == 'dark', 'as before, on the screen'
    assert page.errors == []


@pytest.mark.slow
def test_a_large_report_is_small_and_quick(browser, tmp_path):
    """664 images and 3 methods with frames that do not compress: 1992 rows."""
    rng, mask = np.random.default_rng(0), np.zeros((96, 96), bool)
    mask[40:44, 50:53] = True
    maps = {f'{i:06}': (np.where(mask, 0.9, 0.3 * rng.random(mask.shape)), mask) for i in range(664)}
    save(tmp_path, maps, lambda number, name, scores: np.where(alarm(scores) & (rng.random() < 0.3), 0.8, scores))
    url = report(tmp_path, '--protocol', 'basicirstd')
    assert 0.8 * BUDGET < (tmp_path / 'report.html').stat().st_size < 15e6
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send('Performance.enable', {'timeDomain': 'threadTicks'})  # what others do at the time does not count
    page.goto(url)
    page.wait_for_selector(':root[data-ready]', state='attached')
    worked = {metric['name']: metric['value'] for metric in session.send('Performance.getMetrics')['metrics']}
    print(f'{worked["TaskDuration"]:.2f} s of the main thread until the page is ready')
    assert worked['TaskDuration'] < 3


@pytest.mark.slow
def test_a_sequence_is_moved_by_slider_keys_strip_and_play(browser, tmp_path):
    make_sequences(tmp_path)
    arguments = ['--results', str(tmp_path / 'results/sequences'), '--masks', str(tmp_path / 'sequences')]
    assert main([*arguments, '--report', str(tmp_path / 'r.html'), '--protocol', 'basicirstd', 'shooting']) == 0
    page = open_page(browser, (tmp_path / 'r.html').as_uri(), viewport={'width': 390, 'height': 800})
    slider = page.get_by_role('slider', name='Frame')
    shot = page.locator('#moment canvas').nth(2).screenshot()
    slider.focus()
    page.keyboard.press('ArrowRight')
    assert slider.get_attribute('aria-valuetext').startswith(
        'frame 2 of 5, a/images/0001. sequences: 1 of 1 target hit'
    )
    page.wait_for_function("document.getElementById('time-text').textContent.startsWith('frame 2')")
    assert page.locator('#moment canvas').nth(2).screenshot() != shot, 'the target has moved'
    page.keyboard.press('End')
    assert '0 of 1 target hit, 1 false alarm' in slider.get_attribute('aria-valuetext')
    strip = page.locator('#strips canvas')
    assert (
        strip.get_attribute('aria-label') == 'sequences: 4 of 5 targets hit, 1 false alarm in 1 frame; a column a frame'
    )
    strip.click(position={'x': 2, 'y': 5})
    assert slider.input_value() == '0'
    page.get_by_role('button', name='Play').click()
    page.wait_for_function("document.getElementById('time').value === '2'")
    page.get_by_role('button', name='Pause').press('ArrowLeft')
    page.get_by_role('button', name='Pause').click()
    moves = """async () => {
      const real = moveTime, wait = () => new Promise(done => setTimeout(done, 500)), waiting = [];
      moveTime = () => new Promise(done => waiting.push(done));
      play(true); await wait(); play(false); play(true); await wait();
      waiting[0](); await wait(); play(false); moveTime = real;
      return waiting.length;
    }"""
    assert page.evaluate(moves) == 2, 'no second chain after Pause and Play while a picture is awaited'
    page.set_viewport_size({'width': 390, 'height': 330})
    page.evaluate("document.getElementById('player').scrollIntoView()")
    box = slider.bounding_box()
    assert 0 <= box['y'] <= 330 - box['height'], 'at hand, though the pictures reach below the screen'
    assert page.locator('#strips').bounding_box()['y'] > 330
    page.set_viewport_size({'width': 390, 'height': 800})
    page.locator('#time-stretch').uncheck()
    assert not page.locator('#stretch').is_checked(), 'one choice for both'
    page.get_by_role('button', name='b', exact=True).first.click()
    assert page.evaluate("[document.getElementById('sequence').value, document.activeElement.id]") == ['1', 'time']
    page.locator('#moment button').first.click()
    assert page.locator('#viewer-name').text_content() == 'b/images/0000 (sequences all)'
    page.keyboard.press('Escape')
    page.select_option('#preset', '1')
    assert '1 of 1 target hit' in slider.get_attribute('aria-valuetext')
    assert 'HTML' not in hidden_parts(page)
    check_accessibility(page)
    assert page.errors == []


def check_accessibility(page):
    """By axe-core, where AXE names its file axe.min.js: nothing serious or worse."""
    if 'AXE' in os.environ:
        page.add_script_tag(path=os.environ['AXE'])
        found = page.evaluate('axe.run()')['violations']
        assert [
            (rule['id'], rule['nodes'][0]['html']) for rule in found if rule['impact'] in ('serious', 'critical')
        ] == []
