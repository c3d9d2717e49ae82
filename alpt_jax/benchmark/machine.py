"""The machine that figures are of: how much of it is used, and what it is."""

import contextlib
import datetime
import os
import pathlib
import resource
import sys
from typing import Any

import jax

from alpt_jax.errors import UserError


def use_cores(count: int) -> None:
  """Keeps this process to the first `count` of its CPU cores; 0: all of them.

  Before JAX is first used, which makes as many threads as there are cores then.

  Raises:
    UserError: there are not so many, or the system cannot be asked for it.
  """
  if not count:
    return
  if not hasattr(os, 'sched_setaffinity'):
    raise UserError(f'--cores: expected 0 on {sys.platform}, found {count}.')
  cores = sorted(os.sched_getaffinity(0))
  if count > len(cores):
    raise UserError(f'--cores: expected at most {len(cores)}, found {count}.')
  for task in os.listdir('/proc/self/task'):
    # Libraries have made threads already; one may end meanwhile.
    with contextlib.suppress(ProcessLookupError):
      os.sched_setaffinity(int(task), cores[:count])


def describe() -> dict[str, Any]:
  """What figures depend on beside the code: cores, the CPU's name, its load, the day.

  `load` is the system's mean number of running threads over the last minute before,
  above 1 on a machine that is not idle.
  """
  return {
    'cores': num_cores(),
    'cpu': _cpu_name(),
    'load': os.getloadavg()[0],
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
  }


def peaks() -> dict[str, int]:
  """The most bytes that the process has held so far, and each of its devices.

  Devices tell it only where they count it, which a CPU does not.
  """
  unit = 1 if sys.platform == 'darwin' else 1024
  found = {'host_peak_bytes': unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  held = [each['peak_bytes_in_use'] for each in stats if 'peak_bytes_in_use' in each]
  return {**found, 'device_peak_bytes': max(held)} if held else found


def num_cores() -> int:
  """CPU cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _cpu_name() -> str:
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return 'unknown'
