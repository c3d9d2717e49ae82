"""How files and folders are called while they are being written.

Floor 0. Several processes, on several machines, may write to one disk.
"""

import os
import socket

# Stands in the name, behind it by whom it is written.
PARTIAL = 'partial-'


def writer_name() -> str:
  """This process among all that may write to one disk, those of other machines too."""
  return f'{socket.gethostname()}-{os.getpid()}'
