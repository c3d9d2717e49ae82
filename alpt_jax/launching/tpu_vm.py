"""One training on a Cloud TPU slice: created, watched over, fetched, deleted.

  python -m alpt_jax.launching.tpu_vm create RUN_ID -- python -m ...

The command line of `launch/tpu_vm/*.sh`, which hold the settings. `create` writes down
what it asked for (`launch.json`), and the other verbs read it: a slice that was
preempted is asked for again exactly as before, and its run goes on in its old workdir.
Standard library only. Exit codes: 0 done, 1 failed, 2 what was given is wrong; `watch`
ends with the training's.
"""

import dataclasses
import json
import pathlib
import re
import shlex
import sys
from collections.abc import Sequence

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.launching import tpu_watch
from alpt_jax.launching.commands import (
  Commands,
  Parser,
  exit_code,
  number,
  setting,
  split_command,
  training,
)

_ROOT = pathlib.Path(__file__).parents[2]
_STARTUP = _ROOT / 'launch' / 'tpu_vm' / 'startup.sh'
_USAGES = {
  'create': 'create.sh RUN_ID [--dry-run] [-- COMMAND]',
  'run': 'run.sh RUN_ID [--dry-run] (--stop | -- COMMAND)',
  'watch': 'watch.sh RUN_ID [--every SECONDS] [--keep] [--dry-run]',
  'logs': 'logs.sh RUN_ID [--dry-run]',
  'delete': 'delete.sh RUN_ID [--dry-run]',
}


@dataclasses.dataclass(frozen=True)
class Launch:
  """What was asked for once, and is asked for again after a preemption.

  Attributes:
    run_id: name of the queued resource, of its slice, and of the run's folder.
    project: of Google Cloud; '' leaves it to gcloud's configuration.
    zone: for example us-central2-b.
    accelerator_type: for example v4-32.
    runtime_version: the machine image, for example tpu-ubuntu2204-base.
    num_processes: hosts of the slice, one process each.
    bucket: for code, logs and, without `nfs`, the run; no gs:// before it.
    nfs: HOST:/PATH of a folder for the run, or ''.
    is_spot: cheaper, may be taken away.
    python: version that the hosts install.
    command: the training without what the launcher adds; () only installs.
  """

  run_id: str
  project: str
  zone: str
  accelerator_type: str
  runtime_version: str
  num_processes: int
  bucket: str
  nfs: str
  is_spot: bool
  python: str
  command: tuple[str, ...]

  @property
  def url(self) -> str:
    """Where code, logs and exit codes are."""
    return f'gs://{self.bucket}/launch/{self.run_id}'

  def training(self, command: Sequence[str]) -> list[str]:
    """A training's whole command on every host."""
    root = '/mnt/alpt-nfs' if self.nfs else '/mnt/alpt'
    return training(command, f'{root}/runs/{self.run_id}', self.num_processes)

  def startup_script(self) -> str:
    """What every host runs whenever it boots: this launch, then `startup.sh`."""
    words = self.training(self.command) if self.command else []
    settings = {
      'RUN_ID': self.run_id,
      'BUCKET': self.bucket,
      'NFS': self.nfs,
      'PYTHON_VERSION': self.python,
    }
    lines = ['#!/usr/bin/env bash']
    lines += [f'export {name}={shlex.quote(value)}' for name, value in settings.items()]
    lines += [f'set -- {shlex.join(words)}', _STARTUP.read_text()]
    return '\n'.join(lines)

  def gcloud(self, *words: str) -> list[str]:
    """A gcloud command about this launch's project and zone."""
    project = [f'--project={self.project}'] if self.project else []
    return ['gcloud', 'compute', 'tpus', *words, f'--zone={self.zone}', *project]

  def create_command(self, startup: pathlib.Path) -> list[str]:
    """Asks for the slice, under its own name."""
    return self.gcloud(
      *('queued-resources', 'create', self.run_id, f'--node-id={self.run_id}'),
      f'--accelerator-type={self.accelerator_type}',
      f'--runtime-version={self.runtime_version}',
      f'--metadata-from-file=startup-script={startup}',
      *(['--spot'] if self.is_spot else []),
    )

  def describe_command(self) -> list[str]:
    """Asks for the state and, of a failure, the reason."""
    what = 'value(state.state,state.failedData.error.message)'
    return self.gcloud('queued-resources', 'describe', self.run_id, f'--format={what}')

  def delete_command(self) -> list[str]:
    """Gives the slice back, with whatever runs there; returns when it is gone."""
    words = ('queued-resources', 'delete', self.run_id, '--force', '--quiet')
    return self.gcloud(*words)


