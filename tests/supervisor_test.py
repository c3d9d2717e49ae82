"""A group of processes: ended together, started again where that may help."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from alpt_jax.launching import commands, local, supervisor
from alpt_jax.launching.supervisor import Plan, Supervisor

_ROOT = pathlib.Path(__file__).parents[1]


def plan(folder, body, num_processes=2, **options):
  """A group of small programs; they see `me`, `start` (0, 1, ...) and `folder`."""
  program = folder / 'program.py'
  program.write_text(
    textwrap.dedent(
      f"""
      import os, pathlib, signal, sys, time
      folder = pathlib.Path({str(folder)!r})
      me = int(sys.argv[-1].removeprefix('--process_id=')) if sys.argv[1:] else 0
      start = len(list(folder.glob(f'started-{{me}}-*')))
      (folder / f'started-{{me}}-{{start}}').write_text(' '.join(sys.argv[1:]))
      """
    )
    + textwrap.dedent(body)
  )
  options = {'backoff': 0.01, 'kill_grace': 0.3, 'stop_grace': 5.0, **options}
  command = (sys.executable, str(program))
  return Plan(num_processes, command, folder / 'logs', **options)


def num_starts(folder, process):
  return len(list(folder.glob(f'started-{process}-*')))


def wait_for(path):
  deadline = time.monotonic() + 20
  while not path.exists():
    assert time.monotonic() < deadline, path
    time.sleep(0.02)


def test_every_process_is_told_where_the_others_are(tmp_path):
  assert Supervisor(plan(tmp_path, 'print("hello from", me)')).run() == 0
  flags = [(tmp_path / f'started-{i}-0').read_text().split() for i in range(2)]
  assert flags[0][:3] == flags[1][:3]  # one coordinator
  assert flags[0][0] == '--distributed=on'
  assert flags[0][1].startswith('--coordinator=127.0.0.1:')
  assert [line[2:] for line in flags] == [
    ['--num_processes=2', '--process_id=0'],
    ['--num_processes=2', '--process_id=1'],
  ]
  assert 'hello from 1' in (tmp_path / 'logs' / 'process-1.log').read_text()


def test_a_single_process_runs_as_it_was_given(tmp_path):
  assert Supervisor(plan(tmp_path, '', num_processes=1)).run() == 0
  assert (tmp_path / 'started-0-0').read_text() == ''


def test_every_process_gets_so_many_devices_of_the_cpu(tmp_path, monkeypatch):
  """Flags that were given stay; of two equal ones XLA takes the last."""
  monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=there')
  body = "print(os.environ['JAX_PLATFORMS'], os.environ['XLA_FLAGS'])"
  assert Supervisor(plan(tmp_path, body, devices=3)).run() == 0
  for process in range(2):
    log = (tmp_path / 'logs' / f'process-{process}.log').read_text()
    assert 'cpu --xla_dump_to=there --xla_force_host_platform_device_count=3\n' in log


def test_a_killed_process_ends_the_group_which_starts_again(tmp_path):
  """Process 0 waits for a peer that is gone, and does not heed SIGTERM."""
  body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if start == 0 and me == 1:
      os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60 if start == 0 else 0)
  """
  before = time.monotonic()
  assert Supervisor(plan(tmp_path, body)).run() == 0
  assert time.monotonic() - before < 20
  assert [num_starts(tmp_path, process) for process in range(2)] == [2, 2]


def test_a_clean_stop_starts_again_and_lets_the_others_save(tmp_path):
  body = """
    if start == 0 and me == 1:
      time.sleep(0.5)
      (folder / 'saved').touch()
    sys.exit(42 if start == 0 else 0)
  """
  assert Supervisor(plan(tmp_path, body)).run() == 0
  assert num_starts(tmp_path, 0) == 2
  assert (tmp_path / 'saved').exists()


@pytest.mark.parametrize('code', [1, 2])
def test_what_would_fail_again_is_not_tried_again(tmp_path, code):
  body = f"""
    print('error: this and that')
    sys.exit({code})
  """
  assert Supervisor(plan(tmp_path, body)).run() == code
  assert num_starts(tmp_path, 0) == 1


