"""Other programs' commands: shown or run; and how a launcher's own line is read.

Standard library only: launchers run where nothing is installed.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from alpt_jax.errors import RunFailed, UserError

_WHERE = {
  'docker': 'docs.docker.com/engine/install',
  'gcloud': 'cloud.google.com/sdk/docs/install',
  'kubectl': 'gcloud components install kubectl',
  'sbatch': 'this is for the login node of a Slurm cluster',
  'xpk': 'pip install xpk',
}


class Commands:
  """Runs commands, or in a dry run prints exactly what it would have run."""

  def __init__(self, is_dry: bool = False):
    self.is_dry = is_dry

  def run(self, command: Sequence[str], settings: Mapping[str, str] | None = None):
    """Runs a command to its end, on this terminal.

    Args:
      command: the program and its arguments.
      settings: what its environment has beside the inherited one.

    Raises:
      UserError: there is no such program.
      RunFailed: it ended with another exit code than 0.
    """
    settings = settings or {}
    if self.is_dry:
      given = [f'{name}={value}' for name, value in settings.items()]
      print(shlex.join([*(['env', *given] if given else []), *command]))
      return
    check_program(command[0])
    result = subprocess.run(command, env={**os.environ, **settings}, check=False)
    if result.returncode:
      raise RunFailed(
        f'{shlex.join(command)}: ended with exit code {result.returncode}; what it '
        'said is above.'
      )

  def ask(self, command: Sequence[str]) -> subprocess.CompletedProcess:
    """What a command says; its exit code is the caller's to judge.

    Not for a dry run, which asks nobody.
    """
    check_program(command[0])
    return subprocess.run(command, capture_output=True, text=True, check=False)

  def write(self, path, text: str) -> None:
    """Writes a file that commands read; a dry run prints it."""
    if self.is_dry:
      print(f'--- {path}\n{text.rstrip()}\n---')
      return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def check_program(name: str) -> None:
  """Raises UserError where a program is missing."""
  if shutil.which(name) is None:
    hint = f' ({_WHERE[name]})' if name in _WHERE else ''
    raise UserError(f'{name}: no such program on PATH. Install it{hint}.')


class Parser(argparse.ArgumentParser):
  """Arguments before `--`; what is wrong with them is one line."""

  def __init__(self, usage: str, description: str | None):
    super().__init__(
      usage=usage,
      description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message):
    """Raises UserError instead of ending the program."""
    raise UserError(f'{message}. Usage: {self.usage}')


def split_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """What stands before and behind the first `--`."""
  own = list(arguments)
  if '--' not in own:
    return own, []
  index = own.index('--')
  return own[:index], own[index + 1 :]


def training(command: Sequence[str], workdir: str, num_processes: int) -> list[str]:
  """A training's whole command on a cluster that says who the processes are.

  It fails where it finds another number of processes, instead of training alone.

  Raises:
    UserError: it has a flag that is the launcher's to give.
  """
  added = {
    '--workdir': workdir,
    '--distributed': 'on',
    '--expect_processes': str(num_processes),
  }
  for argument in command:
    flag = argument.partition('=')[0]
    if flag in added:
      raise UserError(f'{argument}: the launcher gives {flag} itself. Leave it out.')
  return [*command, *(f'{flag}={value}' for flag, value in added.items())]


def setting(name: str, meaning: str, default: str | None = None) -> str:
  """A setting of the environment; the launch scripts hold their defaults.

  Raises:
    UserError: it is empty or missing, and has no default.
  """
  value = os.environ.get(name) or default
  if value is None:
    raise UserError(f'{name}: not set. Expected {meaning}, in the environment.')
  return value


def number(name: str, meaning: str, default: str | None = None) -> int:
  """A setting that counts something, 0 or more."""
  value = setting(name, meaning, default)
  if not value.isdigit():
    raise UserError(f"{name}: expected {meaning}, a number, found '{value}'.")
  return int(value)


def exit_code(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
  """Runs a launcher's `main`; its errors become one line and an exit code."""
  try:
    return main(arguments)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  except RunFailed as error:
    print(f'failed: {error}', file=sys.stderr)
    return 1
