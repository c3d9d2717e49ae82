"""The batch of step s as a pure function of (streams, seed, s).

Streams have shares of the rows. Over the steps each gets exactly its share, and
which stream a global row comes from depends on nothing but the step: resuming
needs a step number and no state, and any number of hosts sees the same mixture.
"""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.types import Batch, Window

# The seed of a run and the name of a stream: what its random order hangs on.
OrderKey = tuple[int, str]


class Windows(Protocol):
  """An endless sequence of windows, of which any part can be taken."""

  # True: each host has a sequence of its own; False: one for all hosts.
  is_per_host: bool

  def take(self, first: int, count: int, key: OrderKey) -> Window:
    """`count` windows from place `first` of the sequence that `key` orders."""


class PoolWindows:
  """All windows of a pool, epoch after epoch, each epoch in an order of its own."""

  is_per_host = False

  def __init__(self, reader: WindowReader, ends: np.ndarray):
    """Draws from the windows whose last transitions are `ends` (`[M]` int)."""
    self.reader = reader
    self.ends = np.asarray(ends)
    self._epochs: dict[tuple[OrderKey, int], np.ndarray] = {}

  def take(self, first: int, count: int, key: OrderKey) -> Window:
    places = np.arange(first, first + count)
    epochs, offsets = np.divmod(places, len(self.ends))
    drawn = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      drawn[here] = self.ends[self._order(key, int(epoch))[offsets[here]]]
    return self.reader(drawn)

  def _order(self, key: OrderKey, epoch: int) -> np.ndarray:
    """The random order of the windows in one epoch, kept while in use."""
    if (key, epoch) not in self._epochs:
      self._epochs.pop((key, epoch - 2), None)
      seed, name = key
      number = int.from_bytes(name.encode(), 'big')
      rng = np.random.default_rng([seed, number, epoch])
      self._epochs[key, epoch] = rng.permutation(len(self.ends))
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


class Mixture:
  """Mixes streams into batches of `batch_size` windows (over all hosts)."""

  def __init__(self, streams: Sequence[Stream], batch_size: int, seed: int):
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
    self._cumulative = [sum(shares[: k + 1]) / sum(shares) for k in range(len(streams))]
    # (stream, host, hosts) -> (step, rows had before it), so that going on is free.
    self._taken: dict[tuple[int, int, int], tuple[int, int]] = {}

  def rows(self, step: int) -> list[tuple[int, int]]:
    """(first, count) of every stream's own sequence that a step consumes."""
    firsts, lasts = (
      np.diff([0, *(int(s * self._batch_size * c) for c in self._cumulative)])
      for s in (step, step + 1)
    )
    return list(zip(firsts.tolist(), (lasts - firsts).tolist(), strict=True))

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
    wanted = range(host * per_host, (host + 1) * per_host)
    parts, row = [], 0
    for index, (first, count) in enumerate(self.rows(step)):
      begin, end = max(row, wanted.start), min(row + count, wanted.stop)
      if begin < end:
        if self._streams[index].windows.is_per_host:
          place = self.taken_by(index, step, host, num_hosts)
          self._taken[index, host, num_hosts] = step + 1, place + end - begin
        else:
          place = first + begin - row
        parts.append(self._read(index, place, end - begin))
      row += count
    return _concatenate(parts)

  def taken_by(self, index: int, step: int, host: int, num_hosts: int) -> int:
    """How many rows of a stream a host has had in all steps before `step`."""
    known = self._taken.get((index, host, num_hosts))
    if known is None or known[0] != step:
      # Whole numbers, exact below 2**63: far beyond any run's steps times rows.
      steps = np.arange(step + 1)
      per_host = self._batch_size // num_hosts
      begin = np.maximum(self._rows_below(index, steps), host * per_host)
      end = np.minimum(self._rows_below(index + 1, steps), (host + 1) * per_host)
      known = step, int(np.maximum(end - begin, 0).sum())
      self._taken[index, host, num_hosts] = known
    return known[1]

  def _rows_below(self, index: int, steps: np.ndarray) -> np.ndarray:
    """How many rows of each step's batch belong to streams before `index`."""
    share = self._cumulative[index - 1] if index else Fraction(0)
    share *= self._batch_size
    return np.diff(steps * share.numerator // share.denominator)

  def _read(self, index: int, first: int, count: int) -> Batch:
    stream = self._streams[index]
    return Batch(
      window=stream.windows.take(first, count, (self._seed, stream.name)),
      idm_weight=np.full(count, stream.idm_weight, np.float32),
      policy_weight=np.full(count, stream.policy_weight, np.float32),
      relabel=np.full(count, stream.relabel, bool),
    )


def _concatenate(parts: Sequence[Batch]) -> Batch:
  windows = [part.window for part in parts]
  return Batch(
    Window(*(np.concatenate(arrays) for arrays in zip(*windows, strict=True))),
    *(np.concatenate(arrays) for arrays in zip(*(p[1:] for p in parts), strict=True)),
  )
