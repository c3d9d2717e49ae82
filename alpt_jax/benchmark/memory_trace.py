"""What a process of its own holds while it does something, over time."""

import concurrent.futures
import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from alpt_jax.benchmark import inputs

# Ours: seconds between two looks, which take 50 microseconds.
_EVERY = 0.02


class Trace(NamedTuple):
  """What a call took and what its process held.

  Attributes:
    seconds: of wall time.
    cpu_seconds: of all threads of the process.
    mb: `inputs.own_mb` from the beginning to the end, at equal distances.
    result: what the call returned.
  """

  seconds: float
  cpu_seconds: float
  mb: tuple[float, ...]
  result: Any

  def record(self) -> dict[str, float]:
    """As rows of a section.

    `mb_at_a_sixth` of the time, `mb_at_end` and `mb_most`.
    """
    return {
      'seconds': self.seconds,
      'cpu_seconds': self.cpu_seconds,
      'mb_at_a_sixth': self.mb[len(self.mb) // 6],
      'mb_at_end': self.mb[-1],
      'mb_most': max(self.mb),
    }


def traced(function: Callable, *calls: Sequence[Any]) -> list[Trace]:
  """Calls a function in a new process, several times one after the other.

  Args:
    function: of a module.
    calls: the arguments of each; with a first, short one the others find libraries
      loaded and programs compiled.
  """
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(1, context) as process:
    return [process.submit(trace, function, *each).result() for each in calls]


def trace(function: Callable, *arguments: Any) -> Trace:
  """Calls a function in this process."""
  looks, is_over = [inputs.own_mb()], threading.Event()

  def look():
    while not is_over.wait(_EVERY):
      looks.append(inputs.own_mb())

  thread = threading.Thread(target=look, name='memory')
  wall, cpu = time.perf_counter(), time.process_time()
  thread.start()
  try:
    result = function(*arguments)
  finally:
    is_over.set()
    thread.join()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  return Trace(wall, cpu, (*looks, inputs.own_mb()), result)
