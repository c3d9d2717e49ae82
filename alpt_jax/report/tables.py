"""results.csv with every evaluation, and the final table over seeds.

Every number that a report shows as 'mean ± deviation' is a `Spread` made here:
the arithmetic mean and the SAMPLE standard deviation (n - 1) over seeds.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from alpt_jax.partial import PARTIAL, writer_name
from alpt_jax.report.grid import Grid, section_kinds
from alpt_jax.report.measures import (
  METRICS,
  PUBLISHED,
  REFERENCES,
  column_names,
  number_text,
)
from alpt_jax.report.runs import Run, by_part, counted_runs, group_runs, value_of

# The run's names, then the figures that every report has; the order is public.
_RUN_COLUMNS = ['experiment', 'target', 'method', 'labels', 'seed']
CSV_HEAD = [*_RUN_COLUMNS, 'step', 'idm_accuracy', 'success_sampled', 'success_greedy']
CSV_TAIL = ['config_hash', 'label_hash', 'data_hash', 'git_commit', 'versions']


class Spread(NamedTuple):
  """A number measured once per seed.

  Attributes:
    mean: over `values`.
    deviation: sample standard deviation; None for a single seed, which has none.
    values: one per seed, seeds ascending.
  """

  mean: float
  deviation: float | None
  values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class TableRow:
  """One line of the final table: a method at a label budget, or a reference.

  Attributes:
    experiment: its experiment.
    target: its target environment; '' where the runs do not name it.
    labels: number of labels or 'all'; None for a reference.
    method: name of the method or of the reference.
    num_seeds: runs that the means are taken over; 0 for a published constant.
    steps: the different last steps of those runs, ascending; normally one.
    spreads: metric -> its spread, only metrics that were measured.
    note: what the reader must know about missing runs; '' normally.
    is_pretraining: whether its runs only serve others; False for a reference.
  """

  experiment: str
  target: str
  labels: int | str | None
  method: str
  num_seeds: int
  steps: tuple[int, ...]
  spreads: Mapping[str, Spread]
  note: str = ''
  is_pretraining: bool = False

  @property
  def is_reference(self) -> bool:
    return self.labels is None

  @property
  def part(self) -> tuple[str, str]:
    """(experiment, target), as a run has it."""
    return self.experiment, self.target


def spread(values: Iterable[float | None]) -> Spread | None:
  """Mean and sample standard deviation of what was measured; None if nothing."""
  values = tuple(value for value in values if value is not None)
  if not values:
    return None
  deviation = statistics.stdev(values) if len(values) > 1 else None
  return Spread(statistics.fmean(values), deviation, values)


def replace_file(path: str | os.PathLike, content: bytes) -> pathlib.Path:
  """Writes a file complete or not at all: whoever reads it never sees half."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}')
  try:
    partial.write_bytes(content)
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)
  return path


def write_results_csv(path: str | os.PathLike, runs: Sequence[Run]) -> pathlib.Path:
  """Writes one row per evaluation of every run, finished or not.

  Columns: `CSV_HEAD`, then all other evaluation keys sorted, then `CSV_TAIL`. A
  value that was not measured is an empty cell.
  """
  named = {*CSV_HEAD, *CSV_TAIL, 'kind'}
  others = {key for run in runs for row in run.evaluations for key in row} - named
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  columns = [*CSV_HEAD, *sorted(others), *CSV_TAIL]
  writer.writerow(columns)
  for run in runs:
    for row in run.evaluations:
      # The identity wins: an evaluation row must not rename its own run.
      cells = {**row, **{key: run.identity.get(key) for key in _RUN_COLUMNS + CSV_TAIL}}
      writer.writerow([_cell(cells.get(column)) for column in columns])
  return replace_file(path, text.getvalue().encode())


def _cell(value: Any) -> Any:
  if isinstance(value, dict | list):
    return json.dumps(value, sort_keys=True, separators=(',', ':'))
  return '' if value is None else value


def final_table(runs: Sequence[Run]) -> list[TableRow]:
  """Mean and deviation over seeds of each run's last evaluation.

  One row per (experiment, target, labels, method), after those of each experiment
  and target their references. A group whose runs all failed before an evaluation
  keeps its row, with a note.
  """
  rows = []
  for part, own in by_part(runs).items():
    groups = group_runs(own)
    rows += [_method_row(*key, group) for key, group in groups.items()]
    counted = [run for group in groups.values() for run in counted_runs(group)]
    rows += reference_rows(*part, lambda key, counted=counted: reference(counted, key))
  return rows


def _method_row(experiment, target, labels, method, group) -> TableRow:
  counted = counted_runs(group)
  spreads = {name: spread(value_of(r.last, name) for r in counted) for name in METRICS}
  return TableRow(
    experiment=experiment,
    target=target,
    labels=labels,
    method=method,
    num_seeds=len(counted),
    steps=tuple(sorted({run.last['step'] for run in counted})),
    spreads={name: found for name, found in spreads.items() if found},
    note=_note(group, counted),
    is_pretraining=group[0].is_pretraining,
  )


