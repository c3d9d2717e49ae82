"""Recordings of games as a stranger would have them: videos, and a few known actions.

  recordings/videos/<game>/clip00.mp4   60 frames a second, as on the console
  recordings/videos/<game>/clip00.csv   what was pressed, where that was written down
  recordings/truth/<game>/clip00.csv    what was pressed, all of it

A clip is what was played in a row, and ends with the game or where it is long enough.
The console is played by scripts (`envs/atari_demonstrators.py`), as a person plays it:
an action is held for some frames, and nothing is repeated by chance.
"""

import csv
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from alpt_jax import specs
from alpt_jax.data.pool import whole_folder
from alpt_jax.envs.atari import Atari
from alpt_jax.envs.atari_demonstrators import EpsilonScript, epsilon_schedule

RECORDINGS, VIDEOS, TRUTH = 'recordings', 'videos', 'truth'
# The console's, of televisions in the Americas.
FRAME_RATE = 60
# Frames: a game goes on until it is over.
_NEVER = 10**9
# Frames for which the player holds an action, and then looks again.
HELD = 4


@dataclasses.dataclass(frozen=True)
class DemoGame:
  """What is recorded of one game.

  Attributes:
    game: for example 'Breakout'.
    num_steps: decisions, of `HELD` frames each.
    num_kept: of how many the csv tells the action; None: of all.
    stretch: decisions in a row that are told.
    clip_steps: after so many a clip ends.
    seed: of the player and of what is told.
  """

  game: str
  num_steps: int
  num_kept: int | None = None
  stretch: int = 50
  clip_steps: int = 500
  seed: int = 0


@dataclasses.dataclass
class _Clip:
  """What was pressed and scored in a clip of F frames, F - 1 of them acted on."""

  actions: list[str] = dataclasses.field(default_factory=list)  # [F - 1]
  rewards: list[float] = dataclasses.field(default_factory=list)  # [F - 1]
  is_over: bool = False

  @property
  def num_steps(self) -> int:
    """Decisions; the last one of a game that is over may be a short one."""
    return -(-len(self.actions) // HELD)


def record_games(
  demos: Sequence[DemoGame], folder: pathlib.Path, say: Callable[[str], Any] = print
) -> None:
  """Records games into a folder that is complete or not there; one that is stays.

  Args:
    demos: the games.
    folder: of the videos and the truth.
    say: as in `record_game`.
  """
  if folder.exists():
    say(f'{folder}: recorded before')
    return
  with whole_folder(folder) as partial:
    for demo in demos:
      record_game(demo, partial, say)


def record_game(
  demo: DemoGame, folder: pathlib.Path, say: Callable[[str], Any] = print
) -> None:
  """Plays a game, and writes its videos and tables.

  Args:
    demo: what to play.
    folder: that gets `videos` and `truth`.
    say: receives a line for each clip.
  """
  from alpt_jax.data.video_writing import write_video  # may be missing its package

  videos, truth = (folder / part / demo.game for part in (VIDEOS, TRUTH))
  for place in (videos, truth):
    place.mkdir(parents=True, exist_ok=True)
  clips = []
  for clip, frames in _clips(demo):
    name = f'clip{len(clips):02d}'
    num_frames = write_video(videos / f'{name}.mp4', frames, FRAME_RATE)
    _write_table(truth / f'{name}.csv', clip, np.ones(len(clip.actions), bool))
    clips.append(clip)
    num_done = sum(clip.num_steps for clip in clips)
    say(
      f'{demo.game}: {name}.mp4, {num_frames:,} frames; {num_done:,} of '
      f'{demo.num_steps:,} decisions recorded'
    )
  for number, (clip, told) in enumerate(zip(clips, _told(demo, clips), strict=True)):
    _write_table(videos / f'clip{number:02d}.csv', clip, told)


def _clips(demo: DemoGame) -> Iterator[tuple[_Clip, Iterator[np.ndarray]]]:
  """Each clip with its frames; it is filled while they are taken."""
  protocol = specs.Protocol(
    max_episode_steps=_NEVER, frame_skip=1, max_pool=False, resize='area'
  )
  spec = specs.atari_spec(demo.game, protocol)
  environment = Atari(spec, demo.seed)
  player = EpsilonScript(spec, 1.0, demo.seed + 1)
  environment.reset()
  num_left = demo.num_steps
  while num_left > 0:
    # From random play to the script's, as what a learner records.
    player.begin_episode(epsilon_schedule(1 - num_left / demo.num_steps))
    clip = _Clip()
    yield clip, _played(environment, player, clip, min(num_left, demo.clip_steps))
    num_left -= clip.num_steps
    if clip.is_over:
      environment.reset()


def _played(
  environment: Atari, player: EpsilonScript, clip: _Clip, num_steps: int
) -> Iterator[np.ndarray]:
  names = environment.environment_spec.action_names
  yield environment.screen()
  for _ in range(num_steps):
    action = player.action(environment.ram)
    for _ in range(HELD):
      time_step = environment.step(action)
      clip.actions.append(names[action])
      clip.rewards.append(time_step.reward)
      yield environment.screen()
      if time_step.last():
        clip.is_over = time_step.discount == 0
        return


def _told(demo: DemoGame, clips: list[_Clip]) -> list[np.ndarray]:
  """`[F - 1]` bool of each clip: the frames whose action the table tells."""
  told = [np.full(len(clip.actions), demo.num_kept is None) for clip in clips]
  if demo.num_kept is None:
    return told
  stretches = [
    (number, first)
    for number, clip in enumerate(clips)
    for first in range(0, clip.num_steps - demo.stretch + 1, demo.stretch)
  ]
  chosen = np.random.default_rng(demo.seed).permutation(len(stretches))
  for place in chosen[: demo.num_kept // demo.stretch]:
    number, first = stretches[place]
    told[number][first * HELD : (first + demo.stretch) * HELD] = True
  return told


def _write_table(path: pathlib.Path, clip: _Clip, told: np.ndarray) -> None:
  """A row where what is known of the action changes, something is scored, or ends."""
  names = np.where(told, clip.actions, '')
  with path.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['frame', 'action', 'reward', 'end'])
    before = None
    for frame, (name, reward) in enumerate(zip(names, clip.rewards, strict=True)):
      if name != before or reward:
        writer.writerow([frame, name, f'{reward:g}' if reward else '', ''])
      before = name
    # An action is held to the next row; nothing is done on seeing the last frame.
    end = 'terminal' if clip.is_over else 'cut'
    writer.writerow([len(names), '', '', end])
