"""The files of recorded episodes: a manifest, and flat arrays as `.npy`.

What a pool (`pool.py`) and a packed set (`packed.py`) share: all but how observations
lie on the disk.
"""

import hashlib
import io
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from alpt_jax.data.checks import check_episode
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMAT = 1
MANIFEST = 'manifest.json'


def forms(
  spec: EnvironmentSpec, num_transitions: int, num_episodes: int
) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
  """The dtype and shape of every array of a pool."""
  row, num_rows = spec.observation, num_transitions + num_episodes
  return {
    'observations': (np.dtype(row.dtype), (num_rows, *row.shape)),
    'actions': (np.dtype('int32'), (num_transitions,)),
    'rewards': (np.dtype('float32'), (num_transitions,)),
    'discounts': (np.dtype('float32'), (num_transitions,)),
    'lengths': (np.dtype('int64'), (num_episodes,)),
  }


def write_arrays(
  folder: pathlib.Path,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  take_fn: Callable[[np.ndarray], Any],
  place: str,
) -> tuple[int, int]:
  """Writes all arrays of a pool but the observations, which `take_fn` is given.

  Args:
    folder: one that `whole_folder` gave.
    spec: of the environment.
    episodes: checked and written one by one.
    take_fn: called with the `[L + 1, ...]` observations of each episode.
    place: how the message names a set without episodes.

  Returns:
    the numbers of transitions and of episodes.

  Raises:
    UserError: an episode does not fit `spec` (episode, step and field named), or
      there is none.
  """
  lengths = []
  with (
    open(folder / 'actions.raw', 'wb') as actions,
    open(folder / 'rewards.raw', 'wb') as rewards,
    open(folder / 'discounts.raw', 'wb') as discounts,
  ):
    for index, episode in enumerate(episodes):
      episode = check_episode(episode, spec, f'episode {index}')
      take_fn(np.ascontiguousarray(episode.observations))
      actions.write(episode.actions.tobytes())
      rewards.write(episode.rewards.tobytes())
      discounts.write(episode.discounts.tobytes())
      lengths.append(len(episode.actions))
  if not lengths:
    raise UserError(f'{place}: expected at least one episode, got none.')
  counts = int(sum(lengths)), len(lengths)
  np.save(folder / 'lengths.npy', np.array(lengths, np.int64))
  for name in ('actions', 'rewards', 'discounts'):
    finish_array(folder, name, *forms(spec, *counts)[name])
  return counts


def finish_array(folder: pathlib.Path, name: str, dtype: np.dtype, shape) -> None:
  """Turns a raw file into a `.npy` file of a known shape."""
  raw = folder / f'{name}.raw'
  with open(folder / f'{name}.npy', 'wb') as file, open(raw, 'rb') as source:
    file.write(header(dtype, shape))
    shutil.copyfileobj(source, file)
  raw.unlink()


def header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
  """The first bytes of an array's `.npy` file."""
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    file, {'descr': dtype.str, 'fortran_order': False, 'shape': shape}
  )
  return file.getvalue()


def describe(
  folder: pathlib.Path,
  spec: EnvironmentSpec,
  num_transitions: int,
  num_episodes: int,
  **sha256: str,
) -> dict[str, Any]:
  """The manifest of a pool.

  Args:
    folder: holds its arrays.
    spec: of the environment.
    num_transitions: N.
    num_episodes: E.
    **sha256: those of arrays that are not there, by name.
  """
  names = forms(spec, num_transitions, num_episodes)
  return {
    'format': FORMAT,
    'environment': spec.to_dict(),
    'num_episodes': num_episodes,
    'num_transitions': num_transitions,
    'sha256': {
      name: sha256.get(name) or sha256_of(folder / f'{name}.npy') for name in names
    },
  }


def to_text(manifest: dict[str, Any]) -> str:
  """A manifest as it is written."""
  return json.dumps(manifest, indent=2) + '\n'


def hash_of(text: str) -> str:
  """`Pool.manifest_hash` by the manifest's text."""
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256_of(path: pathlib.Path) -> str:
  """Of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def read_manifest(folder: pathlib.Path) -> tuple[str, dict[str, Any]]:
  """The text of a folder's manifest, and what it says."""
  path = folder / MANIFEST
  if not path.is_file():
    raise UserError(f'{folder}: not a pool, {MANIFEST} is missing. Record it anew.')
  try:
    text = path.read_text(encoding='utf-8')
    manifest = json.loads(text)
    if not isinstance(manifest, dict):
      raise ValueError(f'a {type(manifest).__name__}, expected fields')
  except ValueError as error:
    raise _no_manifest(path, error) from error
  return text, manifest


def check_manifest(path: pathlib.Path, manifest: dict[str, Any]):
  """(environment, name -> dtype and shape of an array) by a pool's manifest.

  Args:
    path: of the manifest, for messages.
    manifest: what it says.

  Raises:
    UserError: it is not what this version writes.
  """
  if manifest.get('format') != FORMAT:
    raise UserError(
      f'{path}: field format: expected {FORMAT}, found {manifest.get("format")!r}. '
      'Record or convert the dataset with this version.'
    )
  counts = manifest.get('num_transitions'), manifest.get('num_episodes')
  for field, count in zip(('num_transitions', 'num_episodes'), counts, strict=True):
    if type(count) is not int or count < 1:
      raise _no_manifest(path, f'{field}: expected a positive integer, found {count!r}')
  if not isinstance(manifest.get('sha256'), dict):
    found = manifest.get('sha256')
    raise _no_manifest(path, f'sha256: expected one of each array, found {found!r}')
  try:
    spec = EnvironmentSpec.from_dict(manifest['environment'])
    return spec, forms(spec, *counts)
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise UserError(
      f'{path}: field environment: not an environment of this version ({error!r}). '
      'Record or convert the dataset with this version.'
    ) from error


def _no_manifest(path: pathlib.Path, reason: Exception | str) -> UserError:
  return UserError(
    f'{path}: not the manifest of a pool ({reason}). Record it anew, or copy or '
    'convert it again.'
  )


def check_unchanged(path: pathlib.Path, sha256: dict[str, str]) -> None:
  """Whether an array is the one whose sha256 a manifest has under its name."""
  if sha256_of(path) != sha256.get(path.stem):
    raise UserError(
      f'{path}: changed since it was written: its sha256 is not the one in '
      f'{MANIFEST}. Record the dataset anew, or convert it again.'
    )


def open_array(
  folder: pathlib.Path, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
  """One memory-mapped array, of the form that its manifest says."""
  path = folder / f'{name}.npy'

  def damaged(found: str) -> UserError:
    return UserError(
      f'{path}: expected {dtype} {list(shape)} by the manifest, found {found}. '
      'Record it anew, or copy or convert it again.'
    )

  try:
    array = np.load(path, mmap_mode='r')
  except OSError as error:
    raise damaged(f'none ({error.strerror})') from error
  except (ValueError, EOFError) as error:
    # numpy's own words may be advice to trust the file.
    raise damaged(f'{path.stat().st_size:,} bytes that are no such array') from error
  if array.dtype != dtype or array.shape != shape:
    raise damaged(f'{array.dtype} {list(array.shape)}')
  return array
