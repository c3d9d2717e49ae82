"""Recordings -> batches of windows, read ahead while the device computes."""

import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from alpt_jax.errors import UserError
from alpt_jax.labelling import plan as planning
from alpt_jax.specs import ObservationSpec
from alpt_jax.types import Array


class Recording(NamedTuple):
  """What was seen in one episode, and those of its actions that are known.

  Attributes:
    observations: `[L + 1, ...]`, read in order and a batch of windows at a time, so it
      may be memory-mapped; or an iterable of pieces `[n, ...]` of it, of which no more
      is held than a piece and a window.
    actions: `[L]` of an integer type, the environment's own numbering, read where
      `is_labelled`, when all observations have been.
    is_labelled: `[L]` bool; None: `actions` is not read.
  """

  observations: Array | Iterable[Array]
  actions: Array | None = None
  is_labelled: Array | None = None


class Ended(NamedTuple):
  """A recording whose last transition is known."""

  recording: Recording
  length: int  # L


class Rows(NamedTuple):
  """A batch of B windows of T transitions, those of an episode in order.

  Rows in which nothing is read fill up the last batch.
  """

  observations: Array  # [B, T + 1, ...]
  valid: Array  # [B, T] bool
  # [B, T] int64: which transition a slot is read for, counted over all recordings, one
  # behind the other; -1: it is not read.
  places: np.ndarray
  ended: tuple[Ended, ...]  # recordings that have no row in a later batch


class Windows(NamedTuple):
  """How recordings are cut.

  Attributes:
    observation: the form of an observation.
    length: T.
    stride: as in `planning.plan`.
    reads_all: whether a window is read at all its transitions, also at those that
      others label.
    batch_size: B.
  """

  observation: ObservationSpec
  length: int
  stride: int
  reads_all: bool
  batch_size: int


def batches(
  recordings: Iterable[Recording], windows: Windows, num_actions: int
) -> Iterator[Rows]:
  """All windows of all recordings, in order; batches run across their ends.

  A batch that a recording's last window fills is given before the next recording is
  asked for; one that is filled earlier, when the recording's next window is known.

  Args:
    recordings: numbered from 0 in what is said of them.
    windows: how they are cut.
    num_actions: the environment's own, that recorded actions are held against.

  Raises:
    UserError: a recording's observations have another form than the model's, or its
      recorded actions are not the environment's, one for each transition. Before this
      error, or another in reading, comes a batch of what is left of the recordings
      that were read to their ends.
  """
  batch = _Batch(windows)
  try:
    yield from _full_batches(recordings, windows, num_actions, batch)
  except Exception:
    yield from batch.rest()
    raise
  yield from batch.rest()


def _full_batches(recordings, windows, num_actions, batch) -> Iterator[Rows]:
  """`batches` but for the last, which is left in `batch`."""
  before = 0
  for number, recording in enumerate(recordings):
    length = 0
    for frames, offset, planned in _parts(recording, windows, f'{number}'):
      length, begin = length + int(planned.counts.sum()), 0
      while begin < len(planned.starts):
        if not batch.free:
          yield batch.take()
        end = begin + batch.free
        part = planning.Plan(*(array[begin:end] for array in planned))
        batch.add(frames, offset, part, before)
        begin = end
    _check_actions(recording, length, num_actions, f'{number}')
    batch.ended.append(Ended(recording, length))
    before += length
    if not batch.free:
      yield batch.take()


def _parts(recording: Recording, windows: Windows, place: str):
  """`(frames, offset, plan)`: windows that lie in the frames from `offset` on."""
  is_array = hasattr(recording.observations, 'shape')
  pieces = [recording.observations] if is_array else recording.observations
  frames, offset, begin, length = None, 0, 0, -1
  for piece in pieces:
    _check_form(piece, windows.observation, place)
    frames = piece if frames is None else np.concatenate([frames, piece])
    length = offset + len(frames) - 1
    if is_array:
      break
    found = planning.plan(length, windows.length, windows.stride, begin, False)
    yield frames, offset, found
    begin += int(found.counts.sum())
    kept = planning.needed_from(length, windows.length, windows.stride, begin)
    # A copy: a slice would keep the whole piece.
    frames, offset = frames[kept - offset :].copy(), kept
  if length < 0:
    raise UserError(f'recording {place}: expected an observation at least, found none.')
  found = planning.plan(length, windows.length, windows.stride, begin)
  yield frames, offset, found


