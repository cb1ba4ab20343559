"""What commands share: kinds of values, common options, files to write."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mmengine.config import DictAction

from drpca.errors import UserError, unknown_name
from drpca.files import make_folder, refuse_present, save_text
from drpca.options import MAX_SIDE, NATIVE

if TYPE_CHECKING:
    from drpca.engine.jobs import JobOptions


class CommandParser(argparse.ArgumentParser):
    """A parser that refuses in one line, :class:`drpca.errors.UserError`, and names what may have been meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, extra = self.parse_known_args(args, namespace)
        option = extra[0].partition('=')[0] if extra else ''
        if option.startswith('--') and option != '--':
            raise unknown_name('option', option, [name for name in self._option_string_actions if name[:2] == '--'])
        if extra:
            self.error(f'not expected: {extra[0]!r}')
        return known

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = '/'.join(action.option_strings) or action.dest
            raise unknown_name(f'value of {name}:', str(value), [str(choice) for choice in action.choices])

    def error(self, message: str) -> NoReturn:
        raise UserError(f'{self.prog}: {message.removeprefix("argument ")}; --help shows what is expected.')


def command_parser(name: str, description: str, examples: str, done: str = '') -> CommandParser:
    """A parser whose help ends with examples and, where ``done`` says what 0 means, the exit status."""
    if done:
        wrong = 'wrong usage or input; one line on standard error says what to do'
        examples += f'\n\nexit status\n  0  {done}\n  2  {wrong}'
    return CommandParser(
        prog=name,
        description=description,
        epilog=f'examples:\n{examples}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


class OptionsAction(DictAction):
    """``KEY=VALUE …`` → a dictionary."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for text in values:
            if '=' not in text or text.startswith('='):
                parser.error(f'{option_string}: expected KEY=VALUE, got {text!r}')
            try:
                super().__call__(parser, namespace, [text], option_string)
            except (AssertionError, RecursionError):  # of MMEngine: brackets left open, dict(…)
                expected = 'a number, a word or a list like [1,2], and keys of a dictionary one by one (a.b=1)'
                parser.error(f'{option_string}: expected {expected}, got {text[:60]!r}')


def size_argument(text: str) -> int | str:
    """``256`` → 256, ``native`` → ``NATIVE``."""
    if text == NATIVE:
        return NATIVE
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not 8 <= size <= MAX_SIDE:
        raise argparse.ArgumentTypeError(
            f"expected 'native' or a side of at least 8 and at most {MAX_SIDE} pixels, got {text[:40]!r}"
        )
    return size


def positive(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch('0*[1-9][0-9]{0,8}', text):
        raise argparse.ArgumentTypeError(f'expected a whole number above 0, got {text[:40]!r}')
    return int(text)


def seed_argument(text: str) -> int:
    """What random generators take as a seed."""
    if not re.fullmatch('[0-9]{1,10}', text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'expected a whole number from 0 to 4294967295, got {text[:40]!r}')
    return int(text)


def device_argument(text: str) -> str:
    """The name of a device; whether there is one shows later."""
    if not re.fullmatch(r'(cpu|cuda|mps|xpu)(:[0-9]{1,3})?', text):
        raise argparse.ArgumentTypeError(f'expected cpu, cuda or cuda:N, got {text[:40]!r}')
    return text


def keywords(workflow: Callable[..., Any], args: argparse.Namespace) -> dict[str, Any]:
    """The options that a function takes under the same names."""
    taken = inspect.signature(workflow).parameters
    return {name: value for name, value in vars(args).items() if name in taken}


def add_overwrite_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--overwrite``."""
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there already')


def claim_files(args: argparse.Namespace, *options: str, own: Sequence[Path] = ()) -> None:
    """Refuses files that are there already, before the work, unless ``--overwrite`` is given.

    Args:
        args: With ``overwrite``.
        options: Names of the options that name a file to write.
        own: Files that may be replaced all the same.

    Raises:
        UserError: Two are the same; one is there already, is a folder, or lies in a folder that cannot be made.
    """
    paths = [Path(value) for name in options if (value := getattr(args, name)) is not None]
    for path in paths:
        if sum(path.absolute() == other.absolute() for other in paths) > 1:
            raise UserError(f'{path} is named by two options: what the first one writes would be lost; name another.')
        refuse_present([path], args.overwrite or path in own)
        make_folder(path.parent)


def write_file(path: str | Path, text: str) -> None:
    """Writes a file that :func:`claim_files` has claimed, and says so.

    Raises:
        UserError: It cannot be written.
    """
    replaced = Path(path).exists()
    save_text(path, text, overwrite=True)
    print(f'{"replaced" if replaced else "wrote"} {path}', file=sys.stderr)


_JOBS = ('gpus', 'at_once', 'partition', 'hours', 'slurm')


def add_job_options(parser: Any) -> None:
    """Adds ``--executor`` and what goes with it."""
    add = parser.add_argument
    add(
        '--executor', choices=['local', 'slurm', 'debug'],
        help='one training a job: on every GPU of this machine at once, or on a cluster; goes on with what is there',
    )  # fmt: skip
    add('--gpus', nargs='+', type=int, default=[], metavar='N', help='of this machine (default: all)')
    add('--at-once', type=positive, metavar='N', help='trainings at a time (default: one per GPU; on a cluster all)')
    add('--partition', metavar='P', help='of the cluster')
    add('--hours', type=float, metavar='H', help='time limit of a job on the cluster; it is queued again and goes on')
    add(
        '--slurm', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='further settings of a job on the cluster: account, qos, cpus_per_task, mem, …',
    )  # fmt: skip


def job_options(args: argparse.Namespace) -> JobOptions | None:
    """What was asked for; None without ``--executor``.

    Raises:
        UserError: Settings without an executor.
    """
    given = {name: getattr(args, name) for name in _JOBS}
    if args.executor is None:
        if any(given.values()):
            raise UserError('--gpus, --at-once, --partition, --hours and --slurm need --executor local or slurm.')
        return None
    from drpca.engine.jobs import JobOptions

    return JobOptions(args.executor, **given)
