"""How files and folders are called while they are being written.

Floor 0. Several processes, on several machines, may write to one disk.
"""

import glob
import os
import pathlib
import shutil
import socket

# Stands in the name, behind it by whom it is written.
PARTIAL = 'partial-'


def writer_name() -> str:
  """This process among all that may write to one disk, those of other machines too."""
  return f'{socket.gethostname()}-{os.getpid()}'


def remove_abandoned(path: pathlib.Path) -> None:
  """Removes folders that processes of this machine left, killed while they wrote.

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
      shutil.rmtree(partial, ignore_errors=True)
    except (ValueError, PermissionError):
      continue  # no writer's, or another user's