def from_settings(run_id: str, command: Sequence[str]) -> Launch:
  """A launch from the settings of `launch/tpu_vm/settings.sh`.

  Raises:
    UserError: a setting is missing or wrong; all names are gcloud's.
  """
  if not re.fullmatch('[a-z]([-a-z0-9]{0,47}[a-z0-9])?', run_id):
    raise UserError(
      f"RUN_ID: expected a-z, 0-9 and '-', beginning with a letter, found '{run_id}'."
    )
  launch = Launch(
    run_id=run_id,
    project=setting('PROJECT', 'a project', ''),
    zone=setting('ZONE', 'a zone that has the type, e.g. us-central2-b'),
    accelerator_type=setting('ACCELERATOR_TYPE', 'a slice, e.g. v4-32'),
    runtime_version=setting('RUNTIME_VERSION', 'an image, e.g. tpu-ubuntu2204-base'),
    num_processes=number('PROCESSES', "the slice's hosts, e.g. 4 for v4-32"),
    bucket=setting('BUCKET', 'a bucket, near the zone')
    .removeprefix('gs://')
    .strip('/'),
    nfs=setting('NFS', 'HOST:/PATH', ''),
    is_spot=bool(number('SPOT', '1 or 0', '1')),
    python=setting('PYTHON_VERSION', 'a version', '3.11'),
    command=tuple(command),
  )
  launch.training(command)
  return launch


def folder_of(run_id: str) -> pathlib.Path:
  """Where this machine keeps what it knows of a launch."""
  default = _ROOT / 'runs' / 'launch'
  return pathlib.Path(setting('RECORDS', 'a folder', str(default))).absolute() / run_id


def _load(run_id: str) -> Launch:
  path = folder_of(run_id) / 'launch.json'
  if not path.is_file():
    raise UserError(f'{path}: no such launch. Run create.sh {run_id} here first.')
  fields = json.loads(path.read_text())
  return Launch(**{**fields, 'command': tuple(fields['command'])})


def _matters(line: str) -> bool:
  """Whether a line of `git status --porcelain` tells of what a training reads."""
  return not line.startswith('??') or line[3:].startswith(('alpt_jax/', 'configs/'))


def create(launch: Launch, commands: Commands) -> None:
  """Brings the committed code to the bucket and asks for the slice.

  A git bundle is one file, needs no account on the hosts, and keeps the commit that
  `identity.json` names; so what is not committed is refused, not left behind.
  """
  folder = folder_of(launch.run_id)
  if ',' in str(folder):
    raise UserError(f'RECORDS: {folder}: expected a path without commas.')
  git = ('git', '-C', str(_ROOT))
  if not commands.is_dry:
    status = commands.ask([*git, 'status', '--porcelain'])
    changed = [line[3:] for line in status.stdout.splitlines() if _matters(line)]
    if status.returncode or changed:
      found = status.stderr.strip() or f'changes in {changed[0]}'
      raise UserError(
        f'{_ROOT}: expected a commit to run, found {found}. Commit first.'
      )
  record = json.dumps(dataclasses.asdict(launch), indent=2)
  commands.write(folder / 'launch.json', record + '\n')
  commands.write(folder / 'startup-script.sh', launch.startup_script())
  bundle = folder / 'code.bundle'
  commands.run([*git, 'bundle', 'create', '--quiet', str(bundle), 'HEAD'])
  commands.run(
    ['gcloud', 'storage', 'cp', '--quiet', str(bundle), f'{launch.url}/code.bundle']
  )
  ask_for_slice(launch, commands)


def ask_for_slice(launch: Launch, commands: Commands) -> None:
  """Asks for the slice; forgets how an earlier one of this name ended."""
  forget = ['gcloud', 'storage', 'rm', '--recursive', f'{launch.url}/exit-code']
  if commands.is_dry:
    commands.run(forget)
  else:
    result = commands.ask(forget)
    if result.returncode and 'matched no' not in result.stderr:
      raise RunFailed(f'{shlex.join(forget)}: {result.stderr.strip()}')
  startup = folder_of(launch.run_id) / 'startup-script.sh'
  commands.run(launch.create_command(startup))


