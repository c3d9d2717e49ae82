"""Endless windows out of shards that are too large for a pool.

  shards ─> records ─> encoded windows ─> shuffled ─> (skipped) ─> decoded ─> Window
  (blocks of a plan, `data/blocks.py`)                groups of windows      numpy

Windows stay encoded until the last moment: 1 KB a frame in the shuffle buffer
instead of 7, and resuming skips windows before their frames are decoded. The
sequence is a function of (manifest, labels, seed, host, number of hosts, number of
streams) and the settings here, whatever the number of threads.

One of the three files that need TensorFlow.
"""

import functools
import os
import weakref
from collections.abc import Sequence
from typing import Literal

import numpy as np

from alpt_jax import specs
from alpt_jax.data import encoded, rl_unplugged
from alpt_jax.data.blocks import Blocks, deal
from alpt_jax.data.labels import Labels, labelled_transitions
from alpt_jax.data.manifest import Manifest
from alpt_jax.data.quiet_tensorflow import give_back, tf
from alpt_jax.errors import UserError
from alpt_jax.types import Window

# Ours, all of these. A block of two shards of a million steps reads 15 frames for
# each window; fewer windows would cost more reading each, more a longer resume.
BLOCK = 131_072
_VISITS = 2
# Encoded windows that are mixed, 4 to 6 KB each: a hundred episodes' worth at least,
# and with many streams so many in all of them.
_SHUFFLED = 4_096
_SHUFFLED_IN_ALL = 32_768
# Windows decoded by one call: single calls cost half as much again as the decoding.
_GROUP = 16
# Windows taken from one shard before the next one's turn.
_TURN = 16
_READ_BYTES = 1 << 20
# Streams of a process up to which each reads two shards at a time, and decodes with
# so many threads. More keep the cores busy without: 41 streams had 540 threads and
# took a tenth more CPU time for a window.
_FEW = 4
_THREADS = 2

# All of this process; what a stream uses depends on how many there are, never what it
# gives.
_streams = weakref.WeakSet()

_FEATURES = {
  name: tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
  for name, dtype in (
    ('observations', tf.string),
    ('actions', tf.int64),
    ('unclipped_rewards', tf.float32),
    ('discounts', tf.float32),
  )
}


