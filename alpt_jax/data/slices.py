"""Parts of episodes in memory, for sets whose episodes are too many for a pool.

The labelled transitions of a target are few; cut out with what their windows also
show, they become a pool like any other. What a whole episode says of a transition,
its return-to-go, comes along.
"""

import dataclasses
import hashlib
import os
from collections.abc import Sequence

import numpy as np

from alpt_jax import returns
from alpt_jax.data.labels import Labels, labelled_transitions
from alpt_jax.data.manifest import Manifest
from alpt_jax.data.pool import Pool


@dataclasses.dataclass(frozen=True)
class SlicedPool(Pool):
  """A pool whose E "episodes" are slices of recorded ones.

  A window that ends less than T - 1 transitions after the begin of a slice would
  look padded: ask only for windows that lie inside, or where the slice begins at
  step 0.

  Attributes:
    source_episodes: `[E]` int64, index in the manifest.
    first_steps: `[E]` int64, the step of its episode that a slice begins at.
    whole_returns_to_go: `[N]` float32, over the WHOLE recorded episodes.
  """

  source_episodes: np.ndarray
  first_steps: np.ndarray
  whole_returns_to_go: np.ndarray

  @property
  def returns_to_go(self) -> np.ndarray:
    """`[N]` float32, over the whole recorded episodes."""
    return self.whole_returns_to_go


def slices_hash(manifest: Manifest, slices: np.ndarray) -> str:
  """Identifies a sliced pool: labels of the whole set are not labels of it."""
  content = f'{manifest.manifest_hash} {np.asarray(slices).tolist()}'
  return hashlib.sha256(content.encode()).hexdigest()[:16]


def labelled_slices(
  manifest: Manifest, labels: Labels, window_length: int
) -> np.ndarray:
  """`[E, 3]` (episode, first step, transitions) around all labelled segments.

  Each holds `window_length - 1` transitions more on either side where its episode
  has them: every window that shows a label lies inside. Slices that meet are one.
  """
  merged = []
  for episode, first, count in sorted(labels.segments):
    begin = max(0, first - window_length + 1)
    end = min(int(manifest.lengths[episode]), first + count + window_length - 1)
    if merged and merged[-1][0] == episode and begin <= merged[-1][2]:
      merged[-1][2] = max(merged[-1][2], end)
    else:
      merged.append([episode, begin, end])
  return np.array([(episode, begin, end - begin) for episode, begin, end in merged])


def hide_unlabelled(pool: SlicedPool, manifest: Manifest, labels: Labels) -> SlicedPool:
  """Overwrites every action that the labels of the whole set do not name."""
  known = labelled_transitions(manifest, labels)
  of_slice = manifest.starts[pool.source_episodes] + pool.first_steps - pool.starts
  is_labelled = np.isin(of_slice[pool.episode_of] + np.arange(len(pool.actions)), known)
  actions = np.where(is_labelled, pool.actions, 0).astype(np.int32)
  return dataclasses.replace(pool, actions=actions, is_labelled=is_labelled)


def labelled_ends(pool: Pool, window_length: int) -> np.ndarray:
  """Sorted last transitions of all windows that hold a labelled transition."""
  known = np.flatnonzero(pool.is_labelled)
  ends = known[:, None] + np.arange(window_length)
  inside = ends < (pool.starts + pool.lengths)[pool.episode_of[known]][:, None]
  return np.unique(ends[inside])


def slice_pool(
  manifest: Manifest, folder: str | os.PathLike, wanted: Sequence[tuple[int, int, int]]
) -> SlicedPool:
  """Parts of episodes as a pool in memory, with ALL their actions.

  Files that hold a wanted episode are read up to the last such one.

  Args:
    manifest: what `scan` found.
    folder: where its files lie.
    wanted: (episode, first step, transitions) each; the pool keeps their order.

  Raises:
    UserError: as `read_episodes`, or a frame cannot be decoded.
  """
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow

  wanted = np.asarray(wanted, np.int64)
  parts: dict[int, tuple] = {}
  for index, episode in rl_unplugged.read_episodes(manifest, folder, wanted[:, 0]):
    place = f'{folder}/{manifest.place(index)}'
    to_go = returns.returns_to_go(returns.clip_rewards(episode.rewards))
    for row in np.flatnonzero(wanted[:, 0] == index):
      _, first, count = wanted[row].tolist()
      inside = slice(first, first + count)
      frames = rl_unplugged.decode(episode.frames[first : first + count + 1], place)
      parts[int(row)] = (
        frames,
        *(field[inside] for field in episode[1:]),
        to_go[inside],
      )
  columns = zip(*(parts[row] for row in range(len(wanted))), strict=True)
  observations, actions, rewards, discounts, to_go = map(np.concatenate, columns)
  return SlicedPool(
    spec=manifest.spec,
    observations=observations,
    actions=actions,
    rewards=rewards,
    discounts=discounts,
    lengths=wanted[:, 2],
    is_labelled=np.ones(len(actions), bool),
    manifest_hash=slices_hash(manifest, wanted),
    source_episodes=wanted[:, 0],
    first_steps=wanted[:, 1],
    whole_returns_to_go=to_go,
  )


def labelled_pool(
  manifest: Manifest, folder: str | os.PathLike, labels: Labels, window_length: int
) -> tuple[SlicedPool, np.ndarray]:
  """(pool, ends): all windows of a set that show a labelled transition.

  Args:
    manifest: what `scan` found.
    folder: where its files lie.
    labels: drawn from the manifest; all other actions are overwritten.
    window_length: T of the windows that `ends` are the last transitions of.
  """
  wanted = labelled_slices(manifest, labels, window_length)
  pool = slice_pool(manifest, folder, wanted)
  pool = hide_unlabelled(pool, manifest, labels)
  return pool, labelled_ends(pool, window_length)
