"""Jobs for a Slurm cluster: one training over many nodes, or an experiment's runs.

  python -m alpt_jax.launching.slurm train [SBATCH OPTIONS] -- COMMAND
  python -m alpt_jax.launching.slurm array [SBATCH OPTIONS] -- NAME [OPTIONS]

The command line of `launch/slurm/*.sh`, which hold the settings. It installs on this
machine first, as nodes that compute often reach no package index, then asks `sbatch`.
Standard library only.
"""

import pathlib
import sys
from collections.abc import Sequence

from alpt_jax.errors import UserError
from alpt_jax.launching.commands import (
  Commands,
  exit_code,
  number,
  setting,
  split_command,
)
from alpt_jax.launching.local import workdir_of

_ROOT = pathlib.Path(__file__).parents[2]
_SCRIPTS = _ROOT / 'launch' / 'slurm'


def train(options: Sequence[str], command: Sequence[str], commands: Commands) -> None:
  """Submits one training.

  A process per node drives all its GPUs, a process per GPU one. JAX gives every Slurm
  task the GPU of its own number on the node (jax 0.10, `SlurmCluster`): right for the
  second, but the first would use one GPU of a node; so it is told.

  Args:
    options: for sbatch.
    command: the training; has a --workdir that all nodes see.
    commands: runs them, or shows them.

  Raises:
    UserError: a setting or the command is not as it must be.
  """
  nodes = number('NODES', 'nodes', '1')
  gpus = number('GPUS', 'GPUs of a node', '0')
  kind = setting('TASKS', "'node' or 'gpu'", 'node')
  if kind not in ('node', 'gpu') or (kind == 'gpu' and not gpus) or not nodes:
    raise UserError(
      "TASKS: expected 'node', or 'gpu' with GPUS=1 or more, and NODES=1 or more; "
      f"found TASKS='{kind}', GPUS={gpus}, NODES={nodes}."
    )
  workdir = workdir_of(command)
  if not command or workdir == pathlib.Path():
    raise UserError('expected a command behind --, with --workdir=DIR; found none.')
  if not workdir.is_absolute():
    raise UserError(f'--workdir: expected an absolute path, found {workdir}.')
  per_node = gpus if kind == 'gpu' else 1
  settings = {'LOGS': str(workdir / 'logs'), **_settings(gpus)}
  if kind == 'node' and gpus > 1:
    settings['JAX_LOCAL_DEVICE_IDS'] = ','.join(map(str, range(gpus)))
  if not commands.is_dry:  # Slurm says nothing where it cannot write a log
    (workdir / 'logs').mkdir(parents=True, exist_ok=True)
  _install(settings, commands)
  commands.run(
    [
      'sbatch',
      f'--job-name={workdir.name}',
      f'--nodes={nodes}',
      f'--ntasks-per-node={per_node}',
      *([f'--gpus-per-node={gpus}'] if gpus else []),
      f'--output={workdir / "logs" / "job-%j.log"}',
      *_everywhere(options, 'train.sbatch'),
      *command,
      '--distributed=on',
      f'--expect_processes={nodes * per_node}',
    ],
    settings,
  )


def array(options: Sequence[str], command: Sequence[str], commands: Commands) -> None:
  """Submits an experiment's runs as the tasks of an array.

  The number of shares stands in the job: that of the tasks changes when one of them is
  submitted again.

  Raises:
    UserError: a setting is not as it must be, or no experiment is named.
  """
  tasks = number('TASKS', 'how many jobs share the runs')
  cpus = number('CPUS', 'CPUs of a job', '2')
  gpus = number('GPUS', 'GPUs of a job', '0')
  if not command or command[0].startswith('-') or '--shard' in command:
    raise UserError('expected NAME [OPTIONS] of launch/reproduce.sh behind --.')
  if not tasks or not cpus or gpus > 1:
    raise UserError(
      'expected TASKS and CPUS of 1 or more and GPUS of 0 or 1, found '
      f'TASKS={tasks} CPUS={cpus} GPUS={gpus}.'
    )
  settings = _settings(gpus)
  logs = _ROOT / 'runs' / 'slurm'
  if not commands.is_dry:
    logs.mkdir(parents=True, exist_ok=True)
  _install(settings, commands)
  commands.run(
    [
      'sbatch',
      f'--job-name={command[0].replace("/", "-")}',
      f'--array=0-{tasks - 1}',
      '--nodes=1',
      '--ntasks=1',
      f'--cpus-per-task={cpus}',
      *([f'--gpus-per-node={gpus}'] if gpus else []),
      f'--output={logs / "%x-%A-%a.log"}',
      *_everywhere(options, 'array.sbatch'),
      str(tasks),
      *command,
      *([] if gpus or '--workers' in command else ['--workers', str(cpus)]),
    ],
    settings,
  )


def _settings(gpus: int) -> dict[str, str]:
  extras = setting('EXTRAS', '[NAME]', '[cuda]' if gpus else '')
  return {'EXTRAS': extras, 'RESTARTS': str(number('RESTARTS', 'starts', '20'))}


def _everywhere(options: Sequence[str], script: str) -> list[str]:
  """What every job has, the user's own options, which win, and the script."""
  ours = [f'--chdir={_ROOT}', '--export=ALL']
  return [*ours, *options, str(_SCRIPTS / script)]


def _install(settings: dict[str, str], commands: Commands) -> None:
  script = str(_ROOT / 'launch' / 'environment.sh')
  commands.run(['bash', '-e', script], {'EXTRAS': settings['EXTRAS']})


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  jobs = {'train': train, 'array': array}
  verb, *rest = arguments or ['']
  if verb not in jobs:
    raise UserError(f"expected train or array, found '{verb}'.")
  options, command = split_command(rest)
  is_dry = '--dry-run' in options
  for option in options:
    if not option.startswith('-'):
      raise UserError(f"'{option}': expected --OPTION=VALUE for sbatch, then --.")
  options = [option for option in options if option != '--dry-run']
  jobs[verb](options, command, Commands(is_dry))
  return 0


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
