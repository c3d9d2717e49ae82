"""One game's recordings into its dataset: decoded, written, and where each came from.

Beside the episodes lies `conversion.json`: which recording, and which of its frames,
each episode comes from, and what became of the rest.
"""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from alpt_jax.area_resize import AreaResize
from alpt_jax.data import screens
from alpt_jax.data.clip import Clip
from alpt_jax.data.pictures import picture_files
from alpt_jax.data.pool_files import sha256_of
from alpt_jax.experiment.conversion import Say
from alpt_jax.experiment.dataset_folder import write_dataset
from alpt_jax.experiment.recordings import CONVERSION
from alpt_jax.experiment.records import write_record
from alpt_jax.experiment.video_choice import VideoChoice
from alpt_jax.experiment.video_games import Omissions
from alpt_jax.experiment.video_plan import PlannedGame, PlannedRecording
from alpt_jax.pace import Pace
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

_FORMAT = 1


class GameSummary(NamedTuple):
  """What was kept of a game."""

  spec: EnvironmentSpec
  num_recordings: int  # that were found
  kept: tuple[PlannedRecording, ...]
  num_episodes: int
  num_steps: int
  num_labelled: int


class Progress:
  """Says now and then how far a conversion of several recordings is."""

  def __init__(self, games: list[PlannedGame], say: Say):
    planned = [each for game in games for each in game.recordings]
    self._num_recordings = len(planned)
    self._num_frames = sum(each.clip.num_frames for each in planned)
    self._number = self._done = 0
    self._clip: Clip | None = None
    self._say = say
    self._pace = Pace()

  def begin(self, clip: Clip) -> None:
    """Another recording comes; the one before counts as done."""
    self._done += self._clip.num_frames if self._clip else 0
    self._clip, self._number = clip, self._number + 1

  def at(self, frame: int) -> None:
    """A frame of the recording has been read."""
    if self._pace.is_due():
      done = self._done + frame
      self._say(
        f'recording {self._number} of {self._num_recordings} ({self._clip.path.name}), '
        f'{done:,} of {self._num_frames:,} frames, '
        f'{self._pace.rate(done):,.0f} a second, '
        f'{self._pace.left(done, self._num_frames)} left'
      )


@dataclasses.dataclass
class GameWriter:
  """Writes one game's dataset."""

  game: PlannedGame
  choice: VideoChoice
  omissions: Omissions
  progress: Progress
  say: Say
  versions: dict[str, str]  # of what decodes

  def __post_init__(self):
    self._kept: list[PlannedRecording] = []

  def write(self, place: pathlib.Path, form: str, command: str) -> GameSummary | None:
    """Fills a folder; None, and nothing there, where no recording can be decoded."""
    place.mkdir(exist_ok=True)
    episodes = self._episodes(place / 'decoded.raw')
    first = next(episodes, None)
    if first is None:
      place.rmdir()
      return None
    spec, notes = self.game.spec, self.game.notes
    pool = write_dataset(
      place,
      form,
      spec,
      itertools.chain([first], episodes),
      source=command,
      remarks=notes,
      rlds=self.choice.rlds,
      say=self.say,
    )
    write_record(place / CONVERSION, self._described(command, notes))
    return GameSummary(
      spec,
      len(self.game.game.recordings),
      tuple(self._kept),
      pool.num_episodes,
      pool.num_transitions,
      int(pool.is_labelled.sum()),
    )

  def _episodes(self, scratch: pathlib.Path) -> Iterator[Episode]:
    """Of every recording that can be decoded to its end, each decoded before."""
    for planned in self.game.recordings:
      rows = None
      self.progress.begin(planned.clip)
      with self.omissions.of(planned.recording.path):
        rows = self._decoded(planned, scratch)
      if rows is None:
        continue
      self._kept.append(planned)
      first = 0
      for steps in planned.steps.episodes:
        last = first + len(steps.shown)
        yield Episode(
          rows[first:last],
          steps.actions,
          steps.rewards,
          steps.discounts,
          steps.is_labelled,
        )
        first = last
    scratch.unlink(missing_ok=True)

  def _decoded(self, planned: PlannedRecording, scratch: pathlib.Path) -> np.ndarray:
    """`[moments, height, width, channels]` uint8 of all its episodes, on disk."""
    clip, choice = planned.clip, self.choice
    episodes = planned.steps.episodes
    shown = np.concatenate([steps.shown for steps in episodes])
    is_pooled = np.concatenate([steps.is_pooled for steps in episodes])
    screen, size = (clip.height, clip.width), self.game.spec.observation.shape[:2]
    resize_fn = AreaResize(screen, size) if screen != size else None
    read = screens.observations(clip, shown, is_pooled, not choice.color, resize_fn)
    scratch.unlink(missing_ok=True)  # the one before may still be looked at
    with open(scratch, 'wb') as file:
      for frame, observation in zip(shown.tolist(), read, strict=True):
        file.write(np.ascontiguousarray(observation))
        self.progress.at(frame)
    shape = (len(shown), *self.game.spec.observation.shape)
    return np.memmap(scratch, np.uint8, 'r', shape=shape)

  def _described(self, command: str, notes: Sequence[str]) -> dict[str, Any]:
    folder = self.game.game.folder
    recordings, first = [], 0
    for planned in self._kept:
      recordings.append(_record(planned, folder, first))
      first += len(planned.steps.episodes)
    return {
      'format': _FORMAT,
      'command': command,
      'game': self.game.spec.name,
      'protocol': self.game.spec.protocol.to_dict(),
      'versions': self.versions,
      'recordings': recordings,
      'left_out': [
        {'file': f'{path.relative_to(folder)}', 'line': each.line, 'why': each.why}
        for each in self.omissions.left_out
        if (path := pathlib.Path(each.file)).is_relative_to(folder)
      ],
      'notes': notes,
    }


def _record(
  planned: PlannedRecording, folder: pathlib.Path, first: int
) -> dict[str, Any]:
  """What is known of a recording, its files by their names in their folder."""
  (path, table), clip, steps = planned.recording, planned.clip, planned.steps
  episodes = steps.episodes
  return {
    'file': f'{path.relative_to(folder)}',
    'sha256': _sha256(path),
    'frames': clip.num_frames,
    'frame_rate': clip.frame_rate,
    'held': clip.starts is not None,  # `frames` are not those of the file
    'size': [clip.width, clip.height],
    'codec': clip.codec,
    'csv': f'{table.relative_to(folder)}' if table else None,
    'episodes': [first, len(episodes)],
    'first_frames': [int(each.shown[0]) for each in episodes],
    'steps': sum(len(each.actions) for each in episodes),
    'labelled_steps': int(sum(each.is_labelled.sum() for each in episodes)),
    'mixed_steps': steps.num_mixed,
    'dropped_frames': steps.num_dropped_frames,
    'longest_hold': planned.longest_hold,
  }


def _sha256(path: pathlib.Path) -> str:
  """Of a file, or of the sums of a recording's pictures in their order."""
  if path.is_file():
    return sha256_of(path)
  sums = ''.join(map(sha256_of, picture_files(path)))
  return hashlib.sha256(sums.encode()).hexdigest()
