"""The table beside a video: which action was in force from which frame on.

A csv of `frame,action[,reward][,end]`, the columns in any order under a header or in
this one without. Rows ascend by frame. An action holds from its frame to the next row;
an empty one is not known from there. A reward is given once, for the action taken on
seeing its frame. `end` (`terminal` or `cut`) marks the last frame of an episode, whose
action is read past. Every row is checked; what is wrong is named with file and line.
"""

import csv
import io
import math
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from alpt_jax.errors import UserError, did_you_mean

_COLUMNS = ('frame', 'action', 'reward', 'end')
_ENDS = ('terminal', 'cut')
# Separators that are proposed where the given one divides nothing.
_SEPARATORS = {',': ',', ';': ';', '\t': '\\t', '|': '|', ' ': ' '}
# Longer marks first: UTF-32's begins as UTF-16's.
_BYTE_ORDER_MARKS = {
  b'\xff\xfe\0\0': 'UTF-32',
  b'\0\0\xfe\xff': 'UTF-32',
  b'\xff\xfe': 'UTF-16',
  b'\xfe\xff': 'UTF-16',
}
# Ours: as many rows of consecutive frames were written by a program, one for each.
_MIN_ROW_PER_FRAME = 10


class Row(NamedTuple):
  """One row of a table."""

  line: int  # of the file, from 1
  frame: int  # of the video, from 0
  action: str  # '' where not known
  reward: float
  end: str  # 'terminal', 'cut', or '' inside an episode


class Table(NamedTuple):
  """All rows of a file, ascending by frame."""

  path: pathlib.Path
  rows: tuple[Row, ...]
  notes: tuple[str, ...] = ()  # what was read past, one line each


class TableChoice(NamedTuple):
  """How tables are written."""

  separator: str = ','  # one character; a tab also as \t
  first_frame: int = 0  # the number of a video's first frame
  action_names: tuple[str, ...] = ()  # the only ones allowed; (): any


_PLAIN = TableChoice()


def read_table(
  path: str | pathlib.Path, num_frames: int, choice: TableChoice = _PLAIN
) -> Table:
  """The rows of a table, checked one by one.

  Args:
    path: UTF-8, with or without a byte-order mark.
    num_frames: of its video; no row may lie beyond, and a table of a row for each
      frame must have as many, or one less.
    choice: how the file is written.

  Raises:
    UserError: with file and line, what was expected, found, and what to do.
  """
  path = pathlib.Path(path)
  separator = separating_character(choice.separator)
  text, notes = _text(path)
  lines = list(_lines(path, text, separator))
  if not lines:
    raise UserError(f'{path}: expected rows, found none. Write some, or remove it.')
  columns = _columns(path, *lines[0], separator)
  if columns is None:
    columns = _COLUMNS[: max(2, len(lines[0][1]))]
  else:
    del lines[0]
  rows = []
  for line, cells in lines:
    place = f'{path}, line {line}'
    if not any(cells[len(columns) :]):  # spreadsheets end rows with empty ones
      cells = cells[: len(columns)]
    if len(cells) != len(columns):
      inside = 'commas' if separator == ',' else repr(separator)
      advice = f'Quote {inside} inside a name'
      if len(cells) < len(columns):
        advice = 'Write an empty one where there is nothing to say'
      raise UserError(
        f'{place}: expected {len(columns)} cells, found {len(cells)}. {advice}.'
      )
    row = _row(place, line, dict(zip(columns, cells, strict=True)), choice)
    _check_order(place, row, rows[-1] if rows else None, num_frames, choice)
    rows.append(row)
  if not rows:
    raise UserError(
      f'{path}: expected rows below its header, found none. Write some, or remove it.'
    )
  _check_row_per_frame(path, rows, num_frames)
  if rows[0].frame == 1 and not choice.first_frame:
    one = f'{path}: begins with frame 1; if it counts from 1, pass --first_frame=1.'
    notes = (*notes, one)
  return Table(path, tuple(rows), notes)


def spellings(tables: Iterable[Table]) -> tuple[str, ...]:
  """Every action name of a game, sorted.

  Raises:
    UserError: one name is written in two ways: equal but for capitals, blanks,
      `_` and `-`.
  """
  known = {}
  for table in tables:
    for row in table.rows:
      if not row.action or row.end:
        continue
      plain = plain_spelling(row.action)
      first, path, line = known.setdefault(plain, (row.action, table.path, row.line))
      if first != row.action:
        raise UserError(
          f"{table.path}, line {row.line}: action '{row.action}' is written "
          f"'{first}' in {path}, line {line}. Write it one way."
        )
  return tuple(sorted(name for name, _, _ in known.values()))


def plain_spelling(name: str) -> str:
  """What two spellings of one action name share."""
  return re.sub(r'[\s_-]', '', name.casefold()) or name


def longest_hold(table: Table, num_frames: int) -> int:
  """The most frames for which a row's action was held, to the video's end after the
  last one: an action held for long may be a row that was forgotten."""
  ends = [row.frame for row in table.rows[1:]] + [num_frames]
  holds = [
    end - row.frame
    for row, end in zip(table.rows, ends, strict=True)
    if row.action and not row.end
  ]
  return max(holds, default=0)


def separating_character(separator: str) -> str:
  """A separator as it is typed in a shell, where a tab may be two signs.

  Raises:
    UserError: another number of characters, or a quote.
  """
  separator = {'\\t': '\t'}.get(separator, separator)
  if len(separator) != 1 or separator in '"\r\n':
    raise UserError(
      f"--separator: expected one character that is no quote, found '{separator}'."
    )
  return separator


