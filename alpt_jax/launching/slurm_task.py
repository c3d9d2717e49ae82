"""One process of a Slurm job, which notes how it ended; `train.sbatch` calls it.

  srun ... python -m alpt_jax.launching.slurm_task run LOGS COMMAND...
  python -m alpt_jax.launching.slurm_task cause LOGS CODE_OF_SRUN

`srun` tells the highest exit code of its tasks only. Where one process fails (1, 2) the
others are aborted, with 128 and more: the job would be taken for one that crashed, and
be queued again for what will fail again. Standard library only.
"""

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from alpt_jax.launching.supervisor import CRASHED, worst

_NOTE = 'exit-code-'


def run(logs: pathlib.Path, command: Sequence[str]) -> int:
  """Runs a command to its end, notes its exit code in `logs`, and returns it."""
  note = logs / f'{_NOTE}{os.environ.get("SLURM_PROCID", "0")}'
  note.unlink(missing_ok=True)  # of an earlier start
  process = subprocess.Popen(command)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: process.send_signal(number))
  code = process.wait()
  code = CRASHED - code if code < 0 else code
  note.write_text(f'{code}\n')
  return code


def cause(logs: pathlib.Path, code: int) -> int:
  """Why a job ended: of all that its processes noted, or `code` if none did.

  Those that Slurm killed after another one ended had no time to note anything.
  """
  notes = sorted(logs.glob(f'{_NOTE}*'))
  codes = [int(note.read_text() or code) for note in notes]
  for note in notes:
    note.unlink()
  return worst(codes) or code


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code, or prints the cause."""
  task, logs, *rest = arguments
  if task == 'run':
    return run(pathlib.Path(logs), rest)
  print(cause(pathlib.Path(logs), int(rest[0])))
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
