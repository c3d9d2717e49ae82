"""Something that stands in for a device: it takes its time, and no CPU."""

import concurrent.futures
import time
from collections.abc import Callable

import jax
import numpy as np

from alpt_jax.acting.policy import History
from alpt_jax.types import Array, Decision


class StandIn:
  """Decides in place of a device: one call after the other, in a known time, on no CPU.

  It draws allowed actions by the keys that it is given. It shows what overlap is worth
  where emulators and device share nothing; not what a device does.
  """

  def __init__(
    self,
    seconds: float,
    per_rows: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
  ):
    """A device of its own; as a context it ends with its block.

    Args:
      seconds: of a call.
      per_rows: for so many decisions; others take as much in proportion. None: for any
        number of them.
      sleep: lets so many seconds pass.
    """
    self._seconds, self._per_rows, self._sleep = seconds, per_rows, sleep
    self._queue = concurrent.futures.ThreadPoolExecutor(1)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._queue.shutdown()

  def __call__(self, params, history: History, keys, greedy) -> Decision:
    del params, greedy
    return Decision(_Later(self._queue.submit(self._decide, history.allowed, keys)))

  def _decide(self, allowed: Array, keys: Array) -> np.ndarray:
    share = len(allowed) / self._per_rows if self._per_rows else 1
    self._sleep(share * self._seconds)
    accepted = np.flatnonzero(np.asarray(allowed)[0])
    numbers = np.asarray(jax.random.key_data(keys))[:, -1]
    return accepted[numbers % len(accepted)].astype(np.int32)


class _Later:
  """Actions, waited for when they are read."""

  def __init__(self, future: concurrent.futures.Future):
    self._future = future

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    return self._future.result()
