"""The timestamps of frames: a constant rate, or what to do about a varying one."""

import math
from collections.abc import Sequence

import numpy as np

# Ours: a frame may come this share of a step early or late; more is another rate.
_JITTER = 0.25


def constant_rate(
  times: np.ndarray, tick: float, stated: Sequence[float] = ()
) -> float | None:
  """Frames a second that all timestamps follow, or None where they vary.

  Every frame comes within a quarter of a step, or within a tick, of when it is due.

  Args:
    times: `[N]` seconds since the first frame, ascending.
    tick: seconds, the grain to which timestamps are rounded.
    stated: rates that the file claims, exact where true; the first that all
      timestamps follow is taken, else their own mean. Of one frame none is known.
  """
  rates = list(stated)
  if len(times) < 2:
    return rates[0] if rates else 0.0
  if times[-1] > 0:
    rates.append(float((len(times) - 1) / times[-1]))
  numbers = np.arange(len(times))
  for rate in rates:
    allowed = max(tick, _JITTER / rate) * (1 + 1e-6)
    if np.abs(times - numbers / rate).max() <= allowed:
      return rate
  return None


def odd_frame(times: np.ndarray) -> int:
  """The frame whose distance from the one before is least like the others'."""
  steps = np.diff(times)
  return int(np.abs(steps - np.median(steps)).argmax()) + 1


def usual_rate(times: np.ndarray, tick: float) -> float:
  """Frames a second where nothing is odd, a whole number within 1 %: to propose."""
  steps = np.diff(times)
  usual = steps[np.abs(steps - np.median(steps)) <= 1.5 * tick]
  rate = 1 / max(usual.mean(), tick)  # of many steps, so their rounding cancels
  return round(rate) if abs(round(rate) - rate) < 0.01 * rate else rate


def due(seconds: float, fps: float, tick: float) -> int:
  """From which frame on, at `fps`, a picture is shown that is due at `seconds`.

  Timestamps are rounded to ticks: one that is a tick late is still on time.
  """
  slack = min(tick, _JITTER / fps)
  return max(0, math.ceil((seconds - slack) * fps - 1e-6))


def clock(seconds: float) -> str:
  """'1:23.4', minutes and seconds."""
  tenths = round(10 * float(seconds))
  return f'{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}'
