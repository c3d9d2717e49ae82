"""Arrays of N transitions in E episodes, as Gymnasium's users save them in an .npz.

  observations       [N, ...] or [N + E, ...] uint8 pictures of [height, width] or
                     [height, width, channels], or vectors of floats
  actions            [N] whole numbers; -1: not known
  rewards            [N]
  terminals          [N] bool: the episode was over then (or `terminations`)
  timeouts           [N] bool: it was cut off then (or `truncations`)
  next_observations  [N, ...], may be missing: what each action led to
  is_labelled        [N] bool, may be missing: False as an action of -1
  action_names       [A] text, may be missing

Episodes lie end to end. Without any mark of an end there is one, cut off; where both
marks stand it was over. With N + E observations each episode has one more than actions.
With N the last of each is taken from `next_observations`; without these nothing says
what its last action led to, and that transition is dropped, its reward with it.

One episode is in memory at a time (and every array of numbers but the observations):
observations are streamed out of the zip file (`npz.py`). An episode is cut every
`max_episode_steps`, the observation shared, so that no transition is lost.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from alpt_jax import specs
from alpt_jax.data.array_fields import Columns, read_columns
from alpt_jax.data.checks import check_episode, check_returns
from alpt_jax.data.npz import Npz, Rows
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode


class ArrayChoice(NamedTuple):
  """What arrays do not say of their environment."""

  environment: str = ''  # its name; '': own/<file>
  action_names: tuple[str, ...] = ()  # (): the file's, or made up
  return_range: tuple[int, int] = specs.ATARI_RETURN_RANGE
  protocol: Protocol = Protocol(specs.RL_UNPLUGGED_PROTOCOL.max_episode_steps)


class ReadArrays(NamedTuple):
  """Episodes, and what a reader should know of them."""

  spec: EnvironmentSpec
  episodes: Iterator[Episode]  # read once, each checked
  remarks: list[str]  # one line each


class Piece(NamedTuple):
  """The place of an episode: transitions [begin, end)."""

  begin: int
  end: int
  first_row: int  # of its observations
  is_terminal: bool


_PLAIN = ArrayChoice()


def read_npz(path: str | pathlib.Path, choice: ArrayChoice = _PLAIN) -> ReadArrays:
  """The episodes of an .npz file; all but the observations is read and checked first.

  Args:
    path: of the file; it must stay until the episodes are read.
    choice: what it does not say.

  Raises:
    UserError: a field is missing, damaged, or does not fit the others; then, while
      reading, the observations are damaged or do not fit (episode named).
  """
  path = pathlib.Path(path)
  with Npz(path) as npz:
    names, columns, remarks = read_columns(npz, choice.action_names)
    form = npz.form('observations')
    if not form.shape:
      raise UserError(f'{npz.place("observations")}: expected rows, found one value.')
    spec = EnvironmentSpec(
      name=choice.environment or f'own/{path.stem}',
      action_names=names,
      observation=observation_form(
        form.shape[1:], form.dtype, npz.place('observations')
      ),
      return_range=choice.return_range,
      protocol=choice.protocol,
    )
    pieces, has_next = _pieces(npz, columns, choice.protocol, remarks)
  if specs.atari_game(spec) is None:  # of Atari's games what leaves it is clipped
    for number, piece in enumerate(pieces):
      place = f'{path}: episode {number} (rows {piece.begin} to {piece.end - 1})'
      rewards = columns.rewards[piece.begin : piece.end]
      check_returns(rewards, spec.return_range, place)
  episodes = _episodes(path, spec, columns, pieces, has_next)
  return ReadArrays(spec, episodes, [f'{path}: {remark}' for remark in remarks])


def observation_form(
  shape: tuple[int, ...], dtype: np.dtype, place: str
) -> ObservationSpec:
  """What observations are, by the shape and dtype of one.

  Raises:
    UserError: the project knows no such observations.
  """
  is_number = np.issubdtype(dtype, np.floating)
  if dtype == np.uint8 and len(shape) in (2, 3) and min(shape):
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4:
      raise UserError(
        f'{place}: expected pictures as [height, width, channels], found '
        f'{list(shape)}: channels first? Move them last, with numpy.moveaxis.'
      )
    return ObservationSpec('image', (*shape, 1)[:3], 'uint8')
  if is_number and len(shape) < 2 and min(shape, default=1):
    return ObservationSpec('vector', shape or (1,), 'float32')
  raise UserError(
    f'{place}: expected uint8 pictures [height, width(, channels)] or vectors of '
    f'floats, found {dtype} {list(shape)}. Write pictures as uint8, and numbers as '
    'float32, scaled to about 1.'
  )


def in_form(observations: np.ndarray, spec: EnvironmentSpec) -> np.ndarray:
  """`[L + 1, ...]` as the spec has them, of the shape that `observation_form` saw."""
  with np.errstate(over='ignore'):  # what is too large for float32 is not finite then
    observations = observations.astype(spec.observation.dtype, copy=False)
  return observations.reshape(len(observations), *spec.observation.shape)


def cut(begin: int, end: int, max_steps: int) -> list[tuple[int, int]]:
  """[begin, end) in parts of at most `max_steps`."""
  begins = range(begin, end, max_steps)
  return [(first, min(first + max_steps, end)) for first in begins]


def _ends(columns: Columns, remarks: list[str]) -> np.ndarray:
  """`[E]` the last transition of each episode."""
  length = len(columns.actions)
  ends = np.flatnonzero(columns.is_terminal | columns.is_timeout)
  if num_both := np.count_nonzero(columns.is_terminal & columns.is_timeout):
    remarks.append(f'ends that are marked as both, and taken as terminal: {num_both}.')
  if ends.size and ends[-1] == length - 1:
    return ends
  if ends.size:
    remarks.append('the last episode has no end marked: taken as cut off.')
  else:
    remarks.append(
      f'no end is marked: {length:,} transitions are one episode, cut off.'
    )
  return np.append(ends, length - 1)


def _pieces(
  npz: Npz, columns: Columns, protocol: Protocol, remarks: list[str]
) -> tuple[list[Piece], bool]:
  """Where each episode lies, and whether its last observation is a next one."""
  ends = _ends(columns, remarks)
  length, num_episodes = len(columns.actions), len(ends)
  num_rows = npz.form('observations').shape[0]
  if num_rows not in (length, length + num_episodes):
    raise UserError(
      f'{npz.place("observations")}: expected {length} rows as actions, or '
      f'{length + num_episodes} with the last one of each of {num_episodes} episodes, '
      f'found {num_rows}.'
    )
  has_own = num_rows > length
  has_next = not has_own and 'next_observations' in npz.names
  if has_next:
    _check_next(npz)
  is_short = not has_own and not has_next
  if is_short:
    _remark_dropped(columns.rewards[ends], remarks)
  pieces, num_cuts = [], 0
  begins = [0, *(ends[:-1] + 1).tolist()]
  for number, (begin, last) in enumerate(zip(begins, ends.tolist(), strict=True)):
    parts = cut(begin, last + (not is_short), protocol.max_episode_steps)
    num_cuts += max(0, len(parts) - 1)
    for first, end in parts:
      is_over = end == last + 1 and bool(columns.is_terminal[last])
      pieces.append(Piece(first, end, first + number * has_own, is_over))
  if not pieces:
    raise UserError(
      f'{npz.place("observations")}: nothing is left, as every episode is one '
      'transition. Write next_observations.'
    )
  if num_cuts:
    remarks.append(f'cuts after {protocol.max_episode_steps:,} steps: {num_cuts}.')
  return pieces, has_next


def _check_next(npz: Npz) -> None:
  form, expected = npz.form('next_observations'), npz.form('observations')
  if form != expected:
    raise UserError(
      f'{npz.place("next_observations")}: expected {expected.dtype} '
      f'{list(expected.shape)} as observations, found {form.dtype} {list(form.shape)}.'
    )


def _remark_dropped(rewards: np.ndarray, remarks: list[str]) -> None:
  num_rewards = np.count_nonzero(rewards)
  remarks.append(
    f'no observation follows the last action of each of {len(rewards)} episodes: '
    f'{len(rewards)} transitions are dropped, {num_rewards} of them with a reward, and '
    'all episodes are cut off. next_observations keep them.'
  )


def _episodes(
  path: pathlib.Path,
  spec: EnvironmentSpec,
  columns: Columns,
  pieces: list[Piece],
  has_next: bool,
) -> Iterator[Episode]:
  """Streams the observations; one episode in memory."""
  with Npz(path) as npz, npz.rows('observations') as rows:
    following = npz.rows('next_observations') if has_next else None
    for number, piece in enumerate(pieces):
      place = f'{path}: episode {number} (rows {piece.begin} to {piece.end - 1})'
      observations = _observations(rows, following, piece, place)
      part = slice(piece.begin, piece.end)
      discounts = np.ones(piece.end - piece.begin, np.float32)
      discounts[-1] = 0 if piece.is_terminal else 1
      known = columns.is_labelled[part]
      episode = Episode(
        in_form(observations, spec),
        columns.actions[part],
        columns.rewards[part],
        discounts,
        None if known.all() else known,
      )
      yield check_episode(episode, spec, place)


def _observations(
  rows: Rows, following: Rows | None, piece: Piece, place: str
) -> np.ndarray:
  """`[L + 1, ...]` as stored."""
  length = piece.end - piece.begin
  if following is None:
    return rows.take(piece.first_row, length + 1)
  observations = rows.take(piece.begin, length)
  nexts = following.take(piece.begin, length)
  here, there = observations[1:], nexts[:-1]
  differ = here != there
  if here.dtype.kind == 'f':  # of not-a-number is said what it is
    differ &= ~(np.isnan(here) & np.isnan(there))
  differ = differ.any(tuple(range(1, differ.ndim)))
  if differ.any():
    row = piece.begin + int(differ.argmax())
    raise UserError(
      f'{place}, field next_observations, row {row}: differs from observations, row '
      f'{row + 1}, and no end is marked between them. Mark it in timeouts, or write '
      'the rows in the order they were recorded.'
    )
  return np.concatenate([observations, nexts[-1:]])
