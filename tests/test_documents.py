"""What README and documents say can be done: every command, link and file in them is there."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest

from drpca.cards import published_files
from drpca.cli.main import COMMANDS, main, script_of
from drpca.config import find_config, list_models
from drpca.evaluation.protocols import known_protocols
from drpca.names import KNOWN_DATASETS, canonical_name, joined_names, simplify
from drpca.options import VARIANTS
from drpca.registry import network_names
from tests.loopback import serving
from tests.support import ROOT, shared_path

PAGES = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/**/*.md', 'datasets/*.md', 'checkpoints/*.md')
    for path in ROOT.glob(pattern)
    if path.name not in ('CHANGELOG.md', 'THIRD_PARTY.md') and not {*path.parts} & {'seed_0'}
)
_WORDS = ('python', 'drpca', 'make', 'pip', 'torchrun', 'srun', 'docker')
OWN = {'my_frames', 'my_boxes', 'synthetic'}
"""Data sets that the documents' reader has made."""
BENCHES = {'benchmark_baselines', 'benchmark_evaluation', 'demo'}


def expand(line: str) -> str:
    """``{a,b}_c{,d}`` as a shell expands it, within words."""
    words = []
    for word in line.split(' '):
        parts = re.split(r'\{([^{}]*,[^{}]*)\}', word)
        choices = [part.split(',') if index % 2 else [part] for index, part in enumerate(parts)]
        words += [''.join(choice) for choice in product(*choices)] if "'" not in word else [word]
    return ' '.join(words)


def blocks(page: Path) -> list[str]:
    """The blocks of a page that are of no language, or a shell's."""
    found = re.findall(r'^```(.*)\n((?:(?!```).*\n)*)```$', page.read_text(), re.MULTILINE)
    return [text for language, text in found if language in ('', 'sh', 'bash')]


def commands(page: Path) -> Iterator[list[str]]:
    """The commands in the blocks of a page, in words; variables that a block does not set are 0."""
    for block in blocks(page):
        known = {name: value.strip('\'"') for name, value in re.findall(r'^(\w+)=(.*)$', block, re.MULTILINE)}
        text = re.sub(r'"?\$(\w+)"?', lambda match, known=known: known.get(match[1], '0'), block.replace('\\\n', ' '))
        for line in text.splitlines():
            for part in re.split(r' (?:&&|\|) ', line):
                if part.split(' ')[0] in _WORDS and '$(' not in part:
                    yield shlex.split(expand(part), comments=True)


DOCUMENTED = {page.relative_to(ROOT).as_posix(): list(commands(page)) for page in PAGES}


def parser_and_arguments(words: list[str]) -> tuple[str, list[str]] | None:
    """The command of ``drpca`` that is called, with its arguments; None if it is another program."""
    if words[0] in ('torchrun', 'srun'):
        start = next(index for index, word in enumerate(words) if word.endswith('.py'))
        words = ['python', *words[start:]]
    if words[0] == 'drpca':
        return (words[1], words[2:]) if words[1] in COMMANDS else None
    if words[:3] == ['python', '-m', 'drpca.app']:
        return 'app', words[3:]
    scripts = {script_of(name): name for name in COMMANDS}
    return (scripts[words[1]], words[2:]) if words[0] == 'python' and words[1] in scripts else None


def check_names(name: str, args: argparse.Namespace) -> None:
    """What the arguments name is there: configs, models, data sets, presets, weights."""
    given = vars(args)
    values = {key: [value] if isinstance(value, str) else list(value or ()) for key, value in given.items()
              if isinstance(value, (str, list, type(None)))}  # fmt: skip
    configs = values.get('config', []) + values.get('configs', [])
    models = {simplify(model) for model in list_models()}
    for config in [text for text in configs if '*' not in text]:
        find_config(config)
    for method in values.get('methods', []):
        if simplify(method) not in models:
            find_config(method)
    for network in values.get('networks', []):
        assert network in network_names(), network
    for model in values.get('model', []):
        assert simplify(model) in models, model
    for dataset in values.get('dataset', []):
        for part in joined_names(dataset):
            assert canonical_name(part) in KNOWN_DATASETS or part in OWN, dataset
    for preset in values.get('protocol', []):
        assert preset in known_protocols(), preset
    for variant in values.get('variants', []):
        assert variant in VARIANTS, variant
    for text in values.get('weights', []) if name in ('app', 'leaderboard') else []:
        assert text == 'published' or find_config(text.partition('=')[0])
    if name == 'weights':
        assert {*values['names']} <= published_files().keys()
    if 'published' in values.get('checkpoint', []):
        assert {*configs} <= published_files().keys(), configs


