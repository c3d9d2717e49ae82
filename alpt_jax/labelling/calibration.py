"""How sure the guesses are, held against how often they are right; plain numpy.

A network's probabilities are as a rule too high or too low throughout, and one number,
the temperature, mends most of that (Guo et al. 2017, "On Calibration of Modern Neural
Networks", section 4.2). It leaves every guess as it is: only how sure it claims to be
changes. Whoever fits a temperature must not judge it by the same transitions, so it is
fitted on one half and judged on the other, both ways round (`crosswise`).

n is transitions whose true action is known but was kept from the model, A actions of
the environment.
"""

import math
from typing import NamedTuple

import numpy as np

# Ours: with fewer, a fitted temperature is noise, and 1 claims nothing.
FEWEST_TRANSITIONS = 100
FEWEST_UNITS = 4

# Ours. The loss is flat within a square root of float64's precision of its minimum, so
# more rounds than the interval needs to shrink to that would settle nothing: each
# leaves .618 of it.
_TEMPERATURES = (0.05, 20.0)
_ROUNDS = 40
_GOLDEN = (math.sqrt(5) - 1) / 2

# Probabilities below it count as it: those of float32 reach 0, which no temperature
# would raise again.
_LEAST = 1e-12


class Temperatures(NamedTuple):
  """What probabilities are tempered with.

  Attributes:
    value: fitted on all n transitions; for those whose action nobody knows.
    crosswise: `[n]` float64, for the n themselves: fitted on the half that each is not
      in.
    is_fitted: False where there were too few, and all of the above is 1.
  """

  value: float
  crosswise: np.ndarray
  is_fitted: bool


class Curve(NamedTuple):
  """The reliability diagram: K bins of confidence, empty ones left out.

  Attributes:
    lows: `[K]` float64, the lower end of each bin; all are equally wide.
    counts: `[K]` int64, at least 1.
    confidence: `[K]` float64, the mean in each.
    accuracy: `[K]` float64, the share that is right in each.
  """

  lows: np.ndarray
  counts: np.ndarray
  confidence: np.ndarray
  accuracy: np.ndarray


def tempered(probabilities, temperature) -> np.ndarray:
  """Probabilities p as p^(1/T), made to sum to 1 again.

  Above 1 a temperature makes them less sure, below 1 surer; the order of the actions
  stays. For the softmax of scores this is the softmax of the scores divided by T; of a
  mean over windows there are no scores, so the rule stands on probabilities (ours).

  Args:
    probabilities: `[..., A]`; below 1e-12 they count as that.
    temperature: above 0; one, or `[...]`, one for each transition.

  Returns:
    `[..., A]` float64.
  """
  powers = _logs(probabilities) / np.asarray(temperature, np.float64)[..., None]
  weights = np.exp(powers)
  return weights / weights.sum(-1, keepdims=True)


def fit_temperature(probabilities, actions) -> float:
  """The temperature in .05 to 20 that makes the true actions likeliest.

  The mean negative log-likelihood is convex in 1/T, so golden section on log T finds
  its minimum, or the end of the range where it lies beyond: about .05 if every guess
  is right, as then nothing speaks against being sure.

  Args:
    probabilities: `[n, A]`, n at least 1.
    actions: `[n]` int, the true ones.
  """
  logs = _logs(probabilities)
  true_logs = logs[np.arange(len(logs)), actions].mean()

  def loss(log_temperature: float) -> float:
    inverse = math.exp(-log_temperature)
    return np.log(np.exp(logs * inverse).sum(-1)).mean() - true_logs * inverse

  low, high = map(math.log, _TEMPERATURES)
  left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
  at_left, at_right = loss(left), loss(right)
  for _ in range(_ROUNDS):
    if at_left < at_right:
      high, right, at_right = right, left, at_left
      left = high - _GOLDEN * (high - low)
      at_left = loss(left)
    else:
      low, left, at_left = left, right, at_right
      right = low + _GOLDEN * (high - low)
      at_right = loss(right)
  return math.exp((low + high) / 2)


def crosswise(probabilities, actions, units, seed: int) -> Temperatures:
  """Fits a temperature on either half of the units, to judge the other half with.

  Of an odd number of units the second half has one more.

  Args:
    probabilities: `[n, A]`, untempered.
    actions: `[n]` int, the true ones.
    units: `[n]` int, transitions of one unit are never in different halves
      (`intervals.units_of`).
    seed: deals the units into halves.
  """
  names, units = np.unique(units, return_inverse=True)
  if len(units) < FEWEST_TRANSITIONS or len(names) < FEWEST_UNITS:
    return Temperatures(1.0, np.ones(len(units)), False)
  probabilities, actions = np.asarray(probabilities), np.asarray(actions)
  dealt = np.random.default_rng(seed).permutation(len(names))
  is_first = (dealt < len(names) // 2)[units]
  temperatures = np.zeros(len(units))
  for half in (is_first, ~is_first):
    temperatures[half] = fit_temperature(probabilities[~half], actions[~half])
  return Temperatures(fit_temperature(probabilities, actions), temperatures, True)


def reliability(confidence, right, num_bins: int = 15) -> Curve:
  """How often guesses are right, by how sure they are.

  Args:
    confidence: `[n]` in [0, 1].
    right: `[n]` bool.
    num_bins: equally wide; Guo et al. (2017) use 15.
  """
  confidence, right = np.asarray(confidence, np.float64), np.asarray(right)
  bins = _bins(confidence, num_bins)
  counts = np.bincount(bins, minlength=num_bins)
  filled = np.flatnonzero(counts)
  counts = counts[filled]
  return Curve(
    filled / num_bins,
    counts,
    np.bincount(bins, confidence, num_bins)[filled] / counts,
    np.bincount(bins, right, num_bins)[filled] / counts,
  )


def calibration_error(confidence, right, num_bins: int = 15) -> float:
  """Mean gap between confidence and accuracy over the bins of `reliability`.

  The rule of `losses.expected_calibration_error`, in float64; 0 for no transitions.
  """
  curve = reliability(confidence, right, num_bins)
  gaps = np.abs(curve.accuracy - curve.confidence)
  return float((curve.counts * gaps).sum() / max(curve.counts.sum(), 1))


def error_floor(confidence, seed: int, num_bins: int = 15, num_draws: int = 200):
  """The calibration error that a perfect model would show with these confidences.

  With few transitions a bin's accuracy is off by chance, so the error of no model is 0.
  The mean error of draws in which each guess is right with just the probability that it
  claims (ours); transitions are drawn independently, so of correlated ones the floor
  lies higher than this.

  Args:
    confidence: `[n]` in [0, 1].
    seed: of the draws.
    num_bins: as in `calibration_error`.
    num_draws: how many.
  """
  confidence = np.asarray(confidence, np.float64)
  random = np.random.default_rng(seed)
  errors = [
    calibration_error(confidence, random.random(len(confidence)) < confidence, num_bins)
    for _ in range(num_draws)
  ]
  return float(np.mean(errors))


def _logs(probabilities) -> np.ndarray:
  """Logarithms of `[..., A]` probabilities, the greatest of each row moved to 0."""
  logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))
  return logs - logs.max(-1, keepdims=True)


def _bins(confidence: np.ndarray, num_bins: int) -> np.ndarray:
  return np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
