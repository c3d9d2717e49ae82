"""Which windows of a set of shards a host reads, block by block: plain arithmetic.

Shards can only be read from their beginning, so random access is replaced by blocks:
each names a few shards and random windows in them, as a pure function of (seed,
block, host). To resume at any place, no block before its own need be read.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from alpt_jax.data.manifest import Manifest
from alpt_jax.errors import UserError


class BlockPlan(NamedTuple):
  """The V visits to shards of a block, and its N windows in order of reading.

  Windows `splits[k]` to `splits[k + 1]` lie in record k - offsets[v] of visit v's
  file, for k from `offsets[v]` to `offsets[v + 1] - 1` (the last split of a visit
  only ends it).
  """

  files: np.ndarray  # [V] int32, index in the manifest
  offsets: np.ndarray  # [V + 1] int64, into `splits`
  splits: np.ndarray  # [records + V] int64, into the windows
  steps: np.ndarray  # [N] int64, last transition of a window, in its episode
  transitions: np.ndarray  # [N] int64, the same, counted over the whole manifest
  seed: np.int64  # of the order in which they are shuffled


def deal(
  manifest: Manifest, host: int, num_hosts: int, left_out: Iterable[int] = ()
) -> list[np.ndarray]:
  """The episodes of one host, one sorted array for each shard that it reads.

  Shards are dealt like cards. With more hosts than shards, the hosts of one shard
  share it by episode.

  Args:
    manifest: the whole set.
    host: from 0.
    num_hosts: all hosts together read everything, and nothing twice.
    left_out: held-out episodes.

  Raises:
    UserError: nothing is left for this host.
  """
  num_files = len(manifest.files)
  is_dealt = ~np.isin(np.arange(manifest.num_episodes), list(left_out))
  by_file = [
    np.flatnonzero(is_dealt & (manifest.file_of == file))
    for file in range(host % num_files, num_files, num_hosts)
  ]
  if num_hosts > num_files:
    sharers = range(host % num_files, num_hosts, num_files)
    by_file = [by_file[0][sharers.index(host) :: len(sharers)]]
  dealt = [episodes for episodes in by_file if len(episodes)]
  if not dealt:
    raise UserError(
      f'{manifest.spec.name}: no episode is left for host {host} of {num_hosts}; there '
      f'are {num_files} shards with {manifest.num_episodes} episodes. Use fewer hosts.'
    )
  return dealt


@dataclasses.dataclass(frozen=True)
class Blocks:
  """The blocks of one host's endless sequence of windows.

  Attributes:
    manifest: the whole set.
    dealt: what `deal` gave this host.
    seed: of the run.
    host: from 0.
    size: windows per block.
    num_visits: shards per block; each shard is visited once in an epoch.
  """

  manifest: Manifest
  dealt: list[np.ndarray]
  seed: int
  host: int
  size: int
  num_visits: int

  def plan(self, block: int) -> BlockPlan:
    """What block number `block` reads: equally often any transition of its shards."""
    rng = self._generator(block)
    visited = [self.dealt[shard] for shard in self._shards(block)]
    episodes = np.concatenate(visited)
    lengths = self.manifest.lengths[episodes]
    firsts = np.cumsum(lengths) - lengths
    drawn = np.sort(self._draw(rng, int(lengths.sum())))
    rows = np.searchsorted(firsts, drawn, 'right') - 1
    steps = drawn - firsts[rows]
    offsets, splits = [0], []
    bounds = np.searchsorted(rows, np.arange(len(episodes) + 1))
    row = 0
    for own in visited:
      records = self.manifest.index_in_file[own]
      # Records that hold no window of the block repeat the split before them.
      begins = np.searchsorted(records, np.arange(records[-1] + 2))
      splits.append(bounds[row + begins])
      offsets.append(offsets[-1] + len(begins))
      row += len(own)
    return BlockPlan(
      files=np.array([self.manifest.file_of[own[0]] for own in visited], np.int32),
      offsets=np.array(offsets, np.int64),
      splits=np.concatenate(splits).astype(np.int64),
      steps=steps,
      transitions=self.manifest.starts[episodes][rows] + steps,
      seed=np.int64(rng.integers(1, 1 << 62)),
    )

  def _draw(self, rng: np.random.Generator, available: int) -> np.ndarray:
    """`[size]` of `available` transitions, none once more than another needlessly."""
    whole, rest = divmod(self.size, available)
    drawn = rng.choice(available, rest, replace=False, shuffle=False)
    return np.concatenate([np.tile(np.arange(available), whole), drawn])

  def _shards(self, block: int) -> list[int]:
    """The shards of a block: the next ones of an endless row of random orders."""
    places = range(block * self.num_visits, (block + 1) * self.num_visits)
    return [
      int(self._order(place // len(self.dealt))[place % len(self.dealt)])
      for place in places
    ]

  def _order(self, epoch: int) -> np.ndarray:
    # One number more than a block's generator has, and that not 0.
    return self._generator(epoch, len(self.dealt)).permutation(len(self.dealt))

  def _generator(self, *numbers: int) -> np.random.Generator:
    dataset = int(self.manifest.manifest_hash, 16)
    return np.random.default_rng([self.seed, dataset, self.host, *numbers])
