"""Asked to stop: SIGTERM or SIGINT, to one process or to any of several."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import multihost_utils

# Seconds from one try to interrupt to the next.
_AGAIN = 0.5


class _Interrupted(BaseException):
  """Raised out of what need not be finished."""


class StopRequest:
  """Becomes true once this process has been asked to stop.

  A second SIGINT stops at once. With several processes JAX's preemption service
  listens to SIGTERM instead, and all of them stop after the same step, whichever was
  asked; SIGINT is passed on to it.
  """

  def __init__(self):
    self.name = ''
    self._is_shared = jax.process_count() > 1
    self._may_interrupt = False
    self._is_at_once = False

  def is_due(self, step: int) -> bool:
    """Whether to save and stop after `step`; with several processes all must ask."""
    self._end_at_once()
    if self._is_shared and multihost_utils.reached_preemption_sync_point(step):
      self.name = self.name or 'SIGTERM'
      return True
    return bool(self.name) and not self._is_shared

  def _handle(self, number, frame):
    if self.name and number == signal.SIGINT:
      self._is_at_once = True
      self._end_at_once()
    self.name = signal.Signals(number).name
    if self._is_shared:
      os.kill(os.getpid(), signal.SIGTERM)  # which the service takes
    else:
      self._interrupt()

  def _interrupt(self, *_) -> None:
    """Raises out of `interruptibly`, and by an alarm again until that has ended.

    Python drops what is raised in a callback of its garbage collector, as JAX has one.
    """
    if self._may_interrupt and self.name and not self._is_shared:
      signal.setitimer(signal.ITIMER_REAL, _AGAIN)
      raise _Interrupted

  def _end_at_once(self) -> None:
    """Raises what a second SIGINT has raised already, where that was lost likewise."""
    if self._is_at_once:
      raise KeyboardInterrupt

  @contextlib.contextmanager
  def listening(self):
    """Handles the signals inside the block (the main thread only)."""
    # After jax.distributed.initialize a handler of SIGTERM would replace the service's.
    numbers = (signal.SIGINT,) if self._is_shared else (signal.SIGTERM, signal.SIGINT)
    handlers = {signal.SIGALRM: self._interrupt, **dict.fromkeys(numbers, self._handle)}
    before = {number: signal.signal(number, handlers[number]) for number in handlers}
    try:
      yield self
    finally:
      for number, handler in before.items():
        # JAX's service, where it serves a single process, is none of Python's.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

  def interruptibly(self, function: Callable[[], Any]) -> Any:
    """`function()`, or None if this process was alone and asked to stop meanwhile."""
    try:
      try:
        self._may_interrupt = True
        if self.name and not self._is_shared:  # since `is_due` was asked
          raise _Interrupted
        result = function()
      finally:
        self._may_interrupt = False
        signal.setitimer(signal.ITIMER_REAL, 0)
      self._end_at_once()
      return result
    except _Interrupted:
      self._end_at_once()
      return None
