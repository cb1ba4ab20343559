"""How a command ends: with an exit code and, where something went wrong, one line."""

from __future__ import annotations

import _thread
import functools
import io
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Callable

from drpca.errors import EXIT_INTERRUPTED, EXIT_PIPE, WARNED, explain


def guarded(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Show whatever ends a command as one line on stderr, with the exit code of :func:`drpca.errors.explain`.

    Ctrl-C: 130, also where it comes inside a finaliser or a library that cannot let it through: then it comes again.
    Nothing is said where nobody reads on (``… | head``): 141, as for other programs.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal cannot show
                stream.reconfigure(errors='backslashreplace')
        usual, usual_hook = warnings.formatwarning, sys.unraisablehook
        again: list[threading.Timer] = []

        def interrupt_again(lost: sys.UnraisableHookArgs) -> None:
            if not isinstance(lost.exc_value, KeyboardInterrupt):
                usual_hook(lost)
                return
            again.append(threading.Timer(0.1, _thread.interrupt_main))  # not in here, where it would be lost as well
            again[-1].start()

        def one_line(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
        ) -> str:
            return f'warning: {message}\n' if filename == WARNED else usual(message, category, filename, lineno, line)

        try:
            warnings.formatwarning, sys.unraisablehook = one_line, interrupt_again
            try:
                return main(argv)
            except Exception as error:
                if isinstance(error, OSError) and error.filename is None:  # of what is written to the screen
                    raise
                line, code = explain(error, command_line(main.__module__, argv))
                print(f'error: {line}', file=sys.stderr)
                return code
            finally:
                warnings.formatwarning, sys.unraisablehook = usual, usual_hook
                for timer in again:
                    timer.cancel()
                print(end='', flush=True)
        except KeyboardInterrupt:
            print('stopped', file=sys.stderr)
            return EXIT_INTERRUPTED
        except OSError as error:
            line, code = explain(error, command_line(main.__module__, argv))
            if isinstance(error, BrokenPipeError):
                code = EXIT_PIPE
            else:
                print(f'error: {line}', file=sys.stderr)
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in {sys.stdout, sys.stderr} & {sys.__stdout__, sys.__stderr__}:  # they may hold more
                if stream is not None:
                    os.dup2(null, stream.fileno())
            return code

    return run


def command_line(module: str, argv: list[str] | None) -> str:
    """The words of a command, as a shell takes them."""
    return shlex.join([module.rpartition('.')[2], *(sys.argv[1:] if argv is None else argv)])
