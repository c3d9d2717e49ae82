"""Rows in compressed chunks, read like an array, any of them at once.

Why so (recorded Atari, CPU time of one core): Zstandard finds by itself what a screen
repeats of those before it. 16 in a chunk are 54 to 164 bytes each (8: 72 to 213, 32:
44 to 138), and a window of 6 costs 23 microseconds. Differences of successive screens
were 5 to 12 % larger and took 20 times as long to undo; zlib is 34 to 76 % larger and 5
to 8 times slower; array_record with the same groups took 60 % more time for a window,
TensorStore (zarr3) five times as much. Threads, the library's or ours, gave no more
windows a second on two cores that had other work. Nothing is kept of what was
decompressed but within a call: windows in random order do not come back to a chunk.
"""

import array
import mmap
import pathlib
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import zstandard

from alpt_jax.errors import UserError

# A decompressor of each thread's own: two must not share one, and to make one takes as
# long as a chunk.
_own = threading.local()

# Ours: level 9 is 7 % smaller and takes five times as long to write, 1 is no faster.
_LEVEL = 3


class PackedRows:
  """`[rows, ...]` in compressed chunks, read like a `numpy` array that is on disk.

  `rows[index]` takes a slice, an integer or an array of integers of any shape and
  gives a new array. Several threads may read at once.
  """

  def __init__(
    self,
    path: pathlib.Path,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunk_rows: int,
    offsets: np.ndarray,
    checksums: np.ndarray,
  ):
    """Maps the file into memory; reads nothing.

    Args:
      path: of the chunks.
      shape: of all rows.
      dtype: of an entry.
      chunk_rows: rows of each chunk but the last.
      offsets: `[chunks + 1]` int64 places in the file.
      checksums: `[chunks]` uint32 CRC-32 of the compressed chunks.
    """
    self.shape = shape
    self.dtype = dtype
    self._path = path
    self._chunk_rows = chunk_rows
    self._offsets = offsets
    self._checksums = checksums
    with open(path, 'rb') as file:
      self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, index) -> np.ndarray:
    """The rows of an index.

    Raises:
      IndexError: an integer is not a row's number.
      UserError: a chunk is damaged (file and rows named).
    """
    if isinstance(index, slice) and index.step in (None, 1):
      first, last, _ = index.indices(len(self))
      found = np.empty((max(0, last - first), *self.shape[1:]), self.dtype)
      self.read_into(found, first)
      return found
    numbers = _row_numbers(index, len(self))
    found = np.empty((numbers.size, *self.shape[1:]), self.dtype)
    current = rows = None
    for chunk, row, place, count in _runs(numbers.ravel(), self._chunk_rows):
      if chunk != current:
        current, rows = chunk, self._chunk(chunk)
      found[place : place + count] = rows[row : row + count]
    return found.reshape(*numbers.shape, *self.shape[1:])

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    """All rows, decompressed."""
    del copy  # it always is one
    return np.asarray(self[:], dtype)

  def read_into(self, found: np.ndarray, first: int) -> None:
    """Writes the rows from `first` on, as many as `found` has.

    What is read most, a window's frames, goes to its batch so without another copy.
    """
    last = first + len(found)
    for chunk in range(first // self._chunk_rows, -(-last // self._chunk_rows)):
      begin = chunk * self._chunk_rows
      rows = self._chunk(chunk)[max(0, first - begin) : last - begin]
      place = max(0, begin - first)
      found[place : place + len(rows)] = rows

  def _chunk(self, chunk: int) -> np.ndarray:
    """The rows of a chunk."""
    if not hasattr(_own, 'decompress'):
      _own.decompress = zstandard.ZstdDecompressor().decompress
    begin, end = self._offsets[chunk : chunk + 2].tolist()
    data = self._data[begin:end]
    if zlib.crc32(data) != self._checksums[chunk]:
      raise UserError(self._damage(chunk))
    rows = np.frombuffer(_own.decompress(data), self.dtype)
    return rows.reshape(-1, *self.shape[1:])

  def _damage(self, chunk: int) -> str:
    first = chunk * self._chunk_rows
    last = min(first + self._chunk_rows, len(self)) - 1
    return (
      f'{self._path}, rows {first} to {last}: expected the checksum in checksums.npy, '
      'found another: the file is damaged. Copy it anew, or convert the dataset again.'
    )


class ChunkWriter:
  """Compresses rows into chunks of a file as they come."""

  def __init__(self, file: BinaryIO, chunk_rows: int):
    self.sizes = array.array('q')
    self.checksums = array.array('I')
    self._file = file
    self._chunk_rows = chunk_rows
    self._compress = zstandard.ZstdCompressor(level=_LEVEL).compress
    self._rest: np.ndarray | None = None

  def add(self, rows: np.ndarray) -> None:
    """Writes all chunks that these rows complete."""
    first = 0
    if self._rest is not None:
      first = self._chunk_rows - len(self._rest)
      rest = np.concatenate([self._rest, rows[:first]])
      if len(rest) < self._chunk_rows:
        self._rest = rest
        return
      self._write(rest)
    while first + self._chunk_rows <= len(rows):
      self._write(rows[first : first + self._chunk_rows])
      first += self._chunk_rows
    self._rest = rows[first:].copy() if first < len(rows) else None

  def finish(self) -> None:
    """Writes the last rows, fewer than a chunk."""
    if self._rest is not None:
      self._write(self._rest)

  def _write(self, rows: np.ndarray) -> None:
    data = self._compress(np.ascontiguousarray(rows))
    self._file.write(data)
    self.sizes.append(len(data))
    self.checksums.append(zlib.crc32(data))


class Computed:
  """An `[N]` array whose entries are computed when they are asked for."""

  def __init__(self, length: int, values_fn: Callable[[np.ndarray], np.ndarray]):
    self._length = length
    self._values_fn = values_fn

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, index) -> np.ndarray:
    return self._values_fn(_row_numbers(index, self._length))

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    del copy  # it always is one
    return np.asarray(self[:], dtype)


def _runs(rows: np.ndarray, chunk_rows: int) -> Iterator[tuple[int, int, int, int]]:
  """(chunk, row in it, place, count) of rows that follow each other, by chunk.

  Rows are sorted, so that each chunk comes once; a window's rows stay together.

  Args:
    rows: `[n]` row numbers; `place` is an index into it.
    chunk_rows: of all chunks.
  """
  order = np.argsort(rows, kind='stable')
  chunks, inside = np.divmod(rows[order], chunk_rows)
  follows = (np.diff(order) == 1) & (np.diff(inside) == 1) & (np.diff(chunks) == 0)
  begins = np.flatnonzero(np.concatenate([[True], ~follows]))[: len(rows)]
  counts = np.diff(begins, append=len(rows))
  columns = chunks[begins], inside[begins], order[begins], counts
  return zip(*(column.tolist() for column in columns), strict=True)


def _row_numbers(index, length: int) -> np.ndarray:
  """A slice, integer or array of integers as numbers in `[0, length)`."""
  if isinstance(index, slice):
    return np.arange(*index.indices(length))
  rows = np.asarray(index)
  if not rows.size:
    return rows.astype(np.int64)
  if rows.dtype.kind not in 'iu':
    raise IndexError(f'expected a slice or integers, found {rows.dtype}')
  if not -length <= rows.min() <= rows.max() < length:
    raise IndexError(
      f'expected rows below {length}, found {rows.min()} to {rows.max()}'
    )
  return np.where(rows < 0, rows + length, rows)
