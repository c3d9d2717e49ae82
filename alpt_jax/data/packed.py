"""A pool whose observations are compressed: a fiftieth of the disk, any row at once.

A packed set is a folder:

  manifest.json          the manifest of the same episodes as a pool, and what is here
  observations.zst       Zstandard frames end to end, one for each chunk of rows
  offsets.npy            [chunks + 1] int64, where each begins in that file
  checksums.npy          [chunks] uint32, CRC-32 of each as it is compressed
  returns_to_go.npy      [transitions] float32
  actions.npy, rewards.npy, discounts.npy, lengths.npy: those of the pool, and its
                         is_labelled.npy where some actions are not known

Row r lies in chunk r // chunk_rows, whatever its episode, so that its place follows
from its number; `zstd -d` gives all of them. Sets are too large for memory: only
`lengths` is read, the other arrays are memory-mapped or computed where they are asked
for.

A packed set and the pool of the same episodes have one `manifest_hash`: they are one
dataset, with the same labels and batches.
"""

import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from alpt_jax import returns
from alpt_jax.data import pool_files
from alpt_jax.data.packed_rows import ChunkWriter, Computed, PackedRows
from alpt_jax.data.pool import Pool, open_pool, whole_folder
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMAT = 'packed 1'
CODEC = 'zstd'

_ROWS = 'observations.zst'
# Ours: at most what Zstandard compresses at once, and a window's few rows are never
# far from all that is read for them.
_CHUNK_BYTES = 1 << 17
_MIN_ROWS, _MAX_ROWS = 8, 1_024


@dataclasses.dataclass(frozen=True)
class PackedPool(Pool):
  """A pool with `PackedRows`, of which only `lengths` is in memory.

  What training makes of it may be as long as it is: a target's actions without those
  that are hidden (`labels.hide_actions`, 5 bytes a transition), and the places and the
  order of any set's windows (`mixture.PoolWindows`).

  Attributes:
    stored_returns_to_go: `[N]` float32, over whole episodes; on disk.
  """

  stored_returns_to_go: np.ndarray

  @property
  def returns_to_go(self) -> np.ndarray:
    """`[N]` float32, over whole episodes."""
    return self.stored_returns_to_go

  @functools.cached_property
  def episode_of(self) -> Computed:
    """`[N]` episode of each transition."""
    starts = self.starts
    return Computed(
      self.num_transitions, lambda rows: np.searchsorted(starts, rows, 'right') - 1
    )

  @functools.cached_property
  def clipped_rewards(self) -> Computed:
    """`[N]` float32 rewards as trained on."""
    rewards = self.rewards
    return Computed(
      self.num_transitions, lambda rows: returns.clip_rewards(rewards[rows])
    )


def rows_per_chunk(spec: EnvironmentSpec) -> int:
  """How many observations are compressed together: 16 screens of Atari."""
  row_bytes = math.prod(spec.observation.shape) * _dtype(spec).itemsize
  fitting = _CHUNK_BYTES // max(1, row_bytes)
  return min(max(1 << max(0, fitting.bit_length() - 1), _MIN_ROWS), _MAX_ROWS)


def _dtype(spec: EnvironmentSpec) -> np.dtype:
  return np.dtype(spec.observation.dtype)


def write_packed(
  folder: str | os.PathLike,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  *,
  replace: bool = True,
  guesses: float | None = None,
) -> PackedPool:
  """Writes episodes, checked one by one, packed; complete or not there at all.

  Episodes are consumed one at a time: memory does not grow with their number. What was
  written is read once more at the end, for its hash.

  Args:
    folder: where.
    spec: of the environment.
    episodes: in order.
    replace, guesses: as in `write_pool`.

  Raises:
    UserError: as `write_pool`.
  """
  chunk_rows = rows_per_chunk(spec)
  with whole_folder(folder, replace=replace) as partial:
    with open(partial / _ROWS, 'wb') as file:
      chunks = ChunkWriter(file, chunk_rows)
      counts = pool_files.write_arrays(partial, spec, episodes, chunks.add, f'{folder}')
      chunks.finish()
    dtype, shape = pool_files.forms(spec, *counts)['observations']
    offsets = np.concatenate([[0], np.cumsum(chunks.sizes, dtype=np.int64)])
    checksums = np.array(chunks.checksums, np.uint32)
    np.save(partial / 'offsets.npy', offsets)
    np.save(partial / 'checksums.npy', checksums)
    _write_returns_to_go(partial)
    rows = PackedRows(partial / _ROWS, shape, dtype, chunk_rows, offsets, checksums)
    manifest = {
      'format': FORMAT,
      'pool': pool_files.describe(
        partial,
        spec,
        *counts,
        guesses=guesses,
        observations=_sha256_as_array(rows, chunk_rows),
      ),
      'codec': CODEC,
      'chunk_rows': chunk_rows,
      'sha256': {
        name: pool_files.sha256_of(partial / f'{name}.npy')
        for name in _own_forms(counts.num_transitions, shape[0], chunk_rows)
      },
    }
    (partial / pool_files.MANIFEST).write_text(pool_files.to_text(manifest))
  return open_packed(folder)


