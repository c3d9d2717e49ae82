"""Folders of videos into datasets: one for each game, all of them or nothing."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from alpt_jax import specs
from alpt_jax.data.pool import whole_folder
from alpt_jax.errors import UserError
from alpt_jax.experiment import conversion
from alpt_jax.experiment.conversion import Say
from alpt_jax.experiment.dataset_folder import check_rlds_can_be_written
from alpt_jax.experiment.video_choice import VideoChoice, settled
from alpt_jax.experiment.video_dataset import GameSummary, GameWriter, Progress
from alpt_jax.experiment.video_games import LeftOut, Omissions, find_games
from alpt_jax.experiment.video_plan import plan_game, spelling_notes


class Summary(NamedTuple):
  """What a conversion kept, and what it did not."""

  games: tuple[GameSummary, ...]
  left_out: tuple[LeftOut, ...]
  vocabulary: tuple[str, ...]  # joint


def convert_videos(
  data: str,
  out: pathlib.Path,
  form: str = 'packed',
  choice: VideoChoice | None = None,
  say: Say = print,
  command: str = '',
) -> Summary:
  """Converts a folder of videos, or of folders of them, into datasets.

  Everything is probed and every table read before a frame is decoded. Memory does not
  grow with the length of a recording; on the disk of `out` there must be room for one
  of them, uncompressed.

  Args:
    data: one game's folder, or a folder of games (`video_games.py`).
    out: must not exist; one game's dataset, or a folder of theirs by the names of
      their folders.
    form: one of `conversion.FORMS`.
    choice: how they are read.
    say: receives lines about progress, and what was kept at the end.
    command: that which was typed, for the card.

  Raises:
    UserError: something cannot be read or does not fit, and is not to be left out; or
      nothing is left.
    RunFailed: the disk is full.
  """
  if out.exists():
    raise UserError(f'{out}: exists. Remove it, or convert into another folder.')
  choice = settled(choice or VideoChoice())
  omissions = Omissions(choice.keep_going, say)
  folder = pathlib.Path(data)
  games = find_games(folder, omissions, say)
  if choice.environment and len(games) > 1:
    names = ', '.join(game.name for game in games)
    raise UserError(
      f'--environment: names one game, found {len(games)} in {folder} ({names}). '
      'Convert each apart, or leave it away.'
    )
  planned = [plan_game(game, choice, omissions) for game in games]
  planned = [game for game in planned if game is not None and game.recordings]
  if planned and choice.rlds:
    check_rlds_can_be_written()
  progress, summaries = Progress(planned, say), []
  try:
    with whole_folder(out, replace=False) as partial:
      for game in planned:
        is_alone = game.game.folder == folder
        place = partial if is_alone else partial / game.game.folder.name
        writer = GameWriter(game, choice, omissions, progress, say)
        if summary := writer.write(place, form, command):
          summaries.append(summary)
      if not summaries:
        total = sum(len(game.recordings) for game in games)
        raise UserError(f'{data}: all {total} recordings were left out; see above.')
  except OSError as error:
    raise conversion.not_written(data, out, error) from error
  names = specs.joint_vocabulary([each.spec for each in summaries])
  for line in _last_lines(out, summaries, names):
    say(line)
  return Summary(tuple(summaries), tuple(omissions.left_out), names)


def _last_lines(
  out: pathlib.Path,
  summaries: Sequence[GameSummary],
  names: Sequence[str],
) -> list[str]:
  """What was kept, for people."""
  lines = [line for summary in summaries for line in _kept(summary)]
  lines += spelling_notes(
    {each.spec.name: each.spec.action_names for each in summaries}
  )
  if len(summaries) > 1:
    lines.append(f'Joint vocabulary of {len(names)} actions: {", ".join(names)}.')
    lines += _unlike([each.spec for each in summaries])
  return [*lines, f'{out}: written.']


def _kept(summary: GameSummary) -> list[str]:
  """Of one game, the total first."""
  spec, kept = summary.spec, summary.kept
  skip = spec.protocol.frame_skip
  steps = [each.steps for each in kept]
  num_tables = sum(each.recording.table is not None for each in kept)
  lines = [
    f'{spec.name}: {len(kept)} of {_many(summary.num_recordings, "recording")} kept, '
    f'{_many(summary.num_episodes, "episode")}, {_many(summary.num_steps, "step")}'
    + (f' of {skip} frames.' if skip > 1 else '.'),
    f'  actions: known of {_many(summary.num_labelled, "step")} '
    f'({summary.num_labelled / summary.num_steps:.1%}), from '
    f'{_many(num_tables, "table")}: {", ".join(spec.action_names)}',
  ]
  cap = f'at {spec.protocol.max_episode_steps:,} steps'
  counts = (
    (sum(each.num_mixed for each in steps), 'step', 'of several actions (--mixed)'),
    (sum(each.num_dropped_frames for each in steps), 'frame', 'in no whole step'),
    (sum(each.num_dropped_rewards for each in steps), 'reward', 'in no whole step'),
    (sum(each.num_capped for each in steps), 'cut', cap),
  )
  if counted := [f'{_many(n, word)} {where}' for n, word, where in counts if n]:
    lines.append(f'  {", ".join(counted)}')
  longest = max(kept, key=lambda each: each.longest_hold)
  if longest.longest_hold > 1:
    rate = longest.clip.frame_rate
    seconds = f' ({longest.longest_hold / rate:.1f} s)' if rate else ''
    lines.append(
      f'  longest that one action is held: {longest.longest_hold:,} frames{seconds}, '
      f'in {longest.recording.table.name}'
    )
  return lines


def _many(count: int, word: str) -> str:
  return f'{count:,} {word}' if count == 1 else f'{count:,} {word}s'


def _unlike(found: list[specs.EnvironmentSpec]) -> list[str]:
  """Games that no run can hold together."""
  first, lines = found[0], []
  for spec in found[1:]:
    unlike = spec.protocol.seen_differences(first.protocol)
    if spec.observation != first.observation:
      shapes = ('x'.join(map(str, each.observation.shape)) for each in (spec, first))
      unlike.insert(0, 'observations of {}, not {}'.format(*shapes))
    if unlike:
      lines.append(
        f'{spec.name}: {", ".join(unlike)} as {first.name}: no run can take both.'
      )
  return lines
