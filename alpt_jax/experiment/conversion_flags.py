"""The flags of `bin/convert`: each is about some kinds of data, told by their content.

A kind is a row of `kinds()`: how it is told, which flags are about it, and what
converts it. A flag about another kind is refused instead of being read past.
"""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags

from alpt_jax.errors import Incomplete, UserError
from alpt_jax.experiment import conversion, datasets
from alpt_jax.experiment.conversion import Say
from alpt_jax.experiment.video_choice import VideoChoice
from alpt_jax.experiment.video_games import holds_recordings

_VIDEOS = (
  'environment',
  'actions',
  'size',
  'color',
  'frame_skip',
  'max_pool',
  'fps',
  'separator',
  'first_frame',
  'mixed',
  'end',
  'max_episode_steps',
  'return_range',
  'rlds',
  'keep_going',
)
_SHARDS = ('runs', 'checkpoints', 'reward_lead', 'skip_bad_shards')

flags.DEFINE_string(
  'environment',
  None,
  'Videos: name of the game, own/<name>, or atari/<Game> for a recording of the '
  "emulator's own screens at 60 frames a second, which takes that game's actions, "
  'frame skip, max-pool and size and can be played. Default: own/<folder>.',
)
flags.DEFINE_list(
  'actions',
  None,
  'Videos: the names of all actions, in this order; others are refused. Default: '
  'those in the tables, sorted.',
)
flags.DEFINE_string(
  'size',
  '84x84',
  'Videos: height x width that frames are shrunk to by area; the aspect ratio is not '
  'kept. 0: as they are. Models see multiples of 14.',
)
flags.DEFINE_bool('color', False, 'Videos: three channels instead of grey.')
flags.DEFINE_integer(
  'frame_skip', None, 'Videos: frames of a step, which has one action. Default: 1.'
)
flags.DEFINE_bool(
  'max_pool',
  None,
  "Videos: see the maximum of a step's last two frames, for games that flicker. "
  'Default: no.',
)
flags.DEFINE_float(
  'fps',
  0,
  'Videos: hold each frame until the next is due, at so many a second; for a varying '
  'rate, or recordings of several. Of pictures it says how fast they come. 0: as they '
  'come.',
)
flags.DEFINE_string('separator', ',', "Videos: of a table's cells; a tab is \\t.")
flags.DEFINE_integer(
  'first_frame', 0, "Videos: the number of a video's first frame in its table."
)
flags.DEFINE_enum(
  'mixed',
  'most',
  ['most', 'unlabelled'],
  'Videos: what a step of several frames with different actions has: that of most of '
  'them, or none.',
)
flags.DEFINE_enum(
  'end',
  'cut',
  ['cut', 'terminal'],
  'Videos: how a recording ends whose table does not say: cut off, or with the game '
  'over.',
)
flags.DEFINE_integer(
  'max_episode_steps', 27_000, 'Videos: cut an episode after so many steps.'
)
flags.DEFINE_list(
  'return_range',
  None,
  'Videos: low,high of the returns-to-go of rewards clipped to [-1, 1]. Default: '
  "-20,100, the Atari games'.",
)
flags.DEFINE_bool(
  'rlds', True, 'Videos: also write RLDS files, which needs TensorFlow.'
)
flags.DEFINE_bool(
  'keep_going',
  False,
  'Videos: leave out what cannot be read, each named, and exit with 3.',
)
flags.DEFINE_float(
  'guesses',
  None,
  "RLDS files that bin/label wrote: take a model's guesses of at least this "
  'confidence for recorded actions. Default: none.',
)
flags.DEFINE_list('runs', [], 'RL Unplugged: which runs; all that are there.')
flags.DEFINE_list(
  'checkpoints', [], 'RL Unplugged: which shards of each run; all that are there.'
)
flags.DEFINE_integer(
  'reward_lead',
  0,
  'RL Unplugged: steps by which rewards are early, undone; 0: as recorded; -1: as the '
  'screens say.',
)
flags.DEFINE_bool('skip_bad_shards', False, 'RL Unplugged: leave damaged files out.')


class Kind(NamedTuple):
  """A kind of data that can be converted."""

  name: str
  holds_fn: Callable[[str], bool]  # whether --data is of this kind
  flags: tuple[str, ...]  # that are about it
  convert_fn: Callable[..., Any]  # of data, out, form, say and command


