"""A game of nine places in a row, and a policy that plays it and knows nothing."""

import dm_env
import numpy as np
import tiny_models

from alpt_jax.acting.policy import ActingConfig, make_decide
from alpt_jax.acting.rollout import Player
from alpt_jax.specs import EnvironmentSpec, Protocol

LINE = EnvironmentSpec(
  name='line',
  action_names=('left', 'right', 'stay', 'jump'),
  observation=tiny_models.VECTOR,
  return_range=tiny_models.RETURN_RANGE,
  protocol=Protocol(max_episode_steps=20),
)


class Line(dm_env.Environment):
  """Places 0 to 8; 8 is the goal, and what was done is written into a list."""

  def __init__(self, place, trace):
    self._place, self._trace = place, trace

  def reset(self):
    self._trace.clear()
    return dm_env.restart(self._observation())

  def step(self, action):
    self._trace.append(action)
    self._place = int(np.clip(self._place + (-1, 1, 0, 2)[action], 0, 8))
    if self._place == 8:
      return dm_env.termination(5.0, self._observation())
    return dm_env.transition(-1.0, self._observation(), discount=1.0)

  def _observation(self):
    return np.array([self._place, self._place % 2, 1], np.float32)

  def observation_spec(self):
    raise NotImplementedError

  def action_spec(self):
    raise NotImplementedError


def player() -> Player:
  policy = tiny_models.tiny_policy()
  window = tiny_models.random_window(num_windows=1, length=3)
  params = tiny_models.loud_params(
    policy, window.observations[:, :3], *[np.zeros((1, 3), np.int32)] * 4, window.valid
  )
  # So many actions stay that sampling matters.
  config = ActingConfig(kappa=0.0, num_return_samples=1, action_percentile=10.0)
  return Player(
    decide_fn=make_decide(policy, config),
    context=policy.context,
    params=params,
    config=config,
    vocabulary=LINE.action_names,
    spec=LINE,
  )
