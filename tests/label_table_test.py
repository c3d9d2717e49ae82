"""Tables of labels: what was written is read, by pandas too, whole or not at all."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from alpt_jax.data import label_table
from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, writer_name

NAMES = ('up', 'down', 'left')
COLUMNS = {
  'episode': np.array([0, 0, 1], np.int32),
  'step': np.array([0, 1, 0], np.int32),
  'action': np.array([2, -1, 0], np.int32),
  'confidence': np.array([1, 0.25, 0.5], np.float32),
  'recorded': np.array([True, False, False]),
}


def write(path, **changes):
  label_table.write_table(path, COLUMNS | changes, NAMES, 'f00d')


def test_what_was_written_is_read(tmp_path):
  probabilities = np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 0, 1]], np.float32)
  write(tmp_path / 'a', probabilities=probabilities)
  found = label_table.read_table([tmp_path / 'a'], [*COLUMNS, 'probabilities'])
  for name, values in (COLUMNS | {'probabilities': probabilities}).items():
    assert found[name].dtype == values.dtype, name
    assert np.array_equal(found[name], values), name
  said = json.loads(pq.read_schema(tmp_path / 'a').metadata[b'alpt_jax'])
  assert said == {'actions': list(NAMES), 'identity': 'f00d'}


def test_tables_stand_one_behind_the_other_and_each_names_actions_for_itself(tmp_path):
  write(tmp_path / 'a')
  write(tmp_path / 'b', action=np.array([1, 0, -1], np.int32))
  found = label_table.read_table([tmp_path / 'a', tmp_path / 'b'], ['action'])
  assert found['action'].tolist() == [2, -1, 0, 1, 0, -1]


def test_pandas_reads_names_and_gaps(tmp_path):
  write(tmp_path / 'a.parquet')
  found = pd.read_parquet(tmp_path / 'a.parquet')
  assert found['action'].astype(object).where(found['action'].notna(), '').tolist() == [
    'left',
    '',
    'up',
  ]
  assert found.dtypes['confidence'] == np.float32
  assert found.dtypes['episode'] == np.int32


def test_the_same_columns_are_the_same_bytes(tmp_path):
  write(tmp_path / 'a')
  write(tmp_path / 'b')
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not(tmp_path):
  gone = subprocess.Popen(['true'])
  gone.wait()
  host = writer_name().rpartition('-')[0]
  left = tmp_path / f'a.{PARTIAL}{host}-{gone.pid}'
  living = tmp_path / f'a.{PARTIAL}{host}-{os.getppid()}'
  left.write_text('half')
  living.write_text('half')
  write(tmp_path / 'a')
  assert sorted(tmp_path.iterdir()) == [tmp_path / 'a', living]


def test_a_failed_table_leaves_the_one_before(tmp_path):
  write(tmp_path / 'a')
  before = (tmp_path / 'a').read_bytes()
  with pytest.raises(ValueError):
    write(tmp_path / 'a', step=np.zeros(2, np.int32))
  assert (tmp_path / 'a').read_bytes() == before
  assert list(tmp_path.iterdir()) == [tmp_path / 'a']


@pytest.mark.parametrize(
  'content, column', [(None, 'step'), (b'PAR1', 'step'), ('table', 'unit')]
)
def test_what_is_no_such_table_is_named(tmp_path, content, column):
  path = tmp_path / 'a'
  if content == 'table':
    write(path)
  elif content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match=f'{path}: no table of bin/label with columns'):
    label_table.read_table([path], [column])