def kinds() -> Sequence[Kind]:
  """All kinds; the first whose `holds_fn` says so counts, the last is what is none."""
  return (
    Kind('files of RL Unplugged', datasets.holds_shards, _SHARDS, _convert_recorded),
    Kind('a dataset with RLDS files', _is_rlds, ('guesses',), _convert_recorded),
    Kind('a pool or a packed set', _is_dataset, (), _convert_recorded),
    Kind('a folder of videos', holds_recordings, _VIDEOS, _convert_videos),
    Kind('neither', lambda data: True, (*_VIDEOS, *_SHARDS, 'guesses'), _refuse),
  )


def kind_of(data: str) -> Kind:
  """The kind of what lies in a folder.

  Raises:
    UserError: a flag that is given is about another kind.
  """
  kind = next(each for each in kinds() if each.holds_fn(data))
  for other in kinds():
    for flag in other.flags:
      if flags.FLAGS[flag].present and flag not in kind.flags:
        raise UserError(
          f'--{flag}: is about {other.name}, {data} is {kind.name}. Leave it away.'
        )
  return kind


def _is_dataset(data: str) -> bool:
  return datasets.is_dataset(pathlib.Path(data))


def _is_rlds(data: str) -> bool:
  return datasets.holds_rlds(pathlib.Path(data))


def _value(flag: str) -> Any:
  return flags.FLAGS[flag].value


def _convert_recorded(
  data: str, out: pathlib.Path, form: str, say: Say, command: str
) -> None:
  del command  # the card comes from the dataset
  lead, guesses = _value('reward_lead'), _value('guesses')
  if lead not in (-1, 0, 1):
    raise UserError(f'--reward_lead: expected -1, 0 or 1, found {lead}.')
  if guesses is not None and not 0 <= guesses <= 1:
    raise UserError(f'--guesses: expected a confidence, 0 to 1, found {guesses:g}.')
  choice = conversion.ShardChoice(
    _numbers('runs'), _numbers('checkpoints'), lead, _value('skip_bad_shards')
  )
  conversion.convert(data, out, form, choice, say, guesses=guesses)


def _refuse(data: str, out: pathlib.Path, form: str, say: Say, command: str) -> None:
  del out, form, say, command
  folder = pathlib.Path(data)
  inside = (path for depth in ('*', '*/*') for path in sorted(folder.glob(depth)))
  if near := next((path for path in inside if holds_recordings(str(path))), None):
    raise UserError(f'{folder}: recordings lie too deep in it. Did you mean {near}?')
  kinds_too = 'videos (.mp4, .mkv, .gif, ..) or folders of .png files, or '
  datasets.check_may_be_rlds(folder, kinds_too)


def _convert_videos(
  data: str, out: pathlib.Path, form: str, say: Say, command: str
) -> None:
  from alpt_jax.experiment.video_conversion import convert_videos

  summary = convert_videos(data, out, form, video_choice(), say, command)
  if summary.left_out:
    num_left_out = len(summary.left_out)
    raise Incomplete(
      f'{data}: {num_left_out} {"input was" if num_left_out == 1 else "inputs were"} '
      f'left out, each named above; {out} holds the others.'
    )


def video_choice() -> VideoChoice:
  """What the flags say of videos.

  Raises:
    UserError: a value that cannot be read; `video_choice.settled` looks at the rest.
  """
  values = {flag: _value(flag) for flag in _VIDEOS}
  return VideoChoice(
    **{
      **values,
      'environment': values['environment'] or '',
      'actions': tuple(values['actions'] or ()),
      'size': _size(values['size']),
      'return_range': _return_range(values['return_range']),
    }
  )


def _numbers(flag: str) -> tuple[int, ...]:
  if wrong := [part for part in _value(flag) if not part.isdigit()]:
    raise UserError(f"--{flag}: expected numbers, found '{wrong[0]}'.")
  return tuple(map(int, _value(flag)))


def _size(text: str) -> tuple[int, int] | None:
  found = re.fullmatch('([1-9][0-9]*)x([1-9][0-9]*)', text.strip())
  if not found and text.strip() != '0':
    raise UserError(f"--size: expected height x width, as 84x84, or 0, found '{text}'.")
  return (int(found[1]), int(found[2])) if found else None


def _return_range(parts: list[str] | None) -> tuple[int, int] | None:
  if parts is None:
    return None
  if len(parts) != 2 or not all(re.fullmatch('-?[0-9]+', part) for part in parts):
    raise UserError(
      f"--return_range: expected two whole numbers, as -20,100, found '"
      f"{','.join(parts)}'."
    )
  return int(parts[0]), int(parts[1])
