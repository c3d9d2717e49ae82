"""RL Unplugged shards as a recorded set: streamed, with its few labels in memory."""

import dataclasses
import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from alpt_jax.data import labels as labelling
from alpt_jax.data import shards, slices
from alpt_jax.data.card import make_card
from alpt_jax.data.labels import Labels
from alpt_jax.data.manifest import Manifest
from alpt_jax.data.mixture import OrderKey, PoolWindows, Windows
from alpt_jax.data.pool import Pool
from alpt_jax.data.slices import SlicedPool
from alpt_jax.data.windows import WindowReader
from alpt_jax.experiment.recorded import View
from alpt_jax.partial import PARTIAL, writer_name
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import EvaluationWindows, Window

_ARRAYS = (
  'observations actions rewards discounts lengths source_episodes first_steps '
  'whole_returns_to_go'
).split()


@dataclasses.dataclass(frozen=True)
class ShardSet:
  """A `RecordedSet` too large for a pool.

  Attributes:
    index: what its files hold.
    folder: where they lie: one folder per game.
    cache: a writable folder; what is cut out of the files is kept there, as that
      takes a pass over all of them.
  """

  index: Manifest
  folder: str
  cache: pathlib.Path

  @property
  def spec(self) -> EnvironmentSpec:
    return self.index.spec

  @property
  def manifest_hash(self) -> str:
    return self.index.manifest_hash

  def windows(self, view: View, labels: Labels | None, is_hidden: bool) -> Windows:
    from alpt_jax.data.stream import ShardStream  # which imports TensorFlow

    stream = ShardStream(
      self.index,
      self.folder,
      vocabulary=view.vocabulary,
      environment=view.environment,
      window_length=view.length,
      seed=view.seed,
      host=view.host,
      num_hosts=view.num_hosts,
      num_streams=view.num_streams,
      labels=labels if is_hidden else 'all',
      heldout=labels.heldout_episodes if labels else (),
    )
    return _Streamed(stream)

  def labelled(self, view: View, labels: Labels, within: int) -> Windows:
    wanted = slices.labelled_slices(self.index, labels, view.length)
    pool = slices.hide_unlabelled(self._cut(wanted), self.index, labels)
    return PoolWindows(_reader(pool, view), slices.labelled_ends(pool, within))

  def evaluation(
    self, view: View, labels: Labels, num_transitions: int, heldout: bool
  ) -> EvaluationWindows:
    ends, counted = labelling.evaluation_ends(
      self.index,
      labels,
      view.seed,
      num_transitions,
      heldout=heldout,
      window_length=view.length,
    )
    episodes = np.searchsorted(self.index.starts, ends, side='right') - 1
    lasts = ends - self.index.starts[episodes]
    firsts = np.maximum(0, lasts - view.length + 1)
    pool = self._cut(np.stack([episodes, firsts, lasts - firsts + 1], axis=1))
    cut_ends = pool.starts + pool.lengths - 1
    truth = _reader(pool, view)(cut_ends)
    visible = slices.hide_unlabelled(pool, self.index, labels)
    return EvaluationWindows(_reader(visible, view)(cut_ends), truth.actions, counted)

  def _cut(self, wanted: np.ndarray) -> SlicedPool:
    """`slices.slice_pool`, from the cache where it was cut before."""
    digest = slices.slices_hash(self.index, wanted)
    path = self.cache / f'slices-{digest}.npz'
    if path.is_file():
      with np.load(path) as file:
        arrays = {name: file[name] for name in _ARRAYS}
      ones = np.ones(len(arrays['actions']), bool)
      return SlicedPool(
        spec=self.spec, manifest_hash=digest, is_labelled=ones, **arrays
      )
    print(f'{self.spec.name}: reading {len(wanted):,} parts of episodes', flush=True)
    pool = slices.slice_pool(self.index, self.folder, wanted)
    self.cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{digest}.{PARTIAL}{writer_name()}.npz')
    try:
      np.savez(partial, **{name: getattr(pool, name) for name in _ARRAYS})
      os.replace(partial, path)
    finally:
      partial.unlink(missing_ok=True)
    return pool


def card_of_shards(folder: pathlib.Path) -> dict[str, Any]:
  """The data card of a game's shards, all runs that are there; reads all of them.

  Frames are compared as they are encoded, which tells equal ones alike.

  Raises:
    UserError: a shard is damaged.
  """
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow

  root, game = os.fspath(folder.parent), folder.name
  runs = shards.recorded_runs(folder)
  with tempfile.TemporaryDirectory() as cache:
    manifest = rl_unplugged.scan(root, game, cache, runs)
  columns, num_unchanged = [], 0
  for _, episode in rl_unplugged.read_episodes(manifest, root):
    pairs = zip(episode.frames[:-1], episode.frames[1:], strict=True)
    num_unchanged += sum(before == after for before, after in pairs)
    columns.append(episode[1:])
  actions, rewards, discounts = map(np.concatenate, zip(*columns, strict=True))
  pool = Pool(
    spec=manifest.spec,
    observations=np.empty(0, np.uint8),
    actions=actions,
    rewards=rewards,
    discounts=discounts,
    lengths=manifest.lengths,
    is_labelled=np.ones(len(actions), bool),
    manifest_hash=manifest.manifest_hash,
  )
  remarks = []
  if manifest.detected_lead:
    remarks.append(
      f'Rewards are recorded {manifest.detected_lead} step early: set data.reward_lead.'
    )
  source = f'RL Unplugged shards of {game}, runs {", ".join(map(str, runs))}'
  return make_card(pool, source=source, num_unchanged=num_unchanged, remarks=remarks)


class _Streamed:
  """A stream as a mixture asks for it; its own seed orders it."""

  is_per_host = True

  def __init__(self, stream):
    self.frames = stream.frames
    self._stream = stream

  def take(self, first: int, count: int, key: OrderKey) -> Window:
    del key
    return self._stream.take(first, count)


def _reader(pool: SlicedPool, view: View) -> WindowReader:
  return WindowReader(pool, view.vocabulary, view.environment, view.length)
