"""How far a labelling is, said now and then, and whether it shall stop."""

import time
from collections.abc import Callable
from typing import Any

from alpt_jax.labelling.labeller import Progress
from alpt_jax.pace import Pace, duration
from alpt_jax.training.stopping import StopRequest


class Stopped(Exception):
  """Asked to stop between two batches."""


class ReportedProgress(Progress):
  """Says how far it is; raises `Stopped` when asked to stop."""

  def __init__(self, say: Callable[[str], Any], stop: StopRequest):
    super().__init__()
    self._say, self._stop = say, stop
    self._title, self._total = '', 0
    self._pace = Pace()
    # When the first batch was there: before it, the model was compiled.
    self._begun: tuple[float, int, float] | None = None

  def expect(self, title: str, total: int) -> None:
    """Names what is labelled next.

    Args:
      title: what.
      total: transitions when all is labelled, those that have been included.
    """
    self._title, self._total = title, total

  def advanced(self) -> None:
    """Called when a batch has been counted."""
    if self._stop.is_due(0):
      raise Stopped
    if self._begun is None:
      self._begun = time.monotonic(), self.transitions, self.waited
    elif self._pace.is_due():
      rate, waited = self.rates()
      left = duration((self._total - self.transitions) / rate)
      self._say(
        f'{self._title}, {self.transitions:,} of {self._total:,} transitions, '
        f'{rate:,.0f} a second, input waited {waited:.1%}, {left} left'
      )

  def summary(self) -> str:
    """What has been labelled, and how fast."""
    if self._begun is None or self.transitions == self._begun[1]:
      return f'{self.transitions:,} transitions'
    rate, waited = self.rates()
    took = duration(time.monotonic() - self._begun[0])
    return (
      f'{self.transitions:,} transitions in {took}, {rate:,.0f} a second, input waited '
      f'{waited:.1%}'
    )

  def rates(self) -> tuple[float, float]:
    """Transitions a second, and the share of the time in which input was waited for.

    Since the first batch was there; it may not be asked before.
    """
    begun, transitions, waited = self._begun
    seconds = time.monotonic() - begun
    rate = max(self.transitions - transitions, 1) / seconds
    return rate, (self.waited - waited) / seconds
