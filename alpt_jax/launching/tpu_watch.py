"""Watches over a slice that may be taken away, until the training on it has ended.

A spot slice that was preempted is SUSPENDED, or FAILED, and stays so: it must be
deleted and asked for again. A finished one costs as much as a busy one: it is deleted.
Standard library only.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from alpt_jax.errors import RunFailed
from alpt_jax.launching import supervisor

ACTIVE, SUSPENDED, FAILED = 'ACTIVE', 'SUSPENDED', 'FAILED'  # gcloud's words
ABSENT, UNKNOWN = 'ABSENT', 'UNKNOWN'  # ours: no such resource; no answer
_MAX_FAILED = 10  # requests in a row: a quota, or a type that the zone has not


class Slice(Protocol):
  """What watching needs of a queued resource; the last three raise RunFailed."""

  def look(self) -> tuple[str, str]:
    """Its state, and of a failure the reason."""

  def exit_codes(self) -> Mapping[int, int]:
    """Host -> exit code, of the hosts whose supervisor has ended."""

  def create(self) -> None:
    """Asks for it."""

  def delete(self) -> None:
    """Gives it back."""


def outcome(codes: Mapping[int, int]) -> int | None:
  """The training's exit code, or None while it goes on.

  Host 0 is done when the run is; another's bad end ends the run. Supervisors write no
  code when they were asked to stop, as by a preemption.
  """
  bad = [code for code in codes.values() if code]
  return supervisor.worst(bad) if bad else codes.get(0)


def watch(
  slice_: Slice,
  every: float,
  keep: bool = False,
  sleep: Callable[[float], None] = time.sleep,
) -> int:
  """Keeps asking for the slice until its training has ended; returns the exit code.

  Args:
    slice_: one that was asked for.
    every: seconds between two looks.
    keep: leave it, costs and all, when the training has ended.
    sleep: waits so many seconds.

  Raises:
    RunFailed: somebody else deleted it, or the request failed 10 times in a row.
  """
  num_failed, is_wanted, before = 0, False, ''
  while True:
    code = outcome(slice_.exit_codes())
    if code is not None:
      _say(f'the training has ended with exit code {code}')
      if not keep:
        slice_.delete()
      return code
    state, reason = slice_.look()
    if state != before:
      _say(f'{state} {reason}'.strip())
      before = state
    num_failed = {FAILED: num_failed + 1, ACTIVE: 0}.get(state, num_failed)
    if num_failed >= _MAX_FAILED:
      raise RunFailed(f'FAILED {num_failed} times in a row: {reason or "no reason"}')
    if state == ABSENT and not is_wanted:
      raise RunFailed('the slice is gone, deleted by somebody else. See create.sh.')
    if state in (SUSPENDED, FAILED, ABSENT):
      is_wanted = not _recreate(slice_, state != ABSENT)
    sleep(every)


def _recreate(slice_: Slice, is_there: bool) -> bool:
  """Whether the slice was asked for anew; the next look tries again if not."""
  try:
    if is_there:
      slice_.delete()
    slice_.create()
  except RunFailed as error:
    _say(f'{error}; tries again')
    return False
  return True


def _say(text: str) -> None:
  print(f'{time.strftime("%F %T")} {text}', file=sys.stderr, flush=True)
