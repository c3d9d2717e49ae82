"""Temperatures, reliability and what a perfect model would show, checked on paper."""

import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax import losses
from alpt_jax.labelling import calibration


def _claims(num: int, num_right: int):
  """`num` guesses of action 0 at .9, the first `num_right` of them right."""
  actions = (np.arange(num) >= num_right).astype(int)
  return np.tile(np.float32([0.9, 0.1]), (num, 1)), actions


def test_a_temperature_takes_roots_and_powers_of_probabilities():
  # Roots of .8 and .2 are as 2 to 1; squares of them as 16 to 1.
  found = calibration.tempered([[0.8, 0.2], [0.8, 0.2]], [2.0, 0.5])
  np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [16 / 17, 1 / 17]])


def test_a_temperature_of_one_changes_nothing():
  found = calibration.tempered([[0.5, 0.3, 0.2]], 1.0)
  np.testing.assert_allclose(found, [[0.5, 0.3, 0.2]])


@pytest.mark.parametrize('temperature', [0.05, 20.0])
def test_no_temperature_changes_a_guess(temperature):
  random = np.random.default_rng(0)
  probabilities = random.dirichlet([0.2] * 6, 200).astype(np.float32)
  found = calibration.tempered(probabilities, temperature)
  np.testing.assert_array_equal(found.argmax(-1), probabilities.argmax(-1))
  np.testing.assert_allclose(found.sum(-1), 1)


def test_the_temperature_makes_confidence_what_was_right():
  # 3 of 4 are right, so .75 is the likeliest claim: 9^(1/T) = 3 to 1 for T = 2.
  found = calibration.fit_temperature(*_claims(4, 3))
  assert found == pytest.approx(2, rel=1e-5)
  # 99 of 100: 9^(1/T) = 99, for T = ln 9 / ln 99.
  found = calibration.fit_temperature(*_claims(100, 99))
  assert found == pytest.approx(np.log(9) / np.log(99), rel=1e-5)


def test_a_temperature_stays_in_its_range():
  assert calibration.fit_temperature(*_claims(10, 0)) == pytest.approx(20)
  # All are right: from .06 on down the loss, 9^(-1/T), is 0 in float64.
  assert 0.05 <= calibration.fit_temperature(*_claims(10, 10)) < 0.07


def test_an_action_that_was_held_impossible_makes_the_model_less_sure():
  probabilities = np.tile(np.float32([1, 0]), (10, 1))
  # One of 10: exp(ln 1e12 / T) = 9 to 1, for T = 12.6.
  found = calibration.fit_temperature(probabilities, [1] + [0] * 9)
  assert found == pytest.approx(12 * np.log(10) / np.log(9), rel=1e-5)


def _crosswise(actions, seed=0):
  probabilities = np.tile([0.9, 0.1], (120, 1))
  return calibration.crosswise(probabilities, actions, np.repeat(range(6), 20), seed)


def test_no_transition_is_judged_by_a_temperature_that_it_took_part_in():
  actions = (np.arange(120) % 4 == 0).astype(int)
  before = _crosswise(actions)
  # 3 of 4 in either half: T = 2 (above), whichever units lie in it.
  np.testing.assert_allclose(before.crosswise, 2, rtol=1e-5)
  assert before.value == pytest.approx(2, rel=1e-5)
  # Unit 0 turns all right: its half's fit changes, so the OTHER half is judged anew.
  actions[:20] = 0
  after = _crosswise(actions)
  # Then 50 of that half's 60 are right: 9^(1/T) = 5.
  expected = np.log(9) / np.log(5)
  is_other = ~np.isclose(after.crosswise, 2)
  np.testing.assert_allclose(after.crosswise[is_other], expected, rtol=1e-5)
  assert not is_other[:20].any()
  # Three of six units, each whole.
  np.testing.assert_array_equal(
    np.sort(is_other.reshape(6, 20).sum(1)), [0] * 3 + [20] * 3
  )


def test_the_seed_deals_the_halves():
  actions = np.zeros(120, int)
  actions[:30] = 1
  halves = {_crosswise(actions, seed).crosswise.tobytes() for seed in range(8)}
  assert len(halves) > 1
  again = [_crosswise(actions, 3).crosswise.tolist() for _ in range(2)]
  assert again[0] == again[1]


@pytest.mark.parametrize('num, num_units', [(99, 4), (100, 3)])
def test_too_few_transitions_or_units_are_not_fitted(num, num_units):
  units = np.arange(num) % num_units
  found = calibration.crosswise(*_claims(num, num - 1), units, 0)
  assert found.value == 1 and not found.is_fitted
  np.testing.assert_array_equal(found.crosswise, np.ones(num))


def test_just_enough_are_fitted():
  found = calibration.crosswise(*_claims(100, 75), np.arange(100) % 4, 0)
  assert found.is_fitted and found.value == pytest.approx(2, rel=1e-5)


def test_a_reliability_curve_by_hand():
  # Four bins: .1, .2 in the first; none in the second; .5, .7 in the third; 1 in the
  # last, though 1 * 4 would be a fifth.
  curve = calibration.reliability(
    [0.1, 0.2, 0.5, 0.7, 1.0], np.bool_([0, 1, 1, 1, 0]), 4
  )
  np.testing.assert_allclose(curve.lows, [0, 0.5, 0.75])
  np.testing.assert_array_equal(curve.counts, [2, 2, 1])
  np.testing.assert_allclose(curve.confidence, [0.15, 0.6, 1])
  np.testing.assert_allclose(curve.accuracy, [0.5, 1, 0])


def test_a_calibration_error_by_hand():
  # Gaps of .35, .4 and 1 over 2, 2 and 1 of 5: (.7 + .8 + 1) / 5.
  found = calibration.calibration_error(
    [0.1, 0.2, 0.5, 0.7, 1.0], np.bool_([0, 1, 1, 1, 0]), 4
  )
  assert found == pytest.approx(0.5)
  assert calibration.calibration_error([], np.zeros(0, bool)) == 0


def test_the_calibration_error_is_the_one_of_training():
  random = np.random.default_rng(0)
  confidence = random.random(500).astype(np.float32)
  right = random.random(500) < confidence**2
  expected = losses.expected_calibration_error(
    jnp.asarray(confidence), jnp.asarray(right), jnp.ones(500)
  )
  found = calibration.calibration_error(confidence, right)
  assert found == pytest.approx(float(expected), abs=1e-6)


def test_a_perfect_model_shows_an_error_with_few_transitions():
  # One at .5: right or wrong, the gap is .5. Sure ones have none.
  assert calibration.error_floor([0.5], 0) == 0.5
  assert calibration.error_floor(np.ones(9), 0) == 0
  # Two at .5: gaps of .5, 0, 0 and .5 are as likely as one another.
  assert calibration.error_floor([0.5, 0.5], 0) == pytest.approx(0.25, abs=0.06)
  # 2,500 at .5: the mean of |normal| at a standard deviation of .01 is .008.
  found = calibration.error_floor(np.full(2_500, 0.5), 0)
  assert found == pytest.approx(0.008, abs=0.0015)
  assert found == calibration.error_floor(np.full(2_500, 0.5), 0)
