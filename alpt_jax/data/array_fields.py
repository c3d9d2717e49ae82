"""The fields of an .npz of transitions, by name: all but the observations.

What they are called and mean stands in `arrays.py`. Every value is checked, so that
nothing is found when half of it is written.
"""

import difflib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.data.npz import Npz
from alpt_jax.errors import UserError

_NOT_KNOWN = -1
# What else a field is called, where it is missing under its own name.
_OTHER_NAMES = {
  'observations': ('obs', 'observation', 'states', 'state', 'frames', 'images'),
  'actions': ('act', 'acts', 'action'),
  'rewards': ('rew', 'rews', 'reward'),
  'terminals': ('terminal', 'terminated', 'termination'),
  'timeouts': ('timeout', 'truncated', 'truncation', 'truncateds'),
  'next_observations': ('next_obs', 'next_observation', 'next_states', 'next_state'),
}
_NEEDED = ('observations', 'actions', 'rewards')
# The same under Gymnasium's name.
_TWINS = {'terminals': 'terminations', 'timeouts': 'truncations'}
_OPTIONAL = ('next_observations', 'is_labelled', 'action_names')
# They say that an episode ended and not how.
_DONE = ('dones', 'done')
# Ours: a larger number is something else than an action, as 255 is -1 in a byte.
_MOST_MADE_UP = 255


class Columns(NamedTuple):
  """All of a file but its observations. N transitions."""

  actions: np.ndarray  # [N] int32, 0 where not known
  is_labelled: np.ndarray  # [N] bool
  rewards: np.ndarray  # [N] float32
  is_terminal: np.ndarray  # [N] bool
  is_timeout: np.ndarray  # [N] bool


def read_columns(
  npz: Npz, told_names: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], Columns, list[str]]:
  """The names of the actions, the columns, and what a reader should know of them.

  Args:
    npz: open.
    told_names: of the actions; (): the file's, or made up.

  Raises:
    UserError: a field is missing, has another name than it should or does not fit
      the others, or a value cannot be (row named).
  """
  remarks = _check_names(npz)
  names, columns = _columns(npz, told_names, remarks)
  return names, columns, remarks


def made_up_names(numbers: Sequence[int]) -> tuple[str, ...]:
  """Of actions that have none."""
  return tuple(f'action_{number}' for number in numbers)


def _check_names(npz: Npz) -> list[str]:
  """Says which fields are not read.

  Raises:
    UserError: one is missing, or has another name than it should.
  """
  found = set(npz.names)
  own = {field: {field, _TWINS.get(field, field)} for field in _OTHER_NAMES}
  for done in found.intersection(_DONE):
    if not all(found & own[field] for field in _TWINS):
      raise UserError(
        f'{npz.place(done)}: does not say how an episode ended. Write terminals (it '
        'was over) and timeouts (it was cut off) in its place.'
      )
  unread = found - {*_NEEDED, *_TWINS, *_TWINS.values(), *_OPTIONAL}
  for field, others in _OTHER_NAMES.items():
    if found & own[field]:
      continue
    called = sorted(unread.intersection(others))
    if called or field in _NEEDED:
      advice = f"Rename '{called[0]}'" if called else _advice(field, unread)
      raise UserError(
        f'{npz.place(field)}: missing; it has {", ".join(npz.names) or "none"}. '
        f'{advice}.'
      )
  for field, twin in _TWINS.items():
    if {field, twin} <= found:
      raise UserError(f'{npz.place(field)}: it has {twin}, too. Remove one of them.')
  return [f'not read: {", ".join(sorted(unread))}.'] if unread else []


def _advice(field: str, unread: set[str]) -> str:
  if close := difflib.get_close_matches(field, unread, n=1, cutoff=0.7):
    return f"Rename '{close[0]}'"
  return {
    'actions': 'Add it, -1 where an action is not known',
    'rewards': 'Add it, 0 where there is none',
  }.get(field, 'Add it')


def _columns(
  npz: Npz, told_names: tuple[str, ...], remarks: list[str]
) -> tuple[tuple[str, ...], Columns]:
  """The names of the actions, and every column."""
  shape = npz.form('actions').shape
  if not shape or not shape[0]:
    raise UserError(f'{npz.place("actions")}: expected [N] numbers, found none.')
  length = shape[0]
  actions = _column(npz, 'actions', length)
  is_labelled = np.ones(length, bool)
  if 'is_labelled' in npz.names:
    is_labelled = _marks(npz, 'is_labelled', length)
    _refuse(
      npz.place('is_labelled'),
      is_labelled & (actions == _NOT_KNOWN),
      actions,
      'a known action where it is True',
    )
  is_labelled = is_labelled & (actions != _NOT_KNOWN)
  _check_whole(npz.place('actions'), actions, is_labelled)
  actions = np.where(is_labelled, actions, 0).astype(np.int64)
  names = _action_names(npz, told_names, actions[is_labelled], remarks)
  _refuse(
    npz.place('actions'),
    (actions < 0) | (actions >= len(names)),
    actions,
    f'0 to {len(names) - 1} ({", ".join(names)}), or -1 where not known',
  )
  with np.errstate(over='ignore'):
    rewards = _column(npz, 'rewards', length).astype(np.float32)
  _refuse(npz.place('rewards'), ~np.isfinite(rewards), rewards, 'a finite number')
  ends = [_end_marks(npz, field, length) for field in _TWINS]
  return names, Columns(actions.astype(np.int32), is_labelled, rewards, *ends)


