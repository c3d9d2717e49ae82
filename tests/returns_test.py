"""Returns-to-go: one convention in training and in acting."""

import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax import returns

# The rewards of a recorded episode, raw and clipped, and what is still to come.
RAW = np.array([0, 2, 0, -3, 1], np.float32)
CLIPPED = [0, 1, 0, -1, 1]
TO_GO = [1, 1, 0, 0, 1]  # 0 + 1 + 0 - 1 + 1, 1 + 0 - 1 + 1, 0 - 1 + 1, -1 + 1, 1


def test_rewards_are_clipped_to_one():
  rewards = np.array([-7, -1, -0.25, 0, 0.5, 1, 3], np.float32)
  expected = [-1, -1, -0.25, 0, 0.5, 1, 1]
  assert returns.clip_rewards(rewards).tolist() == expected
  assert returns.clip_rewards(jnp.asarray(rewards)).tolist() == expected


def test_returns_to_go_include_the_reward_of_their_own_step():
  found = returns.returns_to_go(returns.clip_rewards(RAW))
  assert found.dtype == np.float32 and found.tolist() == TO_GO


def test_a_long_episode_sums_exactly():
  # 0.1 in float32, a million times: a float32 sum would drift by hundreds.
  found = returns.returns_to_go(np.full(1_000_000, 0.1, np.float32))
  assert found[0] == pytest.approx(100_000, rel=1e-6)


def test_a_replayed_episode_gives_the_training_sequence():
  left = np.float32(TO_GO[0])
  replayed = []
  for reward in RAW:
    replayed.append(float(left))
    left = returns.remaining(left, returns.clip_rewards(reward))
  assert replayed == TO_GO
  assert left == 0  # nothing is left once the last reward has come


@pytest.mark.parametrize('seed', range(5))
def test_any_replayed_episode_gives_the_training_sequence(seed):
  raw = np.random.default_rng(seed).integers(-3, 4, 200).astype(np.float32)
  expected = returns.returns_to_go(returns.clip_rewards(raw))
  left = expected[0]
  for step, reward in enumerate(raw):
    assert left == expected[step]
    left = returns.remaining(left, returns.clip_rewards(reward))


@pytest.mark.parametrize('array', [np.array, jnp.array])
def test_quantised_returns_stay_inside_the_vocabulary(array):
  # Lee et al.: [-20, 100) is 120 tokens, 0 to 119; 100 itself is the last one.
  wanted = array([-1e9, -21.0, -20.0, -1.0, 0.0, 99.0, 100.0, 1e9])
  tokens = returns.quantise(wanted, -20, 100)
  assert tokens.dtype == 'int32'
  assert tokens.tolist() == [0, 0, 0, 19, 20, 119, 119, 119]


def test_dequantise_undoes_quantise_inside_the_range():
  wanted = np.arange(-20, 100).astype(np.float32)
  tokens = returns.quantise(wanted, -20, 100)
  assert tokens.tolist() == list(range(120))
  assert np.array_equal(returns.dequantise(tokens, -20), wanted)


def test_quantisation_is_off_by_half_at_most():
  wanted = np.linspace(-20, 99, 1191).astype(np.float32)
  found = returns.dequantise(returns.quantise(wanted, -20, 100), -20)
  assert np.abs(found - wanted).max() <= 0.5


@pytest.mark.parametrize('array', [np.array, jnp.array])
def test_reward_tokens_say_sign_or_end(array):
  # (reward, discount): nothing, won, lost, ended; the sign wins over the end.
  rewards = array([0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.25])
  discounts = array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
  tokens = returns.reward_tokens(rewards, discounts)
  assert tokens.dtype == 'int32' and tokens.tolist() == [0, 1, 3, 2, 1, 3, 1]
  assert returns.NUM_REWARD_TOKENS == 4


def test_one_step_has_the_tokens_of_a_whole_episode():
  # While acting the tokens are made step by step, from scalars.
  discounts = np.array([1, 1, 1, 1, 0], np.float32)
  clipped = returns.clip_rewards(RAW)
  assert clipped.tolist() == CLIPPED
  steps = zip(clipped, discounts, strict=True)
  one_by_one = [int(returns.reward_tokens(r, d)) for r, d in steps]
  assert one_by_one == returns.reward_tokens(clipped, discounts).tolist()
  assert one_by_one == [0, 1, 0, 3, 1]
