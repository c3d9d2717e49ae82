"""What a few held-out labels say of all guesses, with 95 % intervals; plain numpy.

The audit part is n transitions whose recorded action was kept from the model. Moments
of one recording are alike, so n of them say less than n throws of a coin: everything
here counts in units, recordings or stretches of them, and takes only those for
independent. The fewer units, the wider the interval.
"""

import math
from typing import NamedTuple

import numpy as np

from alpt_jax.report.pairs import student_quantile

# Ours: in fewer units their spread is not known well enough to build on.
FEWEST_UNITS = 4

# The 97.5 % quantile of the normal distribution.
_NORMAL = 1.96


class Share(NamedTuple):
  """A share of transitions and the ends of its 95 % interval, all in [0, 1]."""

  estimate: float
  low: float
  high: float
  num: int  # audited transitions that it rests on
  units: int  # that they lie in


class Effect(NamedTuple):
  """How much less n transitions say than n independent ones: the design effect.

  Attributes:
    value: n transitions are worth `n / value`; at least 1.
    units: that it was found in.
  """

  value: float
  units: int


class Audit(NamedTuple):
  """What the model said of n held-out transitions, and whether it was right.

  Attributes:
    right: `[n]` bool.
    confidence: `[n]` in [0, 1], of a temperature that was not fitted on the same
      transition (`calibration.Temperatures.crosswise`).
    units: `[n]` int.
  """

  right: np.ndarray
  confidence: np.ndarray
  units: np.ndarray


class Units(NamedTuple):
  """Which transitions are taken for independent of which."""

  units: np.ndarray  # [n] int64, numbered from 0
  basis: str  # 'recording', 'episode' or 'stretch'


def units_of(
  recordings,
  episodes,
  steps,
  num_recordings: int,
  num_episodes: int,
  segment_length: int,
) -> Units:
  """Whole recordings as units where the audit can afford it, else parts of them.

  A recording has its own luck: the player, the level, the light. Where the audit
  leaves recordings out, it must learn from its own how much they differ; taking
  stretches for independent would then give intervals that cover the truth half the
  time instead of 95 %. That needs at least 4 recordings. Where it touches all of them,
  no other recording's luck is asked for, and parts serve better. With fewer than 4 out
  of more there is no honest choice: parts are taken, and whoever shows the interval
  must say so (basis 'episode' or 'stretch'). Which parts goes by the same rule: an
  episode has its own luck, too. The rule is ours.

  Args:
    recordings: `[n]` int, the recording (file) that each audited transition is of.
    episodes: `[n]` int, its episode.
    steps: `[n]` int, its place there; ascending within an episode, episodes one
      behind the other.
    num_recordings, num_episodes: of the whole dataset.
    segment_length: transitions in a row that count as one stretch at most; 0: as many
      as there are.
  """
  recordings, episodes, steps = map(np.asarray, (recordings, episodes, steps))
  for basis, of, num in (
    ('recording', recordings, num_recordings),
    ('episode', episodes, num_episodes),
  ):
    names, units = np.unique(of, return_inverse=True)
    if FEWEST_UNITS <= len(names) < num:
      return Units(units, basis)
  return Units(stretches_of(episodes, steps, segment_length), 'stretch')


def stretches_of(episodes, steps, segment_length: int) -> np.ndarray:
  """`[n]` int64, the number of the stretch that each transition is of, from 0.

  Args:
    episodes, steps, segment_length: as in `units_of`.
  """
  episodes, steps = np.asarray(episodes), np.asarray(steps)
  starts = np.ones(len(steps), bool)
  starts[1:] = (episodes[1:] != episodes[:-1]) | (steps[1:] != steps[:-1] + 1)
  if segment_length:
    places = np.arange(len(steps))
    begin = np.maximum.accumulate(np.where(starts, places, 0))
    starts |= (places - begin) % segment_length == 0
  return np.cumsum(starts) - 1


def design_effect(right, units) -> Effect:
  """The variance of a share over its units, beside that of independent transitions.

  1 where the units differ less than chance alone would let them, and where all or none
  are right.

  Args:
    right: `[n]` bool, n at least 1.
    units: `[n]` int.
  """
  right = np.asarray(right, np.float64)
  share, variance, num_units = clustered_mean(right, units)
  independent = share * (1 - share) / len(right)
  if num_units < 2 or not independent:
    return Effect(1.0, num_units)
  return Effect(max(1.0, variance / independent), num_units)


