"""Asked to stop, out of disk, or not alone in the folder: what real processes do."""

import json
import signal
import subprocess
import time

import pytest
import tiny_configs
from tiny_processes import (
  ROOT,
  command,
  finish,
  launching,
  popen,
  rows,
  saved,
  wait_for_step,
)

from alpt_jax.launching.supervisor import free_port

pytestmark = pytest.mark.slow
# Seconds of an evaluation after step 5.
_LONG_EVALUATION = (
  '--config.training.evaluate_every=5',
  '--config.evaluation.max_steps=300',
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  root = tmp_path_factory.mktemp('data')
  tiny_configs.record_mazes(root)
  return root


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('compiled')


@pytest.fixture
def start(data, cache):
  yield from launching(data, cache)


@pytest.fixture
def supervise(data, cache):
  """Two processes of a training under launch/local.sh; ended with the test."""
  started = []

  def launch_supervised(workdir, *options):
    words = [ROOT / 'launch' / 'local.sh', '2', '--backoff=0.1', '--kill-grace=1']
    started.append(popen([*words, '--', *command(data, workdir, *options)], cache))
    return started[-1]

  yield launch_supervised
  for process in started:
    process.terminate()
    process.communicate()


def stopped_after(workdir, said):
  """The step that was saved: the last one, and the one that all speak of."""
  (step,) = saved(workdir)
  assert step == rows(workdir)[-1]
  for text in said:
    assert f' at step {step}: saved. Run the same again.' in text
  assert json.loads((workdir / 'status.json').read_text())['state'] == 'stopped'
  return step


def test_asked_during_an_evaluation_two_processes_finish_it_and_save(start, tmp_path):
  """The lead evaluates; the other one is asked and waits for it in the next step."""
  workdir = tmp_path / 'run'
  processes = start(workdir, *_LONG_EVALUATION, count=2)
  wait_for_step(workdir, 5, processes)
  assert rows(workdir, 'evaluation') == []
  processes[1].send_signal(signal.SIGTERM)
  said = finish(processes, expect=42)
  assert 5 < stopped_after(workdir, said) < 10
  assert rows(workdir, 'evaluation') == [5]


@pytest.mark.parametrize('by_launcher', [False, True])
def test_asked_during_an_evaluation_a_single_process_leaves_it_for_later(
  start, tmp_path, by_launcher
):
  """Also where a launcher starts one process as it would start several."""
  workdir = tmp_path / 'run'
  flags = ['--distributed=on', f'--coordinator=127.0.0.1:{free_port()}']
  flags += ['--num_processes=1', '--process_id=0']
  processes = start(workdir, *_LONG_EVALUATION, *(flags if by_launcher else ()))
  wait_for_step(workdir, 5, processes)
  assert rows(workdir, 'evaluation') == []
  processes[0].send_signal(signal.SIGTERM)
  said = finish(processes, expect=42)
  assert stopped_after(workdir, said) == 5
  assert rows(workdir, 'evaluation') == []


def test_all_are_asked_by_their_supervisor_and_later_go_on(supervise, tmp_path):
  workdir = tmp_path / 'run'
  supervisor = supervise(workdir)
  wait_for_step(workdir, 3, [supervisor])
  supervisor.send_signal(signal.SIGTERM)
  finish([supervisor], expect=42)
  logs = [workdir / 'logs' / f'process-{i}.log' for i in range(2)]
  step = stopped_after(workdir, [log.read_text() for log in logs])
  last = step + 3
  (said,) = finish([supervise(workdir, f'--config.training.num_steps={last}')], 2)
  assert 'training.num_steps' in said  # another run is refused, this one goes on:
  supervisor = supervise(workdir)
  wait_for_step(workdir, last, [supervisor])
  assert rows(workdir) == list(range(1, rows(workdir)[-1] + 1))


def test_ctrl_c_once_to_one_of_two_processes_saves(start, tmp_path):
  workdir = tmp_path / 'run'
  processes = start(workdir, count=2)
  wait_for_step(workdir, 3, processes)
  processes[0].send_signal(signal.SIGINT)
  stopped_after(workdir, finish(processes, expect=42))


def test_ctrl_c_twice_ends_at_once_without_a_save(start, tmp_path):
  workdir = tmp_path / 'run'
  processes = start(workdir, *_LONG_EVALUATION, count=2)
  wait_for_step(workdir, 5, processes)
  processes[0].send_signal(signal.SIGINT)
  time.sleep(0.2)  # equal signals that wait are one
  processes[0].send_signal(signal.SIGINT)
  (said,) = finish(processes[:1], expect=130)
  assert 'stopped: at once, without a save' in said
  assert rows(workdir, 'evaluation') == []
  assert not saved(workdir)


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 4 MB."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(disk)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('mounting a small file system needs root')
  yield disk
  subprocess.run(['umount', '--lazy', str(disk)], check=True)


def test_a_full_disk_ends_both_processes_and_none_starts_again(small_disk, supervise):
  """Their logs lie on that disk, too."""
  workdir = small_disk / 'run'
  supervisor = supervise(
    workdir,
    '--config.training.checkpoint_every=2',
    '--config.training.keep_checkpoints=100',
  )
  (said,) = finish([supervisor], expect=1)
  assert 'starts again' not in said
  assert f'Last good step: {saved(workdir)[-1]}' in said
  assert 'Free some disk space' in said
  assert 'Traceback' not in said


def test_a_second_trainer_is_refused_whoever_it_is(start, supervise, tmp_path):
  """Of this machine by its process; of another, as it seems, by its beat."""
  workdir = tmp_path / 'run'
  first = start(workdir)
  wait_for_step(workdir, 3, first)
  (said,) = finish([supervise(workdir)], expect=2)
  assert f'another trainer is at work there, process {first[0].pid} on ' in said
  assert 'starts again' not in said
  pretend_another_machine(workdir)
  (said,) = finish(start(workdir), expect=2)
  assert 'another trainer is at work there' in said
  first[0].send_signal(signal.SIGTERM)
  finish(first, expect=42)


def test_what_another_machine_left_behind_is_taken_over(start, tmp_path):
  workdir = tmp_path / 'run'
  first = start(workdir, '--config.training.checkpoint_every=2')
  wait_for_step(workdir, 5, first)
  first[0].kill()
  first[0].wait()
  pretend_another_machine(workdir)
  begun = time.monotonic()
  second = start(workdir, '--config.training.checkpoint_every=2', count=2)
  step = rows(workdir)[-1] + 5
  wait_for_step(workdir, step, second)
  assert time.monotonic() - begun > 30  # for which the beat was watched
  second[1].send_signal(signal.SIGTERM)
  said = finish(second, expect=42)
  assert 'taken over from process' in said[0]
  assert 'goes on from step' in said[0]


def pretend_another_machine(workdir):
  """The owner, as another machine would have written it; its length stays."""
  path = workdir / 'owner.json'
  record = json.loads(path.read_text())
  text = path.read_text().replace(
    json.dumps(record['machine']), json.dumps(record['machine'][:-1] + '?')
  )
  assert json.loads(text)['machine'] != record['machine']
  path.write_text(text)
