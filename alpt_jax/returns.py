"""Returns-to-go: the one owner of their convention, in training and in acting.

Floor 1. The return-to-go of transition t is the sum of the clipped rewards from
r_t, INCLUDED, to the end of the whole episode (not of the window). What a policy
is given while acting follows the same rule: the return that is still to come
when `observations[t]` has been seen and r_t has not.
"""

import numpy as np

# Lee et al. (2022): what the reward token of a transition says.
REWARD_NONE, REWARD_POSITIVE, REWARD_TERMINAL, REWARD_NEGATIVE = range(4)
NUM_REWARD_TOKENS = 4


def clip_rewards(rewards):
  """Raw rewards as they are trained on: clipped to [-1, 1] (section 5.1)."""
  return rewards.clip(-1.0, 1.0)


def returns_to_go(clipped_rewards: np.ndarray) -> np.ndarray:
  """`[L]` clipped rewards of a whole episode -> `[L]` float32 returns-to-go."""
  return np.cumsum(clipped_rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)


def remaining(return_to_go, clipped_reward):
  """The return-to-go one step later: what is left once r_t has been received.

  While acting towards a fixed target return, start from the target and apply
  this after every step; a recorded episode replayed so, from its own return,
  gives its `returns_to_go`.
  """
  return return_to_go - clipped_reward


def quantise(return_to_go, low: int, high: int):
  """Returns-to-go -> tokens in [0, high - low), values outside are clipped.

  Works on numpy and on JAX arrays. Lee et al. (2022) use [-20, 100); their
  notebook clips to +100, one past its own vocabulary, which is not copied.
  """
  return (return_to_go.round() - low).clip(0, high - low - 1).astype('int32')


def dequantise(token, low: int):
  """The return-to-go that a token stands for."""
  return token + low


def reward_tokens(clipped_rewards, discounts):
  """The reward token of each transition, int32, of the arguments' shape.

  The sign wins over the end of the episode (ours: the notebook, inference only,
  never writes the terminal token): entering a maze's goal is 'positive'.
  """
  terminal = (discounts == 0) * REWARD_TERMINAL
  positive = (clipped_rewards > 0) * REWARD_POSITIVE
  negative = (clipped_rewards < 0) * REWARD_NEGATIVE
  return (positive + negative + (clipped_rewards == 0) * terminal).astype('int32')
