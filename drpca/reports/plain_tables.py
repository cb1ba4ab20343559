"""Rows of cells as aligned text or Markdown."""

from __future__ import annotations

import itertools
import re
import shutil
import textwrap
from collections.abc import Sequence

_LATEX = {
    '\\': r'\textbackslash{}', '<=': r'$\le$', '>=': r'$\ge$', '<': r'$<$', '>': r'$>$', '|': r'$|$', '[': '{[}',
    ']': '{]}', '*': '{*}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', 'x1e-6': r'$\times 10^{-6}$',
    '≤': r'$\le$', '≥': r'$\ge$', '±': r'$\pm$', '×': r'$\times$', '"': r'\textquotedbl{}', '`': r'\textasciigrave{}',
    **{character: f'\\{character}' for character in '_%&#${}'},
}  # fmt: skip
_IN_MARKDOWN = re.compile(r'[|\n\r]|<(?=[A-Za-z/!?])')
_IN_LATEX = re.compile('|'.join(map(re.escape, sorted(_LATEX, key=len, reverse=True))))


def latex_text(text: str) -> str:
    """Text as LaTeX shows it, letter by letter, whatever it holds."""
    text = ''.join(letter if letter.isprintable() else ' ' for letter in text)
    return _IN_LATEX.sub(lambda match: _LATEX[match[0]], text)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, width: int | None = None) -> str:
    """Aligned columns, two spaces apart; the first ``left`` ones to the left, numbers to the right.

    A table that is wider than the console is folded: the columns that tell the rows apart, and below one another blocks
    of as many of the others as there is room for, each beside those. What is too long for all that breaks into lines.

    Args:
        header: Names of the columns.
        rows: Cells of each row.
        left: How many columns are words.
        width: Characters that a line may have; None: those of the console, ``COLUMNS``, or 80.
    """
    width = width or shutil.get_terminal_size().columns
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    if sum(widths) + 2 * len(header) - 2 <= width:
        return _aligned(lines, widths, left)
    keys = next((n for n in range(1, left) if len({tuple(row[:n]) for row in rows}) == len(rows)), max(left, 1))
    keys = min(keys, len(header))
    budget = (width // 2 if keys < len(header) else width) - 2 * keys
    for number, column in enumerate(sorted(range(keys), key=widths.__getitem__)):
        widths[column] = min(widths[column], max(budget // (keys - number), 4))
        budget -= widths[column]
    room = width - sum(widths[:keys]) - 2 * keys
    blocks: list[list[int]] = [[]]
    for column in range(keys, len(header)):
        widths[column] = min(widths[column], max(room, 4))
        if blocks[-1] and sum(widths[i] + 2 for i in blocks[-1]) + widths[column] > room:
            blocks.append([])
        blocks[-1].append(column)
    texts = []
    for block in blocks:
        columns = [*range(keys), *block]
        broken: list[list[str]] = []
        for line in lines:
            parts = [textwrap.wrap(line[i], widths[i]) or [''] for i in columns]
            broken += map(list, itertools.zip_longest(*parts, fillvalue=''))
        texts.append(_aligned(broken, [widths[i] for i in columns], sum(i < left for i in columns)))
    return '\n\n'.join(texts)


def _aligned(lines: Sequence[Sequence[str]], widths: Sequence[int], left: int) -> str:
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, aligned likewise; bars, line breaks and tags of a cell are shown as text."""
    rule = ['---'] * left + ['---:'] * (len(header) - left)
    lines = ([_IN_MARKDOWN.sub(_as_text, cell) for cell in line] for line in (header, *rows))
    first, *others = ('| ' + ' | '.join(line) + ' |' for line in lines)
    return '\n'.join([first, '| ' + ' | '.join(rule) + ' |', *others]) + '\n'


def _as_text(match: re.Match[str]) -> str:
    return {'|': r'\|', '<': '&lt;'}.get(match[0], ' ')
