"""The files of recorded episodes: a manifest, and flat arrays as `.npy`.

What a pool (`pool.py`) and a packed set (`packed.py`) share: all but how observations
lie on the disk.

Where the action of some transition is not known a set has one array more and a format
of its own: a version that does not know of it would take the zeros there for actions.
"""

import hashlib
import io
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from alpt_jax.data.checks import check_episode
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMAT = 1  # all actions are known
PARTIAL_FORMAT = 2  # of some transitions alone, those that `is_labelled` says
MANIFEST = 'manifest.json'


class Counts(NamedTuple):
  """How much there is of a set, and whether all its actions are known."""

  num_transitions: int
  num_episodes: int
  is_partial: bool


def forms(
  spec: EnvironmentSpec,
  num_transitions: int,
  num_episodes: int,
  is_partial: bool = False,
) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
  """The dtype and shape of every array of a pool."""
  row, num_rows = spec.observation, num_transitions + num_episodes
  known = {'is_labelled': (np.dtype('bool'), (num_transitions,))} if is_partial else {}
  return {
    'observations': (np.dtype(row.dtype), (num_rows, *row.shape)),
    'actions': (np.dtype('int32'), (num_transitions,)),
    'rewards': (np.dtype('float32'), (num_transitions,)),
    'discounts': (np.dtype('float32'), (num_transitions,)),
    'lengths': (np.dtype('int64'), (num_episodes,)),
    **known,
  }


def write_arrays(
  folder: pathlib.Path,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  take_fn: Callable[[np.ndarray], Any],
  place: str,
) -> Counts:
  """Writes all arrays of a pool but the observations, which `take_fn` is given.

  Args:
    folder: one that `whole_folder` gave.
    spec: of the environment.
    episodes: checked and written one by one.
    take_fn: called with the `[L + 1, ...]` observations of each episode.
    place: how the message names a set without episodes.

  Returns:
    what `forms` and `describe` need to know of it.

  Raises:
    UserError: an episode does not fit `spec` (episode, step and field named), or
      there is none.
  """
  lengths, is_partial = [], False
  with (
    open(folder / 'actions.raw', 'wb') as actions,
    open(folder / 'rewards.raw', 'wb') as rewards,
    open(folder / 'discounts.raw', 'wb') as discounts,
    open(folder / 'is_labelled.raw', 'wb') as is_labelled,
  ):
    for index, episode in enumerate(episodes):
      episode = check_episode(episode, spec, f'episode {index}')
      take_fn(np.ascontiguousarray(episode.observations))
      actions.write(episode.actions.tobytes())
      rewards.write(episode.rewards.tobytes())
      discounts.write(episode.discounts.tobytes())
      known = episode.is_labelled
      known = np.ones(len(episode.actions), bool) if known is None else known
      is_partial |= not known.all()
      is_labelled.write(known.tobytes())
      lengths.append(len(episode.actions))
  if not lengths:
    raise UserError(f'{place}: expected at least one episode, got none.')
  counts = Counts(int(sum(lengths)), len(lengths), is_partial)
  np.save(folder / 'lengths.npy', np.array(lengths, np.int64))
  names = ['actions', 'rewards', 'discounts']
  if is_partial:
    names.append('is_labelled')
  else:  # the files are those that there were before an action could be unknown
    (folder / 'is_labelled.raw').unlink()
  for name in names:
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
  is_partial: bool = False,
  *,
  guesses: float | None = None,
  **sha256: str,
) -> dict[str, Any]:
  """The manifest of a pool.

  Args:
    folder: holds its arrays.
    spec: of the environment.
    num_transitions: N.
    num_episodes: E.
    is_partial: whether some action is not known.
    guesses: as `Pool.guesses`.
    **sha256: those of arrays that are not there, by name.
  """
  names = forms(spec, num_transitions, num_episodes, is_partial)
  said = {} if guesses is None else {'guesses': guesses}
  return {
    'format': PARTIAL_FORMAT if is_partial else FORMAT,
    'environment': spec.to_dict(),
    **said,
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
  sha256 = manifest.get('sha256')
  is_partial = isinstance(sha256, dict) and 'is_labelled' in sha256
  expected = PARTIAL_FORMAT if is_partial else FORMAT
  if manifest.get('format') != expected:
    raise UserError(
      f'{path}: field format: expected {expected}, found {manifest.get("format")!r}. '
      'Record or convert the dataset with this version.'
    )
  counts = manifest.get('num_transitions'), manifest.get('num_episodes')
  for field, count in zip(('num_transitions', 'num_episodes'), counts, strict=True):
    if type(count) is not int or count < 1:
      raise _no_manifest(path, f'{field}: expected a positive integer, found {count!r}')
  if not isinstance(sha256, dict):
    raise _no_manifest(path, f'sha256: expected one of each array, found {sha256!r}')
  try:
    spec = EnvironmentSpec.from_dict(manifest['environment'])
    return spec, forms(spec, *counts, is_partial)
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
