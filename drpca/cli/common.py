"""What all commands share: errors as one line, exit codes, common options."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

from mmengine.config import DictAction

from drpca.errors import EXIT_USAGE, UserError

EXIT_FAILED = 1
NATIVE = 'native'
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
