"""Runs cases, each in a child of a process that has imported everything, and judges what came of them.

A case is at fault when it shows a traceback, ends with a code that means nothing, says more than one line, says what is
not ours, replaces a file unasked, loses something without a word, runs what stood in a file, leaves a process, hangs or
dies.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drpca import fetch
from tests.fuzz.cases import Case
from tests.fuzz.edits import MARK, apply

CODES = {0, 1, 2, 130}
CASE_SECONDS = 40.0
IDLE_SECONDS = 5.0
INPUTS = ('frames', 'datasets', 'w.pth', 'own.py', 'clip.avi', 'clip.mp4')
SELDOM = ('labelled', 'runs', 'maps', 'model.pt2')
"""What of the world is copied only for cases that name it."""
MEMORY = 3 * 2**30
FOREIGN = re.compile(
    r'.*(\w*Warning: |\[ ?(?:WARN|ERROR|INFO)|libpng|TIFF\w*:|Corrupt JPEG|\[\w+ @ |OpenCV|\bW\d{4} |onnxruntime:'
    r'|terminate called|what\(\):)'
)
ERROR = re.compile(r'error: |[\w./ -]+: error: ')
FRAME = re.compile(r'File "[^"]*/(drpca/[\w/]+\.py)", line \d+,? in (\w+)')


@dataclass(frozen=True)
class Fault:
    """What went wrong: its kind, and where or how, alike for alike faults."""

    kind: str
    where: str

    def __str__(self) -> str:
        return f'{self.kind}: {self.where}'


@dataclass
class Outcome:
    """How a case ended."""

    number: int
    case: Case
    code: int | None
    faults: list[Fault]
    output: str
    seconds: float


def load(world: Path, scratch: Path) -> None:
    """Import what the children need, with one thread, so that a fork is cheap and safe."""
    import cv2
    import onnxruntime  # noqa: F401
    import pydantic  # noqa: F401
    import torch
    import torch.export
    from PIL import Image

    import drpca
    from tests.fuzz.cases import BASES, parser_of

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    Image.init()
    # Commands import what they need when they need it, which a child would do again and again.
    for module in pkgutil.walk_packages(drpca.__path__, 'drpca.'):
        if module.name.split('.')[1] not in ('app', '__main__'):
            importlib.import_module(module.name)
    for command in BASES:
        parser_of(command)
    for name in _rehearsed([argv for bases in BASES.values() for argv in bases], world, scratch / 'rehearsal'):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def _rehearsed(commands: list[list[str]], world: Path, folder: Path) -> list[str]:
    """The modules that the commands import on their way, found in a child that runs each once on good input."""
    names = folder.with_suffix('.json')
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            known = set(sys.modules)
            quiet = os.open(os.devnull, os.O_WRONLY)
            for target in (1, 2):
                os.dup2(quiet, target)
            for number, argv in enumerate(commands):
                own = folder / str(number)
                shutil.copytree(world, own, symlinks=True)
                os.chdir(own)
                _call(argv, None)
            names.write_text(json.dumps(sorted(sys.modules.keys() - known)))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    shutil.rmtree(folder)
    return json.loads(names.read_text())


def run_cases(cases: Iterable[tuple[int, Case]], world: Path, scratch: Path, jobs: int = 2) -> Iterator[Outcome]:
    """The outcomes, in the order in which they are there; the folders of cases at fault stay in ``scratch``."""
    running: list[_Child] = []
    waiting = iter(cases)
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < jobs:
            following = next(waiting, None)
            if following is None:
                exhausted = True
            else:
                running.append(_Child(*following, world, scratch))
        for child in list(running):
            if child.poll():
                running.remove(child)
                yield child.judged()
        if running:
            select.select([child.pipe for child in running if child.open], [], [], 0.02)


class _Child:
    """A case in a process of its own, in a session of its own."""

    def __init__(self, number: int, case: Case, world: Path, scratch: Path) -> None:
        self.number, self.case = number, case
        self.folder = scratch / f'case_{number:06d}'
        self.report = scratch / f'report_{number:06d}.json'
        self.output = b''
        self.open = True
        self.hung = False
        self.status: int | None = None
        self.started = self.moved = time.monotonic()
        self.used = 0
        self.pipe, write = os.pipe()
        os.set_blocking(self.pipe, False)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                _be_child(case, world, self.folder, self.report, write)
            finally:
                os._exit(99)
        os.close(write)

    def poll(self) -> bool:
        """Whether it has ended; ends what hangs."""
        self._read()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                self._read()
                return True
        now = time.monotonic()
        used = _processor_time(self.pid)
        if used != self.used:
            self.used, self.moved = used, now
        if not self.hung and (now - self.started > CASE_SECONDS or now - self.moved > IDLE_SECONDS):
            self.hung = True
            os.kill(self.pid, signal.SIGUSR1)  # says where it is
        elif self.hung and (now - self.moved > IDLE_SECONDS + 0.5 or now - self.started > CASE_SECONDS + 1):
            os.kill(self.pid, signal.SIGKILL)
        return False

    def _read(self) -> None:
        while self.open:
            try:
                part = os.read(self.pipe, 65536)
            except BlockingIOError:
                return
            self.open = bool(part)
            if len(self.output) < 4_000_000:
                self.output += part
            if not part:
                os.close(self.pipe)

    def judged(self) -> Outcome:
        seconds = time.monotonic() - self.started
        left = _end_session(self.pid)
        if self.open:
            os.close(self.pipe)
        text = self.output.decode('utf-8', 'replace')
        found = json.loads(self.report.read_text()) if self.report.is_file() else {}
        self.report.unlink(missing_ok=True)
        faults = [Fault(*pair) for pair in found.get('faults', [])]
        command = self.case.argv[0] if self.case.argv else ''
        code = None
        assert self.status is not None
        if self.hung:
            faults.append(Fault('hang', f'{_innermost(text) or command}'))
        elif os.WIFSIGNALED(self.status):
            name = signal.Signals(os.WTERMSIG(self.status)).name
            faults.append(Fault('crash', f'{name} {_innermost(text) or command}'))
        else:
            code = os.WEXITSTATUS(self.status)
            faults += said(text, self._kept(), code, command, found.get('inputs', 1))
            if code == 0 and self.case.silent:
                faults.append(Fault('silent', f'{command}: {self.case.silent}'))
        if left and not self.hung:
            faults.append(Fault('process left', command))
        if faults and self.folder.is_dir():
            (self.folder / 'case.json').write_text(self.case.text())
            (self.folder / 'output.txt').write_text(text)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Outcome(self.number, self.case, code, list(dict.fromkeys(faults)), text, seconds)

    def _kept(self) -> str:
        """The traceback that a command has put into a file."""
        files = self.folder.glob('drpca-fault-*.txt') if self.folder.is_dir() else ()
        return '\n'.join(file.read_text() for file in files)


def _be_child(case: Case, world: Path, folder: Path, report: Path, pipe: int) -> None:
    """Prepare, run, look around, and end; never returns."""
    unused = [name for name in SELDOM if name not in case.text()]
    shutil.copytree(world, folder, symlinks=True, ignore=lambda path, _: unused if path == str(world) else [])
    os.chdir(folder)
    gate = folder.parent / 'bin'
    os.environ |= {'PATH': f'{gate}:{os.environ["PATH"]}', 'MARK_FILE': str(folder / MARK), 'HOME': str(folder)}
    os.environ |= {'DRPCA_HOME': str(folder / 'home'), 'DRPCA_MIRROR': 'http://127.0.0.1:9'}  # no network
    os.environ.pop('DRPCA_DATA', None)
    apply([edit for edit in case.edits if edit[0] != 'disk'])
    limits = [edit for edit in case.edits if edit[0] == 'disk']
    before = hashes(folder)
    for target in (1, 2):
        os.dup2(pipe, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = os.fdopen(1, 'w', buffering=1, encoding='utf-8', closefd=False)
    sys.stderr = os.fdopen(2, 'w', buffering=1, encoding='utf-8', errors='backslashreplace', closefd=False)
    faulthandler.enable(sys.stderr, all_threads=False)
    faulthandler.register(signal.SIGUSR1, sys.stderr, all_threads=False)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_memory() + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tempfile.tempdir = str(folder)
    fetch.PAUSE = 0.0  # between the times that a transfer is tried
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    apply(limits)
    code = _call(case.argv, case.interrupt)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    faults = looked_around(case, folder, before, code)
    # How many files may be named as unreadable: those of a folder of frames, or one.
    inputs = 8 if case.argv and case.argv[0] == 'infer' else 1
    report.write_text(json.dumps({'faults': faults, 'inputs': inputs}))
    os._exit(code & 255)


def _call(argv: list[str], interrupt: float | None) -> int:
    """The exit code, as the interpreter makes it."""
    from drpca.cli.main import main

    try:
        signal.setitimer(signal.ITIMER_REAL, interrupt or 0)
        code: object = main(argv)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    deadline = time.monotonic() + 3
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    sys.stdout.flush()
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f'-> {os.readlink(path)}'
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha1(path.read_bytes()).hexdigest()
    return found


def looked_around(case: Case, folder: Path, before: dict[str, str], code: int) -> list[tuple[str, str]]:
    """What the files say."""
    faults = []
    command = case.argv[0] if case.argv else ''
    after = hashes(folder)
    if MARK in after:
        faults.append(('code ran', f'{command} from a {case.edits[0][0] if case.edits else "case without edits"}'))
    for name in before:
        if after.get(name) != before[name] and not _asked_for(case, name):
            what = 'an input' if name.split('/')[0] in INPUTS else 'a file'
            faults.append(('replaced', f'{command}: {what} {_option_of(case, name)}'))
    new = after.keys() - before.keys()
    if code == 0:
        faults += [('silent', f'{command}: {text}') for text in _lost(case, new)]
    partial = [name for name in new if name.endswith(('.partial', '.tmp'))]
    if partial and case.interrupt is None:
        faults.append(('left over', f'{command}: {Path(partial[0]).suffix}'))
    return faults


def _asked_for(case: Case, name: str) -> bool:
    """Whether the command line says that a file may be replaced."""
    if '--resume' in case.argv and name.startswith('runs/'):
        return True
    named = name in {str(Path(word)) for word in case.argv}
    read = name in (_value(case, '--input'), _value(case, '--checkpoint'))
    return '--overwrite' in case.argv and (name.startswith('out/') or (named and not read))


def _value(case: Case, option: str) -> str | None:
    if option not in case.argv[:-1]:
        return None
    return str(Path(case.argv[case.argv.index(option) + 1]))


def _option_of(case: Case, name: str) -> str:
    """The option after which a file was named."""
    for option, value in zip(case.argv, case.argv[1:]):
        if str(Path(value)) == name and option.startswith('--'):
            return f'named with {option}'
    return f'{Path(name).suffix or Path(name).name}, not named'


def _lost(case: Case, new: set[str]) -> Iterator[str]:
    """What a command that ended well has not done."""
    import numpy as np
    from scipy.io import loadmat

    limit = next((edit[1] for edit in case.edits if edit[0] == 'disk'), None)
    if limit is not None and any(not os.path.islink(name) and os.path.getsize(name) == limit for name in new):
        yield 'a file is cut where the disk was full'
    if case.argv[0] != 'infer':
        return
    for name in (name for name in new if name.endswith('.mat')):
        try:
            if not np.isfinite(loadmat(name)['T']).all():
                yield 'a map with NaN'
        except Exception:
            yield 'a map that cannot be read'
    images = _value(case, '--input')
    if images == 'frames' and '--format' not in case.argv and '--overwrite' not in case.argv:
        count = sum(file.suffix in ('.png', '.jpg', '.bmp', '.tif') for file in Path(images).iterdir())
        out = _value(case, '--out') or 'results'
        if len(list(Path(out, 'frames', 'mat').glob('*.mat'))) < count:
            yield 'fewer maps than images'


def said(text: str, kept: str, code: int, command: str, inputs: int) -> list[Fault]:
    """Faults in what stands on the screen."""
    if 'Traceback (most recent call last)' in text:
        if code == 99 and 'tests/fuzz/edits.py' in text:
            return [Fault('harness', text.strip().splitlines()[-1][:150])]
        return [Fault('traceback', f'{_innermost(text)} {_exception(text)}')]
    faults = []
    if code == 70:
        return [Fault('traceback', f'{_innermost(kept)} {_exception(kept)}')]
    if code not in CODES:
        faults.append(Fault('code', f'{code} {command}'))
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    if len(errors) > inputs:
        faults.append(Fault('noise', f'{command}: {len(errors)} error lines'))
    explained = errors or 'failed' in text or 'usage:' in text or command in ('check-dataset', 'data')
    if code in (1, 2) and not explained:
        faults.append(Fault('noise', f'{command}: code {code} without an error line'))
    for line in lines:
        match = FOREIGN.match(line)
        if match and not ERROR.match(line):
            source = re.search(r'/(\w+)\.py:\d+: ', line)
            tag = re.sub(r'@ .*', '', match[1]).strip()
            faults.append(Fault('noise', f'{command}: {tag} {source[1] if source else ""}'.rstrip()))
            break
    return faults


def _innermost(text: str) -> str:
    """The innermost function of the project in the last traceback, or in a stack of faulthandler."""
    if 'most recent call first' in text and 'Traceback (most recent call last)' not in text:
        last = text.split('most recent call first')[-1]
        match = re.search(r'File "[^"]*/(drpca/[\w/]+\.py)", line \d+ in (\S+)', last)
        return f'{match[1]}:{match[2]}' if match else ''
    found = FRAME.findall(text.split('Traceback (most recent call last)')[-1])
    return ':'.join(found[-1]) if found else ''


def _exception(text: str) -> str:
    for line in text.split('Traceback (most recent call last)')[-1].splitlines():
        match = re.match(r'((?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?::|$)', line)
        if match:
            return match[1].split('.')[-1]
    return '?'


def _session(pid: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path('/proc').iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                state, _, _, session, *_ = (entry / 'stat').read_text().rpartition(')')[2].split()
                if int(session) == pid and state not in 'ZX':
                    found.append(int(entry.name))
    return found


def _processor_time(pid: int) -> int:
    """Ticks of a process and of the children that it has waited for."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _end_session(pid: int) -> bool:
    """End what a case has left behind; whether there was anything."""
    left = _session(pid)
    if left:
        time.sleep(1.0)  # multiprocessing's helpers end a moment after their parent
        left = _session(pid)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return bool(left)


def _virtual_memory() -> int:
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


def make_world(folder: Path, world: Path | None = None) -> Path:
    """Build the world in a process of its own, unless it is there; in the folder a Ghostscript that leaves a mark."""
    world = world or folder / 'world'
    gate = folder / 'bin'
    gate.mkdir(parents=True, exist_ok=True)
    for name in ('gs', 'ghostscript', 'gswin32c'):
        (gate / name).write_text('#!/bin/sh\ntouch "$MARK_FILE"\nexit 1\n')
        (gate / name).chmod(0o755)
    if not world.is_dir():
        command = [sys.executable, '-m', 'tests.fuzz.world', str(world)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f'The world cannot be built:\n{done.stdout}{done.stderr}')
    return world


def scratch_folder() -> Path:
    """A new folder in memory where there is one."""
    memory = Path('/dev/shm')
    return Path(tempfile.mkdtemp(prefix='drpca-fuzz-', dir=memory if os.access(memory, os.W_OK) else None))
