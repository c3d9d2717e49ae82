"""What a folder of runs says, as text for a terminal."""

import os

from alpt_jax.report import aggregate, claims_table, differences, tables
from alpt_jax.report.runs import load_runs


def text(root: str | os.PathLike) -> str:
  """Claims, final scores, their means over targets, and paired differences.

  Raises:
    UserError: no runs there, or a damaged file.
  """
  runs = load_runs(root)
  parts = (
    claims_table.claims_text(root, runs),
    tables.to_text(tables.final_table(runs)),
    aggregate.aggregate_text(runs),
    differences.differences_text(runs),
  )
  return '\n\n'.join(filter(None, parts))
