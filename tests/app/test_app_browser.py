"""The page in a real browser: zoom, Cancel, two tabs, folders, narrow and dark, and what a screen reader meets.

``AXE`` may name the file ``axe.min.js`` of the package axe-core; the page is then checked with it.
"""

import os
import re
from pathlib import Path

import cv2
import pytest
from app_support import frame, running_page, save_run

pytest.importorskip('nicegui', reason="the page needs the extra 'app'")
from drpca.app.compare_view import _COLUMNS as COLUMNS
from drpca.app.widgets import sortable
from tests.support import CHROMIUM

playwright = pytest.importorskip('playwright.sync_api', reason="needs the extra 'browser'")

SLOW = 'IPI, classical RPCA, paper preset'
QUICK = 'TopHat, classical filter, paper preset'
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason='needs Chromium')]


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    save_run(folder / 'checkpoints')
    with running_page(folder) as (process, port):
        yield f'http://127.0.0.1:{port}/'
        process.terminate()
        assert 'Traceback' not in process.communicate(timeout=30)[0]


@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield chromium
        chromium.close()


def settled(page):
    """Waits for a result of what is chosen."""
    page.get_by_text(re.compile(r'^\d+ detections?')).first.wait_for(timeout=60_000)
    page.locator('[aria-busy=false]').wait_for(timeout=60_000)


def opened(browser, address, query='', **options):
    page = browser.new_page(**options)
    page.set_default_timeout(60_000)
    page.goto(address + query)
    settled(page)
    return page


def transforms(page):
    return page.eval_on_selector_all('.linked-image img', 'images => images.map(image => image.style.transform)')


def serious(page):
    """What axe-core finds that is serious or worse."""
    page.evaluate(Path(os.environ['AXE']).read_text())
    found = page.evaluate('axe.run()')['violations']
    return [(one['id'], one['nodes'][0]['html']) for one in found if one['impact'] in ('serious', 'critical')]


def test_pictures_are_zoomed_together_and_tell_values(browser, address):
    page = opened(browser, address)
    page.get_by_role('button', name='zoom in').click()
    page.wait_for_function("document.querySelector('.linked-image img').style.transform.includes('scale(2)')")
    assert len(set(transforms(page))) == 1
    assert len(transforms(page)) > 4
    picture = page.locator('.linked-image').first
    picture.focus()
    page.keyboard.press('+')
    page.keyboard.press('ArrowLeft')
    page.wait_for_function("document.querySelector('.linked-image img').style.transform.includes('scale(4)')")
    assert len(set(transforms(page))) == 1
    picture.hover(position={'x': 30, 'y': 30})
    page.get_by_text('value').filter(has_text='score 0.').first.wait_for()
    page.close()


def test_numbers_in_tables_are_sorted_as_such(browser, address):
    page = opened(browser, address, f'?compare={QUICK}|{SLOW}')
    (order,) = {column[':sort'] for column in sortable(('name', 'Fa', 'seconds'), 'name') if ':sort' in column}
    values = ['2.1e-03', '9.0e-06', '–', '0', 10, '9.00']
    assert page.evaluate(f'values => values.sort({order})', values) == ['–', '0', '9.0e-06', '2.1e-03', '9.00', 10]
    table = page.get_by_role('region', name='detectors side by side')
    for heading in ('seconds', 'Fa'):
        at = COLUMNS.index(heading)
        table.locator('th').nth(at).click()
        table.locator('th.sorted', has_text=heading).wait_for()
        shown = [float(row.locator('td').nth(at).text_content()) for row in table.locator('tbody tr').all()]
        assert len(shown) == 3
        assert shown == sorted(shown)
    page.close()


def test_a_slow_run_is_cancelled_and_holds_up_no_other_tab(browser, address, tmp_path):
    quick = opened(browser, address, f'?detector={QUICK}&sample=synthetic/haze&threshold=0.3')
    slow = browser.new_page()
    slow.goto(f'{address}?detector={SLOW}')
    cv2.imwrite(str(tmp_path / 'large.png'), frame(640, 640))
    slow.locator('input[type=file]').first.set_input_files(tmp_path / 'large.png')
    slow.get_by_text(f'{SLOW} on large: score map').wait_for(timeout=60_000)
    quick.get_by_role('button', name='sea').click()
    quick.get_by_text(f'{QUICK} on sea', exact=True).wait_for()
    settled(quick)
    slow.get_by_role('button', name='Cancel').click(timeout=1000)  # it still runs
    slow.get_by_text('Cancelled.').wait_for()
    quick.get_by_role('slider', name='threshold').locator('[tabindex]').press('ArrowRight')
    quick.wait_for_function("location.search.includes('threshold=0.31')")
    quick.reload()
    settled(quick)
    assert quick.get_by_text('0.31', exact=True).last.is_visible()
    assert quick.get_by_text(f'{QUICK} on sea', exact=True).is_visible()
    for page in (slow, quick):
        page.close()


@pytest.mark.parametrize(
    'options',
    [{'viewport': {'width': 390, 'height': 844}}, {'viewport': {'width': 1400, 'height': 900}, 'color_scheme': 'dark'}],
    ids=['narrow', 'dark'],
)
def test_a_folder_on_narrow_and_dark_screens(browser, address, tmp_path, options):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'frame_{number}.png'), frame())
    (tmp_path / 'large.png').write_bytes(bytes(21 * 2**20))
    page = opened(browser, address, f'?compare={QUICK}', **options)
    page.locator('input[webkitdirectory]').first.set_input_files(tmp_path)
    page.get_by_text('3 frames', exact=True).wait_for()
    assert page.get_by_text('A file was not taken; it may be too large.').is_visible()
    page.get_by_role('button', name='next frame').click()
    page.get_by_text('2 of 3: frame_1').wait_for()
    settled(page)
    page.get_by_text('Histogram, profile and surface').click()
    page.locator('.js-plotly-plot .main-svg').first.wait_for()
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing sticks out'
    background = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (background == 'rgb(18, 18, 18)') == ('color_scheme' in options)
    if 'AXE' in os.environ:
        assert not serious(page)
    page.close()
