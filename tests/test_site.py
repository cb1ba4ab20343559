"""``make docs``: the site is built without a warning, loads nothing from elsewhere, and has a page for everything."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import get_navigation
from mkdocs.structure.pages import Page

import drpca
from drpca.registry import BASELINES, MODELS, network_names
from tests.support import ROOT, load_tool

PAGES = load_tool('site_pages')


@pytest.fixture(scope='module')
def config(tmp_path_factory: pytest.TempPathFactory) -> MkDocsConfig:
    return load_config(str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path_factory.mktemp('site')))


@pytest.fixture(scope='module')
def site(config: MkDocsConfig) -> Path:
    build(config)  # strict: any warning ends it
    return Path(config.site_dir)


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures; links that a reader follows may lead away."""
    pages = list(site.rglob('*.html'))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding='utf-8')
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]*)', text)
        loaded += re.findall(r'<link\b(?=[^>]*rel="(?:stylesheet|icon|preconnect|preload)")[^>]*href="([^"]*)', text)
        assert loaded
        for address in loaded:
            assert not address.startswith(('http:', 'https:', '//')), f'{page}: {address}'
    for style in site.rglob('*.css'):
        assert not re.search(r'(?:@import|url\()\s*["\']?(?:https?:)?//', style.read_text(encoding='utf-8'))


def test_everything_has_its_page(site: Path) -> None:
    reference = (site / 'docs/reference/drpca/index.html').read_text(encoding='utf-8')
    for name in drpca.__all__:
        assert re.search(rf'id="drpca[\w.]*\.{name}"', reference), name
    shown = ''.join(page.read_text(encoding='utf-8') for page in (site / 'configs').glob('*/index.html'))
    for name in network_names():
        assert f'id="{MODELS.files[name]}.{name}"' in shown, name
    for name, module in BASELINES.files.items():
        page = (site / 'configs/classical' / name.lower() / 'index.html').read_text(encoding='utf-8')
        assert f'id="{module}.{name}"' in page
    assert '<code>rpcanet_irstd_1k_best</code>' in shown
    formulas = (site / 'docs/unfolding/index.html').read_text(encoding='utf-8')
    assert formulas.count('<math') > 5, 'of no script'
    for text in (':func:', ':class:', ':mod:'):  # became links
        assert text not in shown + reference


def test_a_page_that_no_list_names_is_a_fault(config: MkDocsConfig, caplog: pytest.LogCaptureFixture) -> None:
    known = [File.generated(config, path, content='# A page') for path in ('README.md', 'docs/unknown.md')]
    with caplog.at_level(logging.WARNING):
        get_navigation(Files(known), config)
    assert 'docs/unknown.md' in caplog.text


def test_links_to_what_is_no_page(config: MkDocsConfig) -> None:
    """Files of the repository lose the link, folders lead to their README, and what is nowhere stays, as a fault."""
    files = Files([File.generated(config, path, content='') for path in ('docs/a.md', 'datasets/README.md')])
    page = Page('A', files.get_file_from_path('docs/a.md'), config)

    def linked(target: str) -> str:
        return PAGES.on_page_markdown(f'[text]({target})', page, config, files)

    assert linked('../setup.py') == 'text'
    assert linked('../datasets') == '[text](../datasets/README.md)'
    for target in ('nowhere.md', '#below', 'https://example.org', 'a.md#b'):
        assert linked(target) == f'[text]({target})'


def test_docstrings_become_markdown() -> None:
    assert PAGES.as_markdown('as :func:`drpca.models.loss` does::\n') == (
        'as <autoref optional identifier="drpca.models.loss"><code>models.loss</code></autoref> does:\n'
    )
    assert PAGES.as_markdown('>>> a = 1\n>>> b') == '```pycon\n>>> a = 1\n>>> b```\n'
    assert PAGES.as_markdown('‖B‖_* + ‖T‖_*') == r'‖B‖\_\* + ‖T‖\_\*'
