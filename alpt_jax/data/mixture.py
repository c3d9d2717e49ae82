"""The batch of step s as a pure function of (streams, seed, s).

Streams have shares of the rows. Over the steps each gets exactly its share, and
which stream a global row comes from depends on nothing but the step: resuming
needs a step number and no state, and any number of hosts sees the same mixture.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.types import Batch, Window


@dataclasses.dataclass(frozen=True)
class Stream:
  """An endless supply of windows, and what they teach.

  Attributes:
    name: unique within a mixture; part of the random order.
    reader: cuts the windows.
    ends: `[M]` last transitions of the windows to draw from; each once an epoch.
    share: of the batch's rows; relative to the other streams' shares.
    idm_weight: of a row in the IDM's loss.
    policy_weight: of a row in the DT's losses.
    relabel: whether the IDM's guess replaces hidden actions for the DT.
  """

  name: str
  reader: WindowReader
  ends: np.ndarray
  share: Fraction
  idm_weight: float
  policy_weight: float
  relabel: bool


class Mixture:
  """Mixes streams into batches of `batch_size` windows (over all hosts)."""

  def __init__(self, streams: Sequence[Stream], batch_size: int, seed: int):
    shares = [Fraction(stream.share) for stream in streams]
    self._streams = tuple(streams)
    self._batch_size = batch_size
    self._seed = seed
    self._cumulative = [sum(shares[: k + 1]) / sum(shares) for k in range(len(streams))]
    self._epochs: dict[tuple[int, int], np.ndarray] = {}

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
        drawn = self._draw(index, first + begin - row, end - begin)
        parts.append(self._read(index, drawn))
      row += count
    return _concatenate(parts)

  def _draw(self, index: int, first: int, count: int) -> np.ndarray:
    """`count` window ends from place `first` of a stream's endless sequence."""
    ends = self._streams[index].ends
    places = np.arange(first, first + count)
    epochs, offsets = np.divmod(places, len(ends))
    drawn = np.empty(count, np.int64)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      drawn[here] = ends[self._order(index, int(epoch))[offsets[here]]]
    return drawn

  def _order(self, index: int, epoch: int) -> np.ndarray:
    """The random order of a stream's windows in one epoch, kept while in use."""
    if (index, epoch) not in self._epochs:
      self._epochs.pop((index, epoch - 2), None)
      name = int.from_bytes(self._streams[index].name.encode(), 'big')
      rng = np.random.default_rng([self._seed, name, epoch])
      self._epochs[index, epoch] = rng.permutation(len(self._streams[index].ends))
    return self._epochs[index, epoch]

  def _read(self, index: int, ends: np.ndarray) -> Batch:
    stream = self._streams[index]
    return Batch(
      window=stream.reader(ends),
      idm_weight=np.full(len(ends), stream.idm_weight, np.float32),
      policy_weight=np.full(len(ends), stream.policy_weight, np.float32),
      relabel=np.full(len(ends), stream.relabel, bool),
    )


def _concatenate(parts: Sequence[Batch]) -> Batch:
  windows = [part.window for part in parts]
  return Batch(
    Window(*(np.concatenate(arrays) for arrays in zip(*windows, strict=True))),
    *(np.concatenate(arrays) for arrays in zip(*(p[1:] for p in parts), strict=True)),
  )
