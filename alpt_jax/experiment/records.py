"""The small JSON files of a run folder: whole or not there, and read with care."""

import json
import os
import pathlib
from typing import Any

from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, writer_name


def write_record(path: pathlib.Path, fields: dict[str, Any]) -> None:
  """Writes a file that a crash can never leave half-written."""
  partial = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}')
  partial.write_text(json.dumps(fields, indent=2) + '\n')
  os.replace(partial, path)


def read_record(path: pathlib.Path) -> dict[str, Any]:
  """Reads such a file.

  Raises:
    UserError: it is damaged.
  """
  try:
    fields = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path}: damaged ({error}). Remove the run folder, or choose another.'
    ) from error
  if not isinstance(fields, dict):
    raise UserError(f'{path}: expected a JSON object, found {type(fields).__name__}.')
  return fields
