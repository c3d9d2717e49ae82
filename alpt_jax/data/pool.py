"""A set of episodes as flat, memory-mapped arrays: random access to any window.

A pool is a folder:

  manifest.json          format, environment, counts, sha256 of every array
  observations.npy       [transitions + episodes, ...]: L + 1 per episode
  actions.npy            [transitions] int32, the environment's own numbering
  rewards.npy            [transitions] float32, raw
  discounts.npy          [transitions] float32
  lengths.npy            [episodes] int64, transitions of each episode

It is written under a temporary name and renamed when complete, so a folder with
a manifest is a whole pool.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable

import numpy as np

from alpt_jax import returns
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMAT = 1
_ARRAYS = ('observations', 'actions', 'rewards', 'discounts', 'lengths')


@dataclasses.dataclass(frozen=True)
class Pool:
  """Episodes end to end. N transitions in E episodes.

  Attributes:
    spec: the environment they come from.
    observations: `[N + E, ...]`; transition n of episode e starts at row n + e.
    actions: `[N]` int32, own numbering; 0 where `is_labelled` is False.
    rewards: `[N]` float32, raw.
    discounts: `[N]` float32.
    lengths: `[E]` int64.
    is_labelled: `[N]` bool; all True until labels are hidden.
    manifest_hash: identifies the content of the files.
  """

  spec: EnvironmentSpec
  observations: np.ndarray
  actions: np.ndarray
  rewards: np.ndarray
  discounts: np.ndarray
  lengths: np.ndarray
  is_labelled: np.ndarray
  manifest_hash: str

  @property
  def num_transitions(self) -> int:
    return len(self.actions)

  @property
  def num_episodes(self) -> int:
    return len(self.lengths)

  @functools.cached_property
  def starts(self) -> np.ndarray:
    """`[E]` index of each episode's first transition."""
    return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

  @functools.cached_property
  def episode_of(self) -> np.ndarray:
    """`[N]` episode of each transition."""
    return np.repeat(np.arange(self.num_episodes), self.lengths)

  @functools.cached_property
  def clipped_rewards(self) -> np.ndarray:
    """`[N]` float32 rewards as trained on."""
    return returns.clip_rewards(np.asarray(self.rewards))

  @functools.cached_property
  def returns_to_go(self) -> np.ndarray:
    """`[N]` float32, over whole episodes."""
    per_episode = np.split(self.clipped_rewards, self.starts[1:])
    return np.concatenate([returns.returns_to_go(rewards) for rewards in per_episode])

  def transitions_of(self, episodes: np.ndarray) -> np.ndarray:
    """Sorted indices of all transitions of some episodes."""
    return np.flatnonzero(np.isin(self.episode_of, episodes))

  def episode(self, index: int) -> Episode:
    """One episode as it was recorded (hidden actions are 0)."""
    first, last = self.starts[index], self.starts[index] + self.lengths[index]
    return Episode(
      self.observations[first + index : last + index + 1],
      self.actions[first:last],
      self.rewards[first:last],
      self.discounts[first:last],
    )


