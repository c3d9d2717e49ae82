"""Where a run's time goes: on a clock for paper, and on a real one."""

import subprocess
import sys
import threading
import time
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax.training import timing
from alpt_jax.training.timing import CHECKPOINT, EVALUATION, StepTimes


class PaperClock:
  """The loop's time is set by the test; a step's end is written on its metrics."""

  def __init__(self):
    self.now = 0.0
    self._end = threading.local()

  def __call__(self):
    return getattr(self._end, 'value', self.now)

  def metrics(self, ends_at):
    return {'loss': PaperArray(self._end, ends_at)}


class PaperArray:
  """Whoever waits for it is at its step's end."""

  def __init__(self, end, ends_at):
    self._end, self._ends_at = end, ends_at

  def block_until_ready(self):
    self._end.value = self._ends_at


class Loop:
  """A loop that is told at which times it does what, and when the device is done."""

  def __init__(self, **fields):
    self.clock = PaperClock()
    self.times = StepTimes(8, clock=self.clock, **fields)

  def step(self, dispatched, ends, batch_from=None, batch_until=None):
    self.clock.now = dispatched
    self.times.dispatched(self.clock.metrics(ends))
    if batch_from is not None:
      self.batch(batch_from, batch_until)

  def batch(self, start, end):
    self.clock.now = start
    with self.times.making_batch():
      self.clock.now = end

  def timed(self, name, start, end):
    self.clock.now = start
    with self.times.timed(name) as watch:
      self.clock.now = end
    return watch.seconds

  def row(self, at):
    self.clock.now = at
    return self.times.row()


@pytest.fixture
def loop():
  made = Loop()
  with made.times:
    yield made


def test_a_batch_that_is_there_in_time_costs_nothing(loop):
  loop.batch(0, 5)  # the first: there is no step that it could keep waiting
  loop.step(dispatched=10, ends=20, batch_from=10, batch_until=12)
  loop.step(dispatched=20, ends=30, batch_from=20, batch_until=29)
  loop.step(dispatched=30, ends=40, batch_from=30, batch_until=40)
  row = loop.row(40)
  # The first step compiles and is in no row: two steps from 20 to 40.
  assert row['step_seconds'] == 10
  assert row['input_wait_seconds'] == 0
  assert row['windows_per_second'] == 0.8


def test_input_wait_is_from_the_end_of_a_step_until_the_batch_is_there(loop):
  loop.step(dispatched=0, ends=10, batch_from=0, batch_until=13)  # not yet counted
  loop.step(dispatched=13, ends=23, batch_from=13, batch_until=28)  # 5 idle
  loop.step(dispatched=28, ends=38, batch_from=28, batch_until=41)  # 3
  loop.step(dispatched=41, ends=51, batch_from=41, batch_until=43)  # none
  row = loop.row(51)
  assert row['step_seconds'] == pytest.approx((51 - 13) / 3)
  assert row['input_wait_seconds'] == pytest.approx((5 + 3) / 3)


def test_a_batch_begun_when_the_device_was_idle_counts_from_its_own_start(loop):
  loop.step(dispatched=0, ends=10)
  loop.step(dispatched=10, ends=20, batch_from=22, batch_until=26)
  loop.step(dispatched=26, ends=36)
  assert loop.row(36)['input_wait_seconds'] == (26 - 22) / 2


def test_a_loop_that_runs_ahead_waits_only_behind_what_it_dispatched_last(loop):
  loop.step(dispatched=0, ends=10, batch_from=0, batch_until=1)
  loop.step(dispatched=1, ends=20, batch_from=1, batch_until=2)
  # While this batch is made until 35 the device works until 30.
  loop.step(dispatched=2, ends=30, batch_from=2, batch_until=35)
  loop.step(dispatched=35, ends=45)
  assert loop.row(45)['input_wait_seconds'] == pytest.approx(5 / 3)


