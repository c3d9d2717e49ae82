"""The result in words, made of the table's numbers and nothing else."""

from collections.abc import Sequence

from alpt_jax.report.aggregate import is_mean
from alpt_jax.report.measures import number_text
from alpt_jax.report.tables import TableRow, format_labels, format_steps

_PLAYED = {'success_sampled', 'score', 'score_human_normalised'}


def headline(rows: Sequence[TableRow]) -> list[str]:
  """What ALPT and its baseline did at the smallest and largest budget, in words.

  Only numbers, no verdict: the first ALPT method in report order beside DT1-IDM
  (and DT1, for success and score), of the same experiment and budget. Nothing is said
  where either of the two has not finished.

  Args:
    rows: of the final table, one target (or mean over targets) per experiment.
  """
  lines = []
  experiments = list(dict.fromkeys(row.experiment for row in rows))
  for experiment in experiments:
    every = [row for row in rows if row.experiment == experiment]
    own = [row for row in every if row.steps and not row.is_pretraining]
    references = [row for row in every if row.is_reference]
    budgets = sorted({r.labels for r in own if isinstance(r.labels, int)})
    for labels in dict.fromkeys(budgets[:1] + budgets[-1:]):
      sentence = _sentence([row for row in own if row.labels == labels], references)
      prefix = f'{experiment}: ' if len(experiments) > 1 else ''
      lines += [prefix + sentence] if sentence else []
  return lines


def _sentence(rows: Sequence[TableRow], references: Sequence[TableRow]) -> str:
  rows = [row for row in rows if row.note != 'not finished']
  by_method = {row.method: row for row in rows}
  ours = next((row for row in rows if row.method.startswith('ALPT')), None)
  theirs = by_method.get('DT1-IDM')
  if ours is None or theirs is None:
    return ''
  others = [row for row in (theirs, by_method.get('DT1')) if row is not None]
  played = [row for row in others if _PLAYED & set(row.spreads)]
  parts = [
    _labelling(ours, theirs),
    _success(ours, others),
    _scores(ours, others, references),
  ]
  figures = '; '.join(filter(None, parts))
  if not figures:
    return ''
  compared = [ours, theirs, *(row for row in played if row is not theirs)]
  return (
    f'With {format_labels(ours.labels)} recorded actions {figures} '
    f'({_basis(compared)}).'
  )


def _labelling(ours: TableRow, theirs: TableRow) -> str:
  if not ('idm_accuracy' in ours.spreads and 'idm_accuracy' in theirs.spreads):
    return ''
  shares = [_percent(row, 'idm_accuracy') for row in (ours, theirs)]
  merged = ['', '']
  if 'idm_accuracy_merged' in ours.spreads and 'idm_accuracy_merged' in theirs.spreads:
    merged = [_percent(row, 'idm_accuracy_merged') for row in (ours, theirs)]
    merged = [f' ({merged[0]} with FIRE merged)', f' ({merged[1]})']
  return (
    f'{ours.method} labels {shares[0]} of the hidden ones correctly{merged[0]}, '
    f'{theirs.method} {shares[1]}{merged[1]}'
  )


def _success(ours: TableRow, others: Sequence[TableRow]) -> str:
  others = [row for row in others if 'success_sampled' in row.spreads]
  if not others or 'success_sampled' not in ours.spreads:
    return ''
  figures = ', '.join(
    f'{row.method} in {_percent(row, "success_sampled")}' for row in others
  )
  return (
    f'{ours.method} reaches the goal in {_percent(ours, "success_sampled")} of '
    f'the episodes, {figures}'
  )


def _scores(ours, others, references) -> str:
  """Raw scores; of several games the human-normalised ones."""
  metric = 'score' if 'score' in ours.spreads else 'score_human_normalised'
  others = [row for row in (*others, *references) if metric in row.spreads]
  if all(row.is_reference for row in others) or metric not in ours.spreads:
    return ''
  figures = ', '.join(f'{row.method} {_score(row, metric)}' for row in others)
  basis = '' if metric == 'score' else ' (0 random play, 1 human)'
  return f'{ours.method} scores {_score(ours, metric)}, {figures}{basis}'


def _score(row: TableRow, metric: str) -> str:
  return number_text(metric, row.spreads[metric].mean)


def _percent(row: TableRow, metric: str) -> str:
  return f'{100 * row.spreads[metric].mean:.1f} %'


def _basis(rows: Sequence[TableRow]) -> str:
  """'mean of 2 seeds, step 1,500', and by name the methods where it differs."""
  first = _one_basis(rows[0])
  others = ((row, _one_basis(row)) for row in rows[1:])
  return '; '.join(
    [first, *(f'{row.method}: {text}' for row, text in others if text != first)]
  )


def _one_basis(row: TableRow) -> str:
  seeds = f'mean of {row.num_seeds} seeds' if row.num_seeds > 1 else '1 seed'
  if is_mean(row.target):
    seeds += f' and {row.target.removeprefix("mean of ")}'
  return f'{seeds}, step {format_steps(row.steps)}'
