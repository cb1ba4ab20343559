"""``python -m tests.fuzz``: bad input of every kind for every command; ``--replay FOLDER`` runs one case again."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

os.environ |= dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')

from tests.fuzz.cases import Case, make_case
from tests.fuzz.runner import Outcome, load, make_world, run_cases, scratch_folder


def main() -> int:
    """Entry point; 0: no fault, 1: faults."""
    parser = argparse.ArgumentParser(prog='python -m tests.fuzz', description=__doc__)
    parser.add_argument('--cases', type=int, default=2000, metavar='N')
    parser.add_argument('--first', type=int, default=0, metavar='N', help='number of the first case')
    parser.add_argument('--seed', type=int, default=0, metavar='N')
    parser.add_argument('--jobs', type=int, default=2 * (os.cpu_count() or 1), metavar='N')
    parser.add_argument('--keep', type=Path, default=Path('fuzz-faults'), metavar='DIR', help='of cases at fault')
    parser.add_argument(
        '--world', type=Path, metavar='DIR', help='with valid files of every kind; made if it is not there'
    )
    parser.add_argument('--replay', type=Path, metavar='FOLDER', help='run the case of a folder again, show it')
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    scratch = scratch_folder()
    try:
        world = make_world(scratch, args.world and args.world.resolve())
        if args.replay:
            case = Case.read((args.replay / 'case.json').read_text())
            outcome = next(iter(run_cases([(0, case)], world, scratch, 1)))
            print(f'{case.text()}\n{outcome.output}\nexit code {outcome.code}')
            print('\n'.join(map(str, outcome.faults)) or 'no fault')
            return int(bool(outcome.faults))
        load(world, scratch)
        numbers = range(args.first, args.first + args.cases)
        cases = ((number, make_case(args.seed, number)) for number in numbers)
        started = time.monotonic()
        faulty, done = [], 0
        try:
            for outcome in run_cases(cases, world, scratch, args.jobs):
                done += 1
                if outcome.faults:
                    faulty.append(outcome)
                    if len(faulty) % 50 == 1:
                        print(f'{len(faulty)} at fault, case {outcome.number}', file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print('stopped; so far:', file=sys.stderr)
        print(f'{done} cases in {time.monotonic() - started:.0f} s, {len(faulty)} at fault')
        return report(faulty, scratch, args.keep)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def report(faulty: list[Outcome], scratch: Path, keep: Path) -> int:
    """Say what was found, and keep the first case of every new fault."""
    by_fault = defaultdict(list)
    for outcome in faulty:
        for fault in outcome.faults:
            by_fault[fault].append(outcome)
    kinds = Counter(fault.kind for outcome in faulty for fault in outcome.faults)
    for kind, count in kinds.most_common():
        distinct = [fault for fault in by_fault if fault.kind == kind]
        print(f'{count:6d} {kind} ({len(distinct)} distinct)')
    for fault, outcomes in sorted(by_fault.items(), key=lambda pair: (pair[0].kind, -len(pair[1]))):
        first = min(outcomes, key=lambda outcome: (len(outcome.case.edits), len(outcome.case.argv)))
        folder = keep / f'case_{first.number:06d}'
        if not folder.exists():
            odd = lambda path, names: [n for n in names if _odd(path, n)]  # noqa: E731
            shutil.copytree(scratch / folder.name, folder, symlinks=True, ignore=odd)
        print(f'{fault}  ({len(outcomes)} times; python -m tests.fuzz --replay {folder})')
    return int(bool(faulty))


def _odd(path: str, name: str) -> bool:
    whole = Path(path, name)
    return not (whole.is_dir() or whole.is_file()) or whole.is_symlink()


if __name__ == '__main__':
    sys.exit(main())
