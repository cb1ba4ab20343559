"""What all commands share: errors as one line, exit codes, common options."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from drpca.errors import EXIT_USAGE, UserError
from drpca.evaluation.protocols import DEFAULT_PROTOCOLS, Protocol, choose_protocols
from drpca.inference.frames import NATIVE

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def guarded(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Show a :class:`UserError` as one line on stderr with exit code 2, Ctrl-C with 130."""

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        try:
            return main(argv)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            return EXIT_USAGE
        except KeyboardInterrupt:
            print('stopped', file=sys.stderr)
            return EXIT_INTERRUPTED

    return run


def command_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples."""
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
    if size < 8:
        raise argparse.ArgumentTypeError(f"expected 'native' or a side of at least 8 pixels, got {text!r}")
    return size


def chosen_protocols(arguments: argparse.Namespace) -> list[Protocol]:
    """The protocols of a command line, with the size it asks for."""
    return choose_protocols(arguments.protocol or DEFAULT_PROTOCOLS, arguments.size)


def write_file(path: Path, text: str) -> None:
    """Writes a file that the user named, and says so.

    Raises:
        UserError: It cannot be written.
    """
    replaced = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'Cannot write {path}: {error.strerror}; name another file.') from error
    print(f'{"replaced" if replaced else "wrote"} {path}', file=sys.stderr)
