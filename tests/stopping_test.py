"""Asked to stop, within one process."""

import contextlib
import gc
import os
import signal
import time

import pytest

from alpt_jax.training.stopping import StopRequest


def ask():
  os.kill(os.getpid(), signal.SIGTERM)


def test_what_need_not_be_finished_is_left_at_once_and_nothing_is_left_behind():
  with StopRequest().listening() as stop:
    assert stop.interruptibly(lambda: 3) == 3
    assert not stop.is_due(1)
    assert stop.interruptibly(lambda: (ask(), time.sleep(10))) is None
    assert stop.is_due(1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_would_begin_after_the_asking_is_not_begun():
  with StopRequest().listening() as stop:
    ask()
    assert stop.interruptibly(lambda: 'whole') is None


def test_an_alarm_of_others_is_no_stop():
  with StopRequest().listening() as stop:
    assert stop.interruptibly(lambda: signal.raise_signal(signal.SIGALRM) or 3) == 3
    assert not stop.is_due(1)


def test_ctrl_c_twice_ends_at_once_though_the_first_one_was_caught_late():
  with StopRequest().listening() as stop, pytest.raises(KeyboardInterrupt):

    def asked_twice():
      for _ in range(2):
        # As Python's collector drops what is raised in it.
        with contextlib.suppress(BaseException):
          os.kill(os.getpid(), signal.SIGINT)
      time.sleep(10)

    stop.interruptibly(asked_twice)


def test_an_interruption_that_the_garbage_collector_drops_comes_again(monkeypatch):
  """Python prints and drops what a callback of its collector raises."""
  dropped = []
  monkeypatch.setattr('sys.unraisablehook', dropped.append)

  def asked_during_a_collection():
    gc.callbacks.append(lambda phase, _: phase == 'start' and ask())
    try:
      gc.collect()
    finally:
      del gc.callbacks[-1]
    time.sleep(10)
    return 'finished'

  with StopRequest().listening() as stop:
    assert stop.interruptibly(asked_during_a_collection) is None
  assert dropped
