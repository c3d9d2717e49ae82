"""Shares with intervals that count in recordings, on paper and by simulation."""

import math

import numpy as np
import pytest

from alpt_jax.labelling import calibration, intervals
from alpt_jax.labelling.intervals import Audit, Effect

# 4 units of 25, of which 10, 15, 10 and 15 are right: off .5 by 2.5 each, so
# V = 4/3 * 4 * 2.5^2 / 100^2 = 1/300, 4/3 of .5 * .5 / 100.
_UNITS = np.repeat(np.arange(4), 25)
_RIGHT = np.concatenate([np.arange(25) < num for num in (10, 15, 10, 15)])


def _wilson(share, num):
  squared = 1.96**2 / num
  half = 1.96 * math.sqrt(share * (1 - share) / num + squared / (4 * num))
  return (
    pytest.approx((share + squared / 2 - half) / (1 + squared)),
    pytest.approx((share + squared / 2 + half) / (1 + squared)),
  )


def test_the_design_effect_by_hand():
  effect = intervals.design_effect(_RIGHT, _UNITS)
  assert effect.value == pytest.approx(4 / 3) and effect.units == 4


def test_units_that_differ_less_than_by_chance_have_no_effect():
  assert intervals.design_effect(_RIGHT, np.arange(100) % 2) == Effect(1.0, 2)
  assert intervals.design_effect(np.ones(100, bool), _UNITS) == Effect(1.0, 4)


def test_units_of_different_sizes_weigh_as_they_are_long():
  # Share .5 of 8; the sums are off by 3 * .5 and -5 * .5 + 1 = -1.5, so
  # V = 2/1 * 2 * 2.25 / 64 = 9/64, 4.5 of .25 / 8 = 2/64.
  right = np.bool_([1, 1, 1, 0, 0, 0, 0, 1])
  effect = intervals.design_effect(right, [7, 7, 7, 2, 2, 2, 2, 2])
  assert effect == Effect(pytest.approx(4.5), 2)


def test_a_share_by_hand():
  found = intervals.clustered_share(_RIGHT, _UNITS)
  # t for 3 degrees of freedom is 3.182: 100 are worth 75 * .379 = 28.5.
  ends = _wilson(0.5, 75 * (1.96 / 3.182) ** 2)
  assert found == (0.5, *ends, 100, 4)
  assert found.low == pytest.approx(0.3276, abs=1e-4)


