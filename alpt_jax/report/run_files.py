"""The files of a run, read one by one, with every fault named.

A run is a folder that holds `identity.json`; beside it may stand

  metrics.jsonl   one object per line, 'kind' is 'train' or 'evaluation'
  status.json     {"state": "done" | "failed" | "running", "message": "..."}
  *.gif           animations of the trained agent
"""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from alpt_jax.errors import UserError

IDENTITY, METRICS, STATUS = 'identity.json', 'metrics.jsonl', 'status.json'
ALL_LABELS = 'all'


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


def check_fields(place: str, fields: Mapping[str, Any], names: Iterable[str]) -> None:
  """Checks fields that say which run it is.

  Raises:
    UserError: one is not what it should be; `place` says where.
  """
  wanted = {
    'labels': (lambda x: _is_count(x) or x == ALL_LABELS, "a number or 'all'"),
    'seed': (_is_count, 'a number'),
    'target': (lambda x: x is None or isinstance(x, str), 'a name, or nothing'),
  }
  for field in names:
    accepts_fn, expected = wanted.get(field, (_is_text, 'a name'))
    if not accepts_fn(fields.get(field)):
      raise UserError(
        f'{place}: field {field}: expected {expected}, found '
        f'{fields.get(field)!r}. Restore the file or remove the run.'
      )


def budget_of(fields: Mapping[str, Any]) -> int | str:
  """The labelled transitions of a run's target, or 'all' that are recorded."""
  return fields['labels'] or ALL_LABELS  # 0: however many were recorded


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value)


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def read_status(folder: pathlib.Path) -> dict[str, Any]:
  """The status; a crash may have left half a file, which is a status as well."""
  path = folder / STATUS
  if not path.is_file():
    return {'state': 'unknown'}
  try:
    status = json.loads(path.read_text(encoding='utf-8'))
    return {**status, 'state': status['state']}
  except (ValueError, KeyError, TypeError):
    return {'state': 'unreadable', 'message': f'{STATUS} holds no state'}


def read_rows(folder: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
  """'evaluation' and 'train' -> the rows of that kind, one per step, ascending.

  Raises:
    UserError: a damaged line, or one without a step, named with its number.
  """
  path = folder / METRICS
  rows = _read_lines(path)
  return {kind: _of_kind(rows, kind, path) for kind in ('evaluation', 'train')}


def _read_lines(path: pathlib.Path) -> list[tuple[int, dict[str, Any]]]:
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
