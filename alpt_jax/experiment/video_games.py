"""Folders of recordings: which of them are one game, and whose table is whose.

  DIR/clip1.mp4  DIR/clip1.csv             files directly in DIR: one game
  DIR/clip2/00000.png ...  DIR/clip2.csv   a folder of PNGs is a recording
  DIR/<game>/clip1.mp4 ...                 several games

A table has the name of its recording; a recording without one has no action known.
"""

import contextlib
import difflib
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alpt_jax.data.clip import VIDEO_SUFFIXES
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets
from alpt_jax.partial import PARTIAL


class Recording(NamedTuple):
  """A video and what is known of it."""

  path: pathlib.Path  # a file, or a folder of PNGs
  table: pathlib.Path | None


class Game(NamedTuple):
  """Recordings that lie in one folder."""

  name: str
  folder: pathlib.Path
  recordings: tuple[Recording, ...]  # by name


class LeftOut(NamedTuple):
  """An input that was not converted."""

  file: str
  line: int | None  # of a table
  why: str


class Omissions:
  """What cannot be read: raised at once, or named and left out where that is asked."""

  def __init__(self, keep_going: bool, say: Callable[[str], Any]):
    self.left_out: list[LeftOut] = []
    self._keep_going = keep_going
    self._say = say

  @contextlib.contextmanager
  def of(self, path: pathlib.Path) -> Iterator[None]:
    """Leaves `path` out where what is done inside raises.

    Raises:
      UserError: the one from inside, unless it is to be left out.
    """
    try:
      yield
    except UserError as error:
      if not self._keep_going:
        raise
      line = re.search(r'^\S.*?\.csv, line ([0-9]+)', str(error), re.IGNORECASE)
      self.left_out.append(
        LeftOut(str(path), int(line[1]) if line else None, str(error))
      )
      self._say(f'left out: {error}')


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
  """What the system says of a file that cannot be read, as what to do about it."""
  try:
    yield
  except OSError as error:
    raise UserError(
      f'{error.filename or path}: cannot be read ({error.strerror}). Look after its '
      'permissions or the disk, or remove it.'
    ) from error


def holds_recordings(data: str) -> bool:
  """Whether a folder holds videos or folders of PNGs, or is one itself."""
  folder = pathlib.Path(data)
  if not folder.is_dir() or datasets.is_dataset(folder):
    return False
  inside = (path for path in _visible(folder) if path.is_dir())
  return (
    _is_recording(folder)
    or bool(_recordings(folder))
    or any(map(_recordings, filter(_is_looked_at, inside)))
  )


def find_games(
  folder: pathlib.Path, omissions: Omissions, say: Callable[[str], Any]
) -> list[Game]:
  """The games in a folder, by name; that of files directly in it has the folder's.

  Args:
    folder: for which `holds_recordings` is true.
    omissions: for tables without recording, or with two.
    say: receives what was passed over.

  Raises:
    UserError: the folder is one recording, or holds recordings beside games.
  """
  if _is_recording(folder):
    raise UserError(
      f'{folder}: is one recording, of pictures. Pass --data={folder.parent} where it '
      'lies.'
    )
  here = _recordings(folder)
  others = [path for path in _visible(folder) if path.is_dir() and path not in here]
  inside = {
    path: found
    for path in others
    if _is_looked_at(path) and (found := _recordings(path))
  }
  if here and inside:
    raise UserError(
      f'{folder}: holds recordings ({here[0].name}) and folders of recordings '
      f'({next(iter(inside)).name}): one game, or several? Move them all into folders, '
      'one for each game, or all out of them.'
    )
  found = {folder: here} if here else inside
  places = found if here else [folder, *found]
  tables = {place: _tables(place) for place in places}
  for place in places:
    _say_unread(place, found.get(place, []), tables[place], inside, say)
  if not here:
    _match([], tables[folder], omissions)
  return [
    Game(
      place.resolve().name or 'game',
      place,
      _match(paths, tables[place], omissions),
    )
    for place, paths in found.items()
  ]


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in sorted(folder.iterdir()) if not path.name.startswith('.')]


def _is_looked_at(folder: pathlib.Path) -> bool:
  """Not what was converted before, or is being converted now."""
  return f'.{PARTIAL}' not in folder.name and not datasets.is_dataset(folder)


def _is_video(path: pathlib.Path) -> bool:
  return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def _is_recording(path: pathlib.Path) -> bool:
  """A video, or a folder of PNGs that is no folder of recordings."""
  if _is_video(path):
    return True
  if not path.is_dir() or not _is_looked_at(path):
    return False
  inside = _visible(path)
  has_pictures = any(file.suffix.lower() == '.png' for file in inside)
  return has_pictures and not any(map(_is_recording, inside))


def _recordings(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in _visible(folder) if _is_recording(path)]


def _tables(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in _visible(folder) if path.suffix.lower() == '.csv']


def _stem(path: pathlib.Path) -> str:
  """A recording's name as its table has it."""
  return path.name if path.is_dir() else path.stem


def _match(
  paths: list[pathlib.Path], tables: list[pathlib.Path], omissions: Omissions
) -> tuple[Recording, ...]:
  """Recordings with their tables; without those whose table is not clear."""
  table_of = {}
  unclear = []
  for table in tables:
    with omissions.of(table):
      named = [path for path in paths if _stem(path) == table.stem]
      if len(named) > 1:
        unclear += named
        names = ' or of '.join(path.name for path in named)
        raise UserError(f'{table}: is it the table of {names}? Rename one of them.')
      if not named:
        raise UserError(_no_recording(table, paths))
      if named[0] in table_of:
        raise UserError(
          f'{table}: {named[0].name} has a table, {table_of[named[0]].name}, already. '
          'Remove one.'
        )
      table_of[named[0]] = table
  return tuple(
    Recording(path, table_of.get(path)) for path in paths if path not in unclear
  )


def _no_recording(table: pathlib.Path, paths: list[pathlib.Path]) -> str:
  stem = table.stem
  stems = {_stem(path): path.name for path in paths}
  close = difflib.get_close_matches(stem, stems, n=1, cutoff=0.5)
  hint = f'Did you mean {stems[close[0]]}?' if close else 'Rename or remove it.'
  kinds = ', '.join(f'{stem}{suffix}' for suffix in ('.mp4', '.mkv', '.gif'))
  return f'{table}: no recording of that name ({kinds} or a folder {stem}). {hint}'


def _say_unread(folder, recordings, tables, games, say: Callable[[str], Any]) -> None:
  read = {*recordings, *tables, *games}
  unread = [path.name for path in _visible(folder) if path not in read]
  if unread:
    more = f' and {len(unread) - 5} more' if len(unread) > 5 else ''
    say(f'{folder}: not looked at: {", ".join(unread[:5])}{more}.')
