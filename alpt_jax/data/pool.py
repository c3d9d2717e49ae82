"""A set of episodes as flat, memory-mapped arrays: random access to any window.

A pool is a folder:

  manifest.json          format, environment, counts, sha256 of every array
  observations.npy       [transitions + episodes, ...]: L + 1 per episode
  actions.npy            [transitions] int32, the environment's own numbering
  rewards.npy            [transitions] float32, raw
  discounts.npy          [transitions] float32
  lengths.npy            [episodes] int64, transitions of each episode
  is_labelled.npy        [transitions] bool, whether the action is known; only where
                         some are not: the manifest's format is 2 then

It is written under a temporary name and renamed when complete, so a folder with
a manifest is a whole pool.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np

from alpt_jax import returns
from alpt_jax.data import pool_files
from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, remove_abandoned, writer_name
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

# Observations that are taken at once where not all are wanted at once.
PIECE = 1_024


@dataclasses.dataclass(frozen=True)
class Pool:
  """Episodes end to end. N transitions in E episodes.

  Attributes:
    spec: the environment they come from.
    observations: `[N + E, ...]`; transition n of episode e starts at row n + e.
      Anything that has a shape and a dtype and gives an array for a slice or for
      integers (`data/packed.py`).
    actions: `[N]` int32, own numbering; 0 where `is_labelled` is False.
    rewards: `[N]` float32, raw.
    discounts: `[N]` float32.
    lengths: `[E]` int64.
    is_labelled: `[N]` bool; False where the action is not known, or was hidden.
    manifest_hash: identifies the content of the files.
    guesses: None; or some known actions are a model's guesses of at least this
      confidence, and nothing tells which (`bin/convert --guesses`).
  """

  spec: EnvironmentSpec
  observations: np.ndarray
  actions: np.ndarray
  rewards: np.ndarray
  discounts: np.ndarray
  lengths: np.ndarray
  is_labelled: np.ndarray
  manifest_hash: str
  guesses: float | None = dataclasses.field(default=None, kw_only=True)

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
    is_wanted = np.isin(np.arange(self.num_episodes), episodes)
    return np.flatnonzero(np.repeat(is_wanted, self.lengths))

  def pieces(
    self, index: int, begin: int = 0, end: int | None = None
  ) -> Iterator[np.ndarray]:
    """The observations of an episode, a thousand at a time, so that few are decoded.

    Args:
      index: of the episode.
      begin: its first transition that they show.
      end: behind its last one; None: that of the episode.
    """
    end = int(self.lengths[index]) if end is None else end
    first = int(self.starts[index]) + index
    rows = range(first + begin, first + end + 1)
    for start in rows[::PIECE]:
      yield self.observations[start : min(start + PIECE, rows.stop)]

  def episode(self, index: int) -> Episode:
    """One episode as it was recorded (actions that are not known are 0)."""
    first, last = self.starts[index], self.starts[index] + self.lengths[index]
    is_labelled = self.is_labelled[first:last]
    return Episode(
      self.observations[first + index : last + index + 1],
      self.actions[first:last],
      self.rewards[first:last],
      self.discounts[first:last],
      None if is_labelled.all() else is_labelled,
    )


def write_pool(
  folder: str | os.PathLike,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  *,
  replace: bool = True,
  guesses: float | None = None,
) -> Pool:
  """Writes episodes, checked one by one, as a pool; complete or not there at all.

  Episodes are consumed one at a time: memory does not grow with their number.

  Args:
    folder: where.
    spec: of the environment.
    episodes: in order.
    replace: whether a pool that is there at the end gives way. False: the same one is
      kept and opened, as another process wrote it meanwhile and may be reading it;
      any other is refused.
    guesses: as `Pool.guesses`.

  Raises:
    UserError: an episode does not fit `spec` (episode, step and field named), there
      is none, or `folder` holds something else than a pool, at the beginning or at
      the end; it stays.
  """
  with whole_folder(folder, replace=replace) as partial:
    with open(partial / 'observations.raw', 'wb') as file:
      counts = pool_files.write_arrays(partial, spec, episodes, file.write, f'{folder}')
    pool_files.finish_array(
      partial, 'observations', *pool_files.forms(spec, *counts)['observations']
    )
    manifest = pool_files.describe(partial, spec, *counts, guesses=guesses)
    (partial / pool_files.MANIFEST).write_text(pool_files.to_text(manifest))
  return open_pool(folder)


@contextlib.contextmanager
def whole_folder(
  folder: str | os.PathLike, *, replace: bool = True
) -> Iterator[pathlib.Path]:
  """Gives a folder to fill that takes its name when all went well.

  Args:
    folder: where the episodes shall be.
    replace: as in `write_pool`.

  Raises:
    UserError: `folder` holds something that is no recorded set, or, at the end and
      where it may not be replaced, another one.
  """
  folder = pathlib.Path(folder)
  _check_replaceable(folder)
  remove_abandoned(folder)
  partial = folder.with_name(f'{folder.name}.{PARTIAL}{writer_name()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    yield partial
    _check_replaceable(folder)  # somebody may have put something there meanwhile
    if replace:
      shutil.rmtree(folder, ignore_errors=True)
    try:
      os.replace(partial, folder)
    except OSError as error:  # a faster process's stands there, or the disk failed
      if replace or not folder.exists():
        raise
      if not _have_one_manifest(partial, folder):
        message = f'{folder}: another set was written there meanwhile. Name another.'
        raise UserError(message) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _check_replaceable(folder: pathlib.Path) -> None:
  """Keeps a mistyped name from deleting somebody's folder."""
  if not folder.exists() or (folder / pool_files.MANIFEST).is_file():
    return
  if not folder.is_dir() or any(folder.iterdir()):
    raise UserError(f'{folder}: exists and is not a pool. Name another or remove it.')


def _have_one_manifest(*folders: pathlib.Path) -> bool:
  """Whether sets are of one content and kind."""
  manifests = [folder / pool_files.MANIFEST for folder in folders]
  return all(path.is_file() for path in manifests) and (
    len({path.read_bytes() for path in manifests}) == 1
  )


def open_pool(folder: str | os.PathLike) -> Pool:
  """Opens a pool, its observations memory-mapped, everything else in memory.

  Raises:
    UserError: no manifest, another format, or an array that is missing, cut short
      or of another form than the manifest says.
  """
  folder = pathlib.Path(folder)
  text, manifest = pool_files.read_manifest(folder)
  spec, array_forms = pool_files.check_manifest(folder / pool_files.MANIFEST, manifest)
  arrays = {
    name: pool_files.open_array(folder, name, *form)
    for name, form in array_forms.items()
  }
  observations = arrays.pop('observations')
  for name in arrays:  # not the observations, which may be many gigabytes
    pool_files.check_unchanged(folder / f'{name}.npy', manifest['sha256'])
  in_memory = {name: np.array(array) for name, array in arrays.items()}
  if 'is_labelled' not in in_memory:
    in_memory['is_labelled'] = np.ones(manifest['num_transitions'], bool)
  return Pool(
    spec=spec,
    observations=observations,
    manifest_hash=pool_files.hash_of(text),
    guesses=manifest.get('guesses'),
    **in_memory,
  )
