"""Several processes on this machine, supervised: the command line of `launch/local.sh`.

  python -m alpt_jax.launching.local 2 -- python -m alpt_jax.bin.pretrain ...

DEVICES_PER_PROCESS=k in the environment gives every process k devices of the CPU. Exit
codes are those of `launching/supervisor.py`.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from alpt_jax.errors import UserError
from alpt_jax.launching.commands import (
  Commands,
  Parser,
  check_program,
  exit_code,
  split_command,
)
from alpt_jax.launching.supervisor import DONE, Plan, Supervisor, free_port

_USAGE = (
  'local.sh N [--restarts R] [--logs DIR] [--stop-grace S] [--kill-grace S] '
  '[--backoff S] [--dry-run] -- COMMAND'
)
# Seconds that may be given -> what they are of.
_SECONDS = {
  'stop_grace': 'from SIGTERM to SIGKILL',
  'kill_grace': 'the same, for those left by a crash',
  'backoff': 'before the first restart, doubled for each further one',
}


def parse(arguments: Sequence[str]) -> tuple[Plan, bool]:
  """Command line -> the plan, and whether it shall only be shown.

  Raises:
    UserError: it is not as `_USAGE` says, there is no such command, or a
      DEVICES_PER_PROCESS that is not a number.
  """
  parser = Parser(_USAGE, __doc__)
  parser.add_argument('N', type=int, help='number of processes')
  parser.add_argument('--dry-run', action='store_true', help='show the commands only')
  parser.add_argument(
    '--restarts', type=int, default=Plan.restarts, metavar='R', help='in a row'
  )
  parser.add_argument('--logs', metavar='DIR', help='default: WORKDIR/logs, or logs')
  for name, meaning in _SECONDS.items():
    parser.add_argument(
      f'--{name.replace("_", "-")}',
      type=float,
      default=getattr(Plan, name),
      metavar='S',
      help=f'seconds {meaning}',
    )
  own, command = split_command(arguments)
  options = parser.parse_args(own)
  if options.N < 1 or options.restarts < 0:
    parser.error(f'expected N >= 1 and --restarts >= 0, found {" ".join(own)}')
  if not command:
    parser.error('expected a command behind --, found none')
  check_program(command[0])
  plan = Plan(
    options.N,
    tuple(command),
    pathlib.Path(options.logs or workdir_of(command) / 'logs'),
    restarts=options.restarts,
    devices=_devices(os.environ.get('DEVICES_PER_PROCESS', '')),
    **{name: getattr(options, name) for name in _SECONDS},
  )
  return plan, options.dry_run


def workdir_of(command: Sequence[str]) -> pathlib.Path:
  """A command's own run folder, where its logs belong; else here."""
  for argument, following in zip(command, [*command[1:], ''], strict=True):
    if argument.startswith('--workdir='):
      return pathlib.Path(argument.removeprefix('--workdir='))
    if argument == '--workdir' and following:
      return pathlib.Path(following)
  return pathlib.Path()


def _devices(text: str) -> int | None:
  if text and not (text.isdigit() and int(text)):
    raise UserError(f"DEVICES_PER_PROCESS: expected a number, found '{text}'.")
  return int(text) if text else None


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  plan, is_dry = parse(arguments)
  if is_dry:
    shown = Commands(is_dry=True)
    for command in plan.commands(free_port()):
      shown.run(command, plan.environment(os.environ))
    return DONE
  return Supervisor(plan).run()


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