def start(launch: Launch, command: Sequence[str], commands: Commands) -> None:
  """Starts a training on all hosts of a slice, or stops the one that runs there.

  As a service of systemd, it outlives the connection, gets SIGTERM when the host is
  shut down, and cannot be started twice.
  """
  remote = ['sudo', 'systemctl', 'stop', 'alpt']
  if command:
    remote = ['sudo', '/opt/alpt/start', *launch.training(command)]
  commands.run(
    launch.gcloud(
      *('tpu-vm', 'ssh', launch.run_id, '--worker=all'),
      f'--command={shlex.join(remote)}',
    )
  )


def fetch_logs(launch: Launch, commands: Commands) -> None:
  """Copies what every host's processes said into this machine's folder."""
  logs = folder_of(launch.run_id) / 'logs'
  if not commands.is_dry:
    logs.mkdir(parents=True, exist_ok=True)
  commands.run(
    ['gcloud', 'storage', 'rsync', '--recursive', f'{launch.url}/logs', str(logs)]
  )
  print(f'logs: {logs}')


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  verb, *rest = arguments or ['']
  if verb not in _USAGES:
    raise UserError(f"expected one of {', '.join(_USAGES)}, found '{verb}'.")
  own, command = split_command(rest)
  parser = Parser(_USAGES[verb], None)
  parser.add_argument('run_id', metavar='RUN_ID')
  parser.add_argument('--dry-run', action='store_true')
  if verb == 'run':
    parser.add_argument('--stop', action='store_true')
  if verb == 'watch':
    parser.add_argument('--every', type=float, default=60.0)
    parser.add_argument('--keep', action='store_true')
  options = parser.parse_args(own)
  if verb == 'run' and options.stop == bool(command):
    parser.error('expected --stop or a command behind --, one of them')
  if verb not in ('create', 'run') and command:
    parser.error(f"unexpected '{command[0]}'")
  commands = Commands(options.dry_run)
  if verb == 'create':
    create(from_settings(options.run_id, command), commands)
    return 0
  launch = _load(options.run_id)
  if verb == 'watch':
    return _watch(launch, options, commands)
  if verb == 'run':
    start(launch, command, commands)
  elif verb == 'logs':
    fetch_logs(launch, commands)
  else:
    commands.run(launch.delete_command())
  return 0


class _QueuedResource:
  """A launch's slice, through gcloud."""

  def __init__(self, launch: Launch, commands: Commands):
    self._launch = launch
    self._commands = commands

  def look(self) -> tuple[str, str]:
    result = self._commands.ask(self._launch.describe_command())
    if result.returncode:
      is_absent = 'NOT_FOUND' in result.stderr
      said = (result.stderr.strip().splitlines() or [''])[-1]
      return (tpu_watch.ABSENT, '') if is_absent else (tpu_watch.UNKNOWN, said)
    state, _, reason = result.stdout.strip().partition('\t')
    return state, reason

  def exit_codes(self) -> dict[int, int]:
    result = self._commands.ask(_exit_codes_command(self._launch))
    pairs = [line.split() for line in result.stdout.splitlines()]
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2}

  def create(self) -> None:
    ask_for_slice(self._launch, self._commands)

  def delete(self) -> None:
    self._commands.run(self._launch.delete_command())


def _exit_codes_command(launch: Launch) -> list[str]:
  return ['gcloud', 'storage', 'cat', f'{launch.url}/exit-code/*']


def _watch(launch: Launch, options, commands: Commands) -> int:
  if commands.is_dry:
    print(f'# every {options.every:g} s:')
    commands.run(_exit_codes_command(launch))
    commands.run(launch.describe_command())
    print('# when it is SUSPENDED or FAILED:')
    commands.run(launch.delete_command())
    ask_for_slice(launch, commands)
    if not options.keep:
      print('# when the training has ended:')
      commands.run(launch.delete_command())
    return 0
  return tpu_watch.watch(_QueuedResource(launch, commands), options.every, options.keep)


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
