"""How files and folders are called while they are being written.

Floor 0. Several processes, on several machines, may write to one disk.
"""

import contextlib
import glob
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator

# Stands in the name, behind it by whom it is written.
PARTIAL = 'partial-'


def writer_name() -> str:
  """This process among all that may write to one disk, those of other machines too."""
  return f'{socket.gethostname()}-{os.getpid()}'


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a name to write to, which becomes `path` when all went well.

  What a killed process of this machine left of the same file is removed.
  """
  remove_abandoned(path)
  partial = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}')
  try:
    yield partial
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)


def remove_abandoned(path: pathlib.Path) -> None:
  """Removes what processes of this machine left, killed while they wrote.

  Args:
    path: the final name; what stands beside it half-written is looked at.
  """
  host, _, _ = writer_name().rpartition('-')
  begin = f'{path.name}.{PARTIAL}{host}'
  for partial in path.parent.glob(f'{glob.escape(begin)}-*'):
    name, _, process = partial.name.rpartition('-')
    if name != begin:
      continue  # of a machine whose name begins like this one's
    try:
      os.kill(int(process), 0)
    except ProcessLookupError:
      if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
      else:
        partial.unlink(missing_ok=True)
    except (ValueError, PermissionError):
      continue  # no writer's, or another user's
