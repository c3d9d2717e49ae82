"""Losses on numbers that can be checked by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax import losses

POISON = [np.nan, np.inf, -np.inf]


def test_a_weighted_mean_by_hand():
  # (1 * 2 + 3 * 4) / (1 + 3) = 3.5; the third counts for nothing.
  values, weights = jnp.array([2.0, 4.0, 100.0]), jnp.array([1.0, 3.0, 0.0])
  assert losses.weighted_mean(values, weights) == 3.5


def test_without_any_weight_the_mean_is_zero_and_so_is_its_gradient():
  values, weights = jnp.array([2.0, np.nan]), jnp.zeros(2)
  assert losses.weighted_mean(values, weights) == 0
  for argument in (0, 1):
    gradient = jax.grad(losses.weighted_mean, argument)(values, weights)
    # Nothing to divide by counts as 1; the mean itself is 0 whatever the values.
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize('poison', POISON)
def test_a_value_without_weight_may_be_anything(poison):
  values, weights = jnp.array([2.0, poison, 4.0]), jnp.array([1.0, 0.0, 1.0])
  value, gradients = jax.value_and_grad(losses.weighted_mean, (0, 1))(values, weights)
  assert value == 3
  assert gradients[0].tolist() == [0.5, 0, 0.5]
  # d/dw of the mean: (value - mean) / sum of weights, and the dropped counts as 0.
  assert gradients[1].tolist() == [-0.5, -1.5, 0.5]


def test_boolean_weights_are_a_mask():
  weights = jnp.array([True, False, True])
  assert losses.weighted_mean(jnp.array([1.0, 9.0, 2.0]), weights) == 1.5


# Cross-entropy.


@pytest.mark.parametrize('num_actions', [2, 4, 18])
def test_uniform_logits_cost_log_a(num_actions):
  logits = jnp.full((2, 5, num_actions), 3.0)
  targets = jnp.ones((2, 5), jnp.int32)
  loss = losses.cross_entropy(logits, targets, jnp.ones((2, 5)))
  assert loss == pytest.approx(math.log(num_actions), rel=1e-6)


def test_the_notebook_divides_by_the_number_of_classes():
  arguments = jnp.zeros((3, 18)), jnp.zeros(3, jnp.int32), jnp.ones(3)
  loss = losses.cross_entropy(*arguments, normalisation='notebook')
  assert loss == pytest.approx(math.log(18) / 18, rel=1e-6)


def test_two_positions_by_hand():
  # Probabilities 1/4, 3/4: target 1 costs log(4/3), target 0 costs log(4);
  # weights 3 and 1.
  logits = jnp.log(jnp.array([[1.0, 3.0], [1.0, 3.0]]))
  loss = losses.cross_entropy(logits, jnp.array([1, 0]), jnp.array([3.0, 1.0]))
  expected = (3 * math.log(4 / 3) + math.log(4)) / 4
  assert loss == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_probability_less_target():
  logits = jnp.log(jnp.array([[1.0, 3.0]]))
  gradient = jax.grad(losses.cross_entropy)(logits, jnp.array([0]), jnp.ones(1))
  np.testing.assert_allclose(gradient, [[0.25 - 1, 0.75]], rtol=1e-6)


@pytest.mark.parametrize('kind', ['hard', 'soft'])
@pytest.mark.parametrize('poison', [0.0, *POISON])
def test_positions_without_weight_are_as_if_they_were_not_there(kind, poison):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 3, 4)).astype(np.float32)
  weights = np.array([[1, 0, 0.5], [0, 1, 1]], np.float32)
  targets = np.array([[0, 1, 2], [3, 0, 1]])
  poisoned = np.where(weights[..., None] > 0, logits, poison)
  there = weights > 0
  if kind == 'soft':
    targets = np.eye(4, dtype=np.float32)[targets]
    there_targets = targets[there]
    targets = np.where(there[..., None], targets, poison)
  else:
    there_targets = targets[there]
    targets = np.where(there, targets, 99)  # no such class
  loss_fn = jax.value_and_grad(losses.cross_entropy)
  loss, gradient = loss_fn(poisoned, jnp.asarray(targets), jnp.asarray(weights))
  expected, expected_gradient = loss_fn(
    logits[there], jnp.asarray(there_targets), jnp.asarray(weights[there])
  )
  assert loss == pytest.approx(float(expected), rel=1e-6)
  np.testing.assert_allclose(gradient[there], expected_gradient, rtol=1e-5)
  assert (np.asarray(gradient)[~there] == 0).all()


@pytest.mark.parametrize('normalisation', ['token', 'notebook'])
def test_one_hot_soft_targets_are_hard_targets(normalisation):
  rng = np.random.default_rng(1)
  logits = jnp.asarray(rng.normal(size=(2, 5, 4)), jnp.float32)
  targets = jnp.asarray(rng.integers(0, 4, (2, 5)))
  weights = jnp.asarray(rng.random((2, 5)), jnp.float32)
  loss_fn = jax.value_and_grad(losses.cross_entropy)
  hard, hard_gradient = loss_fn(logits, targets, weights, normalisation)
  one_hot = jax.nn.one_hot(targets, 4)
  soft, soft_gradient = loss_fn(logits, one_hot, weights, normalisation)
  assert soft == pytest.approx(float(hard), rel=1e-6)
  np.testing.assert_allclose(soft_gradient, hard_gradient, atol=1e-7)


def test_a_soft_target_by_hand():
  # Half of log(4), half of log(4/3).
  logits = jnp.log(jnp.array([[1.0, 3.0]]))
  loss = losses.cross_entropy(logits, jnp.array([[0.5, 0.5]]), jnp.ones(1))
  assert loss == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)


def test_half_precision_logits_are_summed_in_full():
  logits = jnp.zeros((1000, 18), jnp.bfloat16)
  loss = losses.cross_entropy(logits, jnp.zeros(1000, jnp.int32), jnp.ones(1000))
  assert loss.dtype == jnp.float32 and loss == pytest.approx(math.log(18), rel=1e-5)


# What is reported.


def test_accuracy_counts_weighted_positions_only():
  guesses, targets = jnp.array([1, 2, 3, 0]), jnp.array([1, 2, 0, 0])
  # Right, right, wrong; the fourth, right, does not count.
  found = losses.accuracy(guesses, targets, jnp.array([True, True, True, False]))
  assert found == pytest.approx(2 / 3)


def test_a_calibration_error_by_hand():
  # Two bins, below and from 0.5:
  #   low:  0.2 wrong, 0.4 right   sum of (right - confidence) = -0.2 + 0.6 = 0.4
  #   high: 0.9 right, 0.7 wrong, 1.0 right         0.1 - 0.7 + 0.0       = -0.6
  # (|0.4| + |-0.6|) / 5 = 0.2.
  confidence = jnp.array([0.2, 0.4, 0.9, 0.7, 1.0])
  correct = jnp.array([False, True, True, False, True])
  error = losses.expected_calibration_error(confidence, correct, jnp.ones(5), 2)
  assert error == pytest.approx(0.2)
  # With weights 1, 2, 1, 1, 0: |-0.2 + 1.2| + |0.1 - 0.7| over 5 = 0.32.
  weights = jnp.array([1.0, 2.0, 1.0, 1.0, 0.0])
  error = losses.expected_calibration_error(confidence, correct, weights, 2)
  assert error == pytest.approx(0.32)


def test_who_is_right_as_often_as_sure_is_calibrated():
  # Eight at 0.75, six of them right.
  confidence = jnp.full((2, 4), 0.75)
  correct = jnp.array([[True, True, True, False]] * 2)
  error = losses.expected_calibration_error(confidence, correct, jnp.ones((2, 4)))
  assert error == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize('poison', POISON)
def test_a_confidence_without_weight_may_be_anything(poison):
  error = losses.expected_calibration_error(
    jnp.array([0.75, poison]), jnp.array([True, False]), jnp.array([1.0, 0.0])
  )
  assert error == pytest.approx(0.25)


def test_nothing_counted_has_no_calibration_error():
  found = losses.expected_calibration_error(jnp.ones(3), jnp.ones(3), jnp.zeros(3))
  assert found == 0