@pytest.mark.parametrize('page', [page for page, lines in DOCUMENTED.items() if lines])
def test_every_command_can_be_given(page: str, capsys: pytest.CaptureFixture) -> None:
    for words in DOCUMENTED[page]:
        line = shlex.join(words)
        called = parser_and_arguments(words)
        try:
            if called is not None:
                parser = import_module(COMMANDS[called[0]][0]).build_parser()
                check_names(called[0], parser.parse_args(called[1]))
            elif words[0] == 'python' and words[1] != '-m':
                assert (ROOT / words[1]).is_file()
                assert Path(words[1]).stem in BENCHES
            elif words[0] == 'make':
                targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
                assert words[1] in targets
            elif words[0] == 'pip':
                extras = re.findall(r'^(\w+) = \[', (ROOT / 'pyproject.toml').read_text(), re.MULTILINE)
                assert {*re.findall(r'\[(\w+)\]', line)} <= {*extras}
            elif words[0] == 'python':
                assert all((ROOT / word).exists() for word in words if word.startswith('tests/'))
        except SystemExit:
            pytest.fail(f'{page}: {line}: {capsys.readouterr().err}')
        except Exception as error:
            pytest.fail(f'{page}: {line}: {error}')


def test_pages_name_commands_that_are_checked() -> None:
    """Not a test of nothing: the blocks are found, and the words in them."""
    assert sum(map(len, DOCUMENTED.values())) > 100
    assert len([words for words in DOCUMENTED['README.md'] if parser_and_arguments(words)]) > 20
    assert expand('a {b,c}_d{,e}') == 'a b_d b_de c_d c_de'


@pytest.mark.parametrize('page', [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r'\]\(([^)\s]+)\)', path.read_text()):
        if target.startswith(('http:', 'https:', 'mailto:')):
            continue
        file, _, anchor = target.partition('#')
        where = (path.parent / file).resolve() if file else path
        assert where.exists(), f'{page}: {target}'
        if anchor and where.suffix == '.md':
            assert anchor in anchors(where), f'{page}: {target}'


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    heads = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', head.strip().lower()).replace(' ', '-') for head in heads}


def test_the_images_named_in_commands_are_of_the_test_split() -> None:
    """``--names`` and ``--images`` of SIRST V1."""
    listed = shared_path('datasets', 'SIRSTdevkit-master', 'Splits', 'test_v1.txt').read_text().split()
    named = []
    for lines in DOCUMENTED.values():
        for words in lines:
            for option in {'--names', '--images'} & {*words}:
                rest = words[words.index(option) + 1 :]
                named += rest[: next((i for i, word in enumerate(rest) if word.startswith('-')), len(rest))]
    names = [name for name in named if name.startswith('Misc_')]
    assert names
    assert {*names} <= {*listed}


def first_screen() -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in blocks(ROOT / 'README.md')[0].splitlines()]


def test_from_nothing_to_detections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    """The first screen of the README after the installation, with a server in place of the authors' hosts."""
    file = published_files()['rpcanet_sirstv1']
    content = shared_path('checkpoints', file.file).read_bytes()
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)
    Path('frames').mkdir()
    for name in ('Misc_70', 'Misc_96'):
        source = shared_path('datasets', 'SIRSTdevkit-master', 'PNGImages', f'{name}.png')
        (tmp_path / 'frames' / source.name).write_bytes(source.read_bytes())
    install, *rest = first_screen()
    assert install[:2] == ['make', 'install']
    monkeypatch.setattr('drpca.fetch.PAUSE', 0.0)
    for words in rest:
        assert main(words[1:]) == 2, 'without a network'
        assert 'Check the network' in capsys.readouterr().err
    with serving({f'/{file.repository}/{file.commit}/{file.source}': content}, monkeypatch):
        for words in rest:
            assert main(words[1:]) == 0
    assert len(list(Path('results/frames/overlay').glob('*.png'))) == 2
    assert Path('results/frames/targets.csv').read_text().count('Misc_70') == 1
