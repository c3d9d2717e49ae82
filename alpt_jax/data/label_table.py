"""The tables that `bin/label` writes: Parquet, for pandas and anything else.

A row for each transition, in order. A part of a dataset is a file in OUT/labels:

  episode          int32     number in the dataset that was labelled, from 0
  step             int32     place in its episode, from 0
  action           name      recorded, or the guess; null where it was left unlabelled
  confidence       float32   1 where recorded; else of the guess, tempered
  raw_confidence   float32   of the guess, as the model says it, also where recorded
  recorded         bool      `action` was recorded and is no guess
  trained_on       bool      the model has learnt from the recorded action
  guess            name      what the model says, also where recorded
  second           name      what it says next; null for an environment of one action
  true_action      name      only where the actions were forgotten to be compared
                             (--forget): what is on disk, null where nothing is

Those whose recorded actions the model has never seen, the audit, are in
OUT/audit.parquet:

  episode, step, raw_confidence, guess, second    as above
  true_action      name      recorded
  confidence       float32   of the guess, tempered by the half that it is not in
  recording        int32     file that it is of, numbered from 0
  unit             int32     what is taken for independent (`intervals.units_of`)
  probabilities    list of float32, one for each of the environment's own actions: as
                             the model says them; they sum to 1

Names are dictionary columns. A file says in its metadata, key `alpt_jax`, as JSON, the
`actions` of the environment in its own order and the `identity` of the labelling.

The one file that imports pyarrow. Import this module only where a table is needed.
"""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alpt_jax.errors import UserError
from alpt_jax.partial import whole_file

_METADATA = b'alpt_jax'
_TYPES = {
  **dict.fromkeys(('episode', 'step', 'recording', 'unit'), pa.int32()),
  **dict.fromkeys(('confidence', 'raw_confidence'), pa.float32()),
  **dict.fromkeys(('recorded', 'trained_on'), pa.bool_()),
}
_NAMES = ('action', 'guess', 'second', 'true_action')


def write_table(
  path: pathlib.Path,
  columns: Mapping[str, np.ndarray],
  action_names: Sequence[str],
  identity: str,
) -> None:
  """Writes a table, whole or not there at all; the same bytes for the same columns.

  Args:
    path: of the file; one that is there gives way.
    columns: `[n]` each, `probabilities` `[n, own actions]`. Actions are the
      environment's own numbers, -1 for none.
    action_names: the environment's own.
    identity: of the labelling.
  """
  arrays = {
    name: _to_arrow(name, np.asarray(values), action_names)
    for name, values in columns.items()
  }
  said = json.dumps({'actions': list(action_names), 'identity': identity})
  table = pa.table(arrays).replace_schema_metadata({_METADATA: said})
  with whole_file(path) as partial:
    pq.write_table(table, partial, compression='zstd')


def _to_arrow(name: str, values: np.ndarray, action_names: Sequence[str]) -> pa.Array:
  if name in _NAMES:
    indices = pa.array(values.astype(np.int32), mask=values < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(action_names, pa.string()))
  if name == 'probabilities':
    flat = pa.array(values.reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
  return pa.array(values, _TYPES[name])


def read_table(
  paths: Iterable[pathlib.Path], columns: Sequence[str]
) -> dict[str, np.ndarray]:
  """Some columns of tables, one behind the other, as `write_table` was given them.

  Args:
    paths: of the files, one at least, all of one labelling.
    columns: their names; no others are read.

  Raises:
    UserError: a file is missing, no such table, or damaged.
  """
  parts = [_read(path, columns) for path in paths]
  return {name: np.concatenate([part[name] for part in parts]) for name in columns}


def _read(path: pathlib.Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
  try:
    table = pq.read_table(path, columns=list(columns))
    names = json.loads(table.schema.metadata[_METADATA])['actions']
    return {name: _from_arrow(table[name], names) for name in columns}
  except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise UserError(
      f'{path}: no table of bin/label with columns {", ".join(columns)} ({reason}). '
      'Remove it and run bin/label again.'
    ) from error


def _from_arrow(column: pa.ChunkedArray, action_names: Sequence[str]) -> np.ndarray:
  if pa.types.is_dictionary(column.type):
    # Parquet may number the names of a file by their order there.
    place = {name: index for index, name in enumerate(action_names)}
    array = column.combine_chunks()
    own = np.array([place[name] for name in array.dictionary.to_pylist()], np.int32)
    indices = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.append(own, np.int32(-1))[indices]
  if pa.types.is_fixed_size_list(column.type):
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)
  return column.to_numpy()
