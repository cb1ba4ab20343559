"""The exception that means 'the input is wrong, the program is fine', and one line for any other."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence

from drpca.version import __version__

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FAULT = 70
EXIT_REQUEUE = 75
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141

MANY = 20
"""Of more names than these, an error names the nearest alone."""


WARNED = 'drpca'
"""The file that the project's own warnings are of."""


class UserError(Exception):
    """Bad input from the user: shown as one line, without traceback, exit code 2.

    The message says what was expected, what came, and what to do about it.

    Attributes:
        exit_code: Of a command that it ends.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str) -> None:
        super().__init__(' '.join(str(message).split()))


class DiskFull(UserError):
    """A file that cannot be written for want of space: nothing is wrong with what the user asked for."""

    exit_code = EXIT_FAILED


def counted(count: int, noun: str) -> str:
    """``1 map``, ``2 maps``."""
    return f'{count} {noun}{"s" * (count != 1)}'


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """' Did you mean 'test'?'; '' where no known name is near."""
    return ''.join(f' Did you mean {k!r}?' for k in _nearest(name, known, 1, 0.5))


def _nearest(name: str, known: Sequence[str], n: int, cutoff: float) -> list[str]:
    import difflib

    lower = {k.lower(): k for k in known}
    return [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n, cutoff)]


def unknown_name(kind: str, name: str, known: Sequence[str]) -> UserError:
    """Error for a name that is not registered: lists the known names, of many the nearest few.

    Args:
        kind: What the name stands for, for example ``'data set'``.
        name: The name that came.
        known: All names that would have been accepted.
    """
    hint = did_you_mean(name, known)
    if len(known) > MANY:
        near = ', '.join(_nearest(name, known, 5, 0.0))
        return UserError(f'Unknown {kind} {name!r}.{hint} Nearest of {len(known)}: {near}.')
    return UserError(f'Unknown {kind} {name!r}.{hint} Known: {", ".join(sorted(known))}.')


_NO_MEMORY = ("can't allocate memory", 'not enough memory', 'out of memory', 'Unable to allocate', 'bad allocation')


def warn(text: str) -> None:
    """A warning of one line, once a text; commands show it as ``warning: …``, without a place in the code."""
    warnings.warn_explicit(text, UserWarning, WARNED, 1)


def is_full(error: BaseException) -> bool:
    """Whether this is what the system says when there is no space left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain(error: Exception, doing: str) -> tuple[str, int]:
    """One line for an error, and the exit code: 2 for bad input and what the system says about a file, 1 for a full
    disk or memory, 70 for a fault of this project, whose traceback is written to a file.

    Args:
        error: What was raised.
        doing: What was going on: the words of a command, or the name of a run.

    Raises:
        KeyboardInterrupt: It was Ctrl-C, which a library has made another error of, as MMEngine does while it formats a
            config.
    """
    cause: BaseException | None = error
    while cause is not None:
        # Of one that comes while it builds a schema pydantic leaves the name in its text alone.
        if isinstance(cause, KeyboardInterrupt) or str(cause).rstrip().endswith('KeyboardInterrupt:'):
            raise KeyboardInterrupt from None
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY):
        return 'There is not enough memory for this: choose a smaller size, tile or batch.', EXIT_FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f'{os.fsdecode(error.filename)}: ' if isinstance(error.filename, str | bytes) else ''
        if is_full(error):
            return f'{where}{error.strerror}; free some space and start again.', EXIT_FAILED
        return f'{where}{error.strerror}; name another path, or check who may use it.', EXIT_USAGE
    what = f'{type(error).__name__}: {(str(error).strip().splitlines() or [""])[0][:160]}'
    where = _keep_traceback(error, doing)
    doing = doing if len(doing) < 160 else f'{doing[:160]}…'
    return f'A fault in drpca {__version__}, on {doing}: {what}; {where}.', EXIT_FAULT


def _keep_traceback(error: Exception, doing: str) -> str:
    """Writes a traceback to a file; says where it is."""
    import platform
    import tempfile
    import traceback

    lines = traceback.format_exception(error)
    text = f'drpca {__version__}, Python {platform.python_version()}: {doing}\n\n{"".join(lines)}'
    try:
        handle, name = tempfile.mkstemp(prefix='drpca-fault-', suffix='.txt')
        with os.fdopen(handle, 'w', encoding='utf-8', errors='backslashreplace') as file:
            file.write(text)
    except OSError as other:
        return f'the traceback could not be written ({other.strerror})'
    return f'the traceback is in {name}; please report it with that file'
