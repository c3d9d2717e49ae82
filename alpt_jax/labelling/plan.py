"""Which windows label an episode, and at which of their slots: index arithmetic alone.

An episode of L transitions is cut into blocks of `stride` transitions, and each block
gets its labels from the window of T transitions in whose middle it lies:

  T = 5, stride 2, L = 8       transitions  0 1 2 3 4 5 6 7
    block 0 1, window 0 .. 4                x x . . .          would begin at -1
    block 2 3, window 1 .. 5                  . x x . .
    block 4 5, window 3 .. 7                      . x x . .
    block 6 7, window 3 .. 7                            x x    would end at 9

At the ends of an episode it is the nearest window that lies inside. Blocks that share
a window are labelled by it at once, so in the picture three windows are computed. An
episode shorter than T has one, padded on the left as in training. Every transition gets
exactly one label, and the labels of successive windows are in order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.errors import UserError


class Plan(NamedTuple):
  """W windows of an episode, in order, and where each is read.

  Attributes:
    starts: `[W]` int64, first transition of each; negative where it is padded.
    firsts: `[W]` int64, first transition that it labels.
    counts: `[W]` int64, how many it labels, in a row.
  """

  starts: np.ndarray
  firsts: np.ndarray
  counts: np.ndarray


def plan(
  length: int, window_length: int, stride: int, begin: int = 0, is_whole: bool = True
) -> Plan:
  """The windows that label an episode from transition `begin` on.

  Of an episode that is still being read all windows are given that are the same
  whatever follows; what they leave open is planned by a later call. The plans of such
  calls, one behind the other, are that of the whole episode.

  Args:
    length: transitions known so far, L.
    window_length: T.
    stride: transitions per block, 1 to T.
    begin: where the plan before ended; 0 at first.
    is_whole: whether the episode ends here.
  """
  before = (window_length - stride) // 2
  if is_whole:
    end = length
  elif length > window_length:
    # Blocks whose window is inside and is not an episode's last.
    end = -((window_length - before - length) // stride) * stride
  else:
    end = begin
  firsts = np.arange(begin, end, stride)
  last = length - window_length
  starts = np.clip(firsts - before, min(0, last), last)
  starts, own = np.unique(starts, return_index=True)
  firsts = firsts[own]
  return Plan(starts, firsts, np.diff(firsts, append=end))


def needed_from(length: int, window_length: int, stride: int, begin: int) -> int:
  """The first transition that a plan from `begin` on may still show.

  Args:
    length: transitions known so far, L.
    window_length, stride, begin: as in `plan`.
  """
  before = (window_length - stride) // 2
  return max(0, min(begin - before, length - window_length))


def share_of(lengths: Sequence[int], index: int, count: int) -> range:
  """The episodes that one of `count` processes labels: contiguous, alike in work.

  Args:
    lengths: `[E]` transitions of each episode.
    index: which process, from 0.
    count: how many there are; together their shares are all episodes, in order.

  Raises:
    UserError: there is no such share.
  """
  if not 0 <= index < count:
    raise UserError(f'shard {index}/{count}: expected 0 to {count - 1}.')
  middles = np.cumsum(lengths) - np.asarray(lengths) / 2
  bounds = np.arange(index, index + 2) * np.sum(lengths) / count
  begin, end = np.searchsorted(middles, bounds).tolist()
  return range(begin, len(lengths) if index == count - 1 else end)
