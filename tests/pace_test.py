"""How far long work is: lines ten seconds apart, rates, times left."""

import math

import pytest

from alpt_jax.pace import Pace, duration


def test_lines_are_ten_seconds_apart_and_say_rate_and_time_left(monkeypatch):
  now = [100.0]
  monkeypatch.setattr('time.monotonic', lambda: now[0])
  pace = Pace()

  def due_at(second):
    now[0] = 100.0 + second
    return pace.is_due()

  due = [second for second in range(60) if due_at(second)]
  assert due == [11, 22, 33, 44, 55]
  assert due_at(50) is False
  assert pace.rate(100) == 2.0
  assert pace.left(100, 250) == '1:15'
  assert pace.left(0, 250) == '?'


@pytest.mark.parametrize(
  ('seconds', 'said'),
  [
    (0, '0:00'),
    (64.6, '1:05'),
    (3_600, '1:00:00'),
    (7_265, '2:01:05'),
    (math.nan, '?'),
  ],
)
def test_a_duration_is_said_in_minutes(seconds, said):
  assert duration(seconds) == said
