"""What one host of a TPU slice does: trains, supervised, and brings out its log.

  python -m alpt_jax.launching.tpu_worker WORKER SHARED LOCAL -- COMMAND

`launch/tpu_vm/startup.sh` calls it. The log is written on the host's own disk and
copied whole, every minute and at the end: a bucket has no appending, and a crash must
not lose what was not yet flushed. The exit code is left in SHARED for `watch.sh`,
unless the host was asked to stop: then the training is to go on. Standard library only.
"""

import contextlib
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Sequence

from alpt_jax.errors import UserError
from alpt_jax.launching.commands import exit_code, split_command
from alpt_jax.launching.supervisor import Plan, Supervisor

_COPY_EVERY = 60.0  # seconds
# How long, and how often, the exit code is tried to be written.
_PATIENCE, _PAUSE = 600.0, 5.0  # seconds


def work(
  worker: int,
  shared: pathlib.Path,
  local: pathlib.Path,
  command: Sequence[str],
  **options,
) -> int:
  """Runs one host's part of a training to its end; returns the exit code.

  Args:
    worker: number of the host in its slice.
    shared: folder that outlives the host; gets `logs/worker-N.log` and, when the
      training has ended, `exit-code/worker-N`: 'N CODE'.
    local: folder on the host's own disk.
    command: the training.
    **options: of `Plan`.
  """
  ended = shared / 'exit-code' / f'worker-{worker}'
  ended.parent.mkdir(parents=True, exist_ok=True)
  ended.unlink(missing_ok=True)
  # Each host restarts alone. They meet again in jax.distributed, which waits minutes.
  plan = Plan(1, tuple(command), local, **{'restarts': 20, **options})
  trained = Supervisor(plan)
  is_over = threading.Event()

  def copy():
    while not is_over.wait(_COPY_EVERY):
      _copy_log(worker, local, shared)

  copier = threading.Thread(target=copy, daemon=True)
  copier.start()
  code = trained.run()
  is_over.set()
  copier.join()
  _copy_log(worker, local, shared)
  if not trained.was_asked_to_stop:
    _write(ended, f'{worker} {code}\n')
  return code


def _write(path: pathlib.Path, text: str) -> None:
  """Tries for a while: without a code the slice would be watched, and paid, forever.

  Raises:
    OSError: of the last try.
  """
  deadline = time.monotonic() + _PATIENCE
  while True:
    try:
      path.write_text(text)
      return
    except OSError:
      if time.monotonic() > deadline:
        raise
    time.sleep(_PAUSE)


def _copy_log(worker: int, local: pathlib.Path, shared: pathlib.Path) -> None:
  """A bucket that does not answer must not end the training."""
  with contextlib.suppress(OSError):
    folder = shared / 'logs'
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(local / 'process-0.log', folder / f'worker-{worker}.log')


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  own, command = split_command(arguments)
  if len(own) != 3 or not own[0].isdigit() or not command:
    raise UserError(f'expected WORKER SHARED LOCAL -- COMMAND, found {arguments}.')
  return work(int(own[0]), pathlib.Path(own[1]), pathlib.Path(own[2]), command)


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
