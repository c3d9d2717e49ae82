"""What a conversion of videos will write, known before anything is decoded.

Clips are probed, tables read and rows turned into steps; what does not fit is named.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alpt_jax import returns, specs
from alpt_jax.data.clip import Clip, check_alike, check_fits
from alpt_jax.data.video_steps import RecordingSteps, StepChoice, Steps, steps_of
from alpt_jax.data.video_table import (
  Table,
  TableChoice,
  longest_hold,
  plain_spelling,
  read_table,
  spellings,
)
from alpt_jax.errors import UserError
from alpt_jax.experiment.video_choice import ATARI, OWN, VideoChoice, shown
from alpt_jax.experiment.video_games import Game, Omissions, Recording, reading
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol

# Of models (configs/atari.py): what is left of a side is not seen.
_PATCH = 14
# Frames a second of the console, which the emulator's frame skip counts.
_CONSOLE_RATE = 60
# Written at their default bit rates they lose small things that move (docs).
_LOSSY = ('mpeg4', 'msmpeg4v2', 'msmpeg4v3', 'mpeg1video', 'mpeg2video', 'flv1')
# An episode of RLDS is one record of Protocol Buffers, which end at 2 GB.
_LARGEST_RECORD = 2 << 30


class Opened(NamedTuple):
  """A recording that can be read, as far as looking at it without decoding tells."""

  recording: Recording
  clip: Clip
  table: Table | None  # without rows that change nothing
  longest_hold: int  # frames for which one row's action was held


class PlannedRecording(NamedTuple):
  """A recording that fits its game."""

  recording: Recording
  clip: Clip
  longest_hold: int
  steps: RecordingSteps


class PlannedGame(NamedTuple):
  """A dataset to be written."""

  game: Game
  spec: EnvironmentSpec
  recordings: list[PlannedRecording]
  notes: list[str]


def plan_game(
  game: Game, choice: VideoChoice, omissions: Omissions
) -> PlannedGame | None:
  """Probes a game's recordings, reads its tables and makes steps of their rows.

  Args:
    game: with one recording at least.
    choice: from `settled`.
    omissions: for recordings that do not fit.

  Returns:
    None where nothing of the game is left.

  Raises:
    UserError: the first thing that does not fit, unless it is to be left out.
  """
  opened = _opened(game, choice, omissions)
  if not opened:
    return None
  with omissions.of(game.folder):
    spec = _spec(game, choice, opened)
    recordings = []
    for each in opened:
      with omissions.of(each.recording.path):
        steps = _steps(each, spec, choice)
        recordings.append(
          PlannedRecording(each.recording, each.clip, each.longest_hold, steps)
        )
    return PlannedGame(game, spec, recordings, _notes(spec, opened))
  return None


def _opened(game: Game, choice: VideoChoice, omissions: Omissions) -> list[Opened]:
  """Recordings of one size and rate whose tables can be read."""
  from alpt_jax.data import video  # may be missing its package

  table_choice = TableChoice(choice.separator, choice.first_frame, choice.actions)
  opened = []
  tables = []  # the first row of each name, of each table
  for recording in game.recordings:
    with omissions.of(recording.path), reading(recording.path):
      clip = video.probe(recording.path, choice.fps)
      check_fits(clip, *(choice.size or (0, 0)), choice.frame_skip)
      for reference in _references(opened):
        check_alike(clip, reference)
      table, hold = None, 0
      if recording.table:
        table = read_table(recording.table, clip.num_frames, table_choice)
        if not choice.actions:
          spellings([*tables, table])
          names = {row.action: row for row in reversed(table.rows) if not row.end}
          tables.append(table._replace(rows=tuple(names.values())))
        hold = longest_hold(table, clip.num_frames)
        table = _changes(table)
      opened.append(Opened(recording, clip, table, hold))
  return opened


def _changes(table: Table) -> Table:
  """Without rows that say what held anyway: of one for each frame few are kept."""
  rows = [
    row
    for before, row in zip((None, *table.rows), table.rows, strict=False)
    if before is None
    or before.end
    or row.end
    or row.reward
    or row.action != before.action
  ]
  return table._replace(rows=tuple(rows))


def _references(opened: list[Opened]) -> list[Clip]:
  """What another clip is compared with: pictures may have no rate."""
  clips = [each.clip for each in opened]
  with_rate = [clip for clip in clips if clip.frame_rate]
  return [*clips[:1], *with_rate[:1]]


def _spec(game: Game, choice: VideoChoice, opened: list[Opened]) -> EnvironmentSpec:
  names = choice.actions or spellings(each.table for each in opened if each.table)
  if not names:
    num_tables = sum(each.table is not None for each in opened)
    found = f'none of {len(opened)} recordings has a .csv beside it'
    if num_tables:
      found = f'no .csv ({num_tables} of {len(opened)} recordings) names an action'
    raise UserError(
      f'{game.folder}: {found}, so no action name is known. Label one, or name the '
      'actions: --actions=LEFT,RIGHT,...'
    )
  size = choice.size or (opened[0].clip.height, opened[0].clip.width)
  return EnvironmentSpec(
    name=choice.environment or OWN + game.name,
    action_names=names,
    observation=ObservationSpec('image', (*size, 3 if choice.color else 1), 'uint8'),
    return_range=choice.return_range,
    protocol=Protocol(
      max_episode_steps=choice.max_episode_steps,
      frame_skip=choice.frame_skip,
      max_pool=choice.max_pool,
      resize='area' if choice.size else '',
      frame_rate=_references(opened)[-1].frame_rate,
    ),
  )


def _steps(each: Opened, spec: EnvironmentSpec, choice: VideoChoice) -> RecordingSteps:
  """The agent steps of a recording, which its game's spec must be able to show."""
  step_choice = StepChoice(choice.mixed, choice.end)
  found = steps_of(
    each.table, each.clip.num_frames, spec.action_names, spec.protocol, step_choice
  )
  if not found.episodes:
    raise UserError(
      f'{each.recording.table}: expected an episode of a whole step '
      f'({spec.protocol.frame_skip} frames) between its ends, found none. Correct its '
      "column 'end'."
    )
  is_own = not spec.name.startswith(ATARI)
  for number, steps in enumerate(found.episodes):
    place = f'{each.recording.path}, episode {number} (frames {steps.shown[0]} to '
    place += f'{steps.shown[-1]})'
    if is_own:  # what Atari's range cannot show is clipped, as in RL Unplugged
      _check_returns(place, steps, spec.return_range)
    if choice.rlds:
      _check_record(place, len(steps.shown), spec)
  return found