def write_pool(
  folder: str | os.PathLike, spec: EnvironmentSpec, episodes: Iterable[Episode]
) -> Pool:
  """Writes episodes, checked one by one, as a pool; complete or not there at all.

  Episodes are consumed one at a time: memory does not grow with their number.

  Raises:
    UserError: an episode does not fit `spec` (episode, step and field named), or
      there is none.
  """
  folder = pathlib.Path(folder)
  partial = folder.with_name(f'{folder.name}.partial-{os.getpid()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    lengths = _append_arrays(partial, spec, episodes)
    if not lengths:
      raise UserError(f'{folder}: a pool needs at least one episode, got none.')
    num_transitions = int(sum(lengths))
    _finish_array(
      partial,
      'observations',
      spec.observation.dtype,
      (num_transitions + len(lengths), *spec.observation.shape),
    )
    for name, dtype in (
      ('actions', 'int32'),
      ('rewards', 'float32'),
      ('discounts', 'float32'),
    ):
      _finish_array(partial, name, dtype, (num_transitions,))
    np.save(partial / 'lengths.npy', np.array(lengths, np.int64))
    manifest = {
      'format': FORMAT,
      'environment': spec.to_dict(),
      'num_episodes': len(lengths),
      'num_transitions': num_transitions,
      'sha256': {name: _sha256(partial / f'{name}.npy') for name in _ARRAYS},
    }
    (partial / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return open_pool(folder)


def _append_arrays(partial, spec, episodes) -> list[int]:
  """Streams the checked episodes into raw files; returns their lengths."""
  lengths = []
  with (
    open(partial / 'observations.raw', 'wb') as observations,
    open(partial / 'actions.raw', 'wb') as actions,
    open(partial / 'rewards.raw', 'wb') as rewards,
    open(partial / 'discounts.raw', 'wb') as discounts,
  ):
    for index, episode in enumerate(episodes):
      episode = check_episode(episode, spec, f'episode {index}')
      observations.write(episode.observations.tobytes())
      actions.write(episode.actions.tobytes())
      rewards.write(episode.rewards.tobytes())
      discounts.write(episode.discounts.tobytes())
      lengths.append(len(episode.actions))
  return lengths


def _finish_array(partial, name, dtype, shape) -> None:
  """Turns a raw file into a `.npy` file of a known shape."""
  raw = partial / f'{name}.raw'
  with open(partial / f'{name}.npy', 'wb') as file, open(raw, 'rb') as source:
    np.lib.format.write_array_header_1_0(
      file,
      {'descr': np.dtype(dtype).str, 'fortran_order': False, 'shape': shape},
    )
    shutil.copyfileobj(source, file)
  raw.unlink()


def _sha256(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def open_pool(folder: str | os.PathLike) -> Pool:
  """Opens a pool, its observations memory-mapped, everything else in memory.

  Raises:
    UserError: no manifest, another format, or an array of another shape.
  """
  folder = pathlib.Path(folder)
  path = folder / 'manifest.json'
  if not path.is_file():
    raise UserError(f'{folder}: not a pool, manifest.json is missing. Record it anew.')
  text = path.read_text()
  manifest = json.loads(text)
  if manifest.get('format') != FORMAT:
    raise UserError(
      f'{path}: field format: expected {FORMAT}, found {manifest.get("format")!r}. '
      'Record or convert the dataset with this version.'
    )
  arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r') for name in _ARRAYS}
  num_transitions, num_episodes = manifest['num_transitions'], manifest['num_episodes']
  for name, expected in (
    ('observations', num_transitions + num_episodes),
    ('actions', num_transitions),
    ('rewards', num_transitions),
    ('discounts', num_transitions),
    ('lengths', num_episodes),
  ):
    if len(arrays[name]) != expected:
      raise UserError(
        f'{folder / name}.npy: expected {expected} rows by the manifest, found '
        f'{len(arrays[name])}. The pool is damaged: record it anew.'
      )
  observations = arrays.pop('observations')
  return Pool(
    spec=_environment(path, manifest),
    observations=observations,
    is_labelled=np.ones(num_transitions, bool),
    manifest_hash=hashlib.sha256(text.encode()).hexdigest()[:16],
    **{name: np.array(array) for name, array in arrays.items()},
  )


def _environment(path: pathlib.Path, manifest: dict) -> EnvironmentSpec:
  try:
    return EnvironmentSpec.from_dict(manifest['environment'])
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{path}: field environment: not an environment of this version ({error!r}). '
      'Record or convert the dataset with this version.'
    ) from error


def check_episode(episode: Episode, spec: EnvironmentSpec, place: str) -> Episode:
  """Returns the episode in the dtypes of a pool, or says what is wrong with it.

  Args:
    episode: arrays of any numeric dtype.
    spec: what the dataset claims to hold.
    place: how the message names the episode, for example 'data/x: episode 3'.

  Raises:
    UserError: with place, step, field, what was expected and what was found.
  """
  observations = np.asarray(episode.observations)
  expected = spec.observation
  if observations.dtype != expected.dtype or observations.shape[1:] != expected.shape:
    raise UserError(
      f'{place}, field observation: expected {expected.dtype} {list(expected.shape)}, '
      f'found {observations.dtype} {list(observations.shape[1:])}.'
    )
  actions = np.asarray(episode.actions)
  num_transitions = len(actions)
  if num_transitions == 0 or len(observations) != num_transitions + 1:
    raise UserError(
      f'{place}: expected at least one transition and one observation more than '
      f'actions, found {len(observations)} observations, {num_transitions} actions.'
    )
  bad = (actions < 0) | (actions >= len(spec.action_names))
  if bad.any():
    step = int(bad.argmax())
    raise UserError(
      f'{place}, step {step}, field action: expected 0 to '
      f'{len(spec.action_names) - 1} ({", ".join(spec.action_names)}), '
      f'found {int(actions[step])}.'
    )
  if expected.kind == 'integers':
    beyond = np.argwhere(observations >= np.array(expected.num_values))
    if len(beyond):
      step, entry = beyond[0].tolist()
      raise UserError(
        f'{place}, step {step}, field observation: expected entry {entry} below '
        f'{expected.num_values[entry]}, found {int(observations[step, entry])}.'
      )
  named = {
    'reward': episode.rewards,
    'discount': episode.discounts,
    'observation': observations,
  }
  for field, values in named.items():
    values = np.asarray(values)
    if field != 'observation' and len(values) != num_transitions:
      raise UserError(
        f'{place}, field {field}: expected {num_transitions} values, '
        f'found {len(values)}.'
      )
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
      step = int(np.argwhere(~np.isfinite(values))[0][0])
      raise UserError(
        f'{place}, step {step}, field {field}: expected a finite number, '
        f'found {values[step]}.'
      )
  return Episode(
    observations=observations,
    actions=actions.astype(np.int32),
    rewards=np.asarray(episode.rewards, np.float32),
    discounts=np.asarray(episode.discounts, np.float32),
  )
