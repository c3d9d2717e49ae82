"""The result in words, made of the table's numbers and nothing else."""

from collections.abc import Sequence

from alpt_jax.report.tables import TableRow, format_labels, format_steps


def headline(rows: Sequence[TableRow]) -> list[str]:
  """What ALPT and its baseline did at the smallest and largest budget, in words.

  Only numbers, no verdict: the first ALPT method in report order beside DT1-IDM
  (and DT1, for success), of the same experiment and budget. Nothing is said
  where either of the two has not finished.
  """
  lines = []
  experiments = list(dict.fromkeys(row.experiment for row in rows))
  for experiment in experiments:
    own = [row for row in rows if row.experiment == experiment and row.steps]
    budgets = sorted({r.labels for r in own if isinstance(r.labels, int)})
    for labels in dict.fromkeys(budgets[:1] + budgets[-1:]):
      sentence = _sentence([row for row in own if row.labels == labels])
      prefix = f'{experiment}: ' if len(experiments) > 1 else ''
      lines += [prefix + sentence] if sentence else []
  return lines


def _sentence(rows: Sequence[TableRow]) -> str:
  rows = [row for row in rows if row.note != 'not finished']
  by_method = {row.method: row for row in rows}
  ours = next((row for row in rows if row.method.startswith('ALPT')), None)
  theirs = by_method.get('DT1-IDM')
  if ours is None or theirs is None:
    return ''
  parts = []
  labelled = [row for row in (ours, theirs) if 'idm_accuracy' in row.spreads]
  if len(labelled) == 2:
    parts.append(
      f'{ours.method} labels {_percent(ours, "idm_accuracy")} of the hidden ones '
      f'correctly, {theirs.method} {_percent(theirs, "idm_accuracy")}'
    )
  others = [row for row in (theirs, by_method.get('DT1')) if row is not None]
  others = [row for row in others if 'success_sampled' in row.spreads]
  if others and 'success_sampled' in ours.spreads:
    figures = ', '.join(
      f'{row.method} in {_percent(row, "success_sampled")}' for row in others
    )
    parts.append(
      f'{ours.method} reaches the goal in {_percent(ours, "success_sampled")} of '
      f'the episodes, {figures}'
    )
  if not parts:
    return ''
  figures = '; '.join(parts)
  compared = [ours, theirs, *(row for row in others if row is not theirs)]
  return (
    f'With {format_labels(ours.labels)} recorded actions {figures} '
    f'({_basis(compared)}).'
  )


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
  return f'{seeds}, step {format_steps(row.steps)}'
