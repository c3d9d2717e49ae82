"""RL Unplugged Atari shards: find, scan, read and write them.

The files are `<folder>/<Game>/run_<r>-<i>-of-<N>`, GZIP TFRecords of one
`tf.train.Example` per episode; shard i holds the i-th million of agent steps of a
DQN's training. `<folder>` is a local folder or begins with `gs://`.

How an episode of L transitions lies in a record of L + 1 steps:

  step            0         1        ...   L - 1       L
  observations    o_0       o_1            o_(L-1)     o_L
  actions         a_0       a_1            a_(L-1)     0, has no meaning
  rewards         r_0       r_1            r_(L-1)     0, has no meaning
  discounts       1         1              1           0 if terminal, else 1

In files that record rewards k steps early (`reward_lead`), r_t stands at step t - k.
Of a terminal episode the last transition has discount 0.

One of the three files that need TensorFlow. Import this module only where such files
are really needed.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alpt_jax import specs
from alpt_jax.data import encoded, manifest
from alpt_jax.data.encoded import EncodedEpisode
from alpt_jax.data.manifest import Manifest
from alpt_jax.data.quiet_tensorflow import tf
from alpt_jax.data.reward_lead import SCREEN_LAGS, LeadEvidence, reward_lead
from alpt_jax.data.shards import choose_shards
from alpt_jax.errors import UserError
from alpt_jax.pace import Pace

Folder = str | os.PathLike
Say = Callable[[str], Any]

# Ours: the files are made of PNGs, which GZIP cannot make smaller.
_GZIP = tf.io.TFRecordOptions('GZIP', compression_level=1)
# Ours: how much of the last shard the question of the rewards is put to.
_ASKED_REWARDS, _ASKED_FRAMES = 200, 10_000

_LISTS = {
  'bytes_list': tf.train.BytesList,
  'float_list': tf.train.FloatList,
  'int64_list': tf.train.Int64List,
}


def shards(
  folder: Folder,
  game: str,
  runs: Sequence[int] = (1, 2),
  checkpoints: Sequence[int] | None = None,
) -> tuple[str, ...]:
  """The names of a game's shards, relative to `folder`, by run and checkpoint.

  Args:
    folder: holds one folder per game.
    game: for example 'Breakout'.
    runs: which of the runs, 1 to 5 in RL Unplugged.
    checkpoints: which shards of every run, from 0; all of them by default.

  Raises:
    UserError: the folder, a run or a shard is missing.
  """
  specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL)  # the game must be known
  place = f'{os.fspath(folder)}/{game}'
  names = choose_shards(place, _listed(place), runs, checkpoints)
  return tuple(f'{game}/{name}' for name in names)


def _listed(place: str) -> list[str]:
  try:
    return sorted(tf.io.gfile.listdir(place))
  except (tf.errors.OpError, OSError) as error:
    raise UserError(_unreachable(place, error)) from error


def _unreachable(place: str, error: Exception) -> str:
  if place.startswith('gs://'):
    return (
      f'{place}: cannot be read ({_first_line(error)}). Download it with `gcloud '
      f'storage cp -r {place} <folder>` and give that folder.'
    )
  return f'{place}: no such folder or file. Correct the path, or download the game.'


def _first_line(error: Exception) -> str:
  """What TensorFlow says, without the names of its own nodes."""
  line = (str(error).splitlines() or [type(error).__name__])[0]
  return re.sub(r'\{\{.*?\}\} | \[Op:.*', '', line)


def file_sizes(folder: Folder, names: Sequence[str]) -> np.ndarray:
  """`[files]` int64 bytes of files; fails where one is missing."""
  sizes = []
  for name in names:
    path = f'{os.fspath(folder)}/{name}'
    try:
      sizes.append(tf.io.gfile.stat(path).length)
    except (tf.errors.OpError, OSError) as error:
      raise UserError(_unreachable(path, error)) from error
  return np.array(sizes, np.int64)


def scan(
  folder: Folder,
  game: str,
  cache: Folder,
  runs: Sequence[int] = (1, 2),
  checkpoints: Sequence[int] | None = None,
  reward_lead: int | None = 0,
  skip_bad: bool = False,
  say: Say = print,
) -> Manifest:
  """Reads all chosen shards once and returns what they hold.

  The result is kept in `cache` and used again as long as the files' names and
  sizes stay the same. Every episode is checked; frames are not decoded.

  Args:
    folder: see `shards`.
    game: see `shards`.
    cache: a writable folder.
    runs: see `shards`.
    checkpoints: see `shards`.
    reward_lead: how many steps early rewards are recorded, 0 or 1; None to take
      what the recordings say.
    skip_bad: leave damaged shards out, named in `Manifest.skipped` and said,
      instead of failing.
    say: receives lines about progress, skipped shards and early rewards.

  Raises:
    UserError: as `shards`; or a shard is damaged (file, episode, step and field
      named), or all are.
  """
  names = shards(folder, game, runs, checkpoints)
  sizes = file_sizes(folder, names)
  key = hashlib.sha256(repr((names, sizes.tolist())).encode()).hexdigest()[:16]
  path = pathlib.Path(cache) / f'{game}-{key}.npz'
  if path.is_file():
    result = manifest.load_manifest(path)
  else:
    result = _scan(folder, game, names, sizes, skip_bad, say)
    evidence = _evidence(result, folder)
    say(f'{game}: {evidence}.')
    result = dataclasses.replace(result, detected_lead=evidence.lead)
    manifest.save_manifest(path, result)
  for name, reason in result.skipped:
    if not skip_bad:
      raise UserError(reason)
    say(f'{name} is left out: {reason} (Remove {path} once it is repaired.)')
  return _with_lead(result, reward_lead, say)


def _with_lead(result: Manifest, lead: int | None, say: Say) -> Manifest:
  """Applies the wanted lead, and says where the recordings contradict it."""
  detected = result.detected_lead
  if lead is None:
    lead = detected or 0
  elif detected not in (None, lead):
    say(
      f'{result.spec.name}: rewards are taken to be recorded {lead} steps early, but '
      f'the screens say {detected}. Set reward_lead to {detected} to follow them.'
    )
  return dataclasses.replace(result, reward_lead=lead)


def _scan(folder, game, names, sizes, skip_bad: bool, say: Say) -> Manifest:
  spec = specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL)
  kept, checksums, rows, skipped = [], [], [], []
  pace = Pace()
  for index, name in enumerate(names):
    try:
      checksum, here = _scan_shard(folder, name, int(sizes[index]), spec)
    except UserError as error:
      if not skip_bad:
        raise
      skipped.append((name, str(error)))
      continue
    rows += [(len(kept), *row) for row in here]
    kept.append(index)
    checksums.append(checksum)
    if pace.is_due():
      done = sizes[: index + 1].sum()
      say(
        f'{game}: {index + 1} of {len(names)} shards scanned, '
        f'{pace.rate(done) / 1e6:.0f} MB/s, {pace.left(done, sizes.sum())} left.'
      )
  if not rows:
    reason = skipped[0][1] if skipped else 'they hold no transition.'
    raise UserError(f'{folder}/{game}: no shard can be read: {reason}')
  file_of, index_in_file, lengths, checkpoint_idx, episode_idx = np.array(rows).T
  return Manifest(
    spec=spec,
    files=tuple(names[index] for index in kept),
    sizes=sizes[kept],
    checksums=np.array(checksums, np.uint32),
    file_of=file_of.astype(np.int32),
    index_in_file=index_in_file.astype(np.int32),
    lengths=lengths,
    checkpoint_idx=checkpoint_idx,
    episode_idx=episode_idx,
    skipped=tuple(skipped),
  )


def _scan_shard(folder, name: str, size: int, spec):
  """(checksum, [(index, transitions, checkpoint_idx, episode_idx)]) of a shard."""
  if not size:
    raise UserError(f'{folder}/{name}: the file is empty. Download it anew.')
  checksum, rows, index = 0, [], -1
  for index, record in enumerate(_records(folder, name)):
    checksum = zlib.crc32(record, checksum)
    steps = _steps(record, f'{folder}/{name}: episode {index}')
    episode = encoded.to_episode(steps, spec, 0, f'{folder}/{name}: episode {index}')
    # An episode of one step has no transition: nothing follows its observation.
    if len(episode.actions):
      ids = steps['checkpoint_idx'][0], steps['episode_idx'][0]
      rows.append((index, len(episode.actions), *ids))
  if index < 0:
    raise UserError(f'{folder}/{name}: holds no episode. Download it anew.')
  return checksum, rows


def _records(folder: Folder, name: str) -> Iterator[bytes]:
  """The serialised episodes of a shard."""
  path, count = f'{os.fspath(folder)}/{name}', 0
  dataset = tf.data.TFRecordDataset(path, 'GZIP', buffer_size=1 << 20)
  try:
    for record in dataset.prefetch(1).as_numpy_iterator():
      yield record
      count += 1
  except tf.errors.OpError as error:
    raise UserError(
      f'{path}: damaged after {count} whole episodes ({_first_line(error)}). Download '
      'it anew, or leave bad shards out.'
    ) from error


def _steps(record: bytes, place: str) -> dict[str, Sequence]:
  """The lists of a record by feature; those of an unexpected type are left out."""
  try:
    features = tf.train.Example.FromString(record).features.feature
  except Exception as error:  # a class of the protobuf implementation in use
    raise UserError(
      f'{place}: not a tf.train.Example ({_first_line(error)}). Download it anew.'
    ) from error
  steps = {}
  for name, feature in features.items():
    kind = feature.WhichOneof('kind')
    if kind and encoded.FEATURES.get(name, kind) == kind:
      steps[name] = getattr(feature, kind).value
  return steps


def _evidence(result: Manifest, folder: Folder) -> LeadEvidence:
  """What the screens of the last shard, of the best player, say of the rewards."""

  def asked():
    num_rewards = num_frames = 0
    episodes = np.flatnonzero(result.file_of == result.file_of[-1])
    for index, episode in read_episodes(result, folder, episodes):
      place = f'{folder}/{result.place(index)}'
      yield decode(episode.frames, place), episode.rewards
      num_rewards += np.count_nonzero(episode.rewards)
      num_frames += len(episode.frames)
      if num_rewards >= _ASKED_REWARDS or num_frames >= _ASKED_FRAMES:
        return

  game = specs.atari_game(result.spec)
  return reward_lead(asked(), SCREEN_LAGS.get(game, 0))


def read_episodes(
  manifest: Manifest, folder: Folder, episodes: Iterable[int] | None = None
) -> Iterator[tuple[int, EncodedEpisode]]:
  """(index, episode) of the episodes of a manifest, in ascending order.

  Args:
    manifest: what `scan` found.
    folder: where its files lie.
    episodes: indices of those wanted; all by default. Files that hold none of them
      are not opened.

  Raises:
    UserError: a file was changed since the scan or is damaged.
  """
  wanted = np.arange(manifest.num_episodes)
  if episodes is not None:
    wanted = np.unique(np.fromiter(episodes, np.int64))
  for file in np.unique(manifest.file_of[wanted]):
    here = wanted[manifest.file_of[wanted] == file]
    index_of = dict(zip(manifest.index_in_file[here].tolist(), here, strict=True))
    name = manifest.files[file]
    for index, record in enumerate(_records(folder, name)):
      if index in index_of:
        place = f'{folder}/{name}: episode {index}'
        episode = encoded.to_episode(
          _steps(record, place), manifest.spec, manifest.reward_lead, place
        )
        episode_index = int(index_of.pop(index))
        if len(episode.actions) != manifest.lengths[episode_index]:
          raise UserError(changed(place))
        yield episode_index, episode
        if not index_of:
          break
    if index_of:
      raise UserError(changed(f'{folder}/{name}'))


def changed(place: str) -> str:
  """What is said when files are not those that were scanned."""
  return f'{place}: not as it was when it was scanned. Scan the folder anew.'


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decode(frames):
  return tf.map_fn(
    lambda frame: tf.io.decode_png(frame, channels=1),
    frames,
    fn_output_signature=tf.TensorSpec([None, None, 1], tf.uint8),
  )


def decode(frames: Sequence[bytes], place: str = 'frames') -> np.ndarray:
  """PNG files of one size -> `[frames, height, width, 1]` uint8.

  Raises:
    UserError: a frame cannot be decoded (named by `place` and its step).
  """
  frames = list(frames)
  try:
    return _decode(frames).numpy()
  except tf.errors.OpError:
    for step, frame in enumerate(frames):
      try:
        tf.io.decode_png(frame, channels=1)
      except tf.errors.OpError as error:
        raise UserError(
          f'{place}, step {step}, field observations: expected a PNG, found damaged '
          'bytes. Download or record the file anew.'
        ) from error
    raise


def shard_writer(path: Folder) -> tf.io.TFRecordWriter:
  """An open shard, whose `write` takes what `serialise` returns."""
  return tf.io.TFRecordWriter(os.fspath(path), _GZIP)


def serialise(lists: Mapping[str, Sequence]) -> bytes:
  """One record of a shard from its lists by feature."""
  features = {}
  for name, values in lists.items():
    kind = encoded.FEATURES.get(name, 'float_list')
    features[name] = tf.train.Feature(**{kind: _LISTS[kind](value=values)})
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString()
