"""A training whose processes are killed ends as if nothing had happened."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from tiny_processes import ROOT

from alpt_jax.launching import commands, moments, soak

_STARTED = '--- start 0: python ...\nprocess 0 of 2\nrun: ALPT on 2 x cpu\n'


def workdir_of(folder, log, rows=(), checkpoints=()):
  """A run folder with what the log and the metrics say."""
  (folder / 'logs').mkdir(parents=True)
  (folder / 'logs' / 'process-0.log').write_text(log)
  lines = [json.dumps({'kind': kind, 'step': step}) + '\n' for kind, step in rows]
  (folder / 'metrics.jsonl').write_text(''.join(lines))
  for name in checkpoints:
    (folder / 'checkpoints' / name).mkdir(parents=True)
  return folder


@pytest.mark.parametrize(
  'expected, log, rows, checkpoints',
  [
    (moments.START, '--- start 0: python ...\nprocess 0 of 2\n', (), ()),
    (moments.COMPILE, _STARTED, (), ()),
    (moments.STEP, _STARTED, [('train', 1)], ()),
    # An evaluation is due at 15, 30, ..., a save at 10, 20, ...
    (moments.STEP, _STARTED, [('train', 10)], ['10']),
    (moments.SAVE, _STARTED, [('train', 10)], ['10.orbax-checkpoint-tmp']),
    (moments.EVALUATION, _STARTED, [('train', 15)], ()),
    (moments.STEP, _STARTED, [('train', 15), ('evaluation', 15)], ()),
    (moments.EVALUATION, _STARTED, [('train', 60)], ['60']),
    (moments.END, _STARTED, [('train', 60), ('evaluation', 60)], ['60']),
    # Started again: what was written before does not count.
    (moments.START, _STARTED + '--- start 1: python ...\n', [('train', 15)], ()),
    (
      moments.COMPILE,
      _STARTED + _STARTED.replace('run:', 'run: goes on from step 10\nrun:'),
      [('train', 10)],
      ['10'],
    ),
  ],
)
def test_what_a_run_is_doing_is_told_from_its_folder(
  tmp_path, expected, log, rows, checkpoints
):
  workdir = workdir_of(tmp_path / 'run', log, rows, checkpoints)
  assert moments.moment(workdir, soak.SCHEDULE) == expected


def test_a_folder_that_is_not_there_yet_is_a_start(tmp_path):
  assert moments.moment(tmp_path / 'run', soak.SCHEDULE) == moments.START


def test_one_bit_of_a_leaf_is_a_difference():
  """-0.0 equals 0.0, and a NaN no NaN; their bits say otherwise."""
  one = {'params': {'a': np.array([0.0, 1.0]), 'b': np.array([np.nan])}, 'step': 3}
  other = {'params': {'a': np.array([-0.0, 1.0]), 'b': np.array([np.nan])}, 'step': 3}
  assert soak.differing_leaves(one, one) == []
  assert soak.differing_leaves(one, other) == ['params/a']
  assert soak.differing_leaves(one, {**one, 'step': 4}) == ['step']


def test_rows_differ_by_what_is_not_the_machines(tmp_path):
  row = {'kind': 'train', 'step': 1, 'idm_loss': 0.5, 'steps_per_second': 3.0}

  def kept(*written):
    path = tmp_path / 'metrics.jsonl'
    path.write_text(''.join(json.dumps(one) + '\n' for one in written))
    return soak.numbers(tmp_path)

  assert kept(row) == kept({**row, 'steps_per_second': 4.0})
  assert kept(row) != kept({**row, 'idm_loss': 0.25})
  assert kept(row) != kept(row, row)


@pytest.mark.parametrize(
  'arguments, said',
  [
    (['--kills=0', '--out=x'], 'expected --kills >= 1'),
    (['--processes=1', '--out=x'], '--processes >= 2'),
    (['--kills=5'], 'required: --out'),
    (['--out=configs'], 'not empty'),
  ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(arguments, said, capsys):
  assert commands.exit_code(soak.main, arguments) == 2
  shown = capsys.readouterr().err
  assert said in shown
  assert len(shown.strip().splitlines()) == 1


@pytest.mark.slow
def test_killed_five_times_it_finishes_by_itself_with_the_same_bits(tmp_path):
  """Once while it compiles, steps, saves, evaluates; and at its start or its end."""
  folder = tmp_path / 'soak'
  program = [sys.executable, '-m', 'alpt_jax.launching.soak']
  result = subprocess.run(
    [*program, '--kills=5', f'--out={folder}'],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  table = (folder / 'kills.md').read_text()
  found = re.findall(r'\| run-1 \| [01] \| (\w+) \|', table)
  assert len(found) == 5
  assert set(found) >= {moments.COMPILE, moments.STEP, moments.SAVE, moments.EVALUATION}
  assert 'run-1: 5 kills' in table
  assert 'exit code 0; the same bits' in table
  said = (folder / 'run-1.log').read_text()
  assert said.count('ended with 137') == said.count('starts again') == 5
