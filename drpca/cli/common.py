"""What all commands share: errors as one line, exit codes, common options."""

from __future__ import annotations

import argparse
import functools
import inspect
import io
import os
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

import drpca
from drpca.errors import EXIT_FAILED, EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USAGE, UserError
from drpca.files import is_full, make_folder, refuse_present, save_text
from drpca.options import MAX_SIDE, NATIVE


def guarded(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Show whatever ends a command as one line on stderr.

    A :class:`UserError`, and what the system says about a file: exit code 2. A full disk or memory: 1. Ctrl-C: 130.
    Anything else is a fault of this project: 70, and the traceback goes to a file.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal cannot show
                stream.reconfigure(errors='backslashreplace')
        try:
            return main(argv)
        except KeyboardInterrupt:
            print('stopped', file=sys.stderr)
            return EXIT_INTERRUPTED
        except Exception as error:
            line, code = explained(error) or reported(error, main.__module__, argv)
            print(f'error: {line}', file=sys.stderr)
            return code

    return run


_NO_MEMORY = (
    "can't allocate memory",
    'not enough memory',
    'out of memory',
    'Unable to allocate',
    'bad allocation',
)


def explained(error: Exception) -> tuple[str, int] | None:
    """Line and exit code for what is no fault of the program; None for anything else."""
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY):
        return 'There is not enough memory for this: choose a smaller size, tile or batch.', EXIT_FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f'{os.fsdecode(error.filename)}: ' if isinstance(error.filename, str | bytes) else ''
        if is_full(error):
            return f'{where}{error.strerror}; free some space and start again.', EXIT_FAILED
        return f'{where}{error.strerror}; name another path, or check who may use it.', EXIT_USAGE
    return None


def reported(error: Exception, command: str, argv: list[str] | None) -> tuple[str, int]:
    """Line and exit code for a fault of the program, whose traceback is written to a file."""
    words = shlex.join([command.rpartition('.')[2], *(sys.argv[1:] if argv is None else argv)])
    text = f'drpca {drpca.__version__}, Python {platform.python_version()}: {words}\n\n'
    text += ''.join(traceback.format_exception(error))
    try:
        handle, name = tempfile.mkstemp(prefix='drpca-fault-', suffix='.txt')
        with os.fdopen(handle, 'w', encoding='utf-8', errors='backslashreplace') as file:
            file.write(text)
        where = f'the traceback is in {name}; please report it with that file'
    except OSError as other:
        where = f'the traceback could not be written ({other.strerror})'
    first = (str(error).strip().splitlines() or [''])[0][:160]
    return (
        f'A fault in drpca {drpca.__version__}, on {words if len(words) < 160 else f"{words[:160]}…"}: '
        f'{type(error).__name__}: {first}; {where}.',
        EXIT_FAULT,
    )


def command_parser(name: str, description: str, examples: str, done: str = '') -> argparse.ArgumentParser:
    """A parser whose help ends with examples and, where ``done`` says what 0 means, the exit status."""
    if done:
        wrong = 'wrong usage or input; one line on standard error says what to do'
        examples += f'\n\nexit status\n  0  {done}\n  2  {wrong}'
    return argparse.ArgumentParser(
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
        super().__call__(parser, namespace, values, option_string)


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
        UserError: One is there already, is a folder, or lies in a folder that cannot be made.
    """
    for path in (Path(value) for name in options if (value := getattr(args, name)) is not None):
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
