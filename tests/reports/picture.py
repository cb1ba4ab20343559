"""Makes docs/images/report.png: ``python -m tests.reports.picture``, with playwright and Chromium."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

import drpca
from drpca.datasets.synthetic import generate_dataset
from drpca.reports.report import render_report
from tests.support import CHROMIUM

OUT = Path(__file__).resolve().parents[2] / 'docs/images/report.png'
DEMO = 'rpcanet_synthetic_demo'
METHODS = {DEMO: next(OUT.parents[2].glob(f'checkpoints/{DEMO}-*.pth')), 'tophat': None}


def main() -> None:
    """A report on synthetic frames; its first charts above the viewer of the image with the most false alarms."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate_dataset(root / 'data', num_train=1, num_test=12, size=128)
        for name, weights in METHODS.items():
            drpca.predict(name, out=root / name, dataset='synthetic', data_root=root / 'data', checkpoint=weights)
        folders = [root / name / 'synthetic' for name in METHODS]
        scores = drpca.score(folders, protocols=['basicirstd', 'opdc'], analyse=True, data_root=root / 'data')
        page = root / 'report.html'
        page.write_text(render_report(scores), encoding='utf-8')
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
            view = browser.new_page(viewport={'width': 1440, 'height': 560}, color_scheme='light')
            view.goto(page.as_uri())
            view.wait_for_selector(':root[data-drawn]', state='attached')
            view.evaluate("document.getElementById('card-free_response').scrollIntoView()")
            charts = [view.screenshot()]
            view.locator('#per-image th button').nth(5).click(click_count=2)
            view.locator('#per-image tbody button').first.click()
            view.locator('#tiles canvas').nth(3).wait_for()
            charts.append(view.screenshot())
            browser.close()
    parts = [cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR) for part in charts]
    cv2.imwrite(str(OUT), np.concatenate([parts[0][70:], parts[1]]), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == '__main__':
    main()
