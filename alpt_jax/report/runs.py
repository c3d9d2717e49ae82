"""A folder of runs, put in order; run_files.py reads what each left.

A run that failed or is still going is a run like any other here: what is counted
and what is only shown is decided by `counted_runs`, in one place.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alpt_jax.errors import UserError
from alpt_jax.report.run_files import (
  ALL_LABELS,
  IDENTITY,
  budget_of,
  check_fields,
  read_object,
  read_rows,
  read_status,
)

ORACLE = 'oracle'

# Baselines from little help to much (Table 2 of the paper); ALPT's variants
# follow them, then whatever this file does not know, the oracle last of what has
# seen the target. The base has not: it was pretrained on the sources alone.
_BASELINES = ('DT1', 'DT1-IDM', 'DT5', 'DT5-RET', 'CQL')

# Phases of runs that only serve others, which start from them; and how such runs are
# called, for identities that name no phase.
_PRETRAINING_PHASES = ('sources', 'pretrain')
_PRETRAINING_TITLE = re.compile(
  r'base\b|.*\((pretraining|sources alone)\)$', re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run as its files tell it.

  Attributes:
    folder: where it lies.
    identity: content of `identity.json`, its budget as `run_files.budget_of` has it.
    evaluations: evaluation rows, one per step, steps ascending.
    train: training rows, one per step, steps ascending.
    status: content of `status.json`; 'state' is always there, 'unknown' when the
      run left no such file.
  """

  folder: pathlib.Path
  identity: Mapping[str, Any]
  evaluations: Sequence[Mapping[str, Any]]
  train: Sequence[Mapping[str, Any]]
  status: Mapping[str, Any]

  @property
  def experiment(self) -> str:
    return self.identity['experiment']

  @property
  def target(self) -> str:
    """How tables call the target environment; '' for a run that does not say."""
    return self.identity.get('target') or ''

  @property
  def part(self) -> tuple[str, str]:
    """(experiment, target): what shares a panel, a table and references."""
    return self.experiment, self.target

  @property
  def method(self) -> str:
    return self.identity['method']

  @property
  def labels(self) -> int | str:
    """Number of labelled target transitions, or 'all'."""
    return self.identity['labels']

  @property
  def seed(self) -> int:
    return self.identity['seed']

  @property
  def is_pretraining(self) -> bool:
    """Whether it only serves others, which start from it, and competes with none."""
    if phase := self.identity.get('phase'):
      return phase in _PRETRAINING_PHASES
    return bool(_PRETRAINING_TITLE.match(self.method))

  @property
  def state(self) -> str:
    return str(self.status['state'])

  @property
  def is_finished(self) -> bool:
    """Whether its last evaluation is its result.

    A run without `status.json` gets the benefit of the doubt: only a run that
    says so itself is failed or running.
    """
    return self.state in ('done', 'unknown')

  @property
  def last(self) -> Mapping[str, Any]:
    """The last evaluation row, {} when there is none."""
    return self.evaluations[-1] if self.evaluations else {}


