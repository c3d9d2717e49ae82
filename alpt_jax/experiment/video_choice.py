"""How recordings are to be read: what the flags of `bin/convert` say of it."""

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from alpt_jax import specs
from alpt_jax.data.video_table import plain_spelling, separating_character
from alpt_jax.errors import UserError

OWN, ATARI = 'own/', 'atari/'


@dataclasses.dataclass(frozen=True)
class VideoChoice:
  """How recordings are read; the fields are flags of `bin/convert`.

  None is what is usual: of an `atari/<Game>` its own, else no frame skip, no max-pool
  and the return range of Atari.

  Attributes:
    environment: name of the game; '' for `own/<folder>`.
    actions: all names, in this order; () for those of the tables, sorted.
    size: (height, width) to shrink to; None: as it is.
    color: three channels instead of grey.
    frame_skip: video frames of a step.
    max_pool: whether an observation is the maximum of a step's last two frames.
    fps: rate at which frames are held; 0: of a constant rate, each as it comes.
    separator: of a table's cells.
    first_frame: number of a video's first frame in the tables.
    mixed: of a step with more than one action, 'most' frames' or 'unlabelled'.
    end: how a recording ends whose table does not say: 'cut' or 'terminal'.
    max_episode_steps: after which an episode is cut.
    return_range: (low, high) of clipped returns.
    rlds: also write RLDS files, which needs TensorFlow.
    keep_going: leave out what cannot be read.
  """

  environment: str = ''
  actions: tuple[str, ...] = ()
  size: tuple[int, int] | None = (84, 84)
  color: bool = False
  frame_skip: int | None = None
  max_pool: bool | None = None
  fps: float = 0.0
  separator: str = ','
  first_frame: int = 0
  mixed: str = 'most'
  end: str = 'cut'
  max_episode_steps: int = specs.RL_UNPLUGGED_PROTOCOL.max_episode_steps
  return_range: tuple[int, int] | None = None
  rlds: bool = True
  keep_going: bool = False


def settled(choice: VideoChoice) -> VideoChoice:
  """The choice with what its environment says filled in.

  Raises:
    UserError: a value that cannot be, or another than a named Atari game's.
  """
  usual = {'frame_skip': 1, 'max_pool': False, 'return_range': specs.ATARI_RETURN_RANGE}
  name = choice.environment
  if name.startswith(ATARI):
    usual = _of_atari(name.removeprefix(ATARI))
    for field, value in usual.items():
      given = getattr(choice, field)
      if given not in (None, (), value) or (field == 'size' and given is None):
        raise UserError(
          f'--{field}: {name} is played with {shown(value, field)}, found '
          f'{shown(given, field)}. Leave it away, or name the game {OWN}...'
        )
  elif name and not (name.startswith(OWN) and name != OWN and name.isprintable()):
    raise UserError(
      f"--environment: expected {OWN}<name> or {ATARI}<Game>, found '{name}'."
    )
  choice = dataclasses.replace(
    choice,
    **{
      field: value
      for field, value in usual.items()
      if getattr(choice, field) in (None, ())
    },
  )
  _check(choice)
  return dataclasses.replace(choice, actions=_action_names(choice.actions))


def _of_atari(game: str) -> dict[str, Any]:
  spec = specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL)
  return {
    'actions': spec.action_names,
    'size': spec.observation.shape[:2],
    'color': False,
    'frame_skip': spec.protocol.frame_skip,
    'max_pool': spec.protocol.max_pool,
    'return_range': spec.return_range,
  }


def shown(value: Any, field: str = '') -> str:
  """A value as its flag is typed."""
  if field == 'size':
    return 'x'.join(map(str, value or (0,)))
  return ','.join(map(str, value)) if isinstance(value, tuple) else f'{value}'


def _check(choice: VideoChoice) -> None:
  separating_character(choice.separator)
  for field, least in (('frame_skip', 1), ('max_episode_steps', 1), ('first_frame', 0)):
    if getattr(choice, field) < least:
      raise UserError(
        f'--{field}: expected at least {least}, found {getattr(choice, field)}.'
      )
  if not 0 <= choice.fps < math.inf:
    raise UserError(f'--fps: expected frames a second, found {choice.fps:g}.')
  if choice.max_pool and choice.frame_skip == 1:
    raise UserError(
      '--max_pool: with --frame_skip=1 a step has one frame, found no other to pool. '
      'Leave it away, or raise --frame_skip.'
    )
  low, high = choice.return_range
  if not low <= 0 < high:
    raise UserError(
      f'--return_range: expected low,high with low <= 0 < high, found {low},{high}.'
    )


def _action_names(names: Sequence[str]) -> tuple[str, ...]:
  names = [unicodedata.normalize('NFC', name.strip()) for name in names]
  known = {}
  for name in names:
    if not name or not name.isprintable():
      raise UserError(f'--actions: expected names divided by commas, found {name!r}.')
    first = known.setdefault(plain_spelling(name), name)
    if first is not name:
      raise UserError(f"--actions: '{name}' is '{first}' again. Name each action once.")
  return tuple(names)
