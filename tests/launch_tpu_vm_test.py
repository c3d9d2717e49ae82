"""launch/tpu_vm: a slice asked for, lost, asked for again, and given back."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from stub_programs import ROOT, StubPrograms, joined

from alpt_jax.errors import RunFailed
from alpt_jax.launching import tpu_watch, tpu_worker

_SETTINGS = {
  'ZONE': 'us-central2-b',
  'ACCELERATOR_TYPE': 'v4-32',
  'PROCESSES': '4',
  'BUCKET': 'gs://mine/',
}
_COMMAND = ['python', '-m', 'alpt_jax.bin.pretrain', '--config=configs/maze.py:a b']
_TRAINING = [
  *_COMMAND,
  '--workdir=/mnt/alpt/runs/run-1',
  '--distributed=on',
  '--expect_processes=4',
]
_DELETE = (
  'gcloud compute tpus queued-resources delete run-1 --force --quiet '
  '--zone=us-central2-b'
)
_FORGET = 'gcloud storage rm --recursive gs://mine/launch/run-1/exit-code'
_CODES = "gcloud storage cat 'gs://mine/launch/run-1/exit-code/*'"
_DESCRIBE = (
  'gcloud compute tpus queued-resources describe run-1 '
  "'--format=value(state.state,state.failedData.error.message)' --zone=us-central2-b"
)
_NO_CODE = ('', 'ERROR: The following URLs matched no objects or files', 1)


@pytest.fixture
def cloud(tmp_path):
  return StubPrograms(tmp_path, 'gcloud', 'git')


def records(cloud):
  return cloud.folder / 'with space'


def call(cloud, script, *arguments, **settings):
  settings = {**_SETTINGS, 'RECORDS': str(records(cloud)), **settings}
  return cloud.run(f'tpu_vm/{script}.sh', *arguments, **settings)


def creation(cloud):
  startup = records(cloud) / 'run-1' / 'startup-script.sh'
  return joined(
    *'gcloud compute tpus queued-resources create run-1 --node-id=run-1'.split(),
    '--accelerator-type=v4-32',
    '--runtime-version=tpu-ubuntu2204-base',
    f'--metadata-from-file=startup-script={startup}',
    '--spot',
    '--zone=us-central2-b',
  )


def created(cloud):
  """A launch, its calls forgotten."""
  result = call(cloud, 'create', 'run-1', '--', *_COMMAND)
  assert result.returncode == 0, result.stderr
  (cloud.folder / 'calls').unlink()


def test_create_brings_the_commit_to_the_bucket_and_asks_for_a_spot_slice(cloud):
  result = call(cloud, 'create', 'run-1', '--', *_COMMAND)
  assert result.returncode == 0, result.stderr
  bundle = str(records(cloud) / 'run-1' / 'code.bundle')
  git = ['git', '-C', str(ROOT)]
  assert cloud.calls == [
    joined(*git, 'status', '--porcelain'),
    joined(*git, 'bundle', 'create', '--quiet', bundle, 'HEAD'),
    joined(
      *'gcloud storage cp --quiet'.split(), bundle, 'gs://mine/launch/run-1/code.bundle'
    ),
    _FORGET,
    creation(cloud),
  ]


def test_create_gives_every_host_the_training_with_what_makes_it_fail_closed(cloud):
  created(cloud)
  startup = (records(cloud) / 'run-1' / 'startup-script.sh').read_text()
  assert startup.startswith('#!/usr/bin/env bash\nexport RUN_ID=run-1\n')
  assert f'\nset -- {joined(*_TRAINING)}\n' in startup
  assert startup.endswith((ROOT / 'launch' / 'tpu_vm' / 'startup.sh').read_text())


def test_an_nfs_folder_holds_the_run_instead_of_the_bucket(cloud):
  assert call(cloud, 'create', 'run-1', '--', 'x', NFS='host:/a b').returncode == 0
  startup = (records(cloud) / 'run-1' / 'startup-script.sh').read_text()
  assert "\nexport NFS='host:/a b'\n" in startup
  assert '--workdir=/mnt/alpt-nfs/runs/run-1' in startup


def test_create_refuses_code_that_no_commit_names(cloud):
  cloud.answer('git', 'status', (' M setup.py\n', '', 0))
  result = call(cloud, 'create', 'run-1', '--', *_COMMAND)
  assert result.returncode == 2
  assert 'found changes in setup.py. Commit first.' in result.stderr
  assert len(cloud.calls) == 1


def test_a_dry_run_of_create_shows_files_and_commands_and_does_nothing(cloud):
  result = call(cloud, 'create', 'run-1', '--dry-run', '--', *_COMMAND)
  assert result.returncode == 0, result.stderr
  lines = result.stdout.splitlines()
  assert lines[-1] == creation(cloud)
  assert f'set -- {joined(*_TRAINING)}' in lines
  assert cloud.calls == []
  assert not records(cloud).exists()


@pytest.mark.parametrize(
  'arguments, settings, said',
  [
    (['Run_1', '--', 'x'], {}, "RUN_ID: expected a-z, 0-9 and '-'"),
    (['run-1', '--', 'x'], {'ZONE': ''}, 'ZONE: not set. Expected a zone'),
    (['run-1', '--', 'x'], {'PROCESSES': 'four'}, "PROCESSES: expected the slice's"),
    (['run-1', '--', 'x', '--workdir=/a'], {}, 'the launcher gives --workdir itself'),
    (['run-1', '--verbose'], {}, 'unrecognized arguments: --verbose. Usage: create.sh'),
    (['run-1', '--', 'x'], {'RECORDS': 'a,b'}, 'expected a path without commas'),
  ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(cloud, arguments, settings, said):
  result = call(cloud, 'create', *arguments, **settings)
  assert result.returncode == 2
  assert said in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1
  assert cloud.calls == []


def test_a_command_that_fails_ends_it_with_its_name(cloud):
  cloud.answer('gcloud', 'queued-resources create', ('', 'quota\n', 1))
  result = call(cloud, 'create', 'run-1', '--', *_COMMAND)
  assert result.returncode == 1
  assert 'quota' in result.stderr
  assert 'queued-resources create run-1' in result.stderr.splitlines()[-1]


def test_run_starts_the_training_on_all_hosts(cloud):
  created(cloud)
  assert call(cloud, 'run', 'run-1', '--', *_COMMAND).returncode == 0
  assert call(cloud, 'run', 'run-1', '--stop').returncode == 0
  ssh = ['gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'run-1', '--worker=all']
  zone = '--zone=us-central2-b'
  remote = joined('sudo', '/opt/alpt/start', *_TRAINING)
  assert cloud.calls == [
    joined(*ssh, f'--command={remote}', zone),
    joined(*ssh, '--command=sudo systemctl stop alpt', zone),
  ]
  result = call(cloud, 'run', 'run-1')
  assert result.returncode == 2
  assert 'expected --stop or a command' in result.stderr


def test_other_verbs_know_the_launch_from_its_record(cloud):
  """Not from the settings: those may have changed since."""
  created(cloud)
  assert call(cloud, 'delete', 'run-1', ZONE='elsewhere').returncode == 0
  assert call(cloud, 'logs', 'run-1', BUCKET='other').returncode == 0
  logs = records(cloud) / 'run-1' / 'logs'
  sync = joined(
    *'gcloud storage rsync --recursive gs://mine/launch/run-1/logs'.split(), str(logs)
  )
  assert cloud.calls == [_DELETE, sync]
  result = call(cloud, 'logs', 'run-2')
  assert result.returncode == 2
  assert 'Run create.sh run-2 here first' in result.stderr


@pytest.mark.parametrize('lost', ['SUSPENDED', 'FAILED\tno capacity'])
def test_watch_asks_again_for_a_lost_slice_and_deletes_it_in_the_end(cloud, lost):
  created(cloud)
  cloud.answer('gcloud', 'describe', (f'{lost}\n', '', 0), ('ACTIVE\n', '', 0))
  ended = ('1 0\n0 0\n', '', 0)
  cloud.answer('gcloud', 'storage cat', _NO_CODE, _NO_CODE, ended)
  cloud.answer('gcloud', 'storage rm', _NO_CODE)
  result = call(cloud, 'watch', 'run-1', '--every', '0.01')
  assert result.returncode == 0, result.stderr
  look = [_CODES, _DESCRIBE]
  assert cloud.calls == [
    *look,
    _DELETE,
    _FORGET,
    creation(cloud),
    *look,
    _CODES,
    _DELETE,
  ]
  assert lost.replace('\t', ' ') in result.stderr


def test_watch_ends_as_the_training_did_and_keeps_what_it_shall(cloud):
  """Host 2 had a full disk; what the others say follows from it."""
  created(cloud)
  cloud.answer('gcloud', 'storage cat', ('0 134\n2 1\n', '', 0))
  result = call(cloud, 'watch', 'run-1', '--keep')
  assert result.returncode == 1
  assert cloud.calls == [_CODES]


def test_a_dry_run_of_watch_shows_what_it_would_do(cloud):
  created(cloud)
  result = call(cloud, 'watch', 'run-1', '--dry-run')
  shown = [line for line in result.stdout.splitlines() if not line.startswith('#')]
  assert shown == [_CODES, _DESCRIBE, _DELETE, _FORGET, creation(cloud), _DELETE]
  assert cloud.calls == []


class FakeSlice:
  """States to be seen in turn; `failing` creations fail first."""

  def __init__(self, *states, failing=0):
    self.states = list(states)
    self.failing = failing
    self.done = []

  def look(self):
    return self.states.pop(0), 'a reason'

  def exit_codes(self):
    return {} if self.states else {0: 0}

  def create(self):
    self.done.append('create')
    if self.failing:
      self.failing -= 1
      raise RunFailed('quota')

  def delete(self):
    self.done.append('delete')


def watched(*states, **options):
  slice_ = FakeSlice(*states, **options)
  code = tpu_watch.watch(slice_, every=0, sleep=lambda _: None)
  return code, slice_.done


def test_a_slice_that_only_waits_is_left_alone():
  states = ['ACCEPTED', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE', 'SUSPENDING']
  assert watched(*states) == (0, ['delete'])


def test_no_answer_is_no_reason_to_delete():
  assert watched('ACTIVE', 'UNKNOWN', 'UNKNOWN', 'ACTIVE') == (0, ['delete'])


def test_a_creation_that_fails_is_tried_again():
  """SUSPENDED: deleted, creating fails; then it is gone, and creating works."""
  code, done = watched('SUSPENDED', 'ABSENT', 'ACTIVE', failing=1)
  assert (code, done) == (0, ['delete', 'create', 'create', 'delete'])


def test_a_slice_that_somebody_else_deleted_is_not_made_again():
  slice_ = FakeSlice('ACTIVE', 'ABSENT', 'ACTIVE')
  with pytest.raises(RunFailed, match='deleted by somebody else'):
    tpu_watch.watch(slice_, every=0, sleep=lambda _: None)
  assert slice_.done == []


def test_a_request_that_always_fails_is_given_up():
  slice_ = FakeSlice(*['FAILED'] * 11)
  with pytest.raises(RunFailed, match='FAILED 10 times in a row: a reason'):
    tpu_watch.watch(slice_, every=0, sleep=lambda _: None)
  assert slice_.done == ['delete', 'create'] * 9


def test_the_run_is_over_when_host_0_is_or_another_failed():
  assert tpu_watch.outcome({}) is None
  assert tpu_watch.outcome({3: 0}) is None
  assert tpu_watch.outcome({0: 0}) == 0
  assert tpu_watch.outcome({0: 0, 1: 1}) == 1
  assert tpu_watch.outcome({2: 134, 1: 2}) == 2


def work(tmp_path, program, **options):
  shared = tmp_path / 'shared'
  code = tpu_worker.work(
    3, shared, tmp_path / 'local', [sys.executable, '-c', program], **options
  )
  return code, shared


@pytest.mark.parametrize('code', [0, 1])
def test_a_host_leaves_its_log_and_how_it_ended(tmp_path, code):
  found, shared = work(tmp_path, f'print("step 5"); raise SystemExit({code})')
  assert found == code
  assert 'step 5' in (shared / 'logs' / 'worker-3.log').read_text()
  assert (shared / 'exit-code' / 'worker-3').read_text() == f'3 {code}\n'


def test_a_host_that_was_asked_to_stop_does_not_say_that_it_ended(tmp_path):
  """Nor does what it said of an earlier start remain."""
  (tmp_path / 'shared' / 'exit-code').mkdir(parents=True)
  (tmp_path / 'shared' / 'exit-code' / 'worker-3').write_text('3 1\n')
  ready = tmp_path / 'ready'
  program = (
    'import pathlib, signal, sys, time\n'
    'signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))\n'
    f'pathlib.Path({str(ready)!r}).touch()\n'
    'time.sleep(60)\n'
  )

  def ask():
    while not ready.exists():
      time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=ask).start()
  code, shared = work(tmp_path, program)
  assert code == 42
  assert not (shared / 'exit-code' / 'worker-3').exists()


def repository(folder):
  """A bundle with one commit, as create.sh makes it."""
  source = folder / 'source'
  git = ['git', '-C', str(source), '-c', 'user.name=a', '-c', 'user.email=a@b']
  subprocess.run(['git', 'init', '--quiet', str(source)], check=True)
  (source / 'setup.py').write_text('here')
  subprocess.run([*git, 'add', '.'], check=True)
  subprocess.run([*git, 'commit', '--quiet', '--message=a'], check=True)
  bundle = folder / 'shared' / 'launch' / 'run-1' / 'code.bundle'
  bundle.parent.mkdir(parents=True)
  command = ['bundle', 'create', '--quiet', str(bundle), 'HEAD']
  subprocess.run([*git, *command], check=True)


@pytest.fixture
def host(tmp_path):
  """A host that has just booted: no package, no mount, worker 2."""
  if 'VERSION_CODENAME=' not in _os_release():
    pytest.skip('needs /etc/os-release of Debian or Ubuntu')
  stubs = 'apt-get curl gcsfuse mount mountpoint sleep systemd-run'.split()
  programs = StubPrograms(tmp_path / 'host', *stubs)
  programs.add(programs.folder / 'home' / 'uv' / 'bin' / 'uv')
  (programs.folder / 'apt' / 'sources.list.d').mkdir(parents=True)
  programs.answer('curl', 'agent-worker-number', ('2', '', 0))
  repository(programs.folder)
  return programs


def _os_release():
  path = pathlib.Path('/etc/os-release')
  return path.read_text() if path.exists() else ''


def boot(host, *training, **settings):
  header = {'RUN_ID': 'run-1', 'BUCKET': 'mine', 'NFS': '', 'PYTHON_VERSION': '3.11'}
  places = {
    f'ALPT_{n.upper()}': str(host.folder / n) for n in ('home', 'shared', 'apt')
  }
  return subprocess.run(
    ['bash', ROOT / 'launch' / 'tpu_vm' / 'startup.sh', *training],
    env=host.environment(**{**header, **places, **settings}),
    capture_output=True,
    text=True,
  )


def test_a_host_that_boots_installs_mounts_and_trains(host):
  host.answer('mountpoint', '', ('', '', 1), ('', '', 0))
  result = boot(host, *_TRAINING)
  assert result.returncode == 0, result.stdout
  home, shared = host.folder / 'home', host.folder / 'shared'
  calls = [line for line in host.calls if not line.startswith(('curl', 'mountpoint'))]
  assert calls == [
    'apt-get update -q',
    'apt-get install -q -y -o DPkg::Lock::Timeout=300 gcsfuse git nfs-common '
    'python3-venv',
    'gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 '
    f'--metadata-cache-negative-ttl-secs=0 mine {shared}',
    f'uv venv -q --python 3.11 {home}/venv',
    f'uv pip install -q --python {home}/venv/bin/python --constraint '
    f"{home}/code/constraints.txt --editable '{home}/code[tpu]'",
    joined(
      *'systemd-run --unit=alpt --collect --property=KillMode=mixed'.split(),
      '--property=TimeoutStopSec=180',
      f'--property=WorkingDirectory={home}/code',
      f'--setenv=HOME={host.folder}',
      f'--setenv=PATH={home}/venv/bin:{host.environment()["PATH"]}',
      *(f'{home}/venv/bin/python', '-m', 'alpt_jax.launching.tpu_worker'),
      *('2', f'{shared}/launch/run-1', f'{home}/logs', '--', *_TRAINING),
    ),
  ]
  assert (home / 'code' / 'setup.py').read_text() == 'here'
  log = shared / 'launch' / 'run-1' / 'logs' / 'startup-2.log'
  assert log.exists()


def test_a_host_that_boots_again_takes_the_code_anew_and_installs_no_packages(host):
  host.answer('mountpoint', '', ('', '', 0))
  assert boot(host).returncode == 0
  (host.folder / 'home' / 'code' / 'setup.py').write_text('changed')
  (host.folder / 'calls').unlink()
  assert boot(host, 'train', NFS='there:/x', ALPT_NFS=str(host.folder)).returncode == 0
  names = {line.split()[0] for line in host.calls}
  assert names == {'curl', 'mountpoint', 'uv', 'systemd-run'}
  assert (host.folder / 'home' / 'code' / 'setup.py').read_text() == 'here'


def test_a_host_that_cannot_install_says_so_to_whoever_watches(host):
  host.answer('mountpoint', '', ('', '', 0))
  host.answer('uv', 'pip install', ('', 'no such version\n', 1))
  assert boot(host, 'train').returncode != 0
  launch = host.folder / 'shared' / 'launch' / 'run-1'
  assert (launch / 'exit-code' / 'worker-2').read_text() == '2 1\n'
  assert [line for line in host.calls if line.startswith('sleep')] == [
    'sleep 5',
    'sleep 15',
    'sleep 45',
    'sleep 135',
  ]
  assert not any(line.startswith('systemd-run') for line in host.calls)


def test_the_record_of_a_launch_is_readable_json(cloud):
  created(cloud)
  record = json.loads((records(cloud) / 'run-1' / 'launch.json').read_text())
  assert record['accelerator_type'] == 'v4-32'
  assert record['command'] == _COMMAND


def test_an_exit_code_waits_for_a_bucket_that_hiccups(tmp_path, monkeypatch):
  monkeypatch.setattr(tpu_worker, '_PAUSE', 0.01)
  path = tmp_path / 'exit-code' / 'worker-0'
  thread = threading.Timer(0.2, path.parent.mkdir)
  thread.start()
  tpu_worker._write(path, '0 42\n')
  thread.join()
  assert path.read_text() == '0 42\n'
  monkeypatch.setattr(tpu_worker, '_PATIENCE', 0.05)
  with pytest.raises(OSError):
    tpu_worker._write(tmp_path / 'never' / 'worker-0', '0 42\n')
