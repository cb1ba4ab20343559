"""What README and documents say can be done: every command, link and file in them is there."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from drpca.cards import published_files
from drpca.cli.main import COMMANDS, main
from drpca.config import find_config, list_models
from drpca.datasets.synthetic import generate_dataset
from drpca.evaluation.protocols import known_protocols
from drpca.names import KNOWN_DATASETS, canonical_name, joined_names, simplify
from drpca.options import VARIANTS, script_of
from drpca.registry import network_names
from tests.loopback import serving
from tests.support import ROOT, exit_code, save_weights, shared_path, write_video

PAGES = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/**/*.md', 'datasets/*.md', 'checkpoints/*.md')
    for path in ROOT.glob(pattern)
    if path.name not in ('CHANGELOG.md', 'THIRD_PARTY.md') and not {*path.parts} & {'seed_0'}
)
_WORDS = ('python', 'drpca', 'make', 'pip', 'torchrun', 'srun', 'docker')
OWN = {'my_frames', 'my_boxes', 'synthetic', 'own_config.py'}
"""Data sets and configs that the documents' reader has made."""
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
    for config in [text for text in configs if '*' not in text and text not in OWN]:
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


@pytest.mark.parametrize('page', ['docs/unfolding.md', 'docs/protocols.md'])
def test_the_code_of_explanations_runs(page: str) -> None:
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / page).read_text(encoding='utf-8'), re.DOTALL)
    namespace: dict[str, object] = {}
    for code in blocks:
        exec(compile(code, page, 'exec'), namespace)
    assert namespace.keys() & {'stages', 'strict'}


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


SMALL = {
    'rpcanet_sirstv1': 'rpcanet_plus_synthetic', 'published': 'w.pth', 'W.pth': 'w.pth', 'Misc_70': 'test_000000',
    'Misc_96': 'test_000001', 'SIRSTv1': 'synthetic', 'NUDT-SIRST': 'my_frames', 'results/SIRSTv1': 'results/synthetic',
    'lrrnet_sirstv1_cpu': 'lrrnet_synthetic_cpu', 'SIRSTv1+NUDT-SIRST': 'synthetic+my_frames', '256': '64',
    'results/tophat': 'tophat', 'configs/classical/tophat.py': 'tophat',
    'their_maps/': 'datasets/synthetic/test/masks', 'their_masks/': 'datasets/synthetic/test/masks',
}  # fmt: skip
ONE_STAGE = ['--cfg-options', 'model.network.num_stages=1']
MORE = {
    'infer': ONE_STAGE, 'visualize-stages': ONE_STAGE, 'analyse-decomposition': ONE_STAGE, 'robustness': ONE_STAGE,
    'cross-dataset': ONE_STAGE, 'train': ['--dry-run'], 'leaderboard': ['--dry-run'], 'score': [], 'check-dataset': [],
    'make-synthetic': ['--num-train', '6', '--num-test', '2', '--size', '64'], 'data': [], 'weights': [],
}  # fmt: skip
"""The commands that are run, and what makes them small; those that need a network, a camera or a page are not."""


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    generate_dataset('datasets', num_train=6, num_test=2, size=64)
    shutil.copytree('datasets/synthetic', 'datasets/my_frames')
    save_weights()
    write_video(tmp_path / 'flight.mp4', 'mp4v')
    Path('frames').mkdir()
    cv2.imwrite('frames/a.png', np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8))
    failed, ran = [], 0
    for words in DOCUMENTED['README.md']:
        called = parser_and_arguments(words)
        if called is None or called[0] not in MORE or {'get', 'import'} & {*words}:
            continue
        arguments = [SMALL.get(word, word) for word in called[1]]
        needs_no_config = arguments[:1] in (['--input'], ['tophat'])
        more = [] if called[0] == 'infer' and needs_no_config else MORE[called[0]]
        new = ['--overwrite'] if called[0] in ('infer', 'score', 'visualize-stages') else []
        ran += 1
        for frames in ('frames', 'flight'):  # of which there are no masks
            shutil.rmtree(Path('results', frames), ignore_errors=True)
        if exit_code(main, [called[0], *arguments, *new, *more]) != 0:
            failed.append(shlex.join([called[0], *arguments, *more]))
    assert not failed
    assert ran > 15
