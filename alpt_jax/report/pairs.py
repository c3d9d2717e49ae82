"""Runs that share everything but their method, and intervals over their seeds.

Runs of one seed share the draw of the labels, so what lies between them leaves out
what a lucky or unlucky draw does to both; the spread of two separate means does not.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alpt_jax.report.runs import Run

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom: NIST/SEMATECH,
# e-Handbook of Statistical Methods, section 1.3.6.7.2. That the table stops at 30,
# and that the normal distribution's 1.96 stands for more, is ours.
_STUDENT = (
  *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
  *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
  *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.96

# Ours: an interval from two seeds is twelve standard errors wide, and says nothing.
FEWEST_SEEDS = 3


class Interval(NamedTuple):
  """A mean and the ends of its two-sided 95 % interval.

  Student's of a mean over seeds, or the bootstrap's of an interquartile mean: whoever
  makes one says which.
  """

  mean: float
  low: float
  high: float


def student_quantile(freedom: int) -> float:
  """The 97.5 % quantile of Student's t; 1.96 above 30 degrees of freedom."""
  return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL


def student_interval(values: Sequence[float]) -> Interval:
  """Student's interval of the mean of independent values; at least two."""
  mean = statistics.fmean(values)
  error = statistics.stdev(values) / math.sqrt(len(values))
  half_width = student_quantile(len(values) - 1) * error
  return Interval(mean, mean - half_width, mean + half_width)


def find_pairs(
  ours: Iterable[Run], theirs: Iterable[Run]
) -> dict[tuple[str, int], tuple[Run, Run]]:
  """(target, seed) -> a run of either side, both finished and evaluated.

  Two runs whose label files differ are no pair, unless their numbers of labels do
  (an oracle knows all): they would not share the draw that the pairing is for.

  Args:
    ours: of one experiment, at most one run for each target and seed.
    theirs: the same of what they are compared with.
  """
  others = {(run.target, run.seed): run for run in theirs if _counts(run)}
  pairs = {(run.target, run.seed): run for run in ours if _counts(run)}
  pairs = {key: (run, others[key]) for key, run in pairs.items() if key in others}
  return {key: pair for key, pair in sorted(pairs.items()) if _share_draw(*pair)}


def _counts(run: Run) -> bool:
  return run.is_finished and bool(run.evaluations)


def _share_draw(ours: Run, theirs: Run) -> bool:
  if ours.labels != theirs.labels:
    return True
  return ours.identity.get('label_hash') == theirs.identity.get('label_hash')


def complete_seeds(keys: Iterable[tuple[str, int]]) -> list[int]:
  """The seeds that every target has, ascending, of keys (target, seed)."""
  seeds = {}
  for target, seed in keys:
    seeds.setdefault(target, set()).add(seed)
  return sorted(set.intersection(*seeds.values())) if seeds else []


def seed_means(values: Mapping[tuple[str, int], float]) -> list[float]:
  """The mean over targets of each complete seed, seeds ascending.

  Runs of one seed may share a pretraining (section 5.4 of the paper), so the seed,
  not the run, is what is independent: intervals are taken over these means. A seed
  that lacks a target is left out, as its mean would be one over easier or harder
  targets.
  """
  targets = sorted({target for target, _ in values})
  return [
    statistics.fmean(values[target, seed] for target in targets)
    for seed in complete_seeds(values)
  ]
