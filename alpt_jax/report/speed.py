"""How many steps a method needs to reach what its baseline ends at.

The paper's "twice as fast" (section 5.6), made a number: the baseline's steps to its
own final mean, divided by the method's steps to the same figure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alpt_jax.report import pairs
from alpt_jax.report.runs import Run, value_of
from alpt_jax.report.tables import spread

Pairs = Mapping[tuple[str, int], tuple[Run, Run]]


class Speed(NamedTuple):
  """How many times as fast a method is, over seeds.

  Whoever never reaches the figure is censored: all that is known is that it takes
  more steps than it was trained for. Such a baseline counts with its last step, so
  the ratio is at least what is said. Such a method has no lowest ratio, so the
  interval begins at 0; its highest, the one with its own last step, still counts
  towards the upper end. Where neither reaches it, the ratio counts as 1.

  Attributes:
    ratio: geometric mean over seeds; above 1 the method is faster.
    low: lower end of the 95 % interval, Student's on logarithms; 0 as said above.
    high: its upper end; infinite where a baseline was censored.
    num_late: pairs in which the method never reached the figure.
    num_baseline_late: pairs in which the baseline never did.
  """

  ratio: float
  low: float
  high: float
  num_late: int
  num_baseline_late: int


def steps_to_reach(run: Run, metric: str, wanted: float) -> float | None:
  """The first step at which a metric is at least `wanted`; None if it never is.

  Between two evaluations it is taken for a straight line. What it was before the
  first one nobody knows, so that one's own step stands for a figure reached there.
  A step below 1 counts as 1.
  """
  before = None
  for step, value in _curve(run, metric):
    if value >= wanted:
      if before is not None:
        first, low = before
        step = first + (step - first) * (wanted - low) / (value - low)
      return max(1.0, step)
    before = step, value
  return None


def has_curves(both: Pairs, metric: str) -> bool:
  """Whether every run of the pairs was evaluated at two steps at least."""
  return all(len(_curve(run, metric)) > 1 for pair in both.values() for run in pair)


def compare_speed(both: Pairs, metric: str) -> Speed:
  """Ratio of the baseline's steps to the method's, with its interval.

  The figure to reach is, for each target, the mean over the pairs' seeds of the
  baseline's last evaluations. A seed's ratio is the geometric mean over its targets.

  Args:
    both: (target, seed) -> (the method's run, the baseline's), every seed with
      every target and two seeds at least; all measured the metric.
    metric: key of the evaluation rows.
  """
  logs, late, baseline_late = {}, 0, 0
  for (target, seed), (ours, theirs) in both.items():
    finals = [
      value_of(b.last, metric) for (t, _), (_, b) in both.items() if t == target
    ]
    wanted = spread(finals).mean
    own, other = (steps_to_reach(run, metric, wanted) for run in (ours, theirs))
    late += own is None
    baseline_late += other is None
    logs[target, seed] = _log_ratio(own, other, _end(ours), _end(theirs))
  found = pairs.student_interval(pairs.seed_means(logs))
  return Speed(
    ratio=math.exp(found.mean),
    low=0.0 if late else math.exp(found.low),
    high=math.inf if baseline_late else math.exp(found.high),
    num_late=late,
    num_baseline_late=baseline_late,
  )


def _log_ratio(own: float | None, other: float | None, end: int, other_end: int):
  if own is None and other is None:
    return 0.0
  return math.log(
    (other_end if other is None else other) / (end if own is None else own)
  )


def _end(run: Run) -> int:
  return max(1, run.last['step'])


def _curve(run: Run, metric: str) -> Sequence[tuple[int, float]]:
  points = [(row['step'], value_of(row, metric)) for row in run.evaluations]
  return [(step, value) for step, value in points if value is not None]
