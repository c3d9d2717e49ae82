"""How far ALPT and its baseline lie apart, seed by seed."""

from collections.abc import Sequence
from typing import NamedTuple

from alpt_jax.report import pairs
from alpt_jax.report.grid import Grid, section_kinds
from alpt_jax.report.measures import METRICS, number_text
from alpt_jax.report.runs import Run, group_runs, part_names, value_of
from alpt_jax.report.tables import format_labels

TITLE = 'Paired differences'
BASELINE = 'DT1-IDM'
_COMPARED = ('success_sampled', 'score', 'idm_accuracy', 'idm_accuracy_merged')

_HEADINGS = ('labels', 'difference', 'metric', 'pairs', 'mean', '95 % interval', 'each')
_WORDS = ('difference', 'metric', 'each')


class Difference(NamedTuple):
  """A metric of one method minus the same metric of the baseline, over seeds.

  Attributes:
    experiment: its experiment.
    target: its target environment.
    labels: number of labels.
    method: the method that the baseline is subtracted from.
    metric: key of the evaluation rows.
    seeds: of the pairs, ascending.
    values: one difference per pair, in the order of `seeds`.
    interval: of their mean.
  """

  experiment: str
  target: str
  labels: int | str
  method: str
  metric: str
  seeds: tuple[int, ...]
  values: tuple[float, ...]
  interval: pairs.Interval


def paired_differences(runs: Sequence[Run]) -> list[Difference]:
  """Each ALPT method minus DT1-IDM for each target and budget, in report order.

  A pair is two finished runs of one experiment, target, budget and seed, each with
  its last evaluation (`pairs.find_pairs`). With fewer than three pairs nothing is
  said.
  """
  groups = group_runs(runs)
  found = []
  for (experiment, target, labels, method), group in groups.items():
    if not method.startswith('ALPT') or group[0].is_pretraining:
      continue
    baseline = groups.get((experiment, target, labels, BASELINE), [])
    both = pairs.find_pairs(group, baseline)
    for metric in _COMPARED:
      by_seed = {seed: _minus(*pair, metric) for (_, seed), pair in both.items()}
      by_seed = {seed: value for seed, value in by_seed.items() if value is not None}
      if len(by_seed) >= pairs.FEWEST_SEEDS:
        seeds, values = zip(*sorted(by_seed.items()), strict=True)
        interval = pairs.student_interval(values)
        names = experiment, target, labels, method, metric
        found.append(Difference(*names, seeds, values, interval))
  return found


def _minus(ours: Run, theirs: Run, metric: str) -> float | None:
  values = value_of(ours.last, metric), value_of(theirs.last, metric)
  return None if None in values else values[0] - values[1]


def _cells(found: Difference, part: str) -> list[str]:
  largest = max(map(abs, found.values))

  def text(value):
    return number_text(found.metric, value, beside=largest, sign='+')

  return [
    format_labels(found.labels),
    (f'{part}: ' if part else '') + f'{found.method} - {BASELINE}',
    METRICS[found.metric],
    str(len(found.values)),
    text(found.interval.mean),
    f'{text(found.interval.low)} to {text(found.interval.high)}',
    ' '.join(text(value) for value in found.values),
  ]


def grid(runs: Sequence[Run]) -> Grid | None:
  """The differences as a table; None without pairs."""
  differences = paired_differences(runs)
  names = part_names((found.experiment, found.target) for found in differences)
  cells = [
    _cells(found, names[found.experiment, found.target]) for found in differences
  ]
  sections = section_kinds([(found.experiment, found.target) for found in differences])
  return Grid(_HEADINGS, cells, _WORDS, sections, _BASIS) if cells else None


_BASIS = (
  'last evaluations of runs that share seed and label draw; two-sided 95 % Student '
  'interval of the mean; each pair, seeds ascending'
)