def test_a_user_error_is_told_though_what_follows_from_it_ends_first(tmp_path):
  body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if me == 0:
      (folder / 'ready').touch()
      time.sleep(0.5)
      sys.exit(2)
    while not (folder / 'ready').exists():
      time.sleep(0.02)
    sys.exit(1)
  """
  assert Supervisor(plan(tmp_path, body, kill_grace=10.0)).run() == 2


def test_it_gives_up_after_so_many_restarts(tmp_path, capfd):
  body = 'os.kill(os.getpid(), signal.SIGKILL)'
  assert Supervisor(plan(tmp_path, body, restarts=2)).run() == 137
  log = (tmp_path / 'logs' / 'process-0.log').read_text()
  assert log.count('--- start') == 3  # the last processes may die before they begin
  assert 'gives up' in capfd.readouterr().err


def test_a_start_that_lasted_begins_a_new_row(tmp_path):
  """Three crashes with one restart in a row: each start lasted `steady` seconds."""
  body = """
    if start < 3:
      os.kill(os.getpid(), signal.SIGKILL)
  """
  patient = plan(tmp_path, body, num_processes=1, restarts=1, steady=0.0)
  assert Supervisor(patient).run() == 0
  assert num_starts(tmp_path, 0) == 4


def test_what_a_process_started_is_killed_with_it(tmp_path):
  body = """
    import subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if me == 1:
      while not (folder / 'ready').exists():
        time.sleep(0.02)
      sys.exit(1)
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    (folder / 'child').write_text(str(child.pid))
    (folder / 'ready').touch()
    child.wait()
  """
  assert Supervisor(plan(tmp_path, body)).run() == 1
  child = int((tmp_path / 'child').read_text())
  deadline = time.monotonic() + 10
  while is_running(child):
    assert time.monotonic() < deadline
    time.sleep(0.02)


def is_running(pid):
  """A zombie that nobody has waited for yet does not run."""
  result = subprocess.run(
    ['ps', '-o', 'stat=', '-p', str(pid)], capture_output=True, text=True
  )
  return result.stdout.strip()[:1] not in ('', 'Z')


def test_whoever_ended_badly_is_named_with_its_last_line(tmp_path, capfd):
  body = """
    if me == 1:
      print('failed: no space')
      sys.exit(1)
    time.sleep(60)
  """
  assert Supervisor(plan(tmp_path, body)).run() == 1
  shown = capfd.readouterr().err
  assert 'process 1 ended with 1' in shown
  assert 'failed: no space' in shown


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_all_save_and_none_starts_again(tmp_path, number):
  """All come as SIGTERM, which JAX's preemption service listens to."""
  body = """
    def save(number, frame):
      (folder / f'saved-{me}').touch()
      sys.exit(42)
    signal.signal(signal.SIGTERM, save)
    (folder / f'ready-{me}').touch()
    time.sleep(60)
  """

  def ask():
    for process in range(2):
      wait_for(tmp_path / f'ready-{process}')
    os.kill(os.getpid(), number)

  # Tests that run under nohup ignore SIGHUP, and so would the supervisor.
  before = signal.signal(number, signal.default_int_handler)
  try:
    threading.Thread(target=ask).start()
    assert Supervisor(plan(tmp_path, body)).run() == 42
  finally:
    signal.signal(number, before)
  assert [(tmp_path / f'saved-{i}').exists() for i in range(2)] == [True, True]
  assert num_starts(tmp_path, 0) == 1


def test_asked_to_stop_a_crash_of_one_leaves_the_others_time_to_save(tmp_path):
  """Process 1 knows no signals and dies of it; process 0 needs longer than a KILL."""
  body = """
    def save(number, frame):
      time.sleep(1)
      (folder / 'saved').touch()
      sys.exit(42)
    if me == 0:
      signal.signal(signal.SIGTERM, save)
    (folder / f'ready-{me}').touch()
    time.sleep(60)
  """

  def ask():
    for process in range(2):
      wait_for(tmp_path / f'ready-{process}')
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=ask).start()
  assert Supervisor(plan(tmp_path, body)).run() == 143
  assert (tmp_path / 'saved').exists()


@pytest.mark.parametrize('second, code', [(signal.SIGTERM, 42), (signal.SIGINT, 137)])
def test_a_second_interrupt_kills_but_a_second_sigterm_does_not(tmp_path, second, code):
  body = """
    def save(number, frame):
      (folder / f'asked-{me}').touch()
      time.sleep(1)
      sys.exit(42)
    signal.signal(signal.SIGTERM, save)
    (folder / f'ready-{me}').touch()
    time.sleep(60)
  """

  def ask():
    for state, number in (('ready', signal.SIGTERM), ('asked', second)):
      for process in range(2):
        wait_for(tmp_path / f'{state}-{process}')
      os.kill(os.getpid(), number)

  threading.Thread(target=ask).start()
  assert Supervisor(plan(tmp_path, body)).run() == code