def _write_returns_to_go(folder: pathlib.Path) -> None:
  """They need a whole episode, so a window cannot find them by itself."""
  lengths = np.load(folder / 'lengths.npy')
  rewards = np.load(folder / 'rewards.npy', mmap_mode='r')
  with open(folder / 'returns_to_go.raw', 'wb') as file:
    first = 0
    for length in lengths.tolist():
      clipped = returns.clip_rewards(rewards[first : first + length])
      file.write(returns.returns_to_go(np.asarray(clipped)).tobytes())
      first += length
  pool_files.finish_array(folder, 'returns_to_go', np.dtype('float32'), rewards.shape)


def _sha256_as_array(rows: PackedRows, chunk_rows: int) -> str:
  """That of the pool's `observations.npy`, read from what was written."""
  digest = hashlib.sha256(pool_files.header(rows.dtype, rows.shape))
  for first in range(0, len(rows), chunk_rows):
    digest.update(rows[first : first + chunk_rows])
  return digest.hexdigest()


def _own_forms(num_transitions: int, num_rows: int, chunk_rows: int):
  """The dtype and shape of every array that a pool does not have."""
  num_chunks = -(-num_rows // chunk_rows)
  return {
    'offsets': (np.dtype('int64'), (num_chunks + 1,)),
    'checksums': (np.dtype('uint32'), (num_chunks,)),
    'returns_to_go': (np.dtype('float32'), (num_transitions,)),
  }


def open_recorded(folder: str | os.PathLike) -> Pool:
  """Opens a pool or a packed set, by its manifest.

  Raises:
    UserError: as `open_pool`.
  """
  folder = pathlib.Path(folder)
  # One of another version, too, is named as what it is.
  if f'{pool_files.read_manifest(folder)[1].get("format")}'.startswith('packed'):
    return open_packed(folder)
  return open_pool(folder)


def open_packed(folder: str | os.PathLike) -> PackedPool:
  """Opens a packed set; all but `lengths` stays on disk.

  Raises:
    UserError: no manifest, another format, or a file that is missing, cut short,
      changed or of another form than the manifest says. Of the observations only the
      size is looked at here; a damaged chunk is found when it is read.
  """
  folder = pathlib.Path(folder)
  path = folder / pool_files.MANIFEST
  _, manifest = pool_files.read_manifest(folder)
  as_pool, chunk_rows = _check_manifest(path, manifest)
  spec, forms = pool_files.check_manifest(path, as_pool)
  dtype, shape = forms.pop('observations')
  own = _own_forms(*forms['actions'][1], shape[0], chunk_rows)
  arrays = {
    name: np.asarray(pool_files.open_array(folder, name, *form))
    for name, form in (forms | own).items()
  }
  for name in arrays:
    sha256 = manifest['sha256'] if name in own else as_pool['sha256']
    pool_files.check_unchanged(folder / f'{name}.npy', sha256)
  offsets, checksums = arrays.pop('offsets'), arrays.pop('checksums')
  all_known = np.broadcast_to(np.True_, arrays['actions'].shape)
  _check_size(folder / _ROWS, int(offsets[-1]))
  return PackedPool(
    spec=spec,
    observations=PackedRows(
      folder / _ROWS, shape, dtype, chunk_rows, offsets, checksums
    ),
    actions=arrays['actions'],
    rewards=arrays['rewards'],
    discounts=arrays['discounts'],
    lengths=np.array(arrays['lengths']),
    is_labelled=arrays.get('is_labelled', all_known),
    manifest_hash=pool_files.hash_of(pool_files.to_text(as_pool)),
    guesses=as_pool.get('guesses'),
    stored_returns_to_go=arrays['returns_to_go'],
  )


def _check_manifest(path: pathlib.Path, manifest: dict[str, Any]):
  """(manifest as a pool, rows of a chunk), where it is one of a packed set."""
  codec, chunk_rows = manifest.get('codec'), manifest.get('chunk_rows')
  checks = {
    'format': (manifest.get('format') == FORMAT, repr(FORMAT)),
    'codec': (codec == CODEC, repr(CODEC)),
    'chunk_rows': (type(chunk_rows) is int and chunk_rows > 0, 'a positive number'),
    'pool': (isinstance(manifest.get('pool'), dict), 'the manifest of a pool'),
    'sha256': (isinstance(manifest.get('sha256'), dict), 'a hash of each array'),
  }
  for field, (is_good, expected) in checks.items():
    if not is_good:
      raise UserError(
        f'{path}: field {field}: expected {expected}, found {manifest.get(field)!r}. '
        'Convert the dataset with this version.'
      )
  return manifest['pool'], chunk_rows


def _check_size(path: pathlib.Path, expected: int) -> None:
  found = f'{path.stat().st_size:,}' if path.is_file() else 'no such file'
  if found != f'{expected:,}':
    raise UserError(
      f'{path}: expected {expected:,} bytes by offsets.npy, found {found}. Copy it '
      'anew, or convert the dataset again.'
    )