class _Batch:
  """A batch that is being filled.

  Attributes:
    free: rows that are not filled yet.
    ended: see `Rows`.
  """

  def __init__(self, windows: Windows):
    self._windows = windows
    self._renew()

  def _renew(self) -> None:
    size, length, form = (
      self._windows.batch_size,
      self._windows.length,
      self._windows.observation,
    )
    self._rows = Rows(
      np.zeros((size, length + 1, *form.shape), form.dtype),
      np.zeros((size, length), bool),
      np.full((size, length), -1),
      (),
    )
    self.free, self.ended = size, []

  def add(self, frames, offset: int, planned: planning.Plan, before: int) -> None:
    """Writes windows into the free rows.

    Args:
      frames: of the recording, from its observation `offset` on.
      offset: as it says.
      planned: the windows, no more than are free.
      before: transitions of all recordings before this one.
    """
    rows, (starts, firsts, counts) = self._rows, planned
    first = len(rows.valid) - self.free
    to = slice(first, first + len(starts))
    self.free -= len(starts)
    transitions = starts[:, None] + np.arange(rows.valid.shape[1] + 1)
    # mode: with the default, 'raise', NumPy copies once more.
    own = rows.observations[to]
    np.take(frames, transitions - offset, axis=0, out=own, mode='clip')
    transitions = transitions[:, :-1]
    valid = transitions >= 0
    if not valid.all():
      own[:, :-1][~valid] = 0
    rows.valid[to] = is_read = valid
    if not self._windows.reads_all:
      behind = transitions - firsts[:, None]
      is_read = (behind >= 0) & (behind < counts[:, None])
    rows.places[to] = np.where(is_read, before + transitions, -1)

  def take(self) -> Rows:
    """Gives what was filled, and begins the next batch."""
    rows = self._rows._replace(ended=tuple(self.ended))
    self._renew()
    return rows

  def rest(self) -> Iterator[Rows]:
    """Gives what was filled if a recording ends in it."""
    if self.ended:
      yield self.take()


def _check_form(frames, form: ObservationSpec, place: str) -> None:
  if tuple(frames.shape[1:]) != form.shape or frames.dtype != form.dtype:
    raise UserError(
      f'recording {place}: expected observations {form.dtype} {list(form.shape)}, '
      f'which the IDM was trained on, found {frames.dtype} {list(frames.shape[1:])}. '
      'Record or convert it in that form.'
    )


def _check_actions(
  recording: Recording, length: int, num_actions: int, place: str
) -> None:
  """Raises unless what counts as recorded are actions of the environment."""
  if recording.is_labelled is None:
    return
  if recording.actions is None:
    raise UserError(
      f'recording {place}, field actions: expected those that is_labelled speaks of, '
      'found none. Give them, or leave is_labelled out.'
    )
  # Of another dtype, is_labelled would be taken for indices.
  for name, dtype, said in (
    ('is_labelled', np.bool_, 'bool'),
    ('actions', np.integer, 'integer'),
  ):
    array = np.asarray(getattr(recording, name))
    if array.shape != (length,) or not np.issubdtype(array.dtype, dtype):
      raise UserError(
        f'recording {place}, field {name}: expected {said} [{length}], one less than '
        f'it has observations, found {array.dtype} {list(array.shape)}. Give one for '
        'each transition, in that type.'
      )
  actions = np.asarray(recording.actions)
  is_wrong = np.asarray(recording.is_labelled) & (
    (actions < 0) | (actions >= num_actions)
  )
  if is_wrong.any():
    step = int(is_wrong.argmax())
    raise UserError(
      f'recording {place}, step {step}, field actions: expected 0 to '
      f"{num_actions - 1}, the environment's own numbering, found {actions[step]}. "
      'Renumber it, or say in is_labelled that it is not known.'
    )


_END = object()


class ReadAhead:
  """Does the reading in a thread of its own, so many items ahead of who takes them.

  Attributes:
    waited: seconds that the taker has waited so far.
  """

  def __init__(self, items: Iterator[Any], prepare: Callable[[Any], Any], ahead: int):
    """Reads nothing yet.

    Args:
      items: read by that thread alone.
      prepare: applied to each, in the thread too.
      ahead: items that are ready or being read, at most.
    """
    self.waited = 0.0
    self._items, self._prepare, self._ahead = items, prepare, ahead

  def __iter__(self) -> Iterator[Any]:
    """The prepared items, in order; an error comes where its item would have.

    Who stops taking waits until the item that is being read is there: a source that
    blocks, blocks `close` too.
    """
    with concurrent.futures.ThreadPoolExecutor(1, 'reading') as thread:
      coming = deque(thread.submit(self._next) for _ in range(self._ahead))
      try:
        while True:
          begin = time.perf_counter()
          item = coming.popleft().result()
          self.waited += time.perf_counter() - begin
          if item is _END:
            return
          coming.append(thread.submit(self._next))
          yield item
      finally:
        for future in coming:
          future.cancel()

  def _next(self):
    item = next(self._items, _END)
    return item if item is _END else self._prepare(item)
