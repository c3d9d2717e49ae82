"""A dataset in parts that are labelled, written and begun anew one by one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.labelling import plan

# Ours: a few seconds' work on a CPU, so that little is lost with a process; and as
# files, 20,000 Atari screens are 20 MB and more.
_TRANSITIONS, _EPISODES = 20_000, 100


class Part(NamedTuple):
  """Consecutive episodes."""

  index: int  # among all parts
  first: int  # its first episode
  count: int  # how many

  @property
  def episodes(self) -> range:
    """Their numbers."""
    return range(self.first, self.first + self.count)


def cut(lengths: Sequence[int]) -> tuple[Part, ...]:
  """Cuts a dataset: a part ends when it has 20,000 transitions or 100 episodes.

  A function of the lengths alone, so that all processes that label a dataset, at once
  or one after the other, mean the same by a part.

  Args:
    lengths: `[E]` transitions of each episode.
  """
  parts, first, size = [], 0, 0
  for episode, length in enumerate(np.asarray(lengths).tolist()):
    size += length
    count = episode + 1 - first
    if size >= _TRANSITIONS or count >= _EPISODES or episode + 1 == len(lengths):
      parts.append(Part(len(parts), first, count))
      first, size = episode + 1, 0
  return tuple(parts)


def share(
  parts: Sequence[Part], lengths: Sequence[int], index: int, count: int
) -> tuple[Part, ...]:
  """The parts that one of `count` processes labels; none where there are fewer parts.

  Args:
    parts: of `cut`.
    lengths: `[E]` transitions of each episode.
    index: which process, from 0.
    count: how many there are.

  Raises:
    UserError: there is no such share.
  """
  sizes = np.add.reduceat(np.asarray(lengths), [part.first for part in parts])
  chosen = plan.share_of(sizes, index, count)
  return tuple(parts[chosen.start : chosen.stop])
