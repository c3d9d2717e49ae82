"""How many steps a method needs to reach what its baseline ends at.

The paper's "twice as fast" (section 5.6), made a number: the steps that the baseline
of a pair took to its own last figure, divided by the method's steps to that figure.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from alpt_jax.report import pairs
from alpt_jax.report.runs import Run, points, value_of

Pairs = Mapping[tuple[str, int], tuple[Run, Run]]


class Speed(NamedTuple):
  """How many times as fast a method is, over seeds.

  A baseline always reaches the figure, which is its own. A method that never does is
  censored: all that is known is that it takes more steps than it was trained for. It
  has no lowest ratio, so the interval begins at 0; its highest, the one with its own
  last step, still counts towards the mean and the upper end.

  Attributes:
    ratio: geometric mean over seeds; above 1 the method is faster.
    low: lower end of the 95 % interval, Student's on logarithms; 0 as said above.
    high: its upper end.
    num_late: pairs in which the method never reached the figure.
  """

  ratio: float
  low: float
  high: float
  num_late: int


def steps_to_reach(run: Run, metric: str, wanted: float) -> float | None:
  """The first step at which a metric is at least `wanted`; None if it never is.

  Between two evaluations it is taken for a straight line. What it was before the
  first one nobody knows, so that one's own step stands for a figure reached there.
  A step below 1 counts as 1.
  """
  before = None
  for step, value in points(run, metric):
    if value >= wanted:
      if before is not None:
        first, low = before
        step = first + (step - first) * (wanted - low) / (value - low)
      return max(1.0, step)
    before = step, value
  return None


def has_curves(both: Pairs, metric: str) -> bool:
  """Whether every run of the pairs was evaluated at two steps at least."""
  return all(len(points(run, metric)) > 1 for pair in both.values() for run in pair)


def compare_speed(both: Pairs, metric: str) -> Speed:
  """Ratio of the baseline's steps to the method's, with its interval.

  The figure to reach is that of the pair's own baseline at its last evaluation. A
  seed's ratio is the geometric mean over its targets.

  Args:
    both: (target, seed) -> (the method's run, the baseline's), every seed with
      every target and two seeds at least; the last evaluations measured the metric.
    metric: key of the evaluation rows.
  """
  logs, late = {}, 0
  for key, (ours, theirs) in both.items():
    wanted = value_of(theirs.last, metric)
    own = steps_to_reach(ours, metric, wanted)
    late += own is None
    steps = max(1, ours.last['step']) if own is None else own
    logs[key] = math.log(steps_to_reach(theirs, metric, wanted) / steps)
  found = pairs.student_interval(pairs.seed_means(logs))
  low = 0.0 if late else math.exp(found.low)
  return Speed(math.exp(found.mean), low, math.exp(found.high), late)
