"""Which recording an episode is of, and where in it a moment is.

`bin/convert` leaves a `conversion.json` beside what it made of files. Without one every
episode is a recording.
"""

import dataclasses
import os
import pathlib

import numpy as np

from alpt_jax.data.frame_times import clock
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError
from alpt_jax.report.run_files import read_object

CONVERSION = 'conversion.json'


@dataclasses.dataclass(frozen=True)
class Recordings:
  """R recordings of E episodes.

  Attributes:
    names: `[R]` of their files, or what they are called without.
    of_episode: `[E]` int64, the recording of each episode.
    first_frames: `[E]` int64, where in its file each begins; None without files.
    frame_rates: `[R]` frames a second; 0 where not known.
    is_held: `[R]` whether the file itself has other frames.
    frame_skip: frames of an agent step.
    digests: `[R]` SHA-256 of their files; () without.
  """

  names: tuple[str, ...]
  of_episode: np.ndarray
  first_frames: np.ndarray | None = None
  frame_rates: tuple[float, ...] = ()
  is_held: tuple[bool, ...] = ()
  frame_skip: int = 1
  digests: tuple[str, ...] = ()

  def place(self, episode: int, step: int) -> str:
    """Where a transition begins: 'a.mp4 at 1:23.4 (frame 5004)', for a reader."""
    if self.first_frames is None:
      return f'episode {episode}, step {step}'
    recording = self.of_episode[episode]
    frame = self.first_frames[episode] + step * self.frame_skip
    rate = self.frame_rates[recording]
    if not rate:
      return f'{self.names[recording]}, frame {frame}'
    place = f'{self.names[recording]} at {clock(frame / rate)}'
    return place if self.is_held[recording] else f'{place} (frame {frame})'


def read_recordings(folder: str | os.PathLike, pool: Pool) -> Recordings:
  """The recordings of a set that lies in a folder, or one below it.

  Raises:
    UserError: a conversion.json that is damaged, or of other episodes.
  """
  path = _conversion_of(folder)
  if path is None:
    names = tuple(f'episode {index}' for index in range(pool.num_episodes))
    return Recordings(names, np.arange(pool.num_episodes))
  try:
    found = _from_record(read_object(path)['recordings'], pool)
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{path}: no record of bin/convert ({type(error).__name__}: {error}). Convert '
      'the recordings anew.'
    ) from error
  if len(found.of_episode) != pool.num_episodes:
    raise UserError(
      f'{path}: tells of {len(found.of_episode)} episodes, {folder} has '
      f'{pool.num_episodes}. Convert the recordings anew.'
    )
  return found


def digests_in(folder: str | os.PathLike) -> list[str]:
  """SHA-256 of the files that a set was made of, sorted; [] where nothing says so."""
  path = _conversion_of(folder)
  records = read_object(path).get('recordings', []) if path else []
  return sorted(str(record['sha256']) for record in records if 'sha256' in record)


def _conversion_of(folder: str | os.PathLike) -> pathlib.Path | None:
  """The conversion.json of a set that lies in a folder, or one below it."""
  folder = pathlib.Path(folder)
  for place in (folder, folder.parent):
    if (place / CONVERSION).is_file():
      return place / CONVERSION
  return None


def _from_record(records: list[dict], pool: Pool) -> Recordings:
  records = sorted(records, key=lambda record: record['episodes'][0])
  counts = [record['episodes'][1] for record in records]
  return Recordings(
    tuple(str(record['file']) for record in records),
    np.repeat(np.arange(len(records)), counts),
    np.concatenate([np.asarray(record['first_frames'], int) for record in records]),
    tuple(float(record['frame_rate']) for record in records),
    tuple(bool(record.get('held')) for record in records),
    pool.spec.protocol.frame_skip,
    tuple(str(record.get('sha256', '')) for record in records),
  )
