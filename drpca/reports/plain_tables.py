"""Rows of cells as aligned text or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LATEX = {
    '\\': r'\textbackslash{}', '<=': r'$\le$', '>=': r'$\ge$', '<': r'$<$', '>': r'$>$', '|': r'$|$', '[': '{[}',
    ']': '{]}', '*': '{*}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', 'x1e-6': r'$\times 10^{-6}$',
    '≤': r'$\le$', '≥': r'$\ge$', '±': r'$\pm$', '×': r'$\times$', '"': r'\textquotedbl{}', '`': r'\textasciigrave{}',
    **{character: f'\\{character}' for character in '_%&#${}'},
}  # fmt: skip
_IN_LATEX = re.compile('|'.join(map(re.escape, sorted(_LATEX, key=len, reverse=True))))


def latex_text(text: str) -> str:
    """Text as LaTeX shows it, letter by letter, whatever it holds."""
    text = ''.join(letter if letter.isprintable() else ' ' for letter in text)
    return _IN_LATEX.sub(lambda match: _LATEX[match[0]], text)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns, two spaces apart; the first ``left`` ones to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, aligned likewise."""
    rule = ['---'] * left + ['---:'] * (len(header) - left)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in (header, rule, *rows)) + '\n'
