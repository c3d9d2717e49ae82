"""How far long work is: when to say so, how fast it goes, how long it will take yet."""

import math
import time

# Ours: seconds between two lines.
_EVERY = 10


class Pace:
  """Of work that says now and then how far it is; it begins where this is made."""

  def __init__(self):
    self._begun = self._said = self._now = time.monotonic()

  def is_due(self) -> bool:
    """Whether something should be said; then it counts as said."""
    self._now = time.monotonic()
    if self._now - self._said <= _EVERY:
      return False
    self._said = self._now
    return True

  def rate(self, done: float) -> float:
    """How much of it was done in a second, up to when it was last asked what is due."""
    return done / (self._now - self._begun)

  def left(self, done: float, total: float) -> str:
    """How long the rest will take at that rate."""
    rate = self.rate(done)
    return duration((total - done) / rate if rate else math.nan)


def duration(seconds: float) -> str:
  """'1:05', or with hours '2:01:05'; '?' where it is not known."""
  if not math.isfinite(seconds):
    return '?'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
