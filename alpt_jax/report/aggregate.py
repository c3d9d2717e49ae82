"""Figures over all targets of an experiment: means, and interquartile means.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021): the interquartile mean is the mean of the middle half of
all (seed, target) figures; its interval resamples the seeds of each target, a
stratum, and keeps the targets. Their library `rliable` computes both. Ours: with
one target there is one stratum, and the bootstrap is the plain one over its seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alpt_jax.errors import UserError
from alpt_jax.report import pairs
from alpt_jax.report.grid import Grid, section_kinds
from alpt_jax.report.measures import METRICS, PUBLISHED, number_text
from alpt_jax.report.runs import (
  Run,
  counted_runs,
  group_runs,
  labels_rank,
  method_rank,
  value_of,
)
from alpt_jax.report.tables import (
  Spread,
  TableRow,
  final_table,
  format_labels,
  format_spread,
  reference_by_seed,
  reference_rows,
  spread,
)

TITLE = 'Over seeds and targets'
# Resamples; 2,000 move the ends by less than a tenth of the interval (ours).
_REPETITIONS = 2000
_ESTIMATED = (
  *('success_sampled', 'score', 'score_human_normalised'),
  *('idm_accuracy', 'idm_accuracy_merged'),
)
_MEAN = 'mean of'
_HEADINGS = (
  *('metric', 'labels', 'method', 'targets', 'seeds', 'mean', '95 % of the mean'),
  *('interquartile mean', '95 % of it'),
)
_WORDS = ('metric', 'method')


class Estimate(NamedTuple):
  """What a method reached at a label budget, over all targets of an experiment.

  Attributes:
    experiment: its experiment.
    labels: number of labels or 'all'.
    method: its name.
    metric: key of the evaluation rows.
    num_targets: that each seed's figure is the mean of.
    spread: over seeds.
    interval: Student's, of that mean.
    middle: the interquartile mean with its bootstrap interval.
  """

  experiment: str
  labels: int | str
  method: str
  metric: str
  num_targets: int
  spread: Spread
  interval: pairs.Interval
  middle: pairs.Interval


def targets_of(runs: Iterable[Run]) -> dict[str, list[str]]:
  """Experiment -> its targets; a pretraining's is not one of them by itself."""
  targets, only_pretrained = {}, {}
  for run in runs:
    table = only_pretrained if run.is_pretraining else targets
    table.setdefault(run.experiment, set()).add(run.target)
  return {name: sorted(found) for name, found in {**only_pretrained, **targets}.items()}


def is_mean(target: str) -> bool:
  """Whether a row's target stands for several."""
  return target.startswith(_MEAN)


def over_targets(runs: Sequence[Run]) -> list[TableRow]:
  """The final table with the targets of an experiment averaged.

  Experiments with one target keep their rows. Elsewhere a seed's figure is its mean
  over all targets, and the spread is over seeds that have all of them. Methods that
  were not run on every target are left out; so are raw scores, which every game
  counts in its own unit.
  """
  rows = []
  for experiment, targets in targets_of(runs).items():
    own = [run for run in runs if run.experiment == experiment]
    rows += final_table(own) if len(targets) == 1 else _mean_rows(own, targets)
  return rows


def _mean_rows(runs: Sequence[Run], targets: Sequence[str]) -> list[TableRow]:
  name = f'{_MEAN} {len(targets)} targets'
  groups, counted, rows = {}, {}, []
  by_method = group_runs(runs)
  for (_, target, labels, method), group in _ranked_without_target(by_method):
    groups.setdefault((labels, method), {})[target] = group
    counted.setdefault(target, []).extend(counted_runs(group))
  for (labels, method), group in groups.items():
    if set(group) >= set(targets):
      rows.append(_mean_row(name, labels, method, group))

  def spread_fn(key):
    if key in PUBLISHED:
      return None  # raw scores
    tables = {target: reference_by_seed(counted[target], key) for target in targets}
    return _mean_spread(
      {(t, seed): value for t in targets for seed, value in tables[t].items()}, targets
    )

  return rows + reference_rows(runs[0].experiment, name, spread_fn)


def _ranked_without_target(by_method: Mapping[tuple, list[Run]]) -> list[tuple]:
  """The groups of `group_runs`, those that differ by their target side by side."""

  def rank(item):
    (experiment, _, labels, _), group = item
    return experiment, labels_rank(labels), method_rank(group[0])

  return sorted(by_method.items(), key=rank)


