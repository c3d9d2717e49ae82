"""What a folder of runs says, as text for a terminal."""

import os

from alpt_jax.report import aggregate, claims_table, differences, tables
from alpt_jax.report.report import Report, load


def text(root: str | os.PathLike | Report) -> str:
  """Claims, final scores, their means over targets, and paired differences.

  Args:
    root: the folder, or what was loaded from it.

  Raises:
    UserError: no runs there, or a damaged file.
  """
  report = load(root)
  parts = [claims_table.claims_text(report.findings), tables.to_text(report.final)]
  for title, grid in (
    (aggregate.TITLE, report.estimates),
    (differences.TITLE, report.differences),
  ):
    parts.append(f'{title}\n{grid.to_text()}' if grid else '')
  return '\n\n'.join(filter(None, parts))