def test_whoever_does_not_stop_in_time_is_killed(tmp_path):
  body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / f'ready-{me}').touch()
    time.sleep(60)
  """

  def ask():
    wait_for(tmp_path / 'ready-0')
    wait_for(tmp_path / 'ready-1')
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=ask).start()
  assert Supervisor(plan(tmp_path, body, stop_grace=0.3)).run() == 137


def test_the_cause_is_told_from_what_follows_from_it():
  """A kill explains the other's abort; a failure explains an abort, too."""
  assert supervisor.worst([134, 137]) == 137
  assert supervisor.worst([1, 137]) == 137
  assert supervisor.worst([134, 1]) == 1
  assert supervisor.worst([134, 2]) == 2
  assert supervisor.worst([0, 42]) == 42
  assert supervisor.worst([0, 0]) == 0


def test_a_dry_run_of_local_sh_shows_the_commands_and_starts_nothing(tmp_path):
  workdir = tmp_path / 'run'
  # Where the project is not installed yet, this must not do it.
  program = tmp_path / 'python'
  program.write_text(f'#!/bin/sh\n[ "$2" = pip ] || exec {sys.executable} "$@"\n')
  program.chmod(0o755)
  command = ['python', '-m', 'alpt_jax.bin.pretrain', f'--workdir={workdir}']
  result = subprocess.run(
    [_ROOT / 'launch' / 'local.sh', '2', '--dry-run', '--', *command],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env={
      **os.environ,
      'PATH': f'{tmp_path}:{os.environ["PATH"]}',
      'VIRTUAL_ENV': str(tmp_path),
    },
  )
  assert result.returncode == 0, result.stderr
  first, second = result.stdout.splitlines()[-2:]
  assert first.startswith(' '.join(command) + ' --distributed=on --coordinator=127.0')
  assert second.endswith('--num_processes=2 --process_id=1')
  assert not workdir.exists()


@pytest.mark.parametrize(
  'arguments, said',
  [
    (['two', '--', 'python'], "invalid int value: 'two'"),
    (['2'], 'expected a command behind --'),
    (['0', '--', 'python'], 'expected N >= 1'),
    (['2', '--', 'no-such-program'], 'no-such-program: no such program'),
    (['2', '--restart', '3', '--', 'python'], 'unrecognized arguments'),
    ([], 'the following arguments are required: N'),
  ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(arguments, said, capsys):
  assert commands.exit_code(local.main, arguments) == 2
  shown = capsys.readouterr().err
  assert said in shown
  assert len(shown.strip().splitlines()) == 1


def test_its_patience_can_be_given():
  given, _ = local.parse(
    '2 --backoff 0.1 --kill-grace=2 --stop-grace 3 -- python'.split()
  )
  assert (given.backoff, given.kill_grace, given.stop_grace) == (0.1, 2.0, 3.0)
  usual, _ = local.parse('2 -- python'.split())
  assert (usual.backoff, usual.kill_grace) == (Plan.backoff, Plan.kill_grace)


def test_the_number_of_devices_must_be_one(monkeypatch, capsys):
  monkeypatch.setenv('DEVICES_PER_PROCESS', 'two')
  assert commands.exit_code(local.main, ['2', '--', 'python']) == 2
  assert (
    "DEVICES_PER_PROCESS: expected a number, found 'two'" in capsys.readouterr().err
  )


@pytest.mark.parametrize(
  'log, said',
  [
    ('--- start 0: x\nstep 1\nfailed: no space\nnoise', 'failed: no space'),
    ('--- start 0: x\nCheck failed: a\n    @  0x7f92 b\n  @ 0x1 c', 'Check failed: a'),
    # What an earlier start said is another story.
    ('--- start 0: x\nerror: old\n--- start 1: x\nKilled', 'Killed'),
    ('--- start 0: x', '--- start 0: x'),
    ('', ''),
  ],
)
def test_the_line_that_says_why_is_found(log, said):
  assert supervisor.last_words(log) == said
