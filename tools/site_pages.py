"""What ``make docs`` adds to the pages of ``docs/``: a hook of MkDocs, named in ``mkdocs.yml``.

Pages keep their paths in the repository, so that a link holds there and in the site. Added are the pages outside
``docs/``, notebooks, a page for every classical method, and the reference of the Python names; the page of a network
gets its configs, weights and docstrings. A link to a file that is no page, such as a test, becomes plain text.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from drpca.cards import FILE, known_weights, read_card
from drpca.config import list_configs
from drpca.names import simplify
from drpca.registry import BASELINES, MODELS

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ('*.md', 'datasets/README.md', 'checkpoints/README.md', 'results/README.md', 'configs/**/README.md')
APART = ('classical', 'ablations')
ROOMS = {
    'Data': ('drpca.datasets', 'drpca.datasets.io.ValueRange', 'drpca.datasets.labels'),
    'Networks': ('drpca.models.unfolding', 'drpca.models.detector', 'drpca.registry'),
    'Losses': ('drpca.losses',),
    'Training': ('drpca.engine.runs', 'drpca.run_folder'),
    'Detection': (
        'drpca.inference.detections', 'drpca.inference.frames', 'drpca.inference.live', 'drpca.inference.temporal'
    ),
    'Scores': ('drpca.evaluation', 'drpca.evaluation.functional', 'drpca.evaluation.curves', 'drpca.results.folder'),
    'Classical base': ('drpca.baselines.base', 'drpca.baselines.rpca'),
    'Deployment': ('drpca.deploy.backends', 'drpca.deploy.optimise', 'drpca.deploy.quantise'),
    'Errors': ('drpca.errors',),
}  # fmt: skip
"""Title of a page of the reference → what stands on it: modules, those with a stub by the names in it, and classes."""


def exported(package: str) -> dict[str, str]:
    """Public name → where it is defined, of a package with a stub: ``{'train': 'drpca.engine.runs.train'}``."""
    tree = ast.parse(ROOT.joinpath(*package.split('.'), '__init__.pyi').read_text(encoding='utf-8'))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {name.name: f'{package}.{node.module}.{name.name}' for node in imports for name in node.names}


def reference() -> dict[str, tuple[str, str]]:
    """Path of a page of the Python reference → its title and text."""
    pages = {'docs/reference/drpca.md': ('drpca', _described('drpca', exported('drpca').values()))}
    for title, parts in ROOMS.items():
        names = [name for part in parts for name in (exported(part).values() if _has_stub(part) else [part])]
        pages[f'docs/reference/{title.lower().replace(" ", "_")}.md'] = (title, _described(title, names))
    return pages


def _has_stub(name: str) -> bool:
    return ROOT.joinpath(*name.split('.'), '__init__.pyi').is_file()


def _described(title: str, names: Iterable[str]) -> str:
    names = sorted(names, key=lambda name: name.rpartition('.')[2].lower()) if title == 'drpca' else names
    return '\n\n'.join([f'# {title}', *(f'::: {name}' for name in names)]) + '\n'


def _members(module: str) -> str:
    """What a file holds, without a heading of its own."""
    return f'::: {module}\n    options: {{show_root_heading: false, show_root_toc_entry: false, heading_level: 2}}'


@cache
def networks() -> dict[str, Path]:
    """Name of a network → its folder in ``configs``, by the heading of its README."""
    pages = [path for path in sorted(ROOT.glob('configs/*/README.md')) if path.parent.name not in APART]
    return {path.read_text(encoding='utf-8').splitlines()[0].removeprefix('# '): path.parent for path in pages}


def _module_of(folder: Path) -> str:
    """The module of a network: as its metafile says, or the one that defines a network called like the folder."""
    named = {simplify(name): module for name, module in MODELS.files.items()}
    known = read_card(folder / FILE)['Network']['type'] if (folder / FILE).is_file() else folder.name
    return named[simplify(known)]


def network_part(folder: Path) -> str:
    """What the page of a network says besides its README: configs, weights, and the docstrings of its file."""
    configs = [name for name, path in list_configs().items() if path.parent == folder]
    parts = ['', '## Configs', 'For `run_configs.py`: ' + ', '.join(f'`{name}`' for name in configs) + '.']
    heads = ('config', 'trained on', 'MB', 'from', 'licence')
    rows = [
        (
            f'`{row.config}`',
            row.trained_on,
            f'{row.size / 1e6:.1f}' if row.size else '–',
            row.source,
            row.licence or '–',
        )
        for row in _weights()
        if row.config in configs
    ]
    if rows:
        parts += ['## Weights by name', 'For `drpca weights get`:', table(*heads, rows=rows)]
    return '\n\n'.join([*parts, '## In Python', _members(_module_of(folder)), ''])


_weights = cache(known_weights)


def classical() -> Iterator[tuple[str, str, str]]:
    """Of each classical method: path of its page, its name, and the page."""
    published = json.loads((ROOT / 'drpca/baselines/reference.json').read_text(encoding='utf-8'))
    card = read_card(ROOT / f'configs/classical/{FILE}')
    measured = {entry['Method']: entry for entry in card['Results']['Measured']}
    for name, module in sorted(BASELINES.files.items()):
        presets = BASELINES.get(name).PRESETS
        keys = list(dict.fromkeys(key for preset in presets.values() for key in preset))
        rows = [(f'`{key}`', *(f'`{preset.get(key, "–")}`' for preset in presets.values())) for key in keys]
        command = f'```\npython inference.py {name.lower()} --dataset SIRSTv1\n```'
        parts = [f'# {name}', _members(module), command, '## Parameters', table('', *presets, rows=rows)]
        if name in published['rows']:
            sources = '. '.join(f'{source.capitalize()}: {text}' for source, text in published['sources'].items())
            rows = [(source, *(f'{value:.2f}' for value in row)) for source, row in published['rows'][name].items()]
            parts += [f'## On {published["dataset"]}, preset {published["protocol"]}', f'{sources}.']
            parts.append(table('', *published['columns'], rows=rows))
        if name in measured:
            heads = ('preset', 'size', 'IoU %', 'nIoU %', 'F1 %', 'Pd %', 'Fa ×1e-6')
            rows = [
                (row['Protocol'], str(row['Size']), *(f'{100 * row[key]:.2f}' for key in ('IoU', 'nIoU', 'F1', 'Pd')),
                 f'{1e6 * row["Fa"]:.2f}')
                for row in measured[name]['Figures']
            ]  # fmt: skip
            parts += ['## Measured here', f'`{measured[name]["Command"]}`', table(*heads, rows=rows)]
        yield f'configs/classical/{name.lower()}.md', name, '\n\n'.join(parts) + '\n'


def table(*heads: str, rows: Iterable[Iterable[str]]) -> str:
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in (heads, ['---'] * len(heads), *rows))


def notebook(path: Path) -> str:
    """A notebook with its outputs as a page."""
    parts = []
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        text = ''.join(cell['source'])
        parts.append(f'```python\n{text}\n```' if cell['cell_type'] == 'code' else text)
        for output in cell.get('outputs', ()):
            data = output.get('data', {'text/plain': output.get('text', '')})
            if 'image/png' in data:
                parts.append(f'![Output of the cell above](data:image/png;base64,{"".join(data["image/png"]).strip()})')
            else:
                parts.append('```\n' + ''.join(data['text/plain']).rstrip() + '\n```')
    return '\n\n'.join([*parts, f'The notebook: [{path.name}]({path.name}).']) + '\n'


def slug(text: str, separator: str) -> str:
    """The anchor of a heading, as repository pages make it."""
    return re.sub(r'[^\w\- ]', '', text.strip().lower()).replace(' ', separator)


def on_config(config: MkDocsConfig) -> None:
    config.mdx_configs['toc']['slugify'] = slug
    added: dict[str, list[Any]] = {
        'Networks': [{name: f'configs/{folder.name}/README.md'} for name, folder in networks().items()],
        'Classical methods': ['configs/classical/README.md', *({name: path} for path, name, _ in classical())],
        'Python': [{title: path} for path, (title, _) in reference().items()],
    }
    for section in config.nav or ():
        for title in section.keys() & added.keys():
            section[title] += added[title]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    def page(path: str, content: str | None = None) -> File:
        given = {'abs_src_path': str(ROOT / path)} if content is None else {'content': content}
        return File.generated(config, path, **given)

    found = [file for file in files if file.src_dir != config.docs_dir]  # of the theme
    docs = [f'docs/{file.src_uri}' for file in files if file.src_dir == config.docs_dir]
    found += [page(path) for path in docs]
    found += [page(f'{path[:-6]}.md', notebook(ROOT / path)) for path in docs if path.endswith('.ipynb')]
    outside = sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern))
    found += [page(path.relative_to(ROOT).as_posix()) for path in outside]
    found += [page(path, text) for path, (_, text) in reference().items()]
    found += [page(path, text) for path, _, text in classical()]
    return Files(found)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = match[2].partition('#')[0]
        path = posixpath.normpath(posixpath.join(here, target))
        if not target or ':' in target or files.get_file_from_path(path) or not (ROOT / path).exists():
            return match[0]
        readme = posixpath.join(path, 'README.md')
        if files.get_file_from_path(readme):
            return f'[{match[1]}]({posixpath.relpath(readme, here or ".")})'
        return match[1]

    text = re.sub(r'(?<!!)\[([^\]]*)\]\(([^)\s]+)\)', link, markdown)
    folder = ROOT / here
    return text + network_part(folder) if folder in networks().values() else text


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML, which browsers show without a script."""

    def mathml(match: re.Match[str]) -> str:
        text = re.sub('&lt;', '<', re.sub('&gt;', '>', re.sub('&amp;', '&', match[3])))
        shown = convert(text, display='block' if match[2] == '[' else 'inline')
        return f'<p>{shown}</p>' if match[2] == '[' else shown

    return re.sub(r'<(div|span) class="arithmatex">\\([\[(])(.*?)\\[\])]</\1>', mathml, html, flags=re.DOTALL)


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: roles become links, prompts and tables of plain text become blocks."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    def role(match: re.Match[str]) -> str:
        name = match[1].lstrip('~.')
        return f'<autoref optional identifier="{name}"><code>{name.removeprefix("drpca.")}</code></autoref>'

    text = re.sub(r':\w+:`([^`<]+)`', role, text)
    text = re.sub(r'((?:^ *(?:>>>|\.\.\.) .*\n?)+)', r'```pycon\n\1```\n', text, flags=re.MULTILINE)
    text = re.sub(r'((?:^=+(?: +=+)+\n)(?:.*\n)*?(?:.*\n)*(?:=+(?: +=+)+)$)', r'```\n\1\n```', text, flags=re.MULTILINE)
    return re.sub('::$', ':', text, flags=re.MULTILINE).replace('_*', r'\_\*')
