"""The paper's claims beside our figures: reproduced, not, or not testable.

`experiment.json` (experiment.py) names the sentences; the verdicts follow from the
figures by rules that stand here, in `_judge`.
"""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alpt_jax.errors import UserError
from alpt_jax.report import pairs, speed
from alpt_jax.report.experiment import Claim, Experiment, Planned
from alpt_jax.report.measures import is_share
from alpt_jax.report.runs import ALL_LABELS, Run, labels_rank, value_of
from alpt_jax.report.tables import replace_file, spread

REPRODUCED, OPPOSITE = 'reproduced', 'opposite'
NOT_REPRODUCED, NOT_TESTABLE = 'not reproduced', 'not testable'

# Ours: of a share, or of the way from random play to a human's score. Figures that
# lie closer are one: to a floor, to a ceiling, and for 'not_lower' to each other.
MARGIN = 0.02


class Finding(NamedTuple):
  """What our runs say of a claim at one label budget; a row of `claims.csv`.

  Attributes:
    claim: the claim.
    labels: the budget; None where no run has one.
    metric: that was compared: normalised scores where games are several.
    targets: of the pairs, sorted.
    num_seeds: that have all these targets.
    mean: of the method over the pairs; None without a pair.
    mean_over: of what it is compared with.
    effect: difference of the two, or how many times as fast; None if unknown.
    low: lower end of its 95 % interval.
    high: upper end.
    verdict: in words, see above.
    reason: why it is not testable, or what limits the figures; '' normally.
  """

  claim: Claim
  labels: int | str | None
  metric: str
  targets: tuple[str, ...] = ()
  num_seeds: int = 0
  mean: float | None = None
  mean_over: float | None = None
  effect: float | None = None
  low: float | None = None
  high: float | None = None
  verdict: str = NOT_TESTABLE
  reason: str = ''


def find(experiments: Sequence[Experiment], runs: Sequence[Run]) -> list[Finding]:
  """Tests every claim of every experiment on the runs that lie beside its file.

  Raises:
    UserError: the runs are of another experiment.
  """
  findings = []
  for experiment in experiments:
    beside = [r for r in runs if r.folder.is_relative_to(experiment.path.parent)]
    own = [run for run in beside if run.experiment == experiment.name]
    if experiment.claims and beside and not own:
      raise UserError(
        f'{experiment.path}, field name: expected the experiment of the runs beside '
        f'it, {beside[0].experiment!r}, found {experiment.name!r}. Correct the name.'
      )
    # A run that failed at once is planned and left no more; runs of a file that lists
    # none, or of a larger sweep before, are there and not planned.
    wanted = [*experiment.planned, *own]
    findings += [
      _test(claim, labels, own, wanted)
      for claim in experiment.claims
      for labels in _budgets(claim, wanted)
    ]
  return findings


def _budgets(claim: Claim, wanted: Sequence[Run | Planned]) -> list[int | str | None]:
  """The label budgets at which both sides are run, [None] if there is none."""
  if claim.labels is not None:
    return [claim.labels]
  sides = [
    {each.labels for each in wanted if each.method == method}
    for method in (claim.method, claim.over)
  ]
  # One that knows all labels is compared at each budget of the other.
  limited = [budgets for budgets in sides if budgets != {ALL_LABELS}] or sides
  return sorted(set.intersection(*limited), key=labels_rank) or [None]


def _test(claim: Claim, labels, runs: Sequence[Run], wanted) -> Finding:
  """What the runs say of a claim at a budget; `wanted` are all that should."""
  methods = claim.method, claim.over
  both = pairs.find_pairs(*(_side(runs, method, labels) for method in methods))
  sides = [_side(wanted, method, labels) for method in methods]
  all_targets = set.intersection(*({each.target for each in side} for side in sides))
  all_seeds = set.intersection(
    *({each.seed for each in side if each.target in all_targets} for side in sides)
  )
  metric = _comparable(claim.metric, both)
  both = {key: pair for key, pair in both.items() if _measured(pair, metric)}
  missing = sorted(all_targets - {target for target, _ in both})
  seeds = pairs.complete_seeds(both)
  both = {key: pair for key, pair in both.items() if key[1] in seeds}
  targets = tuple(sorted({target for target, _ in both}))
  finding = Finding(claim, labels, metric, targets, len(seeds))
  if both:
    ours, theirs = (_mean(both, side, metric) for side in (0, 1))
    finding = finding._replace(mean=ours, mean_over=theirs)
  reason = ''
  if not all_targets:
    reason = f'{claim.method} and {claim.over} were not both run'
  elif missing:
    names = ', '.join(filter(None, missing)) or 'the target'
    reason = f'no pair of finished runs on {names} that measured it'
  elif len(seeds) < pairs.FEWEST_SEEDS:
    what = 'seeds have all targets' if len(targets) > 1 else 'seeds'
    reason = f'{len(seeds)} {what}, {pairs.FEWEST_SEEDS} are the fewest'
  finding = finding._replace(reason=reason) if reason else _judge(finding, both)
  return _smoke(_left_out(finding, len(all_seeds)))


def _left_out(finding: Finding, num_seeds: int) -> Finding:
  """Adds how many of its seeds a finding does without."""
  if finding.num_seeds == num_seeds:
    return finding
  left_out = num_seeds - finding.num_seeds
  text = f'{left_out} of {num_seeds} seeds left out: their pairs are not complete'
  return finding._replace(reason='; '.join(filter(None, (finding.reason, text))))