def clustered_share(right, units, whole: Effect | None = None) -> Share:
  """A share of transitions that come in units of like ones.

  Wilson's interval with the effective number of transitions,
  `n / design effect * (1.96 / t)^2`, t Student's quantile for one degree of freedom
  less than there are units. Unlike estimate and standard error it has a width where all
  are right. After Korn and Graubard (1998), "Confidence intervals for proportions with
  small expected number of positive counts estimated from survey data", who put that
  number into Clopper and Pearson's interval.

  Args:
    right: `[n]` bool.
    units: `[n]` int.
    whole: of a larger sample that this is a part of. Its effect is taken where this
      one lies in under 4 units or all or none are right, so that its own says nothing;
      but no more than n transitions say less if those of a unit are all the same.

  Returns:
    The share; 0 to 1 for one unit without `whole`, and around NaN for n = 0.
  """
  right, units = np.asarray(right, np.float64), np.asarray(units)
  num = len(right)
  if not num:
    return Share(math.nan, 0.0, 1.0, 0, 0)
  share, effect = float(right.mean()), design_effect(right, units)
  num_units = effect.units
  if whole is not None and (num_units < FEWEST_UNITS or share in (0.0, 1.0)):
    most = float((np.unique(units, return_counts=True)[1] ** 2).sum() / num)
    effect = Effect(min(whole.value, most), whole.units)
  if effect.units < 2:
    return Share(share, 0.0, 1.0, num, num_units)
  effective = num / effect.value * (_NORMAL / student_quantile(effect.units - 1)) ** 2
  return Share(share, *_wilson(share, effective), num, num_units)


def estimated_accuracy(audit: Audit, sure_mean: float, num_unlabelled: int) -> Share:
  """The share of right guesses among the transitions whose action nobody recorded.

  The mean confidence of all of them, corrected by what confidence lacks on the audit
  part: prediction-powered inference (Angelopoulos et al. 2023, Science 382). The
  confidence need not be calibrated for it; if it is, and if the unlabelled part is
  harder than the audited one and the model knows, the estimate follows. With a
  temperature fitted crosswise it is cross-prediction (Zrnic and Candes 2024, PNAS 121),
  but that the unlabelled part has one temperature, fitted on all of the audit, instead
  of the mean over the halves': simulated, the intervals were the same.

    estimate = sure_mean + r,  r = mean(right - confidence) over the audit part
    variance = V (1 + n / num_unlabelled)

  V is the cluster-robust variance of r over the units; the factor is there since the
  truth is a mean over these `num_unlabelled` transitions, not over a wider world. V is
  at least what a perfect model's would be whose confidences count two right and two
  wrong guesses more (after Agresti and Coull 1998): else an audit without a mistake had
  an interval without a width. The interval is Wilson's around the estimate, with as
  many transitions as would give that variance, and Student's t for 1.96 as in
  `clustered_share`. Both rules are ours; the published interval, estimate -+ t standard
  errors, covered a share of .967 in 91 % of 400 simulated draws, this one in 94 %.

  Args:
    audit: of n transitions, drawn by chance or by recordings; n at least 1.
    sure_mean: mean confidence over the unlabelled part, in [0, 1], tempered as the
      audit's but for the halves: by what was fitted on all of it.
    num_unlabelled: transitions of it, at least 1.

  Returns:
    The estimate and its interval; 0 to 1 for one unit.
  """
  right, confidence = (np.asarray(a, np.float64) for a in audit[:2])
  num = len(right)
  lacks, variance, num_units = clustered_mean(right - confidence, audit.units)
  estimate = min(max(float(sure_mean) + lacks, 0.0), 1.0)
  if num_units < 2:
    return Share(estimate, 0.0, 1.0, num, num_units)
  variance = max(variance, _doubted(confidence, num).mean() / num)
  variance *= 1 + num / num_unlabelled
  worth = _doubted(estimate, num) / variance
  effective = worth * (_NORMAL / student_quantile(num_units - 1)) ** 2
  return Share(estimate, *_wilson(estimate, effective), num, num_units)


def _doubted(share, num: int):
  """The variance of one throw, of a share of `num` to which two of each are added."""
  share = (num * share + 2) / (num + 4)
  return share * (1 - share)


def clustered_mean(values: np.ndarray, units) -> tuple[float, float, int]:
  """Mean of `[n]` values, its cluster-robust variance (0 for one unit), and the units.

  The variance is that of a ratio of totals, the unit's sum over its number:
  `m / (m - 1) sum_g (s_g - mean n_g)^2 / n^2`.
  """
  names, units = np.unique(units, return_inverse=True)
  mean, num_units = float(values.mean()), len(names)
  if num_units < 2:
    return mean, 0.0, num_units
  spread = np.bincount(units, values - mean)
  scale = num_units / (num_units - 1)
  return mean, float(scale * (spread**2).sum() / len(values) ** 2), num_units


def _wilson(share: float, num: float) -> tuple[float, float]:
  """Wilson's 95 % interval of a share of `num` independent ones."""
  squared = _NORMAL**2 / num
  centre = (share + squared / 2) / (1 + squared)
  spread = math.sqrt(share * (1 - share) / num + squared / (4 * num))
  half = _NORMAL * spread / (1 + squared)
  # At 0 and 1 the end is exact but for rounding.
  return max(0.0, centre - half), min(1.0, centre + half)
