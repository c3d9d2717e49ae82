"""Whether an episode is what its environment says: checked before it is written."""

import numpy as np

from alpt_jax import returns
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode


def check_episode(episode: Episode, spec: EnvironmentSpec, place: str) -> Episode:
  """Returns the episode in the dtypes of a pool, or says what is wrong with it.

  Args:
    episode: arrays of any numeric dtype, `is_labelled` of bool. An action that is not
      known is not looked at, and returned as 0.
    spec: what the dataset claims to hold.
    place: how the message names the episode, for example 'data/x: episode 3'.

  Raises:
    UserError: with place, step, field, what was expected and what was found.
  """
  observations = np.asarray(episode.observations)
  expected = spec.observation
  if observations.dtype != expected.dtype or observations.shape[1:] != expected.shape:
    raise UserError(
      f'{place}, field observation: expected {expected.dtype} {list(expected.shape)}, '
      f'found {observations.dtype} {list(observations.shape[1:])}.'
    )
  actions = np.atleast_1d(episode.actions)
  num_transitions = len(actions)
  if num_transitions == 0 or len(observations) != num_transitions + 1:
    raise UserError(
      f'{place}: expected at least one transition and one observation more than '
      f'actions, found {len(observations)} observations, {num_transitions} actions.'
    )
  is_labelled = episode.is_labelled
  if is_labelled is not None:
    is_labelled = _check_is_labelled(is_labelled, num_transitions, place)
    if actions.shape == is_labelled.shape:  # else it is reported as it was given
      actions = np.where(is_labelled, actions, 0)
  _check_actions(actions, spec, place)
  if expected.kind == 'integers':
    beyond = np.argwhere(observations >= np.array(expected.num_values))
    if len(beyond):
      step, entry = beyond[0].tolist()
      raise UserError(
        f'{place}, step {step}, field observation: expected entry {entry} below '
        f'{expected.num_values[entry]}, found {int(observations[step, entry])}.'
      )
  _check_finite(observations, 'observation', place)
  return Episode(
    observations=observations,
    actions=actions.astype(np.int32),
    rewards=_per_transition(episode.rewards, num_transitions, 'reward', place),
    discounts=_per_transition(episode.discounts, num_transitions, 'discount', place),
    is_labelled=is_labelled,
  )


def check_all_known(episode: Episode, place: str, advice: str) -> None:
  """Says where an action is not known, for files that have no place to say so.

  Args:
    episode: checked.
    place: how the message names the episode.
    advice: what to do.

  Raises:
    UserError: the first action that is not known.
  """
  known = episode.is_labelled
  if known is not None and not known.all():
    raise UserError(
      f'{place}, step {int(known.argmin())}, field action: expected one that is known, '
      f'as these files cannot say otherwise, found none. {advice}'
    )


def check_returns(
  rewards: np.ndarray, return_range: tuple[int, int], place: str
) -> None:
  """Says where an episode's returns-to-go of clipped rewards leave their range.

  Args:
    rewards: `[L]`, finite.
    return_range: (low, high); returns are in [low, high).
    place: how the message names the episode.

  Raises:
    UserError: with the range that would hold them.
  """
  found = returns.returns_to_go(returns.clip_rewards(rewards)).round()
  low, high = min(found.min(), return_range[0]), max(found.max() + 1, return_range[1])
  if (low, high) != return_range:
    raise UserError(
      f'{place}: returns of rewards clipped to [-1, 1] are {found.min():.0f} to '
      f'{found.max():.0f}, --return_range is {return_range[0]},{return_range[1]}. '
      f'Pass --return_range={low:.0f},{high:.0f}.'
    )


def _check_is_labelled(values, num_transitions: int, place: str) -> np.ndarray:
  """`[L]` bool; of another dtype they would be taken for indices somewhere."""
  values = np.asarray(values)
  if values.dtype != bool or values.shape != (num_transitions,):
    raise UserError(
      f'{place}, field is_labelled: expected bool [{num_transitions}], one for each '
      f'transition, found {values.dtype} {list(values.shape)}.'
    )
  return values


def _check_actions(actions: np.ndarray, spec: EnvironmentSpec, place: str) -> None:
  """Every action must be one number, whole and one of the environment's own."""
  if actions.ndim != 1:
    raise UserError(
      f'{place}, field action: expected one number per step, found the shape '
      f'{list(actions.shape)}.'
    )
  # Asked so that NaN and 1.5, which a cast would turn into some action, fail too.
  num_actions = len(spec.action_names)
  bad = ~((actions >= 0) & (actions < num_actions) & (actions % 1 == 0))
  if bad.any():
    step = int(bad.argmax())
    raise UserError(
      f'{place}, step {step}, field action: expected 0 to {num_actions - 1} '
      f'({", ".join(spec.action_names)}), found {actions[step]}.'
    )


def _per_transition(values, num_transitions: int, field: str, place: str) -> np.ndarray:
  """`[L]` float32 rewards or discounts, finite and one for each transition."""
  values = np.atleast_1d(values)
  if values.shape != (num_transitions,):
    raise UserError(
      f'{place}, field {field}: expected {num_transitions} values, '
      f'found {" x ".join(map(str, values.shape))}.'
    )
  with np.errstate(over='ignore'):  # what is too large for float32 is reported
    values = values.astype(np.float32)
  _check_finite(values, field, place)
  return values


def _check_finite(values: np.ndarray, field: str, place: str) -> None:
  if values.dtype.kind == 'f' and not np.isfinite(values).all():
    first = tuple(np.argwhere(~np.isfinite(values))[0])
    raise UserError(
      f'{place}, step {first[0]}, field {field}: expected a finite number, '
      f'found {values[first]}.'
    )