def test_saves_and_evaluations_have_their_own_numbers_and_no_step_time(loop):
  loop.step(dispatched=0, ends=10, batch_from=0, batch_until=1)
  loop.step(dispatched=10, ends=20, batch_from=10, batch_until=11)
  assert loop.timed(EVALUATION, 20, 50) == 30
  assert loop.timed(CHECKPOINT, 50, 57) == 7
  loop.step(dispatched=57, ends=67, batch_from=57, batch_until=60)
  assert loop.timed(CHECKPOINT, 67, 68) == 1
  row = loop.row(68)
  assert row['step_seconds'] == 10
  assert row['input_wait_seconds'] == 0
  assert (row[EVALUATION], row[CHECKPOINT]) == (30, 8)
  loop.step(dispatched=68, ends=80, batch_from=68, batch_until=70)
  row = loop.row(80)
  assert row['step_seconds'] == 12
  assert (row[EVALUATION], row[CHECKPOINT]) == (0, 0)


def test_an_evaluation_before_the_first_step_is_in_no_steps_time(loop):
  loop.timed(EVALUATION, 0, 100)
  loop.step(dispatched=100, ends=110)
  loop.step(dispatched=110, ends=120)
  row = loop.row(120)
  assert (row['step_seconds'], row[EVALUATION]) == (10, 100)


def test_an_evaluation_that_is_cut_off_has_its_time(loop):
  loop.clock.now = 10
  with pytest.raises(KeyboardInterrupt), loop.times.timed(EVALUATION):
    loop.clock.now = 14
    raise KeyboardInterrupt
  assert loop.row(20)[EVALUATION] == 4


def test_a_row_after_the_first_step_alone_has_no_steps_time(loop):
  loop.step(dispatched=0, ends=10, batch_from=0, batch_until=11)
  row = loop.row(12)
  assert not {'step_seconds', 'input_wait_seconds', 'windows_per_second'} & set(row)
  # From then on everything from row to row counts.
  loop.step(dispatched=12, ends=22, batch_from=12, batch_until=23)
  row = loop.row(24)
  assert (row['step_seconds'], row['input_wait_seconds']) == (12, 1)


def test_every_row_is_of_the_time_since_the_last_one(loop):
  loop.step(dispatched=0, ends=10, batch_from=0, batch_until=10)
  loop.row(10)
  for start in range(10, 50, 10):
    loop.step(start, start + 9, batch_from=start, batch_until=start + 10)
  row = loop.row(50)
  assert (row['step_seconds'], row['input_wait_seconds']) == (10, 1)
  for start in range(50, 90, 20):
    loop.step(start, start + 20, batch_from=start, batch_until=start + 1)
  row = loop.row(90)
  assert (row['step_seconds'], row['input_wait_seconds']) == (20, 0)


@pytest.mark.parametrize(
  ('flops', 'peak', 'expected'),
  # 8 windows of 100 operations in 10 seconds: 80 per second, of 320.
  [(100.0, 320.0, 0.25), (None, 320.0, None), (100.0, None, None)],
)
def test_utilisation_is_known_only_with_the_model_and_the_chip(flops, peak, expected):
  loop = Loop(flops_per_window=flops, peak_flops=peak)
  with loop.times:
    loop.step(dispatched=0, ends=10)
    loop.step(dispatched=10, ends=20)
    assert loop.row(20).get('model_flops_utilization') == expected


def test_memory_is_told(loop, monkeypatch):
  class Device:
    def __init__(self, stats):
      self.memory_stats = lambda: stats

  devices = [Device({'peak_bytes_in_use': n, 'bytes_in_use': 1}) for n in (5, 9, 7)]
  monkeypatch.setattr(jax, 'local_devices', lambda: devices)
  row = loop.row(0)
  assert row['device_memory_bytes'] == 9
  # JAX alone is more than 50 MB, and a test is no more than some GB.
  assert 5e7 < row['host_memory_bytes'] < 2e10
  monkeypatch.setattr(jax, 'local_devices', lambda: [Device(None)])
  assert 'device_memory_bytes' not in loop.row(0)


