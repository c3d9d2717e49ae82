"""The batch of step s as a pure function of (streams, seed, s).

Streams have shares of the rows. Over the steps each gets exactly its share, and
which stream a global row comes from depends on nothing but the step: resuming
needs a step number and no state, and any number of hosts sees the same mixture.

A batch may be dealt into groups of rows: in each of them all streams have their shares,
to a row, in one order. What a part of the training step needs of a batch then lies at
the same places of every group (`row_use`), on every device that holds whole groups.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from alpt_jax.data.windows import Frames, WindowReader
from alpt_jax.errors import UserError
from alpt_jax.types import Batch, RowUse, Window

# The seed of a run and the name of a stream: what its random order hangs on.
OrderKey = tuple[int, str]


# Of places in a set: half the memory, up to 4 billion transitions.
_PLACES = np.uint32


class Windows(Protocol):
  """An endless sequence of windows, of which any part can be taken."""

  # True: each host has a sequence of its own; False: one for all hosts.
  is_per_host: bool
  # What their frames are read from; several of these may have one in common.
  frames: Frames

  def take(self, first: int, count: int, key: OrderKey) -> Window:
    """`count` windows from place `first` of the sequence that `key` orders.

    Their observations are places of `frames`.
    """


# Windows of a pool that are looked up at once: of 41 games each gives six to a batch,
# and looking up six takes as long as looking up a hundred.
_BLOCK = 256


class PoolWindows:
  """All windows of a pool, epoch after epoch, each epoch in an order of its own."""

  is_per_host = False

  def __init__(self, reader: WindowReader, ends: np.ndarray):
    """Draws from the windows whose last transitions are `ends` (`[M]` int)."""
    self.reader = reader
    self.ends = np.asarray(ends, _PLACES)
    self._epochs: dict[tuple[OrderKey, int], np.ndarray] = {}
    self._found: tuple[tuple[OrderKey, int], Window] | None = None

  @property
  def frames(self) -> Frames:
    return self.reader.frames

  def take(self, first: int, count: int, key: OrderKey) -> Window:
    parts, last = [], first + count
    while first < last:
      block, begin = divmod(first, _BLOCK)
      end = min(begin + last - first, _BLOCK)
      parts.append([leaf[begin:end] for leaf in self._block(key, block)])
      first += end - begin
    if len(parts) == 1:
      return Window(*parts[0])
    return Window(*map(np.concatenate, zip(*parts, strict=True)))

  def _block(self, key: OrderKey, block: int) -> Window:
    """So many windows of the sequence, the last ones asked for kept."""
    known = self._found
    if known is None or known[0] != (key, block):
      places = np.arange(block * _BLOCK, (block + 1) * _BLOCK)
      epochs, offsets = np.divmod(places, len(self.ends))
      drawn = np.empty(_BLOCK, np.int64)
      for epoch in np.unique(epochs):
        here = epochs == epoch
        drawn[here] = self.ends[self._order(key, int(epoch))[offsets[here]]]
      known = self._found = (key, block), self.reader.places(drawn)
    return known[1]

  def _order(self, key: OrderKey, epoch: int) -> np.ndarray:
    """The random order of the windows in one epoch, kept while in use."""
    if (key, epoch) not in self._epochs:
      self._epochs.pop((key, epoch - 2), None)
      seed, name = key
      number = int.from_bytes(name.encode(), 'big')
      rng = np.random.default_rng([seed, number, epoch])
      self._epochs[key, epoch] = rng.permutation(
        np.arange(len(self.ends), dtype=_PLACES)
      )
    return self._epochs[key, epoch]


@dataclasses.dataclass(frozen=True)
class Stream:
  """An endless supply of windows, and what they teach.

  Attributes:
    name: unique within a mixture; part of the random order.
    windows: where they come from.
    share: of the batch's rows; relative to the other streams' shares.
    idm_weight: of a row in the IDM's loss.
    policy_weight: of a row in the DT's losses.
    relabel: whether the IDM's guess replaces hidden actions for the DT.
  """

  name: str
  windows: Windows
  share: Fraction
  idm_weight: float
  policy_weight: float
  relabel: bool


class Part(Protocol):
  """What a stream is used for, with or without its windows."""

  share: Fraction
  idm_weight: float
  policy_weight: float
  relabel: bool


# Rows of the largest group, and what a smaller one, which fits whole on more devices,
# may cost more.
_MOST_ROWS, _MORE = 32, Fraction(103, 100)


def row_use(parts: Sequence[Part], batch_size: int) -> RowUse:
  """How to deal out batches of `Mixture` so that a training step computes little.

  Parts that the same model learns from should stand side by side. In a group their
  rows vary by one from group to group, which small groups pay for.
  """
  sizes = [n for n in range(1, _MOST_ROWS + 1) if batch_size % n == 0]
  uses = [_row_use(parts, batch_size, size) for size in sizes]
  least = min(_cost(use) for use in uses)
  return next(use for use in uses if _cost(use) <= _MORE * least)


def _row_use(parts: Sequence[Part], batch_size: int, group: int) -> RowUse:
  """The places of a group's rows that may have a part's weight in some step."""
  bounds = [batch_size * bound for bound in _cumulative([p.share for p in parts])]
  num_groups = batch_size // group

  def places(used):
    chosen = [k for k, part in enumerate(parts) if used(part)]
    if not chosen:
      return 0, 0
    begin, end = math.floor(bounds[chosen[0]]), math.ceil(bounds[chosen[-1] + 1])
    return begin // num_groups, -(-end // num_groups)

  return RowUse(
    group,
    idm=places(lambda part: part.idm_weight),
    relabelled=places(lambda part: part.relabel),
    policy=places(lambda part: part.policy_weight),
  )


def _cost(use: RowUse) -> Fraction:
  """Rows computed, where a backward pass costs two forward passes."""
  weighted = ((3, use.idm), (1, use.relabelled), (3, use.policy))
  return sum(Fraction(w * (end - begin), use.group) for w, (begin, end) in weighted)


def _cumulative(shares: Sequence[Fraction]) -> list[Fraction]:
  """0, and the part of all rows that each stream and those before it have."""
  sums = [Fraction(0), *itertools.accumulate(map(Fraction, shares))]
  return [each / sums[-1] for each in sums]


class Mixture:
  """Mixes streams into batches of `batch_size` windows (over all hosts).

  Args:
    streams: in the order that they have in every group of a batch.
    batch_size: B.
    seed: of the streams' order.
    group: rows of a group, a divisor of B; default B.
  """

  def __init__(
    self, streams: Sequence[Stream], batch_size: int, seed: int, group: int = 0
  ):
    shares = [Fraction(stream.share) for stream in streams]
    for stream, share in zip(streams, shares, strict=True):
      if 0 < share * batch_size < sum(shares):
        needed = math.ceil(sum(shares) / min(filter(None, shares)))
        raise UserError(
          f'training.batch_size: expected at least {needed}, a row a step for each of '
          f'the {len(streams)} streams (of {stream.name} it would be '
          f'{float(share / sum(shares) * batch_size):.2g}), found {batch_size}. Raise '
          'it, or take fewer sources.'
        )
    self._streams = tuple(streams)
    self._batch_size = batch_size
    self._seed = seed
    self._group = group or batch_size
    # In arrays of whole numbers, for the shares of all streams in a step at once.
    bounds = [batch_size * bound for bound in _cumulative(shares)]
    self._numerators = np.array([each.numerator for each in bounds], object)
    self._denominators = np.array([each.denominator for each in bounds], object)
    self._idm_weight = np.array([each.idm_weight for each in streams], np.float32)
    self._policy_weight = np.array([each.policy_weight for each in streams], np.float32)
    self._relabel = np.array([each.relabel for each in streams], bool)
    # (stream, host, hosts) -> (step, rows had before it), so that going on is free.
    self._taken: dict[tuple[int, int, int], tuple[int, int]] = {}

  def rows(self, step: int) -> list[tuple[int, int]]:
    """(first, count) of every stream's own sequence that a step consumes."""
    first, last = np.diff(self._bounds(np.array([step, step + 1])), axis=0).T
    return list(zip(first.tolist(), (last - first).tolist(), strict=True))

  def _bounds(self, steps: np.ndarray, indices: slice = slice(None)) -> np.ndarray:
    """`[indices, steps]` rows of all streams before each in so many steps."""
    numerators = self._numerators[indices, None]
    denominators = self._denominators[indices, None]
    largest = max(
      numerators.max(initial=0) * int(steps.max(initial=0)), denominators.max()
    )
    dtype = np.int64 if largest < 2**63 else object
    found = numerators.astype(dtype) * steps.astype(dtype) // denominators.astype(dtype)
    return found.astype(np.int64)

  def batch(self, step: int, host: int = 0, num_hosts: int = 1) -> Batch:
    """The rows of one host of a step: its contiguous part of the global batch.

    B is `batch_size // num_hosts`.

    Raises:
      UserError: the rows cannot be shared out equally.
    """
    if self._batch_size % num_hosts:
      raise UserError(
        f'training.batch_size: expected a multiple of the {num_hosts} hosts, found '
        f'{self._batch_size}. Change it or the number of hosts.'
      )
    per_host = self._batch_size // num_hosts
    wanted = slice(host * per_host, (host + 1) * per_host)
    stream_of = self._stream_of(step)
    mine = stream_of[wanted]
    counts = np.bincount(mine, minlength=len(self._streams)).tolist()
    before = np.bincount(stream_of[: wanted.start], minlength=len(counts)).tolist()
    parts = []
    for index, (first, _) in enumerate(self.rows(step)):
      stream, place = self._streams[index], first + before[index]
      if stream.windows.is_per_host:
        place = self.taken_by(index, step, host, num_hosts)
        self._taken[index, host, num_hosts] = step + 1, place + counts[index]
      if counts[index]:
        key = self._seed, stream.name
        part = stream.windows.take(place, counts[index], key)
        parts.append((part, stream.windows.frames))
    return Batch(
      window=_joined(parts, np.argsort(mine, kind='stable')),
      idm_weight=self._idm_weight[mine],
      policy_weight=self._policy_weight[mine],
      relabel=self._relabel[mine],
    )

  def _stream_of(self, step: int) -> np.ndarray:
    """`[B]` the stream that each row of a step comes from.

    Stream after stream, its rows are dealt to the groups like cards.
    """
    counts = [count for _, count in self.rows(step)]
    streams = np.repeat(np.arange(len(counts)), counts)
    return streams.reshape(self._group, -1).T.ravel()

  def taken_by(self, index: int, step: int, host: int, num_hosts: int) -> int:
    """How many rows of a stream a host has had in all steps before `step`."""
    known = self._taken.get((index, host, num_hosts))
    if known is None or known[0] != step:
      per_host = self._batch_size // num_hosts
      begin, end = (
        self._in_first_rows(index, step, rows)
        for rows in (host * per_host, (host + 1) * per_host)
      )
      known = step, int((end - begin).sum())
      self._taken[index, host, num_hosts] = known
    return known[1]

  def _in_first_rows(self, index: int, num_steps: int, rows: int) -> np.ndarray:
    """`[num_steps]` how many of the first `rows` rows of each step are a stream's."""
    num_groups = self._batch_size // self._group
    whole, rest = divmod(rows, self._group)
    steps = np.arange(num_steps + 1)
    dealt = np.diff(self._bounds(steps, slice(index, index + 2)))
    # Of what is dealt before a stream's end each group has so many, and some one more.
    each, more = np.divmod(dealt, num_groups)
    before = whole * each + np.minimum(whole, more)
    before += np.minimum(rest, each + (whole < more))
    return before[1] - before[0]


def _joined(parts: Sequence[tuple[Window, Frames]], rows: np.ndarray) -> Window:
  """A batch of windows, their frames read into it.

  Args:
    parts: windows that hold places, and what their frames are read from.
    rows: `[B]` the batch's row of each of their windows.
  """
  columns = zip(*(part[1:] for part, _ in parts), strict=True)
  order = np.argsort(rows)
  rest = [np.concatenate(column)[order] for column in columns]
  frames, length = parts[0][1], parts[0][0].valid.shape[1]
  observations = np.empty((len(rows), length + 1, *frames.shape), frames.dtype)
  reading: dict[Frames, list] = {}
  begin = 0
  for part, frames in parts:
    end = begin + len(part.valid)
    reading.setdefault(frames, []).append((part.observations, rows[begin:end]))
    begin = end
  for frames, wanted in reading.items():
    found, to = map(np.concatenate, zip(*wanted, strict=True))
    frames.read(found, observations, to)
  return Window(observations, *rest)
