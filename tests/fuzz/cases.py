"""Makes the cases: a command line, edits of the world's files, and what must not happen.

Every case follows from a seed and its number alone. (Strategies of Hypothesis took 30 ms for a case, most of them
copies of their neighbours; the draws here take 0.1 ms and spread evenly.)
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any
from unittest import mock

from drpca.cli.main import COMMANDS, main
from tests.fuzz import edits as E
from tests.fuzz.edits import DELETED, Edit


@dataclass
class Case:
    """One input.

    Attributes:
        argv: Of ``python -m drpca``.
        edits: Of the world's files, see :mod:`tests.fuzz.edits`.
        silent: What it would be if the command ended with 0; None: 0 is fine.
        interrupt: Seconds until Ctrl-C.
    """

    argv: list[str]
    edits: list[Edit] = field(default_factory=list)
    silent: str | None = None
    interrupt: float | None = None

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, text: str) -> Case:
        return cls(**json.loads(text))


def make_case(seed: int, number: int) -> Case:
    """The case of that number."""
    r = Random(f'{seed} {number}')
    return r.choices([make for make, _ in KINDS], [weight for _, weight in KINDS])[0](r)


# fmt: off

# What takes hours when it is as large as it says, or minutes of compilation.
_SMALL = {
    'epochs', 'repetitions', 'warm-up', 'num-train', 'num-test', 'seeds', 'jobs', 'workers', 'threads', 'batches',
    'sizes', 'calibration', 'steps', 'log-test-every', 'ranks', 'accumulate',
}
_LEFT_OUT = {
    'help', 'compile', 'launcher', 'update-metafiles', 'readme', 'variants', 'levers', 'all', 'memory', 'baseline',
    'fast', 'version', 'int8', 'executor',
}
_NOT_FUZZED = {'app', 'benchmark', 'benchmark-training'}

BASES: dict[str, list[list[str]]] = {}
for line in """\
train own.py --work-dir work --dry-run
train own.py --work-dir work
infer tophat --input frames --out out
infer own.py --checkpoint w.pth --input frames --out out
score --results results/mini --protocol basicirstd
check-dataset --dataset mini
make-synthetic --num-train 1 --num-test 1 --size 32
robustness tophat --dataset mini --corruption gaussian=10 --out out
visualize-stages own.py --checkpoint w.pth --out out --limit 1
analyse-decomposition own.py --checkpoint w.pth --out out --limit 1
cross-dataset tophat --dataset mini --out out --limit 1
leaderboard tophat --dataset mini --dry-run
leaderboard --from table.json --no-latency
export own.py --checkpoint w.pth --images frames --out new.onnx --count 1
benchmark RPCANet --repetitions 1 --sizes 16 --no-memory --variants optimised
publish own.py --work-dir runs --out published --no-metafile
browse own.py --out new.png --samples 1 --versions 1
figure roc results/mini --out new
figure qualitative results/mini --rows 1 --out new
figure learning runs/own/seed_0 --key loss --out new
figure tradeoff table.json --out new
figure table table.json --out new
weights
weights get rpcanet_sirstv1
data
data get SIRSTv1
data import new listed.zip
data convert mini --to coco --out new
score --results results/mini --protocol basicirstd --threshold-from results/mini --at-fa 1e-5
train own.py --work-dir work --fast-dev-run
""".splitlines():
    BASES.setdefault(line.split()[0], []).append(line.split())
INFER, OWN = BASES['infer']
SCORE, _ = BASES['score']
RESUME = ['train', 'own.py', '--work-dir', 'runs', '--resume', '--epochs', '2']

FRAMES = [
    f'frames/{name}' for name in ('grey.png', 'deep.png', 'colour.png', 'photo.jpg', 'plain.bmp', 'scan.tif')
]
FILES = [
    *FRAMES, 'own.py', 'protocol.py', 'w.pth', 'iou.json', 'table.json', 'model.onnx', 'clip.avi',
    'results/mini/run.json', 'runs/own/seed_0/last.pth', 'datasets/mini/test/masks/x.png', 'results/mini/mat/x.mat',
]
PATHS = [
    *FILES, 'frames', 'results', 'results/mini', 'datasets', 'runs', '.', '..', '', '-', '/', 'nope', 'nope/x.json',
    '/nope/x/y', 'frames/nope.png', 'own.py/x', '/dev/full', '/dev/zero', '/dev/stdin', '/proc/self/mem', 'a' * 300,
    '\udcff\udcfe.png', 'ä ö.json', '../x.json', '~/x', 'con.txt', 'x.json', 'x.png', 'x.mp4', 'x.onnx', 'out',
    'http://127.0.0.1:9/x.mp4', 'rtsp://127.0.0.1:9/', '$HOME', 'x\ny.json', 'x.pth', '0', '99',
]
NAMES = [
    'mini', 'MINI', 'listed', 'synthetic', 'SIRSTv1', 'mini+listed', 'tophat', 'ipi', 'rpcanet_synthetic', 'own',
    'own.py', 'train', 'val', 'test', 'trainval', 'basicirstd', 'drpca', 'rpcanet', 'protocol.py', 'IoU', 'Pd', 'a',
    'x', 'y', 'gaussian', 'gaussian=', 'gaussian=nan', 'gaussian=-1', 'salt_pepper=1e9', 'own.py=w.pth',
    'rpcanet_synthetic=w.pth', '=', 'a=b=c', 'mini:test', ':', '*', '?', 'cpu', 'cuda', 'cuda:-1', 'cpu:9', 'meta',
    'mps', 'xla', 'vulkan', 'hpu',
]
SMALL_NUMBERS = ['0', '1', '2', '3', '-1', '-5', '1.5', '٣', '²', '1e3', '0x10', '', ' ', '1_0', '+1', '--']
NUMBERS = [
    *SMALL_NUMBERS, 'nan', 'inf', '-inf', '1e308', '1e-320', '0.5', '1', '8', '16', '32', '64', '99999',
    '2147483648', str(2**63), '9' * 400, '9' * 5000, 'native', 'all', 'None', 'true',
]
OPTION_VALUES = [
    'x', '', '0', '-1', 'nan', 'None', '[]', '{}', '[1]', '(1,2)', 'true', '1e999', '99999999999', '1.5', '-5',
    '"x"', '[[[[', 'dict(type=1)', '{"type":"X"}', '[None,None]', 'RPCANet', 'Adam', '0.5', '3',
]
OPTION_KEYS = [
    'model', 'model.type', 'model.network', 'model.network.type', 'model.network.num_stages',
    'model.network.channels', 'model.network.bottleneck', 'model.network.noise_depth', 'model.in_channels',
    'model.pad_multiple', 'model.losses', 'model.losses.soft_iou', 'model.losses.soft_iou.type',
    'model.losses.soft_iou.weight', 'model.losses.fidelity.weight', 'model.precision', 'model.normalisation',
    'model.mean', 'inference_size', 'train_dataloader', 'train_dataloader.batch_size',
    'train_dataloader.num_workers', 'train_dataloader.persistent_workers', 'train_dataloader.dataset',
    'train_dataloader.dataset.size', 'train_dataloader.dataset.split', 'train_dataloader.dataset.pipeline',
    'train_dataloader.dataset.type', 'train_dataloader.sampler', 'train_dataloader.sampler.type',
    'train_dataloader.collate_fn', 'val_dataloader', 'val_dataloader.batch_size', 'val_dataloader.dataset.split',
    'test_dataloader', 'test_dataloader.dataset.size', 'test_dataloader.dataset.dataset',
    'test_dataloader.dataset.data_root', 'train_cfg', 'train_cfg.max_epochs', 'train_cfg.val_interval',
    'train_cfg.type', 'optim_wrapper', 'optim_wrapper.type', 'optim_wrapper.optimizer',
    'optim_wrapper.optimizer.type', 'optim_wrapper.optimizer.lr', 'optim_wrapper.clip_grad',
    'optim_wrapper.accumulative_counts', 'param_scheduler', 'param_scheduler.0', 'param_scheduler.0.type',
    'param_scheduler.0.power', 'param_scheduler.0.begin', 'randomness', 'randomness.seed', 'default_hooks',
    'default_hooks.checkpoint', 'default_hooks.logger', 'default_hooks.timer.type', 'custom_hooks',
    'custom_imports', 'custom_imports.imports', 'visualizer', 'vis_backends', 'log_level', 'log_processor',
    'env_cfg', 'env_cfg.dist_cfg', 'env_cfg.mp_cfg', 'launcher', 'load_from', 'resume', 'work_dir', 'default_scope',
    'val_evaluator', 'val_evaluator.type', 'val_evaluator.protocols', 'test_evaluator', 'selection', 'val_cfg',
    'test_cfg', 'test_cfg.type', 'nope', 'model.nope', 'model.0', '.', 'model.', 'experiment_name',
    'checkpoint_stages', 'cuda_graphs',
]
ODD_VALUES = [
    DELETED, None, [], {}, [1], [[]], '', 'x', 0, -1, 1.5, 10**400, True, float('nan'), float('inf'), '\ud800',
    {'a': 1}, 2**63,
]


def json_value(r: Random, depth: int = 0) -> Any:
    kind = r.randrange(8)
    if kind == 0 and depth < 3:
        return [json_value(r, depth + 1) for _ in range(r.randrange(4))]
    if kind == 1 and depth < 3:
        return {text(r): json_value(r, depth + 1) for _ in range(r.randrange(4))}
    return text(r) if kind == 2 else r.uniform(-9, 9) if kind == 3 else r.choice(ODD_VALUES)


def text(r: Random) -> str:
    """Up to eight characters, seldom ones of all planes, as a command line can hold them."""
    return ''.join(
        chr(r.choice([r.randrange(32, 127), r.randrange(1, 0xD800), r.randrange(0xE000, 0x110000)]))
        for _ in range(r.randrange(9))
    )


def share(r: Random) -> int:
    """A position in a file, oftener near its begin, where the headers are."""
    return r.choice([r.randrange(65536), r.randrange(65536), r.randrange(6000)])


def hexadecimal(r: Random) -> str:
    odd = ['00000000', 'ffffffff', '80000000', '7fffffff', '00' * 64, 'ff' * 64, '0a', '2c', '22', '7b', '0d0a']
    return r.choice([r.choice(odd), r.randbytes(r.randrange(1, 9)).hex()])


@functools.cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command uses, wherever it is built."""

    class Caught(BaseException):
        pass

    def parse(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise Caught(self)

    with mock.patch.object(argparse.ArgumentParser, 'parse_known_args', parse):
        try:
            main([command])
        except Caught as caught:
            return caught.args[0]
    raise AssertionError(f'{command} parses no arguments')


def word(r: Random, *usual: Sequence[str]) -> str:
    """A word for a command line, most often one of the usual ones."""
    return r.choice([*usual, PATHS, NAMES, [text(r)]][r.randrange(len(usual) + 3)])


def option(r: Random, command: str) -> list[str]:
    """One option of a command, with values that may be of the wrong kind."""
    actions = [
        action
        for action in parser_of(command)._actions
        if action.option_strings and action.option_strings[-1].lstrip('-') not in _LEFT_OUT
    ]
    action = r.choice(actions)
    name = action.option_strings[-1]
    if action.nargs == 0:
        return [name]
    if action.choices and r.randint(0, 4):
        return [name, str(r.choice(list(action.choices)))]
    if 'cfg-options' in name:
        return [name, f'{r.choice(OPTION_KEYS)}={r.choice(OPTION_VALUES)}']
    numbers = (
        SMALL_NUMBERS if name.lstrip('-') in _SMALL or command in ('make-synthetic', 'benchmark') else NUMBERS
    )
    metavar = str(action.metavar)
    usual = numbers if metavar[:1] in 'NSMEPXR' else PATHS if 'FILE' in metavar or 'DIR' in metavar else NAMES
    count = action.nargs if isinstance(action.nargs, int) else r.choice([1, 1, 1, 2])
    return [name, *(word(r, usual, usual, usual, numbers) for _ in range(count if action.nargs else 1))]


def _without(argv: list[str], name: str) -> list[str]:
    """A command line without one option and its value."""
    if name not in argv:
        return argv
    at = argv.index(name)
    stop = at + 1
    while stop < len(argv) and not argv[stop].startswith('--'):
        stop += 1
    return argv[:at] + argv[stop:]


def options(r: Random) -> Case:
    command = r.choice([name for name in COMMANDS if name in BASES])
    argv = r.choice(BASES[command])
    for _ in range(r.randint(1, 3)):
        new = option(r, command)
        argv = _without(argv, new[0]) + new
    return Case(argv)


def damage(r: Random, file: str) -> Edit:
    """Bytes of a file changed."""
    new = hexadecimal(r)
    return r.choice([
        ['flip', file, share(r), r.randrange(8)], ['splice', file, share(r), len(new) // 2, new],
        ['splice', file, share(r), 0, new], ['splice', file, share(r), -1],
        ['splice', file, share(r), r.randint(1, 300)],
    ])


def no_file(r: Random, file: str) -> Edit:
    """Something else in the place of a file."""
    return r.choice([[
        'remove', file], ['folder', file], ['fifo', file], ['link', file, '/dev/zero'], ['link', file,
        '/dev/stdin'], ['link', file, file.rsplit('/', 1)[-1]], ['link', file, '/proc/self/mem'], ['write', file,
        ''], ['copy', r.choice([other for other in FILES if other != file]), file,
    ]])


def damages(r: Random, file: str) -> list[Edit]:
    return [no_file(r, file)] if r.random() < 0.15 else [damage(r, file) for _ in range(r.randint(1, 3))]


def images(r: Random) -> Case:
    scored, own = r.random() < 0.5, r.random() < 0.5
    if scored:
        file = r.choice([f'datasets/mini/test/{kind}/x.png' for kind in ('images', 'masks')])
        argv = r.choice([
            SCORE, [*SCORE, '--report', 'report.html'], ['check-dataset'], BASES['robustness'][0],
            ['infer', 'tophat', '--dataset', 'mini', '--out', 'out'], BASES['cross-dataset'][0],
            ['train', 'own.py', '--work-dir', 'w'],
            ['visualize-stages', 'own.py', '--checkpoint', 'w.pth', '--out', 'out', '--names', 'x'],
        ])
        if argv == SCORE and r.random() < 0.5:
            file = 'results/mini/img/x.png'
            return Case(argv, [['remove', 'results/mini/mat'], *picture_edits(r, file)])
    else:
        file = r.choice(FRAMES)
        argv = OWN if own else INFER
        if r.randint(0, 3) == 0:
            argv = [file if word == 'frames' else word for word in argv]
        if r.randint(0, 5) == 0:
            argv = [*argv, *option(r, 'infer')]
    return Case(argv, picture_edits(r, file))


def picture_edits(r: Random, file: str) -> list[Edit]:
    return [['image', file, r.choice([*E.IMAGES])]] if r.random() < 0.35 else damages(r, file)


def mats(r: Random) -> Case:
    file = r.choice(['results/mini/mat/x.mat', 'results/mini/mat/y.mat'])
    edits = [['mat', file, r.choice([*E.MATS])]] if r.random() < 0.3 else damages(r, file)
    return Case(r.choice([SCORE, SCORE, [*SCORE, '--allow-partial']]), edits)


def lists(r: Random) -> Case:
    file = r.choice(['datasets/listed/test.txt', 'datasets/listed/trainval.txt', 'datasets/listed/val.txt'])
    argv = r.choice([[
        'check-dataset', '--dataset', 'listed'], ['infer', 'tophat', '--dataset', 'listed', '--out',
        'out'], ['check-dataset'], BASES['cross-dataset'][0], ['train', 'own.py', '--dataset', 'listed',
        '--work-dir', 'w', '--dry-run'], ['train', 'own.py', '--dataset', 'listed', '--work-dir', 'w',
    ]])
    names = [
        'a', 'b', 'd', 'a.png', 'images/a.png', '../../frames/grey', '/etc/passwd', '', ' ', 'nope', 'é', '\udcff',
        '.', '..', 'a' * 300,
    ]
    if r.random() < 0.3:
        return Case(argv, [no_file(r, file)])
    return Case(
        argv, [['write', file, '\n'.join(r.choice([*names, text(r)]) for _ in range(r.randrange(6)))]]
    )


EVIL_CONFIGS = [
    "__import__('pathlib').Path('MARK').touch()\n", "model = [open('MARK', 'w')]\n",
    "import os\nos.system('touch MARK')\n",
    "model = dict(type='DetectionModel', network=dict(type='os.system', command='touch MARK'))\n",
    "model = dict(type='DetectionModel', network=dict(type='builtins.open', file='MARK', mode='w'))\n",
    "model = dict(type='pathlib.Path.touch')\n",
    "custom_imports = dict(imports=['evil'])\nmodel = dict(type='TopHat')\n", "_base_ = 'evil.py'\n",
    "model = dict(type='{{__import__}}')\n", 'x' * 100000, '(' * 5000, 'model = ' + '[' * 3000, '', 'null', '[1]',
    '{}', '{"model": null}', '{"model": {"type": "DetectionModel"}}',
    '{"model": {"type": "DetectionModel", "network": {"type": "builtins.open", "file": "MARK", "mode": "w"}}}',
    '{"custom_imports": {"imports": ["evil"]}}', 'model = 1', 'model = dict()',
    "model = dict(type='DetectionModel')", "model = dict(type='nope')",
]


def checkpoints(r: Random) -> Case:
    last, best = 'runs/own/seed_0/last.pth', 'runs/own/seed_0/best.pth'
    infer = ['infer', '--checkpoint', best, '--input', 'frames', '--out', 'out']
    file, argv = r.choice([
        ('w.pth', OWN), ('w.pth', OWN), ('w.pth', ['train', 'own.py', '--work-dir', 'w', '--load-from', 'w.pth']),
        (best, infer), (best, infer), (last, RESUME), (last, RESUME), (best, BASES['publish'][0]),
        ('w.pth', BASES['export'][0]), ('w.pth', BASES['visualize-stages'][0]),
        ('w.safetensors', ['w.safetensors' if word == 'w.pth' else word for word in OWN]),
    ])
    which = r.randint(0, 5)
    if which == 0 or file == 'w.safetensors':
        return Case(argv, damages(r, file))
    if which == 1 and file != 'w.pth':
        edits = [['config_text', file, r.choice(EVIL_CONFIGS)], ['write', 'evil.py', "open('MARK', 'w')\n"]]
        return Case(argv, edits)
    if which == 2 and file != 'w.pth':
        old, new = config_change(r)
        return Case(argv, [['config_part', file, old, new]])
    if which == 3 and r.random() < 0.5:
        member = r.choice(['data.pkl', 'version', 'data/0', 'byteorder'])
        return Case(argv, [['archive', file, member, r.choice(['marker', 'gone', 'emptied', 'half'])]])
    kind = r.choice(E.STATES)
    silent = None
    if file == last and kind in ('optimizer', 'param_schedulers', 'bare', 'message_hub'):
        silent = f'resumed from a checkpoint without its {kind}'
    elif kind in E.NOT_CAST:
        silent = f'took {kind} weights'
    return Case(argv, [['state', file, kind, r.randint(0, 60)]], silent)


def labels(r: Random) -> Case:
    """Label files of other programs, and archives."""
    coco = 'labelled/coco/annotations/instances_train.json'
    file = r.choice([
        coco, 'labelled/yolo/labels/train/a.txt', 'labelled/voc/Annotations/a.xml', 'labelled/csv/boxes_train.csv',
        'labelled/points/points_train.csv', 'labelled/voc/ImageSets/Main/train.txt', 'listed.zip', 'listed.tar',
    ])
    source = file if file.startswith('listed') else '/'.join(file.split('/')[:2])
    argv = ['data', 'import', 'new', source, *r.choice([[], ['--rule', 'box']])]
    if file.startswith('listed') and r.random() < 0.5:
        return Case(argv, [['pack', file, r.choice(E.PACKS)]])
    if file == coco and r.random() < 0.6:
        return Case(argv, [['put_json', file, r.randrange(400), json_value(r)]])
    if r.random() < 0.3:
        numbers = ' '.join(r.choice([*NUMBERS, text(r)]) for _ in range(r.randrange(7)))
        return Case(argv, [['write', file, r.choice([
            numbers, f'image,x,y,width,height\na,{numbers.replace(" ", ",")}\n', '[' * 100000, '{"images": 1}',
            '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', '<a>' * 50000, '\udcff\udcfe', '\0' * 9,
            f'<annotation><object><bndbox><xmin>{numbers}</xmin></bndbox></object></annotation>', 'a;b;c\n' * 9,
        ])]])
    return Case(argv, damages(r, file))


def payload_forms(r: Random) -> list[Case]:
    """Files with code in them, which must leave no mark: Python in configs, pickles, PostScript, outside files."""
    last, best = 'runs/own/seed_0/last.pth', 'runs/own/seed_0/best.pth'
    resumed = ['infer', '--checkpoint', best, '--input', 'frames', '--out', 'out']
    exported = ['infer', 'own.py', '--checkpoint', 'model.pt2', '--input', 'frames/grey.png', '--out', 'out']
    board = ['leaderboard', 'own.py', '--dataset', 'mini', '--work-dir', 'runs', '--no-train', '--no-latency']
    text = r.choice([text for text in EVIL_CONFIGS if 'MARK' in text or 'evil' in text])
    module = ['write', 'evil.py', "open('MARK', 'w')\n"]
    return [
        Case(resumed, [['config_text', best, text], module]), Case(RESUME, [['config_text', last, text], module]),
        Case(board, [['config_text', best, text], module]), Case(resumed, [['state', best, 'marker', 0]]),
        Case(OWN, [['archive', 'w.pth', 'data.pkl', 'marker']]), Case(RESUME, [['state', last, 'marker', 0]]),
        Case(['publish', *BASES['publish'][0][1:]], [['archive', best, 'data.pkl', 'marker']]),
        Case(exported, [['archive', 'model.pt2', r.choice(['sample_inputs', 'constants', 'weights']), 'marker']]),
        Case(INFER, [['image', 'frames/grey.png', 'postscript']]),
        Case(SCORE, [['image', 'datasets/mini/test/masks/x.png', 'postscript']]),
        Case(['check-dataset'], [['image', 'datasets/mini/test/images/x.png', 'postscript']]),
        Case(exported[:3] + ['model.onnx', *exported[4:]], [['onnx_part', 'model.onnx', 'external']]),
    ]


def payloads(r: Random) -> Case:
    return r.choice(payload_forms(r))


def config_change(r: Random) -> tuple[str, str]:
    """A part of the tiny network's config and what takes its place."""
    old = r.choice([
        "'DetectionModel'", "'RPCANetPlus'", 'num_stages=1', 'channels=16', 'background_depth=1', 'bottleneck=4',
        "type='SoftIoULoss'", 'weight=0.1', 'carry_noise=False', 'inference_size = 32', "dataset = 'mini'",
        'batch_size=2', 'max_epochs=1', 'val_interval=1', 'size=32', 'num_workers=0',
        "soft_iou=dict(type='SoftIoULoss'), ", 'noise_depth=1', 'persistent_workers=False',
        'train_dataloader = dict(dataset=dict(dataset=dataset, size=32)', 'network=dict(',
    ])
    key, mark, _ = old.partition('=')
    value = r.choice(OPTION_VALUES)
    return old, r.choice([
        f'{key}{mark}{value}' if mark else value, f'{key}{mark}{value!r}' if mark else repr(value), '',
        f'{old}, x=1',
    ])


def configs(r: Random) -> Case:
    argv = r.choice([
        OWN, ['train', 'own.py', '--work-dir', 'w', '--dry-run'], ['train', 'own.py', '--work-dir', 'w'],
        BASES['publish'][0], BASES['export'][0], BASES['visualize-stages'][0],
        ['leaderboard', 'own.py', '--dataset', 'mini', '--dry-run'],
    ])
    which = r.randint(0, 3)
    if which == 0:
        edits = [['replace', 'own.py', *config_change(r)] for _ in range(r.randint(1, 2))]
        return Case(argv, edits)
    if which == 1:
        text = r.choice([
            '', 'import sys\nsys.exit(3)\n', 'raise KeyboardInterrupt\n', 'model = dict(type=1)\n', 'x = (',
            '\udcff', '\0', "raise SystemExit('bye')\n", '1 / 0\n', "_base_ = 'own.py'\n", "_base_ = 'nope.py'\n",
            '_base_ = 7\n', 'model = None\n',
            "custom_imports = dict(imports=['nope'])\nmodel = dict(type='TopHat')\n",
            "custom_imports = 3\nmodel = dict(type='TopHat')\n", "model = dict(type='TopHat', preset='nope')\n",
            "model = dict(type='TopHat', radius='x')\n", 'import nope\n', "model = dict(type='IPI', patch=0)\n",
            'def f():\n    pass\nmodel = f\n', 'model = lambda: 0\n', 'print(1)\n',
            "model = dict(type='RPCANet')\n", "_base_ = ['own.py', 'own.py']\n", "model = dict(type='Adam')\n",
            "model = dict(type='torch.nn.Linear', in_features=1, out_features=1)\n",
        ])
        return Case(argv, [['write', 'own.py', text]])
    if which == 2:
        return Case(argv, damages(r, 'own.py'))
    pairs = [f'{r.choice(OPTION_KEYS)}={r.choice(OPTION_VALUES)}' for _ in range(r.randint(1, 2))]
    base = argv if argv[0] in ('infer', 'train', 'visualize-stages', 'leaderboard') else OWN
    return Case([*base, '--cfg-options', *pairs])


def jsons(r: Random) -> Case:
    run = 'runs/own/seed_0'
    table = ['leaderboard', '--from', 'table.json', '--no-latency', '--json', 'new.json', '--markdown', 'new.md']
    board = ['leaderboard', 'own.py', '--dataset', 'mini', '--work-dir', 'runs', '--no-train', '--no-latency']
    file, argv = r.choice([(
        'results/mini/run.json', SCORE), ('results/mini/run.json',
        [*SCORE, '--report', 'new.html']), ('results/mini/run.json', [*INFER, '--dataset', 'mini']), ('table.json',
        table), ('table.json', table), ('iou.json',
        [*BASES['benchmark'][0], '--scores', 'iou.json', '--plot', 'new.png']), (f'{run}/summary.json',
        BASES['publish'][0]), (f'{run}/summary.json', [*board, '--dry-run']), (f'{run}/log.jsonl',
        RESUME), (f'{run}/log.jsonl', [*board, '--dry-run']), (f'{run}/log.jsonl',
        [*board, '--curves', 'new']), (f'{run}/summary.json', board), (f'{run}/summary.json', RESUME,
    )])
    which = r.randrange(8)
    if which == 0:
        return Case(argv, damages(r, file))
    if which == 1:
        return Case(
            argv,
            [r.choice([['nest', file, 100000], *(['write', file, text] for text in ('null', '[1]', '\udcff'))])],
        )
    return Case(argv, [['put_json', file, r.randrange(400), json_value(r)]])


def networks(r: Random) -> Case:
    """Exported networks."""
    file = r.choice(['model.onnx', 'model.onnx', 'model.pt2'])
    argv = ['infer', 'own.py', '--checkpoint', file, '--input', 'frames/grey.png', '--out', 'out']
    if file == 'model.pt2':
        member = r.choice(
            ['sample_inputs', 'models/', 'weights', 'constants', 'version', 'extra', 'byteorder']
        )
        archive = ['archive', file, member, r.choice(['marker', 'gone', 'emptied', 'half'])]
        return Case(argv, [archive]) if r.random() < 0.5 else Case([*argv, '--trust'], damages(r, file))
    value = r.choice(['0', '-1', '1.5', 'null', '"x"', '[]', '1e999', '99999999999', '7'])
    rules = [
        f'{{"{r.choice(["multiple", "fixed_size", "min_side", "fill", "nope"])}": {value}}}',
        json.dumps(json_value(r)),
    ]
    others = [[['rules', file, r.choice(rules)]], [['onnx_part', file, r.choice(E.ONNX)]]]
    return Case(argv, r.choice([damages(r, file), damages(r, file), *others]))


def videos(r: Random) -> Case:
    file = r.choice(['clip.avi', 'clip.mp4'])
    argv = ['infer', 'tophat', '--input', file, '--out', 'out', '--format', 'csv']
    if r.random() < 0.5:
        argv += [
            '--video-out',
            r.choice(['new.mp4', 'new.avi', file, './' + file, 'new.xyz', 'nope/new.mp4', 'clip.avi']),
        ]
    if r.random() < 0.5:
        argv += option(r, 'infer')
    return Case(argv, damages(r, file) if r.random() < 0.7 else [])


def places(r: Random) -> Case:
    """Where results go: what is there already, a full disk, names that meet."""
    argv = r.choice([
        INFER, OWN, ['infer', 'tophat', '--dataset', 'mini'],
        [*INFER, '--format', 'csv', 'coco', 'json', '--overlay'], [*OWN, '--save-stages'],
        [*SCORE, '--json', 'table.json'], [*SCORE, '--csv', 'own.py'], [*SCORE, '--report', 'new.html'],
        [*SCORE, '--json', 'new.json', '--markdown', 'new.md', '--latex', 'new.tex', '--targets-csv', 'new.csv'],
        ['check-dataset', '--json', 'iou.json'], ['check-dataset', '--json', 'new.json'], *BASES['make-synthetic'],
        ['infer', 'tophat', '--input', 'clip.avi', '--out', 'out', '--video-out', 'new.mp4'], *BASES['publish'],
        *BASES['visualize-stages'], *BASES['analyse-decomposition'], *BASES['robustness'], *BASES['cross-dataset'],
        BASES['train'][1], *BASES['export'],
        ['leaderboard', '--from', 'table.json', '--no-latency', '--json', 'iou.json'],
        ['leaderboard', '--from', 'table.json', '--no-latency', '--markdown', 'new.md', '--json', 'new.json'],
        [*BASES['benchmark'][0], '--json', 'new.json', '--markdown', 'new.md'],
        [*BASES['benchmark'][0], '--json', 'iou.json'],
    ])
    which = r.randint(0, 4)
    if which <= 1:
        return Case(argv, [['disk', r.choice([0, 100, 600, 3000, 20000])]])
    if which == 2:
        return Case(
            argv, damages(r, r.choice(['own.py', 'results/mini/run.json', 'w.pth', 'results/mini/mat/x.mat']))
        )
    placed: list[list[Edit]] = [
        [], [['write', 'out', 'mine']], [['folder', 'new.json']],
        [['write', 'out/frames/run.json', '{}']], [['link', 'new.json', '/dev/full']],
        [['write', 'out/frames/targets.csv', 'mine\n']], [['write', 'out/frames/img/grey.png', 'mine']],
        [['folder', 'out/frames/mat/grey.mat']], [['write', 'out/clip/targets.csv', 'mine\n']],
        [['write', 'work/own/seed_0/last.pth', 'mine']], [['write', 'published', 'mine']],
        [['write', 'datasets/synthetic/test/images/mine.png', 'mine']],
        [['copy', 'frames/grey.png', 'frames/grey.bmp']], [['copy', 'frames/grey.png', 'frames/sub.png/grey.png']],
        [['write', 'new.mp4', 'mine']],
        [['write', 'results/mini/targets.csv', 'mine\n'], ['remove', 'results/mini/run.json']],
        [['fifo', 'new.json']], [['link', 'out', 'datasets']],
    ]
    return Case(argv, r.choice(placed))


def interrupts(r: Random) -> Case:
    argv = r.choice([base for bases in BASES.values() for base in bases] + [RESUME])
    return Case(argv, interrupt=r.choice([0.003, 0.01, 0.03, 0.1, 0.3, 0.6]))


def words(r: Random) -> Case:
    """Words without sense."""
    command = r.choice([*(name for name in COMMANDS if name not in _NOT_FUZZED), 'nope', ''])
    if command == 'train':
        return Case(
            [command, *(word(r, PATHS) for _ in range(r.randrange(4))), '--dry-run', '--work-dir', 'work']
        )
    return Case([command, *(word(r, NUMBERS) for _ in range(r.randrange(4)))])


KINDS: list[tuple[Callable[[Random], Case], int]] = [
    (images, 5), (mats, 3), (lists, 2), (checkpoints, 5), (configs, 4), (options, 6), (jsons, 4), (networks, 2),
    (videos, 2), (places, 2), (interrupts, 1), (words, 1), (payloads, 2), (labels, 3),
]