def num_shuffled(num_streams: int) -> int:
  """How many windows each of so many streams mixes: their memory has a limit.

  4,096 for up to 8 streams, 799 for 41.
  """
  return min(_SHUFFLED, max(_GROUP, _SHUFFLED_IN_ALL // num_streams))


class DecodedFrames:
  """The `Frames` of all streams of a process whose frames have one shape.

  A window's place: its frames, `[T + 1, ...]`, one object.
  """

  dtype = np.dtype(np.uint8)

  def __init__(self, shape: tuple[int, ...]):
    self.shape = shape

  def read(self, places: np.ndarray, into: np.ndarray, rows: np.ndarray) -> None:
    for row, frames in zip(rows.tolist(), places, strict=True):
      into[row] = frames


@functools.cache
def _frames_of(shape: tuple[int, ...]) -> DecodedFrames:
  return DecodedFrames(shape)


class ShardStream:
  """One host's endless sequence of windows of one environment.

  Rows are those that a `WindowReader` gives for the same transitions of the same
  episodes. Actions that `labels` does not name are overwritten here, and held-out
  episodes are never shown.
  """

  def __init__(
    self,
    manifest: Manifest,
    folder: str | os.PathLike,
    vocabulary: Sequence[str],
    environment: int,
    window_length: int,
    seed: int,
    host: int = 0,
    num_hosts: int = 1,
    labels: Labels | Literal['all'] | None = None,
    heldout: Sequence[int] = (),
    block: int = BLOCK,
    num_threads: int | None = None,
    num_streams: int = 1,
  ):
    """Opens nothing yet, but looks whether the files are those that were scanned.

    Args:
      manifest: what `rl_unplugged.scan` found.
      folder: where its files lie.
      vocabulary: the run's joint vocabulary, A names.
      environment: the number written into `Window.environment`.
      window_length: T.
      seed: of the run.
      host: which of the hosts this is, from 0.
      num_hosts: how many hosts share the files.
      labels: whose actions are known: those of a label file, 'all' or None.
      heldout: episodes that are never shown.
      block: at most so many windows per block; small sets have smaller ones.
      num_threads: that decode frames, by default as the number of streams suggests;
        does not change the sequence.
      num_streams: environments of the run. Beyond 8 each mixes fewer windows
        (`num_shuffled`): it belongs to what the sequence is a function of.

    Raises:
      UserError: a file is missing or has another size, the labels belong to another
        dataset, or no episode is left for this host.
    """
    sizes = rl_unplugged.file_sizes(folder, manifest.files)
    if (sizes != manifest.sizes).any():
      name = manifest.files[int((sizes != manifest.sizes).argmax())]
      raise UserError(rl_unplugged.changed(f'{folder}/{name}'))
    is_drawn = isinstance(labels, Labels)
    self._known = labelled_transitions(manifest, labels) if is_drawn else None
    self._all_known = labels == 'all'
    dealt = deal(manifest, host, num_hosts, heldout)
    num_visits = min(_VISITS, len(dealt))
    total = int(manifest.lengths[np.concatenate(dealt)].sum())
    usual = min(block, total * num_visits // len(dealt))
    size = max(1, usual // _GROUP) * _GROUP
    self._blocks = Blocks(manifest, dealt, seed, host, size, num_visits)
    self._manifest = manifest
    self._folder = folder
    self._joint_index = specs.action_indices(manifest.spec, vocabulary)
    self._allowed = specs.allowed_actions(manifest.spec, vocabulary)
    self._environment = environment
    self._length = window_length
    self._threads = num_threads
    self._shuffled = num_shuffled(num_streams)
    _streams.add(self)
    self._groups = None
    self._next = -1
    self.frames = _frames_of(manifest.spec.observation.shape)
    # The last group read, and how many of its windows were taken.
    self._group: Window | None = None
    self._taken = 0

  @property
  def block_size(self) -> int:
    """Windows per block: to resume, at most so many are skipped."""
    return self._blocks.size

  def take(self, first: int, count: int) -> Window:
    """The `count` windows (at least one) from place `first` of the sequence.

    Their observations are places of `frames`.

    Fast where the call before ended at `first`. Anywhere else the stream begins
    anew at the block of `first` and skips within it.

    Raises:
      UserError: a file was changed since the scan (file, and where it can be told
        episode and step named).
    """
    if first != self._next:
      self._seek(first)
    parts, missing = [], count
    while missing:
      if self._taken == _GROUP:
        self._group, self._taken = self._read(), 0
      end = min(_GROUP, self._taken + missing)
      parts.append([leaf[self._taken : end] for leaf in self._group])
      missing -= end - self._taken
      self._taken = end
    self._next = first + count
    if len(parts) == 1:
      return Window(*parts[0])
    return Window(*map(np.concatenate, zip(*parts, strict=True)))

  def _seek(self, first: int) -> None:
    block, place = divmod(first, self._blocks.size)
    groups, taken = divmod(place, _GROUP)
    self._groups = iter(self._dataset(block, groups).as_numpy_iterator())
    self._next_group = block * (self._blocks.size // _GROUP) + groups
    self._group, self._taken = self._read(), taken

  def _read(self) -> Window:
    """The next group."""
    expected = self._next_group // (self._blocks.size // _GROUP)
    try:
      block, *arrays = next(self._groups)
    except tf.errors.OpError as error:
      self._groups, self._next = None, -1
      raise UserError(self._damage(expected, error)) from error
    if block != expected:  # a file held fewer records than the manifest says
      self._groups, self._next = None, -1
      raise UserError(self._damage(expected))
    self._next_group += 1
    give_back()
    return self._window(*arrays)

  def _damage(self, block: int, error: Exception | None = None) -> str:
    """Finds what stopped the reading, by reading the block's files with checks."""
    names = [self._manifest.files[file] for file in self._blocks.plan(block).files]
    for file in set(self._blocks.plan(block).files.tolist()):
      episodes = np.flatnonzero(self._manifest.file_of == file)
      found = rl_unplugged.read_episodes(self._manifest, self._folder, episodes)
      for index, episode in found:
        place = f'{self._folder}/{self._manifest.place(index)}'
        rl_unplugged.decode(episode.frames, place)
    reason = (str(error).splitlines() or [''])[0]
    return f'{rl_unplugged.changed(" or ".join(names))} {reason}'.strip()

  def _window(self, observations, actions, numbers, steps, transitions) -> Window:
    offsets = np.arange(1 - self._length, 1)
    valid = offsets >= -steps[:, None]
    is_labelled = valid & self._is_known(transitions[:, None] + offsets)
    rewards, discounts, to_go = np.moveaxis(numbers, 1, 0)
    num_rows = len(steps)
    places = np.empty(num_rows, object)
    places[:] = list(observations)  # which are copied once, into a batch
    return Window(
      observations=places,
      actions=np.where(is_labelled, self._joint_index[actions], 0).astype(np.int32),
      is_labelled=is_labelled,
      rewards=np.where(valid, rewards, 0),
      discounts=np.where(valid, discounts, 1),
      returns_to_go=np.where(valid, to_go, 0),
      valid=valid,
      allowed=np.broadcast_to(self._allowed, (num_rows, len(self._allowed))),
      environment=np.full(num_rows, self._environment, np.int32),
    )

  def _is_known(self, transitions: np.ndarray) -> np.ndarray:
    if self._known is None:
      return np.full(transitions.shape, self._all_known)
    places = np.searchsorted(self._known, transitions).clip(max=len(self._known) - 1)
    return self._known[places] == transitions

  def _dataset(self, block: int, num_skipped: int) -> tf.data.Dataset:
    """Groups of windows from a block on: (block, frames, actions, ...)."""
    paths = tf.constant([f'{self._folder}/{name}' for name in self._manifest.files])
    forms = tf.int32, tf.int64, tf.int64, tf.int64, tf.int64, tf.int64

    def planned(number):
      files, *rest = tf.numpy_function(
        lambda block: tuple(self._blocks.plan(int(block))), [number], forms
      )
      return number, tf.gather(paths, files), *rest

    dataset = tf.data.Dataset.range(block, np.iinfo(np.int64).max)
    dataset = dataset.map(planned).flat_map(self._encoded_groups)
    # Before anything is decoded: this is what resuming costs.
    dataset = dataset.skip(num_skipped)
    are_few = len(_streams) <= _FEW
    threads = self._threads or (_THREADS if are_few else 1)
    dataset = dataset.map(self._decoded, num_parallel_calls=threads, deterministic=True)
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return dataset.prefetch(2 * threads if are_few else 1).with_options(options)

  def _encoded_groups(
    self, block, paths, offsets, splits, steps, transitions, seed
  ) -> tf.data.Dataset:
    """One block's windows, shuffled, in groups."""

    def of_visit(visit):
      own = splits[offsets[visit] : offsets[visit + 1]]
      bounds = tf.data.Dataset.from_tensor_slices((own[:-1], own[1:]))
      records = tf.data.TFRecordDataset(paths[visit], 'GZIP', _READ_BYTES)
      records = tf.data.Dataset.zip((records, bounds))
      return records.filter(lambda _, bound: bound[0] < bound[1]).flat_map(of_record)

    def of_record(record, bound):
      inside = slice(bound[0], bound[1])
      windows = self._encoded(record, steps[inside])
      # Slices of tensors would keep whole episodes alive in the shuffle buffer.
      return tf.data.Dataset.from_tensors(
        (*windows, steps[inside], transitions[inside])
      ).unbatch()

    num_visits = self._blocks.num_visits
    # The order is the same without threads.
    are_few = len(_streams) <= _FEW
    threads = {'num_parallel_calls': num_visits, 'deterministic': True}
    windows = tf.data.Dataset.range(num_visits).interleave(
      of_visit,
      cycle_length=num_visits,
      block_length=_TURN,
      **(threads if are_few else {}),
    )
    windows = windows.shuffle(self._shuffled, seed, reshuffle_each_iteration=False)
    groups = windows.batch(_GROUP, drop_remainder=True)
    return groups.map(lambda *arrays: (block, *arrays))

  def _encoded(self, record, ends):
    """The windows of one record: frames [n, T + 1], actions and numbers [n, ., T]."""
    steps = tf.io.parse_single_example(record, _FEATURES)
    frames, actions = steps['observations'], steps['actions'][:-1]
    lead = tf.zeros([self._manifest.reward_lead])
    rewards = tf.concat([lead, steps['unclipped_rewards']], 0)[: tf.size(actions)]
    rewards = tf.clip_by_value(rewards, -1.0, 1.0)
    to_go = tf.cumsum(tf.cast(rewards, tf.float64), reverse=True)
    numbers = [rewards, steps['discounts'][1:], tf.cast(to_go, tf.float32)]
    rows = ends[:, None] + tf.range(1 - self._length, 2, dtype=tf.int64)
    shown = tf.where(rows < 0, self._blank(), tf.gather(frames, tf.maximum(rows, 0)))
    inside = tf.maximum(rows[:, :-1], 0)
    numbers = tf.stack([tf.gather(values, inside) for values in numbers], 1)
    return shown, tf.gather(actions, inside), numbers

  def _blank(self) -> bytes:
    """What padding decodes to."""
    return encoded.encode_png(np.zeros(self._manifest.spec.observation.shape, np.uint8))

  def _decoded(self, block, frames, *arrays):
    frames = tf.unstack(tf.reshape(frames, [-1]), _GROUP * (self._length + 1))
    images = tf.stack([tf.io.decode_png(frame, channels=1) for frame in frames])
    form = self._manifest.spec.observation.shape
    return block, tf.reshape(images, [_GROUP, self._length + 1, *form]), *arrays
