"""A folder of runs, read and put in order.

A run is a folder that holds `identity.json`; beside it may stand

  metrics.jsonl   one object per line, 'kind' is 'train' or 'evaluation'
  status.json     {"state": "done" | "failed" | "running", "message": "..."}
  *.gif           animations of the trained agent

A run that failed or is still going is a run like any other here: what is counted
and what is only shown is decided by `counted_runs`, in one place.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alpt_jax.errors import UserError

IDENTITY, METRICS, STATUS = 'identity.json', 'metrics.jsonl', 'status.json'
ALL_LABELS = 'all'
ORACLE = 'oracle'

# Baselines from little help to much (Table 2 of the paper); ALPT's variants
# follow them, then whatever this file does not know, the oracle last of what has
# seen the target. The base has not: it was pretrained on the sources alone.
_BASELINES = ('DT1', 'DT1-IDM', 'DT5', 'DT5-RET', 'CQL')

# How the experiments call the runs that others start from.
_PRETRAINING = re.compile(r'base\b|.*\(pretraining\)$', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run as its files tell it.

  Attributes:
    folder: where it lies.
    identity: content of `identity.json`.
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


def has_metric(runs: Iterable[Run], metric: str) -> bool:
  """Whether any evaluation of any run has a value of a metric."""
  return any(
    value_of(row, metric) is not None for run in runs for row in run.evaluations
  )


def has_curve(runs: Iterable[Run], metric: str) -> bool:
  """Whether any run has a metric at two steps: one point is no curve."""
  counts = (
    sum(value_of(row, metric) is not None for row in run.evaluations) for run in runs
  )
  return any(count > 1 for count in counts)


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


def is_pretraining(method: str) -> bool:
  """Whether runs of this name only serve others, which start from them."""
  return bool(_PRETRAINING.match(method))


def method_rank(method: str) -> tuple:
  """Sorting key of a method: baselines, ALPT, unknown, oracle, pretrainings."""
  if is_pretraining(method):
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
    method_rank(run.method),
    run.seed,
    str(run.folder),
  )


def _load_run(folder: pathlib.Path) -> Run:
  rows = _read_rows(folder / METRICS)
  return Run(
    folder=folder,
    identity=_read_identity(folder / IDENTITY),
    evaluations=_of_kind(rows, 'evaluation', folder / METRICS),
    train=_of_kind(rows, 'train', folder / METRICS),
    status=_read_status(folder / STATUS),
  )


def read_object(path: pathlib.Path) -> dict[str, Any]:
  """Reads a file that holds one JSON object, or says that it does not."""
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise UserError(
      f'{path}: expected JSON, found something else ({error}). Restore or remove it.'
    ) from error
  if not isinstance(content, dict):
    raise UserError(
      f'{path}: expected a JSON object, found {type(content).__name__}. '
      'Restore or remove it.'
    )
  return content


def _read_identity(path: pathlib.Path) -> dict[str, Any]:
  """The identity, with the fields that order and group the runs checked."""
  identity = read_object(path)
  wanted = {
    'experiment': (_is_text, 'a name'),
    'method': (_is_text, 'a name'),
    'labels': (lambda x: _is_count(x) or x == ALL_LABELS, "a number or 'all'"),
    'seed': (_is_count, 'a number'),
    'target': (lambda x: x is None or isinstance(x, str), 'a name, or nothing'),
  }
  for field, (accepts_fn, expected) in wanted.items():
    if not accepts_fn(identity.get(field)):
      raise UserError(
        f'{path}: field {field}: expected {expected}, found '
        f'{identity.get(field)!r}. Restore the file or remove the run.'
      )
  return identity


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value)


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _read_status(path: pathlib.Path) -> dict[str, Any]:
  """The status; a crash may have left half a file, which is a status as well."""
  if not path.is_file():
    return {'state': 'unknown'}
  try:
    status = json.loads(path.read_text(encoding='utf-8'))
    return {**status, 'state': status['state']}
  except (ValueError, KeyError, TypeError):
    return {'state': 'unreadable', 'message': f'{STATUS} holds no state'}


def _read_rows(path: pathlib.Path) -> list[tuple[int, dict[str, Any]]]:
  """(line number, row) of each line; a last line without its end is cut off."""
  if not path.is_file():
    return []
  *lines, unended = path.read_bytes().split(b'\n')
  rows = []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    row = _parse_row(line)
    if row is None:
      raise UserError(
        f'{path}, line {number}: expected a JSON object, found '
        f'{line[:60].decode(errors="replace")!r}. Remove the line, or the run.'
      )
    rows.append((number, row))
  row = _parse_row(unended)
  return rows if row is None else [*rows, (len(lines) + 1, row)]


def _parse_row(line: bytes) -> dict[str, Any] | None:
  try:
    row = json.loads(line)
  except ValueError:
    return None
  return row if isinstance(row, dict) else None


def _of_kind(rows, kind: str, path: pathlib.Path) -> list[dict[str, Any]]:
  """Rows of one kind, steps ascending.

  A run that was killed and resumed writes the steps after its last checkpoint
  again: of the same step the row written last stands.
  """
  by_step = {}
  for number, row in rows:
    if row.get('kind') != kind:
      continue
    if not _is_count(row.get('step')):
      raise UserError(
        f'{path}, line {number}, field step: expected a number of steps, found '
        f'{row.get("step")!r}. Remove the line, or the run.'
      )
    by_step[row['step']] = row
  return [by_step[step] for step in sorted(by_step)]


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