def _note(group: Sequence[Run], counted: Sequence[Run]) -> str:
  if not counted:
    return 'no evaluation'
  if not all(run.is_finished for run in counted):
    return 'not finished'
  left_out = len(group) - len(counted)
  return f'{left_out} unfinished, not counted' if left_out else ''


def reference_rows(
  experiment: str, target: str, spread_fn: Callable[[str], Spread | None]
) -> list[TableRow]:
  """One row for each name of a reference; a published constant counts no seeds.

  Args:
    experiment: of the rows.
    target: of the rows.
    spread_fn: key of a reference -> its spread over seeds, None if not measured.
  """
  by_name = {}
  for key, (name, column) in REFERENCES.items():
    if found := spread_fn(key):
      by_name.setdefault(name, {})[column] = found, key not in PUBLISHED
  return [
    TableRow(
      experiment,
      target,
      None,
      name,
      max(len(found.values) * is_measured for found, is_measured in columns.values()),
      (),
      {column: found for column, (found, _) in columns.items()},
    )
    for name, columns in by_name.items()
  ]


def reference_by_seed(runs: Sequence[Run], key: str) -> dict[int, float]:
  """Seed -> a reference; all methods of a seed share it, so their mean is one."""
  by_seed = {}
  for run in runs:
    by_seed.setdefault(run.seed, []).append(value_of(run.last, key))
  means = {seed: spread(by_seed[seed]) for seed in sorted(by_seed)}
  return {seed: found.mean for seed, found in means.items() if found}


def reference(runs: Sequence[Run], key: str) -> Spread | None:
  """Spread over seeds of a reference, averaged over the runs of a seed first.

  A published constant has no spread: all seeds repeat the same number.
  """
  found = spread(reference_by_seed(runs, key).values())
  return spread([found.mean]) if found and key in PUBLISHED else found


def format_spread(found: Spread | None, metric: str) -> str:
  """'0.700 ± 0.052'; without a deviation for one seed; '-' if not measured.

  A score has four significant digits: '363.5 ± 12.3'.
  """
  if found is None:
    return '-'
  mean = number_text(metric, found.mean, beside=found.deviation or 0)
  if found.deviation is None:
    return mean
  return f'{mean} ± {number_text(metric, found.deviation, beside=found.mean)}'


def format_steps(steps: Sequence[int]) -> str:
  """'1,500', or '750 to 1,500' when seeds ended at different steps."""
  if not steps:
    return '-'
  ends = dict.fromkeys((min(steps), max(steps)))
  return ' to '.join(f'{step:,}' for step in ends)


def format_labels(labels: int | str) -> str:
  """'1,000' or 'all'."""
  return f'{labels:,}' if isinstance(labels, int) else labels


def _format_seeds(row: TableRow) -> str:
  """Empty for a published constant, which no seed measured."""
  return str(row.num_seeds or '') if row.is_reference else str(row.num_seeds)


def _columns(rows: Sequence[TableRow]) -> list[tuple[str, Any]]:
  """(heading, function of a row) of every column that says something."""
  columns = [
    ('experiment', lambda row: row.experiment),
    ('target', lambda row: row.target),
    ('labels', lambda row: '' if row.is_reference else format_labels(row.labels)),
    ('method', lambda row: row.method),
    ('seeds', _format_seeds),
    ('step', lambda row: '' if row.is_reference else format_steps(row.steps)),
  ]
  if not any(len(set(own)) > 1 for own in _targets(rows).values()):
    del columns[1]
  if len({row.experiment for row in rows}) < 2:
    del columns[0]
  for name in column_names({name for row in rows for name in row.spreads}):
    columns.append(
      (
        METRICS[name],
        lambda row, name=name: format_spread(row.spreads.get(name), name),
      )
    )
  if any(row.note for row in rows):
    columns.append(('note', lambda row: row.note))
  return columns


def _targets(rows: Sequence[TableRow]) -> dict[str, list[str]]:
  """Experiment -> the targets of its rows."""
  targets = {}
  for row in rows:
    targets.setdefault(row.experiment, []).append(row.target)
  return targets


def grid(rows: Sequence[TableRow]) -> Grid:
  """The table, a line above another experiment, target, budget or references."""
  columns = _columns(rows)
  sections = section_kinds([(*row.part, row.labels) for row in rows])
  kinds = [
    f'{kind} reference'.strip() if row.is_reference else kind
    for row, kind in zip(rows, sections, strict=True)
  ]
  cells = [[cell_fn(row) for _, cell_fn in columns] for row in rows]
  words = ('experiment', 'target', 'method', 'note')
  return Grid([heading for heading, _ in columns], cells, words, kinds)


def to_text(rows: Sequence[TableRow]) -> str:
  """The table for a terminal, columns aligned, without a final line break."""
  basis = 'mean ± sample standard deviation over seeds, at the step named'
  return grid(rows)._replace(basis=basis).to_text()