def load_runs(root: str | os.PathLike) -> list[Run]:
  """Reads every run below a folder, in the order in which reports show them.

  The order: experiment, target, labels (numbers ascending, 'all' last), method
  (see `method_rank`), seed.

  Raises:
    UserError: no run there; a damaged file (named, with its line); two runs of
      the same experiment, target, method, labels and seed, which a mean over
      seeds would count twice.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise UserError(f'{root}: expected a folder of runs, found no such folder.')
  runs = [_load_run(path.parent) for path in sorted(root.rglob(IDENTITY))]
  if not runs:
    raise UserError(
      f'{root}: expected runs, that is folders with a file {IDENTITY}, at any '
      'depth, found none. Train first, or name the folder above the runs.'
    )
  _refuse_twins(runs)
  return sorted(runs, key=_run_rank)


def value_of(row: Mapping[str, Any], metric: str) -> float | None:
  """A metric of an evaluation row; None when absent, null or not finite."""
  value = row.get(metric)
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  return float(value) if math.isfinite(value) else None


def points(run: Run, metric: str) -> list[tuple[int, float]]:
  """(step, value) of every evaluation that measured a metric, steps ascending."""
  found = ((row['step'], value_of(row, metric)) for row in run.evaluations)
  return [(step, value) for step, value in found if value is not None]


def has_metric(runs: Iterable[Run], metric: str) -> bool:
  """Whether any evaluation of any run has a value of a metric."""
  return any(points(run, metric) for run in runs)


def has_curve(runs: Iterable[Run], metric: str) -> bool:
  """Whether any run has a metric at two steps: one point is no curve."""
  return any(len(points(run, metric)) > 1 for run in runs)


def group_runs(
  runs: Iterable[Run],
) -> dict[tuple[str, str, int | str, str], list[Run]]:
  """(experiment, target, labels, method) -> its runs, one per seed, in order."""
  groups = {}
  for run in sorted(runs, key=_run_rank):
    groups.setdefault((*run.part, run.labels, run.method), []).append(run)
  return groups


def by_part(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
  """(experiment, target) -> its runs, both in report order."""
  parts = {}
  for run in sorted(runs, key=_run_rank):
    parts.setdefault(run.part, []).append(run)
  return parts


def part_names(parts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
  """(experiment, target) -> as little of both as tells it from the others.

  'Breakout' among several targets of one experiment, 'figure2: Breakout' beside
  another experiment, 'figure2' for its only target, and '' where there is one part.
  """
  parts = list(dict.fromkeys(parts))
  experiments = [experiment for experiment, _ in parts]
  several = len(set(experiments)) > 1
  return {
    (experiment, target): ': '.join(
      ([experiment] if several else [])
      + ([target or 'target not named'] if experiments.count(experiment) > 1 else [])
    )
    for experiment, target in parts
  }


def counted_runs(group: Sequence[Run]) -> list[Run]:
  """The runs of one group that a mean is taken over.

  Those that finished: a seed that stopped early would drag the mean to an
  earlier step than its neighbours'. While none has finished, all that have been
  evaluated, so that a report of a running sweep is not empty.
  """
  evaluated = [run for run in group if run.evaluations]
  return [run for run in evaluated if run.is_finished] or evaluated


def labels_rank(labels: int | str) -> float:
  """Sorting key of a label budget: numbers ascending, 'all' last."""
  return math.inf if labels == ALL_LABELS else labels


def method_rank(run: Run) -> tuple:
  """Sorting key of a run's method: baselines, ALPT, unknown, oracle, pretrainings."""
  method = run.method
  if run.is_pretraining:
    return 4, len(method), method
  if method in _BASELINES:
    return 0, _BASELINES.index(method), method
  if method.upper().startswith('ALPT'):
    return 1, len(method), method
  return 3 if method.lower() == ORACLE else 2, 0, method


def _run_rank(run: Run) -> tuple:
  return (
    run.part,
    labels_rank(run.labels),
    method_rank(run),
    run.seed,
    str(run.folder),
  )


def _load_run(folder: pathlib.Path) -> Run:
  rows = read_rows(folder)
  return Run(
    folder=folder,
    identity=_read_identity(folder / IDENTITY),
    evaluations=rows['evaluation'],
    train=rows['train'],
    status=read_status(folder),
  )


def _read_identity(path: pathlib.Path) -> dict[str, Any]:
  """The identity, with the fields that order and group the runs checked."""
  identity = read_object(path)
  names = ('experiment', 'method', 'labels', 'seed', 'target')
  check_fields(str(path), identity, names)
  return {**identity, 'labels': budget_of(identity)}


def _refuse_twins(runs: Sequence[Run]) -> None:
  seen = {}
  for run in runs:
    key = (*run.part, run.method, run.labels, run.seed)
    if key in seen:
      raise UserError(
        f'{run.folder}: expected one run per experiment, target, method, labels and '
        f'seed, found {key} in {seen[key]} as well. Move one of them elsewhere, or '
        'give it another experiment name.'
      )
    seen[key] = run.folder
