"""What README and documents say can be done: every command, link and file in them is there."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import product
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

import drpca
from drpca.cards import published_files
from drpca.cli.main import COMMANDS, main
from drpca.config import config_folder, find_config, list_configs, list_models, load_config
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import EXIT_INTERRUPTED
from drpca.evaluation.protocols import known_protocols
from drpca.names import KNOWN_DATASETS, canonical_name, joined_names, simplify
from drpca.options import VARIANTS, script_of
from drpca.registry import network_names
from tests.loopback import serving
from tests.support import ROOT, exit_code, load_tool, save_weights, shared_path, write_video

PAGES = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/**/*.md', 'datasets/*.md', 'checkpoints/*.md')
    for path in ROOT.glob(pattern)
    if path.name not in ('CHANGELOG.md', 'THIRD_PARTY.md') and not {*path.parts} & {'seed_0'}
)
_WORDS = ('python', 'drpca', 'make', 'pip', 'torchrun', 'srun', 'docker')
OWN = {'my_frames', 'my_boxes', 'synthetic', 'own_config.py'}
"""Data sets and configs that the documents' reader has made."""
BENCHES = {
    'benchmark_baselines', 'benchmark_evaluation', 'demo', 'forms', 'leave_one_out', 'tensor_speed', 'whole_process',
}  # fmt: skip


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
        if given.get('backends'):
            find_config(network)
        else:
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
    written = re.findall(r'^(?:python|drpca) \S', (ROOT / 'README.md').read_text(encoding='utf-8'), re.MULTILINE)
    assert len([words for words in DOCUMENTED['README.md'] if parser_and_arguments(words)]) == len(written) > 10
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
    'W.pth': 'RPCANet_SIRST.pkl', 'published': 'RPCANet_SIRST.pkl', 'val_v1': 'val',
    'Misc_70': 'test_000000', 'Misc_96': 'test_000001', 'SIRSTv1': 'synthetic', 'NUDT-SIRST': 'my_frames',
    'SIRSTv1+NUDT-SIRST': 'synthetic+my_frames', 'IRSTD-1k': 'synthetic', '256': '32', '200': '2', '60': '2', '8': '4',
    'results/NUDT-SIRST': 'results/my_frames', 'local': 'debug', 'runs/': 'checkpoints', '/data': 'datasets',
    'rpcanet_plus_sirst_aug': 'rpcanet_plus_synthetic_best',  # trained apart from those on SIRST V1
    'dtum_nudt_mirsdt_attached': 'dtum_synthetic_sequence_attached',
    'checkpoints/rpcanet_sirstv1_on_sirstv1+nudtsirst/seed_0/best.pth':
        'checkpoints/rpcanet_synthetic_on_synthetic+myframes/seed_0/best.pth',
    'rpcanet_sirstv1=published': 'rpcanet_synthetic=RPCANet_SIRST.pkl',
    'their_maps/': 'datasets/synthetic/test/masks', 'their_masks/': 'datasets/synthetic/test/masks',
    'results/sequences': 'maps/sequences',  # under results/ there are those of data sets alone
    '~/Downloads/NUDT.zip': 'NUDT.zip', 'rpcanet.pt2': 'new.pt2',
}  # fmt: skip
"""Word of a document → what stands for it in the small world."""
SYNTHETIC = re.compile(r'(?<=_)(?:sirstv1|nudt_sirst|sirst_aug|irstd_1k)(?=$|_|=|/)|(?<=/)SIRSTv1$')
TINY = [f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test')]
BRIEF = [
    f'{part}_dataloader.dataset.synthetic.{option}'
    for part in ('train', 'val', 'test')
    for option in (f'{part}=1', 'num_frames=10')
]
LOADER = ['train_dataloader.num_workers=0', 'train_dataloader.batch_size=4']
MORE = {
    'weights': [], 'data': [], 'config': [], 'check-dataset': [], 'score': ['--overwrite'], 'export': ['--overwrite'],
    'make-synthetic': ['--num-train', '16', '--num-test', '2', '--size', '64'], 'infer': ['--overwrite'],
    'visualize-stages': ['--overwrite'], 'analyse-decomposition': [], 'robustness': [], 'cross-dataset': [],
    'train': ['--dry-run'], 'leaderboard': ['--dry-run'],
    'benchmark': ['--sizes', '32', '--repetitions', '1', '--warm-up', '0', '--no-memory'],
    'benchmark-training': ['--size', '32', '--batch', '2', '--steps', '1', '--repetitions', '1'],
    'figure': ['--overwrite'], 'publish': ['--out', 'published', '--no-metafile'], 'sequences': ['--overwrite'],
    'browse': ['--overwrite'], 'app': ['--no-browser'], 'benchmark_baselines': ['--methods', 'TopHat', 'MaxMedian'],
}  # fmt: skip
"""The commands that are run, with what makes them small."""
BEFORE = {
    'docs/leaderboard.md': ('train rpcanet_plus_synthetic_cpu --epochs 2',),
    'docs/figures.md': (
        'train rpcanet_synthetic lrrnet_synthetic --epochs 2',
        'robustness rpcanet_synthetic --checkpoint RPCANet_SIRST.pkl --corruption gaussian=10 --limit 2',
        'leaderboard tophat maxmedian --dataset synthetic --no-latency --json table.json',
        *(f'infer tophat --dataset synthetic --out results/run_seed{seed}' for seed in range(3)),
    ),
}
"""Commands of other pages whose results those of a page take."""
QUICK = {'weights', 'data', 'config', 'check-dataset', 'make-synthetic', 'score'}
"""Those that take a moment; the others are run with the slow tests, and trainings then train."""
NOT_RUN = {
    'ResUNet_DTUM_NUDT-MIRSDT.pth', 'ACM_full_SIRST3.pth.tar', 'ALCNet_full_SIRST3.pth.tar', 'get', '0', 'cuda',
    'slurm', 'pytorch', 'auto', '--gpus', '--live',
}  # fmt: skip
"""With one of these words a command needs weights of others, a network, a camera, a GPU, a cluster, or fills memory.
Of a training its plan, ``--dry-run``, is run then."""


def small_crops(given: list[str]) -> list[str]:
    """Options that make the crops of a training small, where one config is named: some are of 1024²."""
    configs = [load_config(find_config(word)) for word in given if word in list_configs()]
    loaders = [config.train_dataloader for config in configs if 'train_dataloader' in config]
    steps = loaders[0].dataset.get('pipeline', []) if len(loaders) == 1 else []
    crops = [number for number, step in enumerate(steps) if step['type'] == 'RandomCrop']
    return [f'train_dataloader.dataset.pipeline.{number}.size=32' for number in crops]


def in_small(words: list[str], train: bool) -> tuple[str, list[str]] | None:
    """A command of the documents and its arguments in small form; None if it is not run."""
    tool = Path(words[1]).stem if words[0] == 'python' and words[1].startswith('tools/') else None
    name, given = parser_and_arguments(words) or (tool, words[2:])
    if name not in MORE:
        return None
    alone = {*given} & NOT_RUN - ({'0'} if '--seeds' in given else set())
    trains = name in ('train', 'leaderboard')
    if (alone and not trains) or given == ['--all'] or any(word in OWN for word in given):
        return None
    if any('*' in word for word in given):  # of a folder of configs two, on frames that are there
        given = [
            name for word in given for name in (sorted(map(str, Path().glob(word)))[:2] if '*' in word else [word])
        ]
        given += ['--dataset', 'synthetic']
    known = SMALL if '--gpus' not in given else SMALL | {'local': 'local'}  # which GPUs belong to
    arguments = [known.get(word, SYNTHETIC.sub('synthetic', word)) for word in given]
    if '--time' in arguments:  # hours
        arguments[arguments.index('--time') + 1] = '0.02'
    if '--seeds' in arguments:
        first = arguments.index('--seeds') + 1
        end = next((i for i, word in enumerate(arguments[first:], first) if word.startswith('-')), len(arguments))
        arguments[first:end] = ['0']
    more = MORE[name]
    if trains and train and not alone and '--dry-run' not in given:
        epochs = [] if {'--epochs', '--time', '--fast-dev-run'} & {*given} else ['--epochs', '2']
        options = (BRIEF if any('sequence' in word for word in arguments) else TINY) + LOADER + small_crops(given)
        apart = ['--work-dir', 'apart'] if {'--model', '--time'} & {*given} else []  # of the same name, once in small
        more = [*apart, *epochs, *(['--cfg-options'] if '--cfg-options' not in given else []), *options]
    if name == 'infer' and not {'--size', '--backend', 'configs/classical/tophat.py', 'tophat', 'pstnn'} & {*given}:
        more = [*more, '--size', '32']
    if given[:1] == ['tradeoff']:  # of the figures in the metafiles
        arguments = given
    if name == 'infer' and not given:
        more = [*more, '--dataset', 'synthetic']
    if {'FILE', 'best.pth'} & {*given}:  # of a training above
        weights = f'checkpoints/{arguments[0]}/seed_0/best.pth'
        arguments = [weights if word in ('FILE', 'best.pth') else word for word in arguments]
    if '--sequences' in given:
        more = ['--frames', '16', '--size', '64', '--overwrite']
    if name == 'data' and {'import', 'convert'} & {*given}:
        more = ['--overwrite']
    return name, [*arguments, *more]


def open_page(arguments: list[str]) -> int:
    """The page in a process of its own, asked for once and ended by Ctrl-C; 0 if it ends as a command then does."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    command = [sys.executable, '-m', 'drpca.app', *arguments, '--port', str(port)]
    known = {key: value for key, value in os.environ.items() if not key.startswith(('PYTEST', 'NICEGUI'))}
    process = subprocess.Popen(
        command, env={**known, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f'The page is at http://127.0.0.1:{port} (Ctrl-C stops it)\n'
        for _ in range(100):
            with suppress(URLError), urlopen(f'http://127.0.0.1:{port}/') as page:
                assert b'drpca' in page.read()
                break
            time.sleep(0.1)
        else:
            pytest.fail('the page does not answer')
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert 'Traceback' not in said, said
    finally:
        process.kill()
    return 0 if process.returncode == EXIT_INTERRUPTED else 1


def run_command(name: str, arguments: list[str]) -> int:
    if name == 'app':
        return open_page(arguments)
    return exit_code(main, [name, *arguments]) if name in COMMANDS else exit_code(load_tool(name).main, arguments)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the documents' commands name: data sets, frames, a video, a sequence, weights, results."""
    folder = tmp_path_factory.mktemp('world')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        generate_dataset('datasets', num_train=16, num_test=2, size=64)  # NIPPS needs 50 at least
        shutil.copytree('datasets/synthetic', 'datasets/my_frames')
        shutil.make_archive('NUDT', 'zip', 'datasets', 'my_frames')
        Path('configs').symlink_to(config_folder())
        save_weights('RPCANet_SIRST.pkl', network='RPCANet', num_stages=6)
        save_weights('RPCANetPlus_IRSTD-1k.pkl', num_stages=6)
        write_video(folder / 'flight.mp4', 'mp4v')
        Path('frames').mkdir()
        for index in range(15):  # as many as a method over windows needs
            frame = np.random.default_rng(index).integers(0, 255, (48, 64), dtype=np.uint8)
            cv2.imwrite(f'frames/{index:04d}.png', frame)
        shutil.copytree('frames', 'sequences/one/images')
        Path('sequences/one/points.txt').write_text('30 20\n' * 15)
        drpca.predict('tophat', 'sequences', 'maps')
        for split, out in (('test', 'results'), ('val', 'val'), ('test', 'other')):
            drpca.predict('tophat', out=out, dataset='synthetic', split=split)
        drpca.predict('tophat', dataset='my_frames')
        Path('checkpoints').mkdir()
        Path('checkpoints/rpcanet_plus_sirstv1_cpu').symlink_to('rpcanet_plus_synthetic_cpu')  # of which _whole begins
    return folder


WITH_COMMANDS = [page for page, lines in DOCUMENTED.items() if any(in_small(words, False) for words in lines)]


def run_in_small(page: str, wanted: Callable[[str], bool], train: bool) -> tuple[int, list[str]]:
    """How many commands of a page were run, and those that failed."""
    failed, ran = [], set()
    for words in DOCUMENTED[page]:
        small = in_small(words, train)
        if small is None or not wanted(small[0]) or (line := shlex.join([small[0], *small[1]])) in ran:
            continue
        ran.add(line)
        for frames in ('frames', 'flight'):  # of which there are no masks
            shutil.rmtree(Path('results', frames), ignore_errors=True)
        if run_command(*small) != 0:
            failed.append(line)
    return len(ran), failed


@pytest.mark.parametrize('page', [page for page in WITH_COMMANDS if not page.startswith('configs/')])
def test_quick_commands_run_in_small(page: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    _, failed = run_in_small(page, QUICK.__contains__, train=False)
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize('page', WITH_COMMANDS)
def test_all_commands_run_in_small(page: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings train for two epochs: a warm-up and one after it."""
    folder = world / f'of_{simplify(page)}'
    shutil.copytree(world, folder, symlinks=True, ignore=shutil.ignore_patterns('of_*'))
    monkeypatch.chdir(folder)
    for line in BEFORE.get(page, ()):
        words = line.split()
        assert exit_code(main, [*words, *(['--cfg-options', *TINY, *LOADER] if words[0] == 'train' else [])]) == 0, line
    ran, failed = run_in_small(page, MORE.__contains__, train=True)
    assert not failed
    assert ran


def test_the_readme_shows_what_commands_print_and_how_long_they_take() -> None:
    """Under each block of commands stands its output, and a time; no section is longer than a screen."""
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    for section in re.split(r'^## ', text, flags=re.MULTILINE):
        assert section.count('\n') <= 45, section.splitlines()[0]
        parts = re.split(r'^```(.*)\n((?:(?!```).*\n)*)```$', section, flags=re.MULTILINE)
        blocks_of = list(zip(parts[1::3], parts[2::3], parts[3::3]))
        for index, (language, body, below) in enumerate(blocks_of):
            if language == '' and body.split(' ')[0] in _WORDS:
                assert blocks_of[index + 1][0] == 'text', body
                said = below + blocks_of[index + 1][1] + blocks_of[index + 1][2]
                assert re.search(r'\d s\b|minutes|seconds', said), body


def test_most_commands_are_run() -> None:
    ours = [words for lines in DOCUMENTED.values() for words in lines if parser_and_arguments(words)]
    ran = [small for words in ours if (small := in_small(words, False))]
    assert len(ran) > 0.85 * len(ours)
    assert {name for name, _ in ran} == {*COMMANDS}, 'every command, on some page'
