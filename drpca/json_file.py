"""JSON files: reading against a type that says what they should hold, one line for anything else; and what to write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from drpca.errors import UserError

T = TypeVar('T')


def read_json(path: str | Path, schema: type[T], advice: str = 'repair or remove it') -> T:
    """What a JSON file holds.

    Args:
        path: A regular file.
        schema: ``dict[str, float]``, a dataclass, a ``TypedDict`` of ``typing_extensions``, …
        advice: What to do about another file, for the message.

    Raises:
        UserError: There is none, it is no JSON, or it holds something else.
    """
    return checked(_parse(_text(path, advice), path, advice), schema, path, advice)


def read_json_lines(path: str | Path, schema: type[T], advice: str = 'repair or remove it') -> list[T]:
    """What the lines of a file hold, each a JSON value; raises as :func:`read_json`."""
    lines = _text(path, advice).splitlines()
    return [
        checked(_parse(line, f'line {number} of {path}', advice), schema, f'line {number} of {path}', advice)
        for number, line in enumerate(lines, start=1)
    ]


def checked(content: Any, schema: type[T], source: object, advice: str = 'repair or remove it') -> T:
    """A value as the type that it should be of.

    Args:
        content: Out of a file.
        schema: As of :func:`read_json`.
        source: Where it comes from, for the message.
        advice: What to do about it, for the message.

    Raises:
        UserError: It is something else; the message names the first place.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.2 s, and most commands read no JSON

    try:
        return TypeAdapter(schema).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = '.'.join(map(str, first['loc']))
        expected = first['msg'].replace('Input should be', 'expected').replace('a valid dictionary', 'a JSON object')
        found = repr(first['input'])
        raise UserError(
            f'Cannot read {source}: {f"{place}: " * bool(place)}{expected}, got '
            f'{found if len(found) < 60 else f"{found[:60]}…"}; {advice}.'
        ) from None
    except (OverflowError, RecursionError) as error:
        raise UserError(f'Cannot read {source}: {error}; {advice}.') from None


def plain(value: Any) -> Any:
    """The same for JSON, which has no infinity or NaN: those become None, also within dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(path: str | Path, advice: str) -> str:
    if not Path(path).is_file():
        raise UserError(f'Cannot read {path}: no such file; {advice}.')
    try:
        return Path(path).read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise UserError(f'Cannot read {path}: expected UTF-8 text ({error}); {advice}.') from None


def _parse(text: str, source: object, advice: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'Cannot read {source}: expected JSON ({error}); {advice}.') from None
