"""What all commands share: errors as one line, exit codes, common options."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from drpca.errors import EXIT_USAGE, UserError
from drpca.evaluation.protocols import Protocol, build_protocols, known_protocols
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


DEFAULT_PROTOCOLS = ('basicirstd', 'drpca', 'rpcanet')


def chosen_protocols(arguments: argparse.Namespace) -> list[Protocol]:
    """The protocols of a command line, with the size it asks for.

    Raises:
        UserError: Unknown protocol.
    """
    specs = [spec for name in arguments.protocol or DEFAULT_PROTOCOLS for spec in _protocol_specs(name)]
    protocols = build_protocols(specs)
    if arguments.size is None:
        return protocols
    size = None if arguments.size == NATIVE else arguments.size
    return [dataclasses.replace(protocol, size=size) for protocol in protocols]


def _protocol_specs(name: str) -> list[Any]:
    """A name as it is, or what the config file of that name lists under ``protocols``."""
    if not name.endswith('.py'):
        return [name]
    if not Path(name).is_file():
        raise UserError(f'No config file {name}; name a preset ({", ".join(known_protocols())}) or a file.')
    try:
        specs = Config.fromfile(name).get('protocols')
    except Exception as error:  # the file is Python: anything may go wrong in it
        raise UserError(f'Cannot read {name}: {type(error).__name__}: {error}') from error
    if not isinstance(specs, list) or not specs:
        raise UserError(f"{name}: expected a list, protocols = [dict(type='basicirstd', name='mine', …)].")
    return specs


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
