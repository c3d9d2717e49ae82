"""What a policy has seen, kept on the device: a step brings the newest frame alone."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax import returns
from alpt_jax.acting.policy import ActingConfig, History
from alpt_jax.types import Array


class News(NamedTuple):
  """What came since the last decision, for each of B slots.

  Of an episode that begins (its step is 0) observation, episode and step are read.
  Rows of resting slots mean nothing.
  """

  observations: Array  # [B, ...] the newest
  actions: Array  # [B] int32 joint ones, of the transition that is over
  rewards: Array  # [B] float32 of it, clipped
  reward_tokens: Array  # [B] int32 of it
  episodes: Array  # [B] int32
  steps: Array  # [B] int32 decisions made before in the episode


def blank(size: int, context: int, observation, allowed: np.ndarray) -> History:
  """A memory of B slots in which nothing has begun.

  On the default device, but not bound to it: it follows the parameters.

  Args:
    size: B.
    context: C, the transitions that are remembered.
    observation: `ObservationSpec`.
    allowed: `[A]` bool.
  """
  shape = size, context
  history = History(
    observations=np.zeros((*shape, *observation.shape), observation.dtype),
    actions=np.zeros(shape, np.int32),
    is_known=np.zeros(shape, bool),
    reward_tokens=np.zeros(shape, np.int32),
    returns_to_go=np.zeros(shape, np.float32),
    valid=np.zeros(shape, bool),
    allowed=np.tile(allowed, (size, 1)),
  )
  return jax.device_put(history)


@functools.partial(jax.jit, static_argnums=0)
def remember(
  config: ActingConfig, history: History, news: News, key
) -> tuple[History, Array]:
  """Moves every slot on by a step: what the policy sees next, and its random keys.

  Args:
    config: its `padding` and `target_return` are read.
    history: before.
    news: since then.
    key: of the evaluation.

  Returns:
    The history that is to be decided upon, and `[B]` keys, each a function of its
    (evaluation, episode, step) alone.
  """
  is_first = news.steps == 0
  # What stands before an episode's first observation, seen or not.
  is_seen = config.padding == 'notebook'
  target = config.target_return or 0.0
  left = returns.remaining(history.returns_to_go[:, -1], news.rewards)

  def moved(rows, completed, padding, newest):
    """`[B, C, ...]` rows without the oldest; the last is `completed` now."""
    rows = jnp.concatenate([rows[:, 1:-1], _column(completed, rows)], axis=1)
    begins = is_first.reshape(-1, *[1] * (rows.ndim - 1))
    rows = jnp.where(begins, jnp.asarray(padding, rows.dtype), rows)
    rows = jnp.concatenate([rows, _column(newest, rows)], axis=1)
    return rows[:, -history.valid.shape[1] :]  # one at most where C is 1

  seen = History(
    observations=moved(
      history.observations, history.observations[:, -1], 0, news.observations
    ),
    actions=moved(history.actions, news.actions, 0, 0),
    is_known=moved(history.is_known, True, is_seen, False),
    reward_tokens=moved(history.reward_tokens, news.reward_tokens, 0, 0),
    returns_to_go=moved(
      history.returns_to_go,
      history.returns_to_go[:, -1],
      # Of seen padding too: nothing has been received there.
      target if is_seen else 0.0,
      jnp.where(is_first, target, left),
    ),
    valid=moved(history.valid, True, is_seen, True),
    allowed=history.allowed,
  )
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  return seen, jax.vmap(jax.random.fold_in)(fold(key, news.episodes), news.steps)


def _column(value, rows):
  """`[B, 1, ...]` of `[B, ...]` or of a number, as the rows are."""
  value = jnp.asarray(value, rows.dtype)
  if not value.ndim:
    value = jnp.broadcast_to(value, (len(rows), *rows.shape[2:]))
  return value[:, None]
