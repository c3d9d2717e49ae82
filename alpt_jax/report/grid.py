"""Tables of words and numbers, for a terminal and for a page."""

import html
from collections.abc import Sequence
from typing import NamedTuple


class Grid(NamedTuple):
  """A table whose cells are written already.

  Attributes:
    headings: one per column.
    cells: one row each, as many as there are headings.
    words: headings of the columns that are aligned to the left.
    kinds: CSS classes of each row, '' for none; a row of kind 'section' begins
      below a line. Empty: all rows are alike.
    basis: a line below that says what the cells are; '' for none.
  """

  headings: Sequence[str]
  cells: Sequence[Sequence[str]]
  words: Sequence[str] = ()
  kinds: Sequence[str] = ()
  basis: str = ''

  def to_text(self) -> str:
    """For a terminal, columns aligned, without a final line break."""
    columns = zip(self.headings, *self.cells, strict=True)
    widths = [max(map(len, column)) for column in columns]
    rule = '  '.join('-' * width for width in widths)
    lines = [self._text_line(self.headings, widths), rule]
    for texts, kind in zip(self.cells, self._kinds(), strict=True):
      if 'section' in kind.split():
        lines.append(rule)
      lines.append(self._text_line(texts, widths))
    return '\n'.join([*lines, self.basis] if self.basis else lines)

  def to_html(self) -> str:
    """A `<table>` that scrolls if it is wide, the basis below, all text escaped."""
    head = self._html_line('th', self.headings)
    lines = [f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>']
    for texts, kind in zip(self.cells, self._kinds(), strict=True):
      attribute = f' class="{kind}"' if kind else ''
      lines.append(f'<tr{attribute}>{self._html_line("td", texts)}</tr>')
    lines.append('</tbody>\n</table></div>')
    if self.basis:
      lines.append(f'<p class="quiet">{html.escape(self.basis)}</p>')
    return '\n'.join(lines)

  def _kinds(self) -> Sequence[str]:
    return self.kinds or [''] * len(self.cells)

  def _text_line(self, texts: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
      text.ljust(width) if heading in self.words else text.rjust(width)
      for heading, text, width in zip(self.headings, texts, widths, strict=True)
    )
    return '  '.join(aligned).rstrip()

  def _html_line(self, tag: str, texts: Sequence[str]) -> str:
    return ''.join(
      f'<{tag}{self._align(heading)}>{html.escape(text)}</{tag}>'
      for heading, text in zip(self.headings, texts, strict=True)
    )

  def _align(self, heading: str) -> str:
    return ' class="word"' if heading in self.words else ''


def section_kinds(keys: Sequence) -> list[str]:
  """'section' for each row whose key differs from the row's before, else ''."""
  return [
    'section' if index and key != keys[index - 1] else ''
    for index, key in enumerate(keys)
  ]