def _check_returns(place: str, steps: Steps, return_range: tuple[int, int]) -> None:
  found = returns.returns_to_go(returns.clip_rewards(steps.rewards)).round()
  low, high = min(found.min(), return_range[0]), max(found.max() + 1, return_range[1])
  if (low, high) != return_range:
    raise UserError(
      f'{place}: returns of rewards clipped to [-1, 1] are {found.min():.0f} to '
      f'{found.max():.0f}, --return_range is {shown(return_range)}. Pass '
      f'--return_range={low:.0f},{high:.0f}.'
    )


def _check_record(place: str, num_moments: int, spec: EnvironmentSpec) -> None:
  moment_bytes = math.prod(spec.observation.shape)
  if num_moments * moment_bytes > _LARGEST_RECORD:
    num_steps = _LARGEST_RECORD // moment_bytes - 1
    raise UserError(
      f'{place}: {num_moments * moment_bytes / 1e9:.1f} GB of observations are too '
      f'large for one record of RLDS. Pass --max_episode_steps={num_steps}, or '
      '--norlds.'
    )


def _notes(spec: EnvironmentSpec, opened: list[Opened]) -> list[str]:
  """What a reader should know of a game, one line each."""
  tables = [each.table for each in opened if each.table]
  notes = [note for table in tables for note in table.notes]
  height, width, _ = spec.observation.shape
  if height % _PATCH or width % _PATCH:
    seen = f'{height - height % _PATCH}x{width - width % _PATCH}'
    notes.append(
      f'{spec.name}: models see {seen} of {height}x{width} pixels, as their patches '
      f'are {_PATCH}x{_PATCH}: a --size of multiples of {_PATCH} loses nothing.'
    )
  rate = spec.protocol.frame_rate
  if spec.name.startswith(ATARI) and rate and abs(rate / _CONSOLE_RATE - 1) > 0.01:
    notes.append(
      f'{spec.name}: {rate:.4g} frames a second, the console has {_CONSOLE_RATE}: the '
      'frame skip counts its frames, so none may be missing.'
    )
  lossy = [each.clip for each in opened if each.clip.codec in _LOSSY]
  if lossy:
    notes.append(
      f'{spec.name}: {len(lossy)} of {len(opened)} recordings are {lossy[0].codec}, '
      'which at its usual bit rate loses small things that move.'
    )
  num_without = sum(each.table is None for each in opened)
  if num_without and any(row.reward for table in tables for row in table.rows):
    notes.append(
      f'{spec.name}: {num_without} of {len(opened)} recordings have no .csv: their '
      'rewards and returns are not known, 0 stands there.'
    )
  if spec.name.startswith(OWN) and not spec.protocol.frame_rate:
    notes.append(
      f'{spec.name}: pictures do not say how many come a second; --fps says it, so '
      'that datasets of another pace are told apart.'
    )
  return notes


def spelling_notes(names_of: Mapping[str, Sequence[str]]) -> list[str]:
  """Names that games write in different ways: in one run they are two actions.

  Args:
    names_of: the action names of each game.
  """
  known, notes = {}, []
  atari = {'the Atari games': specs.ALE_ACTIONS}
  for game, names in {**names_of, **atari}.items():
    for name in names:
      first, where = known.setdefault(plain_spelling(name), (name, game))
      if first != name:
        notes.append(
          f"Action '{first}' of {where} is written '{name}' in {game}: in one run they "
          'are two actions. Write it one way if they are one.'
        )
  return notes