def _column(npz: Npz, field: str, length: int) -> np.ndarray:
  """`[length]` numbers; of `[length, 1]`, too."""
  shape, dtype = npz.form(field)
  if dtype.kind not in 'biuf':
    raise UserError(f'{npz.place(field)}: expected numbers, found {dtype}.')
  if shape == (length,) or shape == (length, 1):
    return npz.whole(field).reshape(length)
  advice = ''
  if field == 'actions':
    advice = ' Vectors of numbers are no names of actions: write the number of each.'
  like = '' if field == 'actions' else ' as actions'
  raise UserError(
    f'{npz.place(field)}: expected [{length}]{like}, found {list(shape)}.{advice}'
  )


def _refuse(place: str, is_bad: np.ndarray, values: np.ndarray, expected: str) -> None:
  """Names the first bad row."""
  if is_bad.any():
    row = int(is_bad.argmax())
    raise UserError(f'{place}, row {row}: expected {expected}, found {values[row]}.')


def _check_whole(place: str, actions: np.ndarray, is_known: np.ndarray) -> None:
  with np.errstate(invalid='ignore'):
    is_bad = is_known & ~(actions % 1 == 0)
  expected = 'the number of an action (continuous actions have no names)'
  _refuse(place, is_bad, actions, expected)


def _action_names(
  npz: Npz, told: tuple[str, ...], known: np.ndarray, remarks: list[str]
) -> tuple[str, ...]:
  """The names told, the file's, or made up by the known actions."""
  if 'action_names' in npz.names:
    names = _stored_names(npz)
    if told and told != names:
      raise UserError(
        f'{npz.place("action_names")}: has {", ".join(names)}, --actions '
        f'{", ".join(told)}. Leave the flag away, or correct the file.'
      )
    return names
  if told:
    return told
  if not known.size:
    raise UserError(
      f'{npz.place("actions")}: none is known, so no action name is. Label some, or '
      'name the actions: --actions=LEFT,RIGHT,...'
    )
  largest = max(int(known.max()), 0)
  if largest >= _MOST_MADE_UP:
    raise UserError(
      f'{npz.place("actions")}: expected numbers below {_MOST_MADE_UP}, as actions '
      f'have no names, found {largest}. Number them from 0 on, or name them.'
    )
  names = made_up_names(range(largest + 1))
  remarks.append(
    f'actions have no names: called {names[0]} to {names[-1]}, {len(np.unique(known))} '
    'of them occur. Another game whose actions are called so has the same actions, for '
    'a model; --actions names them.'
  )
  return names


def _stored_names(npz: Npz) -> tuple[str, ...]:
  place = npz.place('action_names')
  shape, dtype = npz.form('action_names')
  if len(shape) != 1 or not shape[0] or dtype.kind not in 'US':
    raise UserError(
      f'{place}: expected [A] text, found {dtype} {list(shape)}. Write it with '
      'numpy.array(names).'
    )
  stored = npz.whole('action_names')
  if dtype.kind == 'S':
    stored = np.char.decode(stored, 'utf-8', 'replace')
  names = [unicodedata.normalize('NFC', name.strip()) for name in stored.tolist()]
  for number, name in enumerate(names):
    if not name or not name.isprintable() or name in names[:number]:
      raise UserError(
        f'{place}, row {number}: expected a name of its own, of printable characters, '
        f'found {name!r}.'
      )
  return tuple(names)


def _end_marks(npz: Npz, field: str, length: int) -> np.ndarray:
  """`[length]` bool of a field under either name; False where there is none."""
  for name in (field, _TWINS[field]):
    if name in npz.names:
      return _marks(npz, name, length)
  return np.zeros(length, bool)


def _marks(npz: Npz, field: str, length: int) -> np.ndarray:
  """`[length]` bool, of 0 and 1 in any dtype."""
  values = _column(npz, field, length)
  _refuse(npz.place(field), (values != 0) & (values != 1), values, '0 or 1')
  return values.astype(bool)
