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
from alpt_jax.data.checks import check_episode
from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, writer_name
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMAT = 1


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
  folder: str | os.PathLike,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  *,
  replace: bool = True,
) -> Pool:
  """Writes episodes, checked one by one, as a pool; complete or not there at all.

  Episodes are consumed one at a time: memory does not grow with their number.

  Args:
    folder: where.
    spec: of the environment.
    episodes: in order.
    replace: whether a pool that is there gives way. False: it is kept and opened, as
      another process wrote the same one meanwhile, and may be reading it.

  Raises:
    UserError: an episode does not fit `spec` (episode, step and field named), there
      is none, or `folder` holds something else than a pool.
  """
  folder = pathlib.Path(folder)
  _check_replaceable(folder)
  partial = folder.with_name(f'{folder.name}.{PARTIAL}{writer_name()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    lengths = _append_arrays(partial, spec, episodes)
    if not lengths:
      raise UserError(f'{folder}: a pool needs at least one episode, got none.')
    num_transitions = int(sum(lengths))
    np.save(partial / 'lengths.npy', np.array(lengths, np.int64))
    forms = _forms(spec, num_transitions, len(lengths))
    for name, form in forms.items():
      if name != 'lengths':
        _finish_array(partial, name, *form)
    manifest = {
      'format': FORMAT,
      'environment': spec.to_dict(),
      'num_episodes': len(lengths),
      'num_transitions': num_transitions,
      'sha256': {name: _sha256(partial / f'{name}.npy') for name in forms},
    }
    (partial / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')
    if replace:
      shutil.rmtree(folder, ignore_errors=True)
    try:
      os.replace(partial, folder)
    except OSError:  # a faster process's stands there, or the disk failed
      if replace or not (folder / 'manifest.json').is_file():
        raise
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return open_pool(folder)


def _forms(spec: EnvironmentSpec, num_transitions: int, num_episodes: int):
  """The dtype and shape of every array of a pool."""
  row, num_rows = spec.observation, num_transitions + num_episodes
  return {
    'observations': (np.dtype(row.dtype), (num_rows, *row.shape)),
    'actions': (np.dtype('int32'), (num_transitions,)),
    'rewards': (np.dtype('float32'), (num_transitions,)),
    'discounts': (np.dtype('float32'), (num_transitions,)),
    'lengths': (np.dtype('int64'), (num_episodes,)),
  }


def _check_replaceable(folder: pathlib.Path) -> None:
  """Keeps a mistyped name from deleting somebody's folder."""
  if not folder.exists() or (folder / 'manifest.json').is_file():
    return
  if not folder.is_dir() or any(folder.iterdir()):
    raise UserError(f'{folder}: exists and is not a pool. Name another or remove it.')


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
      {'descr': dtype.str, 'fortran_order': False, 'shape': shape},
    )
    shutil.copyfileobj(source, file)
  raw.unlink()


def _sha256(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def open_pool(folder: str | os.PathLike) -> Pool:
  """Opens a pool, its observations memory-mapped, everything else in memory.

  Raises:
    UserError: no manifest, another format, or an array that is missing, cut short
      or of another form than the manifest says.
  """
  folder = pathlib.Path(folder)
  path = folder / 'manifest.json'
  if not path.is_file():
    raise UserError(f'{folder}: not a pool, manifest.json is missing. Record it anew.')
  text = path.read_text()
  manifest = _manifest(path, text)
  if manifest.get('format') != FORMAT:
    raise UserError(
      f'{path}: field format: expected {FORMAT}, found {manifest.get("format")!r}. '
      'Record or convert the dataset with this version.'
    )
  spec = _environment(path, manifest)
  num_transitions, num_episodes = manifest['num_transitions'], manifest['num_episodes']
  forms = _forms(spec, num_transitions, num_episodes)
  arrays = {name: _array(folder / f'{name}.npy', *form) for name, form in forms.items()}
  observations = arrays.pop('observations')
  for name in arrays:  # not the observations, which may be many gigabytes
    _check_unchanged(folder / f'{name}.npy', manifest)
  return Pool(
    spec=spec,
    observations=observations,
    is_labelled=np.ones(num_transitions, bool),
    manifest_hash=hashlib.sha256(text.encode()).hexdigest()[:16],
    **{name: np.array(array) for name, array in arrays.items()},
  )


def _manifest(path: pathlib.Path, text: str) -> dict:
  """The manifest as a dictionary that holds the counts of a pool."""
  try:
    manifest = json.loads(text)
    if manifest.get('format') == FORMAT:  # others may have other fields
      _ = manifest['num_transitions'] + manifest['num_episodes']
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{path}: not the manifest of a pool ({error!r}). Record it anew.'
    ) from error
  return manifest


def _check_unchanged(path: pathlib.Path, manifest: dict) -> None:
  if _sha256(path) != manifest.get('sha256', {}).get(path.stem):
    raise UserError(
      f'{path}: changed since it was written: its sha256 is not the one in '
      'manifest.json. Record the dataset anew.'
    )


def _array(path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
  """One memory-mapped array of a pool, of the form that its manifest says."""
  try:
    array = np.load(path, mmap_mode='r')
  except (OSError, ValueError, EOFError) as error:
    raise UserError(f'{path}: damaged ({error}). Record it anew.') from error
  if array.dtype != dtype or array.shape != shape:
    raise UserError(
      f'{path}: expected {dtype} {list(shape)} by the manifest, found {array.dtype} '
      f'{list(array.shape)}. The pool is damaged: record it anew.'
    )
  return array


def _environment(path: pathlib.Path, manifest: dict) -> EnvironmentSpec:
  try:
    return EnvironmentSpec.from_dict(manifest['environment'])
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{path}: field environment: not an environment of this version ({error!r}). '
      'Record or convert the dataset with this version.'
    ) from error