def test_where_all_are_right_the_interval_has_a_width():
  # 32 units: t is 1.96, and 96 are worth 96. Wilson's low end at 1 is n / (n + z^2).
  found = intervals.clustered_share(np.ones(96, bool), np.arange(96) // 3)
  assert found == (1, pytest.approx(96 / (96 + 1.96**2)), pytest.approx(1), 96, 32)
  found = intervals.clustered_share(np.zeros(96, bool), np.arange(96) // 3)
  assert found[:3] == (0, 0, pytest.approx(1.96**2 / (96 + 1.96**2)))


def test_in_few_units_the_effect_is_that_of_the_whole():
  whole = Effect(3.0, 40)
  right = np.bool_([1] * 9 + [0])
  # 10 in 2 units of 5 are worth 10 / 3; no fewer than their 2 units.
  found = intervals.clustered_share(right, np.arange(10) // 5, whole)
  assert found == (0.9, *_wilson(0.9, 10 / 3), 10, 2)
  found = intervals.clustered_share(right, np.arange(10) // 5, Effect(9.0, 40))
  assert found == (0.9, *_wilson(0.9, 2), 10, 2)
  # In one of each, all are independent.
  found = intervals.clustered_share(right[:3], range(3), whole)
  assert found[1:3] == _wilson(1, 3)


def test_in_many_units_the_effect_is_their_own_unless_all_are_right():
  whole = Effect(3.0, 40)
  own = intervals.clustered_share(_RIGHT, _UNITS)
  assert intervals.clustered_share(_RIGHT, _UNITS, whole) == own
  found = intervals.clustered_share(np.ones(100, bool), _UNITS, whole)
  assert found.low == _wilson(1, 100 / 3)[0]


def test_one_unit_says_nothing_of_others():
  assert intervals.clustered_share(_RIGHT, np.zeros(100)) == (0.5, 0, 1, 100, 1)
  share = intervals.clustered_share(np.zeros(0, bool), np.zeros(0, int))
  assert math.isnan(share.estimate) and share[1:] == (0, 1, 0, 0)


def test_the_estimate_by_hand():
  # The audit's mean confidence is its share right, so nothing is corrected.
  audit = Audit(_RIGHT, np.full(100, 0.5), _UNITS)
  found = intervals.estimated_accuracy(audit, 0.7, 300)
  # V = 1/300 (above) * (1 + 100/300) = 1/225. At (70 + 2) of (100 + 4) that is the
  # variance of .213 * 225 = 47.9, which t of 3.182 for 1.96 makes 18.2.
  num = 72 / 104 * 32 / 104 * 225 * (1.96 / 3.182) ** 2
  assert found == (pytest.approx(0.7), *_wilson(0.7, num), 100, 4)
  assert found.low == pytest.approx(0.4706, abs=1e-3)
  assert found.high == pytest.approx(0.8597, abs=1e-3)


def test_the_audit_corrects_a_model_that_is_too_sure():
  # It claims .9 where .5 are right, so .7 of the others becomes .3.
  audit = Audit(_RIGHT, np.full(100, 0.9), _UNITS)
  found = intervals.estimated_accuracy(audit, 0.7, 300)
  assert found.estimate == pytest.approx(0.3)
  # .2 would become -.2.
  assert intervals.estimated_accuracy(audit, 0.2, 300).estimate == 0


def test_an_audit_without_a_mistake_leaves_a_doubt():
  # All right and all sure: V is that of 2 wrong in 104, over 100.
  audit = Audit(np.ones(100, bool), np.ones(100), _UNITS)
  found = intervals.estimated_accuracy(audit, 1.0, 10**9)
  num = 100 * (1.96 / 3.182) ** 2
  assert found[:2] == (1, pytest.approx(num / (num + 1.96**2)))
  assert found.high == pytest.approx(1)


def test_one_audited_unit_estimates_without_an_interval():
  audit = Audit(_RIGHT, np.full(100, 0.5), np.zeros(100))
  assert intervals.estimated_accuracy(audit, 0.7, 9)[1:] == (0, 1, 100, 1)


def test_recordings_are_units_where_the_audit_leaves_some_out():
  recordings = [5, 5, 2, 3, 9]
  found = intervals.units_of(recordings, [7, 7, 2, 4, 11], [0, 1, 0, 0, 0], 6, 12, 50)
  assert found.basis == 'recording'
  np.testing.assert_array_equal(found.units, [2, 2, 0, 1, 3])


@pytest.mark.parametrize('recordings, num', [([0, 0, 1, 2], 9), ([0, 1, 2, 3], 4)])
def test_stretches_are_units_of_few_recordings_or_of_all(recordings, num):
  found = intervals.units_of(recordings, [0, 1, 2, 3], [0] * 4, num, 4, 50)
  assert found.basis == 'stretch'
  np.testing.assert_array_equal(found.units, range(4))


@pytest.mark.parametrize('num_recordings', [2, 9])
def test_of_few_recordings_or_of_all_whole_episodes_are_units(num_recordings):
  recordings, episodes = [0] * 4 + [1] * 4, [3, 3, 4, 4, 8, 8, 9, 9]
  steps = [0, 1, 0, 1, 0, 1, 0, 1]
  found = intervals.units_of(recordings, episodes, steps, num_recordings, 10, 1)
  assert found.basis == 'episode'
  np.testing.assert_array_equal(found.units, [0, 0, 1, 1, 2, 2, 3, 3])
  # Of all episodes there are, none of whose luck is unknown.
  episodes = [0, 0, 1, 1, 2, 2, 3, 3]
  found = intervals.units_of(recordings, episodes, steps, num_recordings, 4, 1)
  assert found.basis == 'stretch'


def test_a_stretch_ends_with_its_episode_at_a_gap_and_at_its_length():
  episodes = [0] * 5 + [0] * 2 + [1] * 3
  steps = [3, 4, 5, 6, 7, 20, 21, 22, 23, 24]
  recordings = np.zeros(10, int)
  found = intervals.units_of(recordings, episodes, steps, 1, 2, 3)
  np.testing.assert_array_equal(found.units, [0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
  found = intervals.units_of(recordings, episodes, steps, 1, 2, 0)
  np.testing.assert_array_equal(found.units, [0] * 5 + [1] * 2 + [2] * 3)


# A model of 4 actions that is surer than it should be, by recording and by stretch
# differently good, in 30 recordings of 10 stretches of 20 like moments each.
_RECORDINGS, _STRETCHES, _LENGTH = 30, 10, 20


def _play(random, spread):
  """`(probabilities, actions)` `[stretches, length(, 4)]` of one such model."""
  num = _RECORDINGS * _STRETCHES
  luck = np.repeat(random.normal(size=_RECORDINGS), _STRETCHES)
  luck += 0.5 * random.normal(size=num)
  moments = random.normal(size=(num, _LENGTH))
  for step in range(1, _LENGTH):
    moments[:, step] = 0.9 * moments[:, step - 1] + 0.19**0.5 * moments[:, step]
  scores = random.normal(0, 0.7, (num, _LENGTH, 4))
  scores[..., 0] += 3.5 + luck[:, None] + 1.5 * moments
  # What is true follows scores of about half the size, each stretch by a factor of its
  # own, and recordings by one whose logarithm has this spread.
  factors = 0.3 * random.normal(size=num) - 0.7
  factors += np.repeat(spread * random.normal(size=_RECORDINGS), _STRETCHES)
  draws = scores * np.exp(factors)[:, None, None] + random.gumbel(size=scores.shape)
  weights = np.exp(scores)
  return weights / weights.sum(-1, keepdims=True), draws.argmax(-1)


def _covered(random, spread, draw_fn, units_fn, num_plays: int, num_draws: int):
  """Share of draws whose interval covers the truth, and the mean half of its width."""
  covered, widths = [], []
  for _ in range(num_plays):
    probabilities, actions = _play(random, spread)
    right = probabilities.argmax(-1) == actions
    for seed in range(num_draws):
      chosen = np.zeros(len(right), bool)
      chosen[draw_fn(random)] = True
      units = np.repeat(units_fn(np.flatnonzero(chosen)), _LENGTH)
      own = probabilities[chosen].reshape(-1, 4)
      fitted = calibration.crosswise(own, actions[chosen].reshape(-1), units, seed)
      sure = calibration.tempered(own, fitted.crosswise).max(-1)
      others = calibration.tempered(probabilities[~chosen], fitted.value).max(-1)
      audit = Audit(right[chosen].reshape(-1), sure, units)
      found = intervals.estimated_accuracy(audit, others.mean(), others.size)
      covered.append(found.low <= right[~chosen].mean() <= found.high)
      widths.append((found.high - found.low) / 2)
  return np.mean(covered), np.mean(widths)


def _strewn(random):
  return random.choice(_RECORDINGS * _STRETCHES, 16, replace=False)


def _whole(random):
  recordings = random.choice(_RECORDINGS, 6, replace=False)
  return (recordings[:, None] * _STRETCHES + np.arange(_STRETCHES)).ravel()


def test_the_interval_covers_the_truth_of_400_draws_as_often_as_it_says():
  random = np.random.default_rng(1)
  share, width = _covered(random, 0.0, _strewn, np.arange(300).take, 10, 40)
  assert share >= 0.92
  # 16 throws of a coin would have .24.
  assert width < 0.1


def test_of_whole_recordings_the_recording_is_the_unit_that_covers():
  def share(units_fn):
    return _covered(np.random.default_rng(2), 0.5, _whole, units_fn, 20, 5)[0]

  assert share(lambda places: places // _STRETCHES) >= 0.9
  # What `units_of` does not do: stretches of one recording share its luck.
  assert share(np.arange(300).take) < 0.7
