"""One trainer per run folder, whatever became of the one before."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment import owner
from alpt_jax.experiment.owner import owning

# Owns the folder that is its argument until it is killed; says so first.
TRAINER = """
  import sys, time
  from alpt_jax.experiment.owner import owning
  with owning(sys.argv[1], beat=0.05):
    print('owns', flush=True)
    time.sleep(600)
"""


@pytest.fixture
def trainer(tmp_path):
  """Another process that owns `tmp_path`."""
  process = subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(TRAINER), str(tmp_path)],
    stdout=subprocess.PIPE,
    env={**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parents[1])},
    text=True,
  )
  assert process.stdout.readline() == 'owns\n'
  yield process
  process.kill()
  process.wait()
  process.stdout.close()


@pytest.fixture
def moved(monkeypatch):
  """From now on this process seems to be on another machine."""
  monkeypatch.setattr(owner, '_machine', lambda: 'elsewhere')


@pytest.fixture(params=['/proc', 'ps'])
def system(request, monkeypatch, tmp_path_factory):
  """Linux; and a system that has no /proc."""
  if request.param == 'ps':
    monkeypatch.setattr(owner, '_PROC', tmp_path_factory.mktemp('proc'))


def content(folder):
  return json.loads((folder / 'owner.json').read_text())


def write(folder, **fields):
  """Changes the record as another trainer would."""
  path = folder / 'owner.json'
  path.write_bytes(owner._to_bytes({**json.loads(path.read_text()), **fields}))


def refusal_of(folder, **arguments):
  """The one line of a UserError."""
  with pytest.raises(UserError) as raised, owning(folder, **arguments):
    pass
  assert '\n' not in str(raised.value)
  return str(raised.value)


def seconds(function):
  start = time.monotonic()
  function()
  return time.monotonic() - start


def take_and_leave(folder, **arguments):
  with owning(folder, **arguments) as mine:
    mine.check()


def test_an_owner_is_named_and_leaves_nothing_behind(tmp_path):
  folder = tmp_path / 'runs' / 'one'
  with owning(folder) as mine:
    mine.check()
    assert content(folder)['process'] == os.getpid()
    assert [path.name for path in folder.iterdir()] == ['owner.json']
  assert list(folder.iterdir()) == []


def test_an_owner_that_fails_leaves_nothing_behind(tmp_path):
  with pytest.raises(ZeroDivisionError), owning(tmp_path):
    raise ZeroDivisionError
  assert list(tmp_path.iterdir()) == []


def test_a_second_trainer_is_refused_at_once_and_told_who_the_first_is(
  trainer, tmp_path
):
  before = content(tmp_path)
  start = time.monotonic()
  message = refusal_of(tmp_path)
  assert time.monotonic() - start < 5  # not the 30 s of patience
  assert f'process {trainer.pid} on {before["host"]}' in message
  assert content(tmp_path)['id'] == before['id']


def test_a_trainer_that_was_killed_is_followed_at_once(trainer, tmp_path):
  os.kill(trainer.pid, signal.SIGKILL)
  while owner._is_running(trainer.pid, content(tmp_path)['began']):
    time.sleep(0.01)  # it is not waited for: what is left of it is a zombie
  assert trainer.returncode is None
  assert seconds(lambda: take_and_leave(tmp_path)) < 5


def test_a_process_is_told_from_a_later_one_of_the_same_number(
  system, trainer, tmp_path
):
  began = owner._began(trainer.pid)
  assert began
  assert owner._is_running(trainer.pid, began)
  assert not owner._is_running(trainer.pid, 'earlier')
  trainer.kill()
  trainer.wait()
  assert not owner._is_running(trainer.pid, began)
  assert owner._is_running(os.getpid(), '')  # where a system does not tell


def test_a_restarted_container_follows_its_predecessor_of_the_same_number(tmp_path):
  with owning(tmp_path):
    write(tmp_path, began='earlier', id='predecessor')
    take_and_leave(tmp_path)


def test_a_system_without_proc_refuses_and_follows_too(monkeypatch, tmp_path):
  monkeypatch.setattr(owner, '_PROC', tmp_path / 'none')
  folder = tmp_path / 'run'
  with owning(folder):
    assert f'process {os.getpid()}' in refusal_of(folder)
    write(folder, process=2**22 + 1)  # beyond any process
    take_and_leave(folder)


def test_another_machine_is_refused_while_the_beat_counts(
  trainer, tmp_path, moved, capsys
):
  message = refusal_of(tmp_path, patience=20)
  assert f'another trainer is at work there, process {trainer.pid} on ' in message
  assert 'watching for 20 s' in capsys.readouterr().out


def test_another_machine_takes_over_when_the_beat_stands(
  trainer, tmp_path, moved, capsys
):
  os.kill(trainer.pid, signal.SIGSTOP)
  assert 1 <= seconds(lambda: take_and_leave(tmp_path, patience=1)) < 10
  assert f'taken over from process {trainer.pid}' in capsys.readouterr().out


def test_a_folder_left_while_it_is_watched_is_taken(tmp_path, moved):
  (tmp_path / 'owner.json').write_bytes(owner._to_bytes({'machine': 'a third'}))
  threading.Timer(0.5, (tmp_path / 'owner.json').unlink).start()
  assert seconds(lambda: take_and_leave(tmp_path, patience=20)) < 10


@pytest.mark.parametrize('damaged', [b'', b'[]', b'{"machine": '])
def test_a_damaged_file_is_watched_and_taken_over(tmp_path, damaged, capsys):
  (tmp_path / 'owner.json').write_bytes(damaged)
  take_and_leave(tmp_path, patience=0.2)
  assert 'left by an unknown process' in capsys.readouterr().out


def test_an_owner_that_slept_while_it_was_followed_finds_out(tmp_path):
  with owning(tmp_path, beat=600) as mine:
    write(tmp_path, id='another', process=17, host='far')
    taken = (tmp_path / 'owner.json').read_bytes()
    mine.beat()  # must not write over the other's
    with pytest.raises(RunFailed, match='took this folder .process 17 on far.'):
      mine.check()
    write(tmp_path, id=mine._fields['id'])  # once lost is lost
    with pytest.raises(RunFailed):
      mine.check()
    (tmp_path / 'owner.json').write_bytes(taken)
  assert (tmp_path / 'owner.json').read_bytes() == taken  # and stays the other's


def test_an_owner_whose_file_was_removed_finds_out_at_the_next_beat(tmp_path):
  with owning(tmp_path, beat=0.01) as mine:
    (tmp_path / 'owner.json').unlink()
    deadline = time.monotonic() + 10
    while mine._loser_of is None and time.monotonic() < deadline:
      time.sleep(0.01)
    with pytest.raises(RunFailed, match='owner.json is gone'):
      mine.check()
  assert list(tmp_path.iterdir()) == []


def test_the_beat_counts_and_the_file_keeps_its_length(tmp_path):
  with owning(tmp_path, beat=0.01):
    size = (tmp_path / 'owner.json').stat().st_size
    deadline = time.monotonic() + 20
    while content(tmp_path)['beat'] < 12 and time.monotonic() < deadline:
      assert (tmp_path / 'owner.json').stat().st_size == size
    assert content(tmp_path)['beat'] >= 12


def _no_links(*paths):
  raise PermissionError(1, 'Operation not permitted')


@pytest.mark.parametrize('links', [True, False])
def test_of_many_that_follow_a_dead_trainer_one_succeeds(tmp_path, monkeypatch, links):
  if not links:
    monkeypatch.setattr(os, 'link', _no_links)
  dead = {'machine': owner._machine(), 'process': 2**22 + 1, 'began': '1'}
  for _ in range(5):
    (tmp_path / 'owner.json').write_bytes(owner._to_bytes(dead))
    together, done = threading.Barrier(8), threading.Barrier(8)
    outcomes = []

    def contend(together=together, done=done, outcomes=outcomes):
      mine = owner.Owner(tmp_path)
      together.wait()
      try:
        mine.take(patience=5.0)  # of an empty file; a busy machine takes its time
        outcomes.append('owns')
      except UserError:
        outcomes.append('refused')
      done.wait()
      mine.release()

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert sorted(outcomes) == ['owns'] + ['refused'] * 7
    assert list(tmp_path.iterdir()) == []
