"""The paper's claims beside our figures: reproduced, not, or not testable.

`experiment.json`, which the sweep leaves above its runs, names the sentences; the
verdicts follow from the figures by rules that stand here, in `_judge`.
"""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alpt_jax.errors import UserError
from alpt_jax.report import pairs, speed
from alpt_jax.report.measures import METRICS, is_share
from alpt_jax.report.runs import ALL_LABELS, Run, labels_rank, read_object, value_of
from alpt_jax.report.tables import replace_file, spread

EXPERIMENT = 'experiment.json'
KINDS = ('higher', 'not_lower', 'faster')
SIZES = ('twin', 'paper', 'smoke')

REPRODUCED, OPPOSITE = 'reproduced', 'opposite'
NOT_REPRODUCED, NOT_TESTABLE = 'not reproduced', 'not testable'

# Ours: of a share, or of the way from random play to a human's score. Figures that
# lie closer are one: to a floor, to a ceiling, and for 'not_lower' to each other.
MARGIN = 0.02


class Claim(NamedTuple):
  """A sentence of the paper, as `experiment.json` has it.

  Attributes:
    experiment: name of the experiment.
    size: 'twin', 'paper' or 'smoke'.
    paper: the sentence.
    where: it stands in the paper.
    metric: key of the evaluation rows.
    method: the runs that the sentence is about.
    over: those that they are compared with.
    labels: the budget; None for each.
    targets: those that it is about; none for all.
    kind: 'higher', 'not_lower' (by more than `MARGIN`) or 'faster' (steps to
      the other's last figure).
    floor: reference that one of the two must pass, or None.
    ceiling: reference that one of the two must stay below, or None.
  """

  experiment: str
  size: str
  paper: str
  where: str
  metric: str
  method: str
  over: str
  labels: int | None
  targets: tuple[str, ...]
  kind: str
  floor: str | None
  ceiling: str | None


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


def load_titles(root: str | os.PathLike) -> dict[str, str]:
  """Name -> one line that says what each experiment below a folder asks."""
  found = (read_object(path) for path in _files(root))
  return {str(each.get('name', '')): str(each.get('title', '')) for each in found}


def find(root: str | os.PathLike, runs: Sequence[Run]) -> list[Finding]:
  """Tests every claim of every `experiment.json` on the runs that lie beside it.

  Raises:
    UserError: a damaged file, the field named.
  """
  findings = []
  for path in _files(root):
    beside = [run for run in runs if run.folder.is_relative_to(path.parent)]
    for claim in _load(path):
      own = [run for run in beside if run.experiment == claim.experiment]
      if beside and not own:
        raise UserError(
          f'{path}, field name: expected the experiment of the runs beside it, '
          f'{beside[0].experiment!r}, found {claim.experiment!r}. Correct the name.'
        )
      findings += [_test(claim, labels, own) for labels in _budgets(claim, own)]
  return findings


def _files(root: str | os.PathLike) -> list[pathlib.Path]:
  return sorted(pathlib.Path(root).rglob(EXPERIMENT))


def _load(path: pathlib.Path) -> list[Claim]:
  content = read_object(path)
  claims = []
  for index, each in enumerate(content.get('claims') or []):
    try:
      fields = {name: each.get(name) for name in Claim._fields}
      fields |= {'experiment': content['name'], 'size': content['size']}
      claim = Claim(**{**fields, 'targets': tuple(each.get('targets') or ())})
    except (AttributeError, KeyError, TypeError) as error:
      raise UserError(
        f'{path}: claim {index}: expected name and size above it and a list of '
        f'objects, found {error!r}. Run bin/reproduce again.'
      ) from error
    for field, known in (('kind', KINDS), ('size', SIZES), ('metric', METRICS)):
      if getattr(claim, field) not in known:
        raise UserError(
          f'{path}: claim {index}, field {field}: expected one of '
          f'{", ".join(known)}, found {getattr(claim, field)!r}. Correct the claim.'
        )
    claims.append(claim)
  return claims


def _budgets(claim: Claim, runs: Sequence[Run]) -> list[int | str | None]:
  """The label budgets at which both sides were run, [None] if there is none."""
  if claim.labels is not None:
    return [claim.labels]
  sides = [
    {run.labels for run in runs if run.method == method}
    for method in (claim.method, claim.over)
  ]
  # One that knows all labels is compared at each budget of the other.
  limited = [budgets for budgets in sides if budgets != {ALL_LABELS}] or sides
  return sorted(set.intersection(*limited), key=labels_rank) or [None]


def _test(claim: Claim, labels, runs: Sequence[Run]) -> Finding:
  chosen = [r for r in runs if not claim.targets or r.target in claim.targets]
  sides = [_side(chosen, method, labels) for method in (claim.method, claim.over)]
  both = pairs.find_pairs(*sides)
  wanted = set.intersection(*({run.target for run in side} for side in sides))
  metric = _comparable(claim.metric, both)
  both = {key: pair for key, pair in both.items() if _measured(pair, metric)}
  missing = sorted(wanted - {target for target, _ in both})
  seeds = pairs.complete_seeds(both)
  both = {key: pair for key, pair in both.items() if key[1] in seeds}
  targets = tuple(sorted({target for target, _ in both}))
  finding = Finding(claim, labels, metric, targets, len(seeds))
  if both:
    ours, theirs = (_mean(both, side, metric) for side in (0, 1))
    finding = finding._replace(mean=ours, mean_over=theirs)
  reason = ''
  if not wanted:
    reason = f'{claim.method} and {claim.over} were not both run'
  elif missing:
    names = ', '.join(filter(None, missing)) or 'the target'
    reason = f'no pair of finished runs on {names} that measured it'
  elif len(seeds) < pairs.FEWEST_SEEDS:
    what = 'seeds have all targets' if len(targets) > 1 else 'seeds'
    reason = f'{len(seeds)} {what}, {pairs.FEWEST_SEEDS} are the fewest'
  return _smoke(finding._replace(reason=reason) if reason else _judge(finding, both))


def _side(runs: Sequence[Run], method: str, labels) -> list[Run]:
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
    finding = finding._replace(reason=_censored(found, claim, len(both)))
    border = 1.0
  else:
    differences = {
      key: value_of(ours.last, metric) - value_of(theirs.last, metric)
      for key, (ours, theirs) in both.items()
    }
    ends = pairs.student_interval(pairs.seed_means(differences))
    finding = finding._replace(effect=ends.mean, low=ends.low, high=ends.high)
    border = -margin if claim.kind == 'not_lower' else 0.0
  if reason := _says_nothing(finding, both, margin):
    return finding._replace(reason=reason)
  if finding.low > border:
    return finding._replace(verdict=REPRODUCED)
  return finding._replace(verdict=OPPOSITE if finding.high < border else NOT_REPRODUCED)


def _censored(found: speed.Speed, claim: Claim, num_pairs: int) -> str:
  never = (
    (claim.method, found.num_late, 'so the interval has no lower end'),
    (claim.over, found.num_baseline_late, 'counted with its last step'),
  )
  return '; '.join(
    f'{method} never got there in {count} of {num_pairs} runs, {what}'
    for method, count, what in never
    if count
  )


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
  *('experiment', 'size', 'paper', 'where', 'kind', 'metric', 'method', 'over'),
  *('labels', 'targets', 'seeds', 'mean', 'mean_over', 'effect', 'low', 'high'),
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