def test_a_step_that_fails_ends_as_well_and_its_error_is_not_raised_here(loop):
  class Failing:
    def block_until_ready(self):
      raise jax.errors.JaxRuntimeError('INTERNAL: broken')

  loop.step(dispatched=0, ends=10)
  loop.clock.now = 15
  loop.times.dispatched({'loss': Failing()})
  loop.step(dispatched=20, ends=30)
  assert loop.row(30)['step_seconds'] == (30 - 15) / 2


def test_metrics_are_let_go_of_when_their_step_ends(loop):
  metrics = loop.clock.metrics(10)
  known = weakref.ref(metrics['loss'])
  loop.times.dispatched(metrics)
  del metrics
  loop.row(10)
  assert known() is None


def test_closing_twice_or_without_a_step_is_nothing():
  times = StepTimes(1)
  times.close()
  times.dispatched({'loss': np.float32(0)})
  thread = times._thread
  times.close()
  times.close()
  assert not thread.is_alive()


def test_the_progress_line_speaks_of_input_wait_above_a_tenth():
  assert timing.input_note({'step_seconds': 1, 'input_wait_seconds': 0.34}) == (
    'input wait 34%'
  )
  assert timing.input_note({'step_seconds': 1, 'input_wait_seconds': 0.1}) == ''
  assert timing.input_note({}) == ''


# Real steps. The bounds say who is waited for, not how fast anything is.

NUM_STEPS = 8


@jax.jit
def waste(x, turns):
  """Some work on the device, `turns` times."""
  return jax.lax.fori_loop(0, turns, lambda _, y: jnp.tanh(y @ y), x)


def turns_for(x, seconds):
  """How many turns take about so long here and now."""
  turns = 1
  while True:
    waste(x, turns).block_until_ready()  # compiled
    start = time.monotonic()
    waste(x, turns).block_until_ready()
    took = time.monotonic() - start
    if took > 0.05:
      return max(1, int(turns * seconds / took))
    turns *= 2


def run(turns, batch_seconds):
  """A row over steps of real work and batches that take so long to make."""
  x = jnp.eye(200)
  with StepTimes(1) as times:
    for _ in range(NUM_STEPS):
      metrics = waste(x, turns)
      times.dispatched({'loss': metrics})
      with times.making_batch():
        time.sleep(batch_seconds)
    jax.device_get(metrics)
    return times.row()


def test_slow_batches_are_input_wait():
  row = run(turns=1, batch_seconds=0.1)
  assert row['step_seconds'] > 0.1
  # All but the step itself, which takes next to nothing.
  assert row['input_wait_seconds'] > 0.5 * row['step_seconds']
  assert row['input_wait_seconds'] <= row['step_seconds']


def test_slow_steps_are_no_input_wait():
  row = run(turns=turns_for(jnp.eye(200), seconds=0.2), batch_seconds=0.01)
  assert row['input_wait_seconds'] < 0.3 * row['step_seconds']


def test_a_run_that_fails_while_a_step_runs_keeps_its_exit_code():
  """Python would abort if it ended while the thread is inside JAX."""
  program = """
import jax, jax.numpy as jnp
from alpt_jax.training.timing import StepTimes

waste = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, lambda _, y: jnp.tanh(y @ y), x))
x = jnp.eye(200)
waste(x, 1).block_until_ready()
with StepTimes(1) as times:
  for _ in range(3):
    times.dispatched({'loss': waste(x, 500)})
  raise SystemExit(7)
"""
  done = subprocess.run([sys.executable, '-c', program], timeout=100, check=False)
  assert done.returncode == 7


def test_a_process_ends_although_nobody_closed_the_times():
  program = """
import threading
from alpt_jax.training.timing import StepTimes

class Endless:
  def block_until_ready(self):
    threading.Event().wait()

StepTimes(1).dispatched({'loss': Endless()})
raise SystemExit(7)
"""
  done = subprocess.run([sys.executable, '-c', program], timeout=60, check=False)
  assert done.returncode == 7