def _mean_row(name: str, labels, method: str, group: Mapping) -> TableRow:
  counted = [run for own in group.values() for run in counted_runs(own)]
  every = [run for own in group.values() for run in own]
  spreads = {
    metric: _mean_spread(_values(counted, metric), group)
    for metric in METRICS
    if metric != 'score'
  }
  seeds = _seeds([(run.target, run.seed) for run in counted], group)
  left_out = len({run.seed for run in every}) - len(seeds)
  note = f'seeds left out as a target is missing: {left_out}' if left_out else ''
  if not all(run.is_finished for run in counted):
    note = 'not finished'
  return TableRow(
    experiment=every[0].experiment,
    target=name,
    labels=labels,
    method=method,
    num_seeds=len(seeds),
    steps=tuple(sorted({run.last['step'] for run in counted})) if seeds else (),
    spreads={metric: found for metric, found in spreads.items() if found},
    note=note,
    is_pretraining=every[0].is_pretraining,
  )


def _values(runs: Iterable[Run], metric: str) -> dict[tuple[str, int], float]:
  found = {(run.target, run.seed): value_of(run.last, metric) for run in runs}
  return {key: value for key, value in found.items() if value is not None}


def _seeds(keys: Iterable[tuple[str, int]], targets: Iterable[str]) -> list[int]:
  """Seeds that have all the targets; [] where a target has none."""
  keys = list(keys)
  if {target for target, _ in keys} != set(targets):
    return []
  return pairs.complete_seeds(keys)


def _mean_spread(values: Mapping, targets: Iterable[str]) -> Spread | None:
  return spread(pairs.seed_means(values) if _seeds(values, targets) else [])


def estimates(runs: Sequence[Run]) -> list[Estimate]:
  """Every method's figures at every budget, from three finished seeds upwards.

  Raises:
    UserError: `rliable` cannot be imported.
  """
  found = []
  targets = targets_of(runs)
  groups = {}
  finished = [run for run in runs if run.is_finished and not run.is_pretraining]
  for (experiment, _, labels, method), group in _ranked_without_target(
    group_runs(finished)
  ):
    groups.setdefault((experiment, labels, method), []).extend(group)
  for metric in _ESTIMATED:
    for (experiment, labels, method), group in groups.items():
      own = targets[experiment]
      if metric == ('score' if len(own) > 1 else 'score_human_normalised'):
        continue
      values = _values(group, metric)
      seeds = _seeds(values, own)
      if len(seeds) >= pairs.FEWEST_SEEDS:
        means = spread(pairs.seed_means(values))
        matrix = tuple(tuple(values[t, seed] for t in own) for seed in seeds)
        found.append(
          Estimate(
            *(experiment, labels, method, metric, len(own), means),
            pairs.student_interval(means.values),
            interquartile_mean(matrix),
          )
        )
  return found


def interquartile_mean(matrix: tuple[tuple[float, ...], ...]) -> pairs.Interval:
  """The interquartile mean and its 95 % stratified bootstrap interval.

  Args:
    matrix: one row per seed, each with one figure per target.

  Raises:
    UserError: `rliable` cannot be imported.
  """
  try:
    from rliable import library, metrics
  except Exception as error:  # beside a wrong pandas its import fails as TypeError
    raise UserError(
      f'rliable: expected the library of interval estimates, found {error!r}. '
      'Install it: pip install -c constraints.txt -e .'
    ) from error
  import numpy as np

  scores = np.array(matrix)
  # rliable 1.2 draws from numpy's global state, whatever `random_state` it is given.
  state = np.random.get_state()
  np.random.seed(0)
  try:
    low, high = library.StratifiedBootstrap(scores).conf_int(
      metrics.aggregate_iqm, reps=_REPETITIONS, size=0.95, method='percentile'
    )
  finally:
    np.random.set_state(state)
  return pairs.Interval(metrics.aggregate_iqm(scores).item(), low.item(), high.item())


def grid(runs: Sequence[Run]) -> Grid | None:
  """The estimates as a table; None where no method has three finished seeds.

  Raises:
    UserError: `rliable` cannot be imported.
  """
  found = estimates(runs)
  several = len({each.experiment for each in found}) > 1
  cells = [_cells(each, several) for each in found]
  headings = list(_HEADINGS)
  if all(each.num_targets == 1 for each in found):
    column = headings.index('targets')
    cells = [row[:column] + row[column + 1 :] for row in cells]
    del headings[column]
  sections = section_kinds([(each.metric, each.experiment) for each in found])
  return Grid(headings, cells, _WORDS, sections, _BASIS) if cells else None


def _cells(found: Estimate, several: bool) -> list[str]:
  def ends(interval):
    low, high = (
      number_text(found.metric, end, beside=found.spread.mean) for end in interval[1:]
    )
    return f'{low} to {high}'

  return [
    (f'{found.experiment}: ' if several else '') + METRICS[found.metric],
    format_labels(found.labels),
    found.method,
    str(found.num_targets),
    str(len(found.spread.values)),
    format_spread(found.spread, found.metric),
    ends(found.interval),
    number_text(found.metric, found.middle.mean),
    ends(found.middle),
  ]


_BASIS = (
  'mean over targets of each seed, ± sample standard deviation over seeds, with its '
  'Student interval; interquartile mean of all seeds and targets, with its bootstrap '
  'interval (targets are the strata), which few seeds make too narrow'
)
