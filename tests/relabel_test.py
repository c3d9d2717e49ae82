"""Relabelling: what is recorded stays, what is guessed is allowed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax import relabel

MODES = ('argmax', 'sample', 'soft')
KEY = jax.random.key(0)


def random_case(seed=0, num_windows=64, num_actions=6):
  """Windows in which the largest logit is that of an action not allowed."""
  rng = np.random.default_rng(seed)
  shape = (num_windows, 5)
  allowed = rng.random((num_windows, num_actions)) < 0.5
  allowed[np.arange(num_windows), rng.integers(0, num_actions, num_windows)] = True
  logits = rng.normal(size=(*shape, num_actions)).astype(np.float32)
  logits += np.where(allowed, 0, 50)[:, None].astype(np.float32)
  actions = rng.integers(0, num_actions, shape).astype(np.int32)
  return logits, actions, rng.random(shape) < 0.3, allowed


@pytest.mark.parametrize('mode', MODES)
def test_recorded_actions_stay_as_they_are(mode):
  logits, actions, is_labelled, allowed = random_case()
  labels = relabel.pseudo_label(logits, actions, is_labelled, allowed, mode, KEY)
  assert labels.action.dtype == jnp.int32
  found = np.asarray(labels.action)[is_labelled]
  assert found.tobytes() == actions[is_labelled].tobytes()
  assert (np.asarray(labels.confidence)[is_labelled] == 1).all()
  # Even those that the environment would not accept: a recording is no guess.
  rows = np.broadcast_to(np.arange(len(actions))[:, None], actions.shape)
  assert not allowed[rows[is_labelled], found].all()


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('seed', [0, 1])
def test_a_guess_is_always_an_action_the_environment_accepts(mode, seed):
  logits, actions, is_labelled, allowed = random_case(seed)
  key = jax.random.key(seed)
  labels = relabel.pseudo_label(logits, actions, is_labelled, allowed, mode, key)
  rows = np.broadcast_to(np.arange(len(actions))[:, None], actions.shape)
  assert allowed[rows, labels.action][~is_labelled].all()


def test_the_largest_logit_loses_when_its_action_is_not_allowed():
  # Action 1 scores a hundred and, once, infinity; 2 is the likeliest allowed one.
  logits = jnp.array([[[0.0, 100.0, 2.0, 1.0], [0.0, np.inf, 2.0, 1.0]]])
  allowed = jnp.array([[True, False, True, True]])
  hidden = jnp.zeros((1, 2), bool)
  for mode in ('argmax', 'soft'):
    labels = relabel.pseudo_label(
      logits, jnp.zeros((1, 2), jnp.int32), hidden, allowed, mode
    )
    assert labels.action.tolist() == [[2, 2]]


def hand_made(mode, is_labelled=False, num_windows=1, key=None):
  # exp(logits) = 1, 2, 5, 12; action 3 is not allowed, so 1/8, 2/8, 5/8 remain.
  logits = jnp.log(jnp.array([1.0, 2.0, 5.0, 12.0]))
  return relabel.pseudo_label(
    jnp.broadcast_to(logits, (num_windows, 1, 4)),
    jnp.full((num_windows, 1), 1, jnp.int32),
    jnp.full((num_windows, 1), is_labelled),
    jnp.broadcast_to(jnp.array([True, True, True, False]), (num_windows, 4)),
    mode,
    key,
  )


def test_confidence_is_renormalised_over_the_allowed_actions():
  labels = hand_made('argmax')
  assert labels.action.tolist() == [[2]]
  np.testing.assert_allclose(labels.confidence, [[5 / 8]], rtol=1e-6)
  assert labels.probabilities is None


def test_a_recorded_action_is_certain():
  labels = hand_made('argmax', is_labelled=True)
  assert labels.action.tolist() == [[1]] and labels.confidence.tolist() == [[1]]


def test_a_hidden_action_is_not_read():
  logits, actions, is_labelled, allowed = random_case()
  garbage = np.where(is_labelled, actions, 12345).astype(np.int32)
  for mode in MODES:
    one = relabel.pseudo_label(logits, actions, is_labelled, allowed, mode, KEY)
    two = relabel.pseudo_label(logits, garbage, is_labelled, allowed, mode, KEY)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_soft_labels_are_the_whole_distribution_and_one_hot_where_recorded():
  guessed = hand_made('soft')
  assert guessed.action.tolist() == [[2]]
  expected = [[[1 / 8, 2 / 8, 5 / 8, 0]]]
  np.testing.assert_allclose(guessed.probabilities, expected, rtol=1e-6)
  assert guessed.probabilities[0, 0, 3] == 0
  recorded = hand_made('soft', is_labelled=True)
  assert recorded.probabilities.tolist() == [[[0, 1, 0, 0]]]
  assert recorded.action.tolist() == [[1]] and recorded.confidence.tolist() == [[1]]


def test_sampled_labels_are_drawn_from_the_distribution():
  labels = hand_made('sample', num_windows=4000, key=KEY)
  actions = np.asarray(labels.action).ravel()
  share = np.bincount(actions, minlength=4) / len(actions)
  # A share of 4,000 draws is off by at most 4 * sqrt(0.25 / 4000) = 0.032.
  np.testing.assert_allclose(share, [1 / 8, 2 / 8, 5 / 8, 0], atol=0.032)
  # The confidence is that of what was drawn, not of the likeliest.
  expected = np.array([1 / 8, 2 / 8, 5 / 8])[actions]
  np.testing.assert_allclose(labels.confidence.ravel(), expected, rtol=1e-6)
  assert labels.probabilities is None


def test_sampling_depends_on_the_key_alone():
  def draw(key):
    return hand_made('sample', num_windows=50, key=key).action.tolist()

  assert draw(KEY) == draw(KEY) != draw(jax.random.key(1))


@pytest.mark.parametrize('mode', MODES)
def test_no_gradient_reaches_the_labeller(mode):
  _, actions, is_labelled, allowed = random_case(num_windows=3)

  def taught(logits):
    labels = relabel.pseudo_label(logits, actions, is_labelled, allowed, mode, KEY)
    soft = 0 if labels.probabilities is None else (labels.probabilities**2).sum()
    return (labels.confidence**2).sum() + soft

  logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 6)), jnp.float32)
  assert taught(logits) != taught(logits * 2)  # it does depend on the logits
  gradient = jax.grad(taught)(logits)
  assert (gradient == 0).all()


def test_half_precision_scores_give_full_precision_confidence():
  logits, actions, is_labelled, allowed = random_case()
  logits = jnp.asarray(logits, jnp.bfloat16)
  labels = relabel.pseudo_label(logits, actions, is_labelled, allowed, 'soft')
  assert labels.confidence.dtype == labels.probabilities.dtype == jnp.float32
  np.testing.assert_allclose(labels.probabilities.sum(-1), 1, rtol=1e-5)