def _text(path: pathlib.Path) -> tuple[str, tuple[str, ...]]:
  content = path.read_bytes()
  for mark, name in _BYTE_ORDER_MARKS.items():
    if content.startswith(mark):
      shown = mark.hex(' ').upper()
      raise UserError(f'{path}: {name} (byte-order mark {shown}). Save it as UTF-8.')
  bad = content.find(b'\0')  # of UTF-16 without a mark, or of a file that was torn
  try:
    text = content.decode('utf-8')
  except UnicodeDecodeError as error:
    bad = error.start
  if bad >= 0:
    line = content.count(b'\n', 0, bad) + 1
    raise UserError(
      f'{path}, line {line}: byte {content[bad]:#04x} is not UTF-8. Save it as UTF-8.'
    )
  if text.startswith('\ufeff'):
    return text[1:], (f'{path}: a UTF-8 byte-order mark was read past.',)
  return text, ()


def _lines(
  path: pathlib.Path, text: str, separator: str
) -> Iterator[tuple[int, list[str]]]:
  """(line, stripped cells) of every row that is not blank."""
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
  while True:
    try:
      cells = next(reader, None)
    except csv.Error as error:
      raise UserError(
        f'{path}, line {reader.line_num}: is no row of a table ({error}). Close its '
        'quotes, or write a quote inside a name twice.'
      ) from error
    if cells is None:
      return
    cells = [cell.strip() for cell in cells]
    if any(cells):
      yield reader.line_num, cells


def _columns(
  path: pathlib.Path, line: int, cells: list[str], separator: str
) -> list[str] | None:
  """The names of the columns, or None where the first row is no header."""
  place = f'{path}, line {line}'
  if len(cells) == 1:
    for other, written in _SEPARATORS.items():
      if other != separator and other in cells[0]:
        raise UserError(
          f"{place}: expected columns separated by '{separator}' (frame,action), found "
          f"'{cells[0]}'. Pass --separator='{written}'."
        )
  if re.fullmatch(r'[+-]?[0-9.]+', cells[0]):
    if not 2 <= len(cells) <= len(_COLUMNS):
      raise UserError(
        f'{place}: expected 2 to {len(_COLUMNS)} cells ({",".join(_COLUMNS)}), found '
        f'{len(cells)}. Write a header above.'
      )
    return None
  names = [cell.lower() for cell in cells]
  while not names[-1]:
    del names[-1]
  for name in names:
    if name not in _COLUMNS:
      raise UserError(
        f"{place}: unknown column '{name}'{did_you_mean(name, _COLUMNS)}."
      )
    if names.count(name) > 1:
      raise UserError(f"{place}: column '{name}' comes twice. Remove one.")
  for name in ('frame', 'action'):
    if name not in names:
      raise UserError(
        f"{place}: expected a column '{name}', found {', '.join(names)}. Add it."
      )
  return names


def _row(place: str, line: int, cells: dict[str, str], choice: TableChoice) -> Row:
  number = cells['frame']
  if not re.fullmatch('[0-9]{1,15}', number):
    raise UserError(
      f"{place}: expected a frame number, found '{number}'. Write frames, not seconds."
    )
  if int(number) < choice.first_frame:
    raise UserError(
      f'{place}: frame {int(number)} is before --first_frame={choice.first_frame}. '
      'Lower it.'
    )
  action = unicodedata.normalize('NFC', cells['action'])
  if not action.isprintable():
    raise UserError(
      f'{place}: expected an action name of printable characters, found {action!r}. '
      'Rename it.'
    )
  if action and choice.action_names and action not in choice.action_names:
    raise UserError(
      f"{place}: action '{action}' is not known"
      f'{did_you_mean(action, choice.action_names)}.'
    )
  reward = _reward(place, cells.get('reward', ''))
  end = cells.get('end', '')
  if end and end not in _ENDS:
    raise UserError(
      f"{place}: end: expected {' or '.join(_ENDS)}, found '{end}'. Leave it empty "
      'inside an episode.'
    )
  return Row(line, int(number) - choice.first_frame, action, reward, end)


def _reward(place: str, cell: str) -> float:
  try:
    reward = float(cell or 0)
  except ValueError:
    reward = math.nan
  if not math.isfinite(reward) or '_' in cell:
    raise UserError(
      f"{place}: expected a finite number as reward, found '{cell}'. Write 0 or "
      'nothing where there is none.'
    )
  return reward


def _check_order(
  place: str, row: Row, before: Row | None, num_frames: int, choice: TableChoice
) -> None:
  first = choice.first_frame
  frame = row.frame + first  # as the file has it
  if before and row.frame == before.frame:
    raise UserError(f'{place}: frame {frame} again (line {before.line}). Remove one.')
  if before and row.frame < before.frame:
    raise UserError(
      f'{place}: frame {frame} after {before.frame + first} (line {before.line}). Sort '
      'the rows.'
    )
  if row.frame >= num_frames:
    advice = 'Give the table of this video.'
    if not first:
      advice = (
        'Pass --first_frame=1 if it counts from 1, or give the table of this video.'
      )
    raise UserError(
      f'{place}: frame {frame}, the video has {first} to {first + num_frames - 1}. '
      f'{advice}'
    )


def _check_row_per_frame(path: pathlib.Path, rows: list[Row], num_frames: int) -> None:
  """A program wrote a row for each frame: then it must have seen each.

  The last frame needs none, as no action was taken on seeing it. A last row that
  knows no action, or ends an episode, says that the table stops there.
  """
  last = rows[-1]
  is_dense = last.frame - rows[0].frame + 1 == len(rows) >= _MIN_ROW_PER_FRAME
  if is_dense and last.frame < num_frames - 2 and last.action and not last.end:
    raise UserError(
      f'{path}: a row for each of {last.frame + 1} frames, the video has {num_frames}. '
      'Rows must follow its frames; a table with gaps may end early, one without by a '
      'row without action.'
    )
