"""The arrays of an .npz file, read once and in order: no copy on disk, little memory.

An .npz is a zip of .npy files, each stored as it is (`numpy.savez`) or compressed
(`numpy.savez_compressed`). Either is read as a stream: what is compressed is
decompressed once, and a checksum that is wrong is found at the array's end. Nothing
that was pickled is ever loaded.
"""

import contextlib
import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from alpt_jax.errors import UserError

_SUFFIX = '.npy'
# Ours: zip files hand over as much at once, so that decompressing needs no more.
_READ_BYTES = 1 << 20
_HEADER_FNS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


class Form(NamedTuple):
  """What an array holds."""

  shape: tuple[int, ...]
  dtype: np.dtype


class Npz:
  """An open .npz file.

  Attributes:
    path: of the file.
    names: of its arrays, sorted.
  """

  def __init__(self, path: pathlib.Path):
    """Opens it; reads no array. Use it as a context.

    Raises:
      UserError: there is none, or it is no zip file.
    """
    self.path = path
    if not path.is_file():
      raise UserError(f'{path}: expected an .npz file, found nothing there.')
    try:
      self._zip = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
      raise UserError(
        f'{path}: expected arrays in a zip file, as numpy.savez writes them, found '
        'something else, or one that is cut off. Write or copy it anew.'
      ) from error
    files = [name for name in self._zip.namelist() if name.endswith(_SUFFIX)]
    self.names = sorted(name.removesuffix(_SUFFIX) for name in files)

  def __enter__(self) -> 'Npz':
    return self

  def __exit__(self, *unused) -> None:
    self._zip.close()

  def place(self, name: str) -> str:
    """How messages name an array."""
    return f'{self.path}, field {name}'

  def form(self, name: str) -> Form:
    """Of an array, by its header; raises as `rows`."""
    with self.rows(name) as rows:
      return rows.form

  def whole(self, name: str) -> np.ndarray:
    """An array that has rows, in memory; raises as `rows`."""
    with self.rows(name) as rows:
      return rows.take(0, rows.form.shape[0])

  def rows(self, name: str) -> 'Rows':
    """An array to be read from its beginning; a context.

    Raises:
      UserError: it is damaged, holds Python objects, or lies column by column.
    """
    return Rows(self._zip, name, self.place(name))


class Rows:
  """`take` gives rows in ascending order; the last one of each call once more.

  Attributes:
    form: of the whole array.
  """

  def __init__(self, file: zipfile.ZipFile, name: str, place: str):
    self._place = place
    with self._named():
      self._file = file.open(name + _SUFFIX)
      version = np.lib.format.read_magic(self._file)
      if version not in _HEADER_FNS:
        raise ValueError(f'version {version} of the .npy format')
      shape, is_by_column, dtype = _HEADER_FNS[version](self._file)
    if dtype.hasobject:
      raise UserError(
        f'{place}: expected numbers, found pickled Python objects, which are not '
        'loaded, as they may run any program. Write one array, episodes end to end.'
      )
    if is_by_column and len(shape) > 1:
      raise UserError(
        f'{place}: lies column by column in the file (Fortran order). Write it with '
        'numpy.ascontiguousarray.'
      )
    self.form = Form(shape, dtype)
    self._position = 0
    self._last = None

  def __enter__(self) -> 'Rows':
    return self

  def __exit__(self, *unused) -> None:
    self._file.close()

  def take(self, first: int, count: int) -> np.ndarray:
    """`[count, ...]` rows from `first` on, a new array.

    Args:
      first: not before the last row that was given.
      count: as many as there are, at most. With the last row of an array what is
        wrong with its checksum is found.

    Raises:
      UserError: the file is damaged.
    """
    rows = np.empty((count, *self.form.shape[1:]), self.form.dtype)
    if not rows.size:
      return rows
    fresh = rows
    if first < self._position:
      rows[0] = self._last
      fresh = rows[1:]
    else:
      self._skip(first - self._position)
    self._fill(fresh)
    self._position = first + count
    self._last = rows[-1].copy()
    if self._position == self.form.shape[0]:
      with self._named():
        self._file.read(1)  # at the end the checksum is compared
    return rows

  def _skip(self, num_rows: int) -> None:
    row_bytes = math.prod(self.form.shape[1:]) * self.form.dtype.itemsize
    left = num_rows * row_bytes
    buffer = np.empty(min(left, _READ_BYTES), np.uint8)
    while left:
      self._fill(buffer[:left])
      left -= len(buffer[:left])

  def _fill(self, array: np.ndarray) -> None:
    into = memoryview(array.view(np.uint8).reshape(-1))
    with self._named():
      while into:
        num_bytes = self._file.readinto(into[:_READ_BYTES])
        if not num_bytes:
          raise EOFError('it is shorter than its header says')
        into = into[num_bytes:]

  @contextlib.contextmanager
  def _named(self) -> Iterator[None]:
    try:
      yield
    except (
      zipfile.BadZipFile,  # a wrong checksum
      zlib.error,
      EOFError,
      ValueError,
      RuntimeError,  # encrypted
      NotImplementedError,  # a way of compressing that is not known
    ) as error:
      reason = str(error).splitlines()[0] if str(error) else type(error).__name__
      raise UserError(
        f'{self._place}: cannot be read ({reason}). Copy or write the file anew.'
      ) from error
