"""A labelling that is stopped, killed or shared leaves the same bits."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
import tiny_label_run
from tiny_label_run import label

from alpt_jax.errors import Preempted, RunFailed, UserError
from alpt_jax.experiment import label_run
from alpt_jax.experiment.label_files import LabelFiles


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tiny_label_run.write_root(tmp_path_factory.mktemp('label'))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  tiny_label_run.small_parts(monkeypatch)


@pytest.fixture(scope='module')
def whole(root):
  return tiny_label_run.label_whole(root)


class Killed(BaseException):
  """Stands for a kill: nothing that is done on the way out is to the files."""


@pytest.mark.slow
def test_killed_before_any_file_and_begun_again_it_has_the_same_bits(
  root, whole, tmp_path, monkeypatch
):
  """Each start dies when it would give the second, third, ... file its name."""
  real, left = os.replace, [0]

  def replace(source, target):
    left[0] -= 1
    if not left[0]:
      raise Killed
    real(source, target)

  monkeypatch.setattr(os, 'replace', replace)
  out, num_kills = tmp_path / 'out', 0
  for lasts in itertools.cycle((1, 2, 3, 4, 6)):
    left[0] = lasts
    try:
      label(root, out, rlds=True)
      break
    except Killed:
      num_kills += 1
  # Two files for each of 6 parts, one of them twice where it dies between them.
  assert num_kills >= 5
  assert tiny_label_run.content(out) == tiny_label_run.content(whole)


def test_of_two_labellings_at_once_the_later_one_writes_nothing(
  root, tmp_path, monkeypatch
):
  real = label_run.label_stretches

  def overtaken(*args):
    monkeypatch.setattr(label_run, 'label_stretches', real)
    label(root, tmp_path / 'out')
    return real(*args)

  monkeypatch.setattr(label_run, 'label_stretches', overtaken)
  with pytest.raises(UserError, match='field seed: was begun with 0, found 1'):
    label(root, tmp_path / 'out', seed=1)
  label(root, tmp_path / 'alone')
  found, expected = (
    tiny_label_run.content(tmp_path / name) for name in ('out', 'alone')
  )
  assert found == expected


@pytest.mark.slow
def test_three_shards_are_one_whoever_ends_last(root, whole, tmp_path):
  for index in (2, 0, 1):
    assert not (tmp_path / 'dataset_info.json').exists()
    lines = label(root, tmp_path, rlds=True, shard=(index, 3))
    is_last = index == 1
    assert ('2 of 6 parts are missing' in lines[1]) == (index == 0)
    assert (tmp_path / 'dataset_info.json').exists() == is_last
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_what_is_complete_is_not_labelled_again(root, whole, monkeypatch):
  before = tiny_label_run.content(whole)
  monkeypatch.setattr(label_run, 'label_pool', None)
  monkeypatch.setattr(label_run, 'label_stretches', None)
  lines = label(root, whole, rlds=True)
  assert lines[0] == '0 of 6 parts labelled: 0 transitions'
  assert tiny_label_run.content(whole) == before


@pytest.mark.slow
def test_rlds_files_can_be_added_to_tables(root, whole, tmp_path):
  label(root, tmp_path)
  assert not list(tmp_path.glob('*.tfrecord*'))
  label(root, tmp_path, rlds=True)
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_asked_to_stop_it_stops_between_batches_and_goes_on(
  root, whole, tmp_path, monkeypatch
):
  real = label_run.label_pool

  def asked(labeller, pool, config, episodes, progress):
    if 10 in episodes:
      os.kill(os.getpid(), signal.SIGTERM)
    return real(labeller, pool, config, episodes, progress)

  with monkeypatch.context() as patch:
    patch.setattr(label_run, 'label_pool', asked)
    with pytest.raises(Preempted, match='[12] of 6 parts are there. The same command'):
      label(root, tmp_path, rlds=True)
  label(root, tmp_path, rlds=True)
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_a_full_disk_is_named_and_the_parts_stay(root, tmp_path, monkeypatch):
  real = LabelFiles.write_part

  def full(files, part, *arguments):
    if part.index == 2:
      raise OSError(28, 'No space left on device')
    real(files, part, *arguments)

  monkeypatch.setattr(LabelFiles, 'write_part', full)
  with pytest.raises(RunFailed, match='2 of 6 parts are there, .*No space left'):
    label(root, tmp_path)


# What a process does that is killed before it gives the n-th file its name.
_KILLED = """
import os, runpy, signal, sys
real, left = os.replace, [int(sys.argv.pop(1))]
def replace(*names):
  left[0] -= 1
  if not left[0]:
    os.kill(os.getpid(), signal.SIGKILL)
  real(*names)
os.replace = replace
runpy.run_module('alpt_jax.bin.label', run_name='__main__')
"""


@pytest.mark.slow
def test_real_processes_killed_and_sharded_leave_the_same_bits(tmp_path):
  """350 short episodes are 4 parts; two processes label at once in the end."""
  pool = tiny_label_run.write_dataset(tmp_path / 'data', [9] * 350, known=150)
  tiny_label_run.write_run(tmp_path / 'run', pool, tiny_label_run.draw(pool))

  def process(out, kill, *options):
    words = [sys.executable, '-c', _KILLED, f'{kill}', f'--run={tmp_path}/run']
    words += [f'--data={tmp_path}/data', f'--out={tmp_path / out}', '--nocard']
    return subprocess.Popen([*words, *options], stderr=subprocess.PIPE, text=True)

  def code(running):
    said = running.communicate()[1]
    assert running.returncode in (0, -signal.SIGKILL), said
    return running.returncode

  assert code(process('whole', 0)) == 0
  expected = tiny_label_run.content(tmp_path / 'whole')
  # When its record was just there, between the files of a part, between parts.
  for kill in (2, 3, 3):
    assert code(process('killed', kill)) == -signal.SIGKILL
  assert code(process('killed', 0)) == 0
  assert tiny_label_run.content(tmp_path / 'killed') == expected
  both = [process('both', 0, f'--shard={index}/2') for index in range(2)]
  assert [code(running) for running in both] == [0, 0]
  assert tiny_label_run.content(tmp_path / 'both') == expected
