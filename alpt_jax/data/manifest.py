"""What a set of RL Unplugged shards holds: every episode's place and length.

A manifest takes the place of a pool's index where the episodes themselves are too
many for one: labels are drawn from it, streams find their windows by it, and its
hash identifies the data. It is kept in a cache folder, never beside the data, which
may be read-only. `rl_unplugged.scan` makes one; reading it needs no TensorFlow.
"""

import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import zipfile

import numpy as np

from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, writer_name
from alpt_jax.specs import EnvironmentSpec

FORMAT = 1

_PER_FILE = {'sizes': np.int64, 'checksums': np.uint32}
_PER_EPISODE = {
  'file_of': np.int32,
  'index_in_file': np.int32,
  'lengths': np.int64,
  'checkpoint_idx': np.int64,
  'episode_idx': np.int64,
}


@dataclasses.dataclass(frozen=True)
class Manifest:
  """The episodes of a set of shards, in the order of files and within them.

  A recorded episode of L + 1 steps has L transitions: no observation follows its
  last step, whose action and reward therefore mean nothing. Steps are numbered
  from 0, transition t leads from step t to step t + 1.

  Attributes:
    spec: the environment they come from.
    files: names of the shards, relative to their folder.
    sizes: `[files]` int64, bytes.
    checksums: `[files]` uint32, CRC-32 over the records.
    file_of: `[E]` int32, an index into `files`.
    index_in_file: `[E]` int32, which record of its file an episode is.
    lengths: `[E]` int64, transitions.
    checkpoint_idx: `[E]` int64, as recorded.
    episode_idx: `[E]` int64, as recorded; unique within a checkpoint only.
    reward_lead: how many steps early rewards are recorded; readers undo it.
    detected_lead: what the detector found; None where it could not tell.
    skipped: (shard, why) each that was left out because it is damaged.
  """

  spec: EnvironmentSpec
  files: tuple[str, ...]
  sizes: np.ndarray
  checksums: np.ndarray
  file_of: np.ndarray
  index_in_file: np.ndarray
  lengths: np.ndarray
  checkpoint_idx: np.ndarray
  episode_idx: np.ndarray
  reward_lead: int = 0
  detected_lead: int | None = None
  skipped: tuple[tuple[str, str], ...] = ()

  @property
  def num_transitions(self) -> int:
    return int(self.lengths.sum())

  @property
  def num_episodes(self) -> int:
    return len(self.lengths)

  @functools.cached_property
  def starts(self) -> np.ndarray:
    """`[E]` index of each episode's first transition, counted over all files."""
    return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

  @property
  def is_labelled(self) -> np.ndarray:
    """`[N]` bool, all True: RL Unplugged has every action."""
    return np.broadcast_to(np.True_, (self.num_transitions,))

  @functools.cached_property
  def manifest_hash(self) -> str:
    """Identifies the content: 16 hexadecimal digits, as a pool's."""
    digest = hashlib.sha256(json.dumps(_identity(self), sort_keys=True).encode())
    for name, dtype in (_PER_FILE | _PER_EPISODE).items():
      digest.update(getattr(self, name).astype(np.dtype(dtype).newbyteorder('<')))
    return digest.hexdigest()[:16]

  def place(self, episode: int) -> str:
    """How messages name an episode: by its file and its place there."""
    file = self.files[self.file_of[episode]]
    return f'{file}: episode {self.index_in_file[episode]}'


def _identity(manifest: Manifest) -> dict:
  """What identifies a manifest, besides its arrays."""
  return {
    'format': FORMAT,
    'environment': manifest.spec.to_dict(),
    'files': list(manifest.files),
    'reward_lead': manifest.reward_lead,
  }


def save_manifest(path: str | os.PathLike, manifest: Manifest) -> None:
  """Writes a manifest as one `.npz` file, whole or not at all."""
  path = pathlib.Path(path)
  header = {
    **_identity(manifest),
    'detected_lead': manifest.detected_lead,
    'skipped': manifest.skipped,
  }
  arrays = {name: getattr(manifest, name) for name in _PER_FILE | _PER_EPISODE}
  file = io.BytesIO()
  np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}')
  try:
    partial.write_bytes(file.getvalue())
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)


def load_manifest(path: str | os.PathLike) -> Manifest:
  """Reads a manifest that `save_manifest` wrote.

  Raises:
    UserError: the file is missing, damaged or of another version.
  """
  try:
    with np.load(path) as file:
      header = json.loads(str(file['header']))
      if header['format'] != FORMAT:
        raise ValueError(f'format {header["format"]}, expected {FORMAT}')
      arrays = {
        name: file[name].astype(dtype)
        for name, dtype in (_PER_FILE | _PER_EPISODE).items()
      }
    return Manifest(
      spec=EnvironmentSpec.from_dict(header['environment']),
      files=tuple(header['files']),
      reward_lead=header['reward_lead'],
      detected_lead=header['detected_lead'],
      skipped=tuple((name, why) for name, why in header['skipped']),
      **arrays,
    )
  except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as e:
    raise UserError(
      f'{path}: not a manifest of this version ({e!r}). Remove it and scan anew.'
    ) from e