def _side(runs: Sequence[Run | Planned], method: str, labels) -> list:
  """The runs of a method at a budget; all of one that knows every label."""
  own = [run for run in runs if run.method == method]
  if {run.labels for run in own} == {ALL_LABELS}:
    return own
  return [run for run in own if run.labels == labels]


def _comparable(metric: str, both: Mapping) -> str:
  """Scores of several games are compared normalised: each has a unit of its own."""
  several = len({target for target, _ in both}) > 1
  return 'score_human_normalised' if metric == 'score' and several else metric


def _measured(pair: Sequence[Run], metric: str) -> bool:
  return all(value_of(run.last, metric) is not None for run in pair)


def _mean(both: Mapping, side: int, metric: str) -> float | None:
  """Over all pairs of the runs of one side."""
  found = spread(value_of(pair[side].last, metric) for pair in both.values())
  return found.mean if found else None


def _judge(finding: Finding, both: speed.Pairs) -> Finding:
  """Adds effect, interval and verdict to a finding with pairs enough."""
  claim, metric = finding.claim, finding.metric
  margin = _margin(metric, both)
  if claim.kind == 'faster':
    if not speed.has_curves(both, metric):
      return finding._replace(reason='evaluated at one step only')
    found = speed.compare_speed(both, metric)
    finding = finding._replace(effect=found.ratio, low=found.low, high=found.high)
    if found.num_late:
      late = f'{claim.method} never got there in {found.num_late} of {len(both)} runs'
      finding = finding._replace(reason=f'{late}, so the interval has no lower end')
    # Not as many times as fast as claimed is no opposite; slower is.
    border, other_border = claim.factor, 1.0
  else:
    differences = {
      key: value_of(ours.last, metric) - value_of(theirs.last, metric)
      for key, (ours, theirs) in both.items()
    }
    ends = pairs.student_interval(pairs.seed_means(differences))
    finding = finding._replace(effect=ends.mean, low=ends.low, high=ends.high)
    border = other_border = -margin if claim.kind == 'not_lower' else 0.0
  if reason := _says_nothing(finding, both, margin):
    return finding._replace(reason=reason)
  if finding.low > border:
    return finding._replace(verdict=REPRODUCED)
  is_opposite = finding.high < other_border
  return finding._replace(verdict=OPPOSITE if is_opposite else NOT_REPRODUCED)


def _margin(metric: str, both: speed.Pairs) -> float:
  """`MARGIN` in a metric's own unit; of the compared mean if a score has no human."""
  if metric != 'score':
    return MARGIN
  human, random = (_reference(both, f'score_{name}') for name in ('human', 'random'))
  if human is None or random is None:
    return MARGIN * abs(_mean(both, 1, metric))
  return MARGIN * abs(human - random)


def _says_nothing(finding: Finding, both: speed.Pairs, margin: float) -> str:
  """Why figures at a floor or a ceiling compare nothing; '' where they do."""
  claim, metric = finding.claim, finding.metric
  means = finding.mean, finding.mean_over
  floor = _reference(both, claim.floor)
  if metric == 'score_human_normalised' and claim.floor:
    floor = 0.0  # random play, by definition
  # Whoever learnt nothing is caught up with at once: speed needs a baseline that did.
  best = finding.mean_over if claim.kind == 'faster' else max(means)
  if floor is not None and best <= floor + margin:
    who = f'{claim.over} does not pass' if claim.kind == 'faster' else 'neither passes'
    return f'{who} its floor, {claim.floor} {floor:.3g}: nothing was learnt'
  ceiling = _reference(both, claim.ceiling)
  if ceiling is None and is_share(metric):
    ceiling = 1.0
  if claim.kind != 'faster' and ceiling is not None and min(means) >= ceiling - margin:
    return f'both reach the ceiling of {ceiling:.3g}: nothing is left to differ in'
  return ''


def _reference(both: speed.Pairs, name: str | None) -> float | None:
  if name is None:
    return None
  values = [value_of(run.last, name) for pair in both.values() for run in pair]
  found = spread(values)
  return found.mean if found else None


def _smoke(finding: Finding) -> Finding:
  if finding.claim.size != 'smoke':
    return finding
  return finding._replace(verdict=NOT_TESTABLE, reason='a smoke run')


_COLUMNS = (
  *('experiment', 'size', 'paper', 'quoted', 'where', 'kind', 'factor', 'metric'),
  *(
    'method',
    'over',
    'labels',
    'targets',
    'seeds',
    'mean',
    'mean_over',
    'effect',
    'low',
    'high',
  ),
  *('verdict', 'reason'),
)


def write_csv(path: str | os.PathLike, findings: Sequence[Finding]) -> pathlib.Path:
  """Writes one row per finding; `effect` is a difference, or a ratio if 'faster'."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(_COLUMNS)
  for found in findings:
    cells: dict[str, Any] = {**found.claim._asdict(), **found._asdict()}
    cells |= {'targets': '+'.join(found.targets), 'seeds': found.num_seeds}
    writer.writerow(['' if cells[c] is None else cells[c] for c in _COLUMNS])
  return replace_file(path, text.getvalue().encode())
