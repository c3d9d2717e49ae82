"""Figures as the reader gets them beside the tables: plain rows, and a JSON file."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from alpt_jax.benchmark import machine
from alpt_jax.experiment.identity import circumstances


def print_rows(section: str, rows: Mapping[str, float]) -> None:
  """A line for each figure of a section that has no table."""
  for name, value in rows.items():
    print(f'{section:8}{name:40}{value:14,.2f}', flush=True)


def show(section: str, found: Any) -> dict[str, Any]:
  """Prints what a section found, and gives it in plain JSON types.

  Args:
    section: its name.
    found: figures by name, or what has a `table` and a `record`.
  """
  if isinstance(found, Mapping):
    print_rows(section, found)
    return dict(found)
  print(found.table(), flush=True)
  return found.record()


def write(
  path: str | os.PathLike,
  figures: Mapping[str, Any],
  described: Mapping[str, Any],
  settings: Mapping[str, Any],
) -> None:
  """Writes figures with all that they depend on.

  Args:
    path: of the JSON file.
    figures: section -> what it found, in plain JSON types.
    described: `machine.describe()`, of before.
    settings: flags by name.
  """
  found = {**circumstances(), 'machine': described, 'flags': settings}
  text = json.dumps({**found, **machine.peaks(), 'figures': figures}, indent=2)
  pathlib.Path(path).write_text(f'{text}\n')
