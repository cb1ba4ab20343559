"""Makes docs/images/app_light.png and app_dark.png: ``python -m tests.app.picture``, with playwright and Chromium."""

import tempfile
from urllib.parse import urlencode

import cv2
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from tests.app.app_support import running_page
from tests.support import CHROMIUM, ROOT

OUT = ROOT / 'docs/images'
DETECTOR = 'rpcanet_synthetic_demo, weights of the project'
OTHERS = 'TopHat, classical filter, paper preset|FKRW, classical filter, leaderboard preset'


def shoot(browser: Browser, address: str, query: dict[str, str], file: str, height: int, scheme: str) -> None:
    """Takes a picture of the page, 1200 pixels wide, once a result is there."""
    view = browser.new_page(viewport={'width': 1200, 'height': height}, color_scheme=scheme)  # type: ignore[arg-type]
    view.set_default_timeout(120_000)
    view.goto(f'{address}?{urlencode(query)}')
    view.get_by_text('against the label: IoU').wait_for()
    view.locator('[aria-busy=false]').wait_for()
    if scheme == 'dark':
        view.get_by_text('Histogram, profile and surface').click()
        view.locator('.js-plotly-plot .main-svg').first.wait_for()
        view.get_by_role('heading', name='Side by side').evaluate('box => box.scrollIntoView()')
        view.mouse.wheel(0, -70)
    view.wait_for_timeout(3000)  # until pictures and charts are drawn
    picture = cv2.imdecode(np.frombuffer(view.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(OUT / file), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    view.close()


def main() -> None:
    """Detections with verdicts, light; the comparison and the charts, dark."""
    with tempfile.TemporaryDirectory() as folder, running_page(folder) as (_, port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        query = {'detector': DETECTOR, 'sample': 'synthetic/horizon'}
        address = f'http://127.0.0.1:{port}/'
        shoot(browser, address, query, 'app_light.png', 860, 'light')
        shoot(browser, address, query | {'compare': OTHERS}, 'app_dark.png', 1400, 'dark')
        browser.close()


if __name__ == '__main__':
    main()
