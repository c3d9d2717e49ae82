"""Where the time of a run goes: steps, waiting for input, saves, evaluations.

The devices work through steps that the loop hands them ahead of time, so the loop's own
clock says little. A thread of its own waits for each step and notes when it ended.
"""

import contextlib
import os
import pathlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import jax

CHECKPOINT, EVALUATION = 'checkpoint_seconds', 'evaluation_seconds'

# How long a row waits for the thread to hear of a step that the loop knows to be over.
_PATIENCE = 1.0  # seconds
# How long the end of a run waits for a step that nobody needs any more. Python aborts
# (exit code 134) if it ends while a thread is inside JAX, and JAX itself would wait.
_FAREWELL = 60.0
# The share of step time above which the progress line speaks of it.
_WORTH_SAYING = 0.1


class StepTimes:
  """Times a training loop without slowing it; numbers since the last row.

  The loop, in this order:

    with StepTimes(...) as times:
      with times.making_batch(): the first batch
      while ...:
        the step function is called; then times.dispatched(metrics)
        with times.making_batch(): the next batch
        the metrics are fetched;     then times.row()
        with times.timed(EVALUATION): ...
        with times.timed(CHECKPOINT): ...

  Before a `row` or a `timed` block the loop has fetched the metrics of the last step
  dispatched: else the block is blamed for that step's time.

  **Input wait** is the time for which the devices had nothing to do because a batch was
  being made: of each batch, from the later of its own start and the last dispatched
  step's end, until it is there. What the loop does otherwise (rows, saves, evaluations)
  does not count, nor does the transfer to the devices that may go on behind a batch.
  The thread hears of an end when the interpreter next switches, mostly within 5 ms.
  """

  def __init__(
    self,
    windows_per_step: int,
    *,
    flops_per_window: float | None = None,
    peak_flops: float | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Steps are timed from the second: the first is mostly compilation.

    Args:
      windows_per_step: of the global batch.
      flops_per_window: of the model, see `models/flops.py`; None: not known.
      peak_flops: operations per second of all devices of the mesh together; None: of a
        chip that is not known. Without either there is no utilisation.
      clock: seconds; read by the loop and by the thread.
    """
    self._windows = windows_per_step
    self._flops, self._peak = flops_per_window, peak_flops
    self._clock = clock
    self._running: queue.SimpleQueue = queue.SimpleQueue()
    self._thread: threading.Thread | None = None
    self._is_over = False
    # Guards all below, and tells of each end.
    self._news = threading.Condition()
    self._dispatched = self._ended = 0
    # Of a step whose batch or whose end is still to come, by its number.
    self._ends: dict[int, float] = {}
    self._batches: dict[int, tuple[float, float]] = {}
    self._input_wait = 0.0
    # When the second step was dispatched and the first had ended.
    self._second: float | None = None
    self._first_end: float | None = None
    # Since the last row:
    self._begun: float | None = None
    self._steps = 0
    self._apart: dict[str, float] = {}
    self._left_out = 0.0

  def dispatched(self, metrics) -> None:
    """The devices were given a step; `metrics` are its results, which may be futures.

    They must not be donated to anything; they are let go of when the step ends. A step
    that fails ends as well: the loop will see its error, here it is not raised.
    """
    with self._news:
      self._dispatched += 1
      if self._dispatched > 1:
        self._steps += 1
      if self._dispatched == 2:
        self._left_out, self._second = 0.0, self._clock()
        self._begin()
      self._running.put((self._dispatched, metrics))
    if self._thread is None:
      self._thread = threading.Thread(target=self._watch, name='steps', daemon=True)
      self._thread.start()

  @contextlib.contextmanager
  def making_batch(self) -> Iterator[None]:
    """Around what makes a batch and sends it to the devices."""
    start = self._clock()
    yield
    with self._news:
      # Before the first step there is nothing that could have waited.
      if self._dispatched:
        self._batches[self._dispatched] = (start, self._clock())
        self._settle(self._dispatched)

  @contextlib.contextmanager
  def timed(self, name: str) -> Iterator['Stopwatch']:
    """Around what is no step: its seconds are the row's `name`, and of no step."""
    watch, start = Stopwatch(), self._clock()
    try:
      yield watch
    finally:
      watch.seconds = self._clock() - start
      self._apart[name] = self._apart.get(name, 0.0) + watch.seconds
      self._left_out += watch.seconds

  def row(self) -> dict[str, float]:
    """The numbers since the last row, by the names of `metrics.jsonl`.

    `step_seconds` (mean; wall time but for what was `timed`), `input_wait_seconds` (of
    a step, mean), `windows_per_second`, `model_flops_utilization` where it is known,
    `checkpoint_seconds` and `evaluation_seconds` (all of them together, as other
    `timed` names), `host_memory_bytes` and, where devices tell, `device_memory_bytes`.
    Those of steps are missing if there was none but the first.
    """
    with self._news:
      self._news.wait_for(lambda: self._ended == self._dispatched, _PATIENCE)
      now, steps, waited = self._clock(), self._steps, self._input_wait
      begun, self._begun = self._begun, None if self._begun is None else now
      self._steps, self._input_wait = 0, 0.0
    row = {CHECKPOINT: 0.0, EVALUATION: 0.0, **self._apart, **_memory()}
    if steps and begun is not None:
      seconds = max(now - begun - self._left_out, 1e-9) / steps
      row['step_seconds'] = seconds
      row['input_wait_seconds'] = waited / steps
      row['windows_per_second'] = self._windows / seconds
      if self._flops and self._peak:
        flops_per_second = self._flops * row['windows_per_second']
        row['model_flops_utilization'] = flops_per_second / self._peak
    self._apart, self._left_out = {}, 0.0
    return row

  def close(self) -> None:
    """Ends the thread, once the step that it waits for has ended, or in a minute."""
    self._is_over = True
    if self._thread is not None:
      self._running.put(None)
      self._thread.join(_FAREWELL)

  def __enter__(self) -> 'StepTimes':
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def _watch(self) -> None:
    """The thread: waits for one step after the other."""
    while (running := self._running.get()) is not None and not self._is_over:
      number, metrics = running
      # Its error is the loop's to raise, of whatever kind.
      with contextlib.suppress(Exception):
        jax.block_until_ready(metrics)
      del running, metrics
      with self._news:
        self._ends[number] = self._clock()
        self._ended = number
        if number == 1:
          self._first_end = self._ends[number]
          self._begin()
        self._settle(number)
        self._news.notify_all()

  def _begin(self) -> None:
    """Steps count from the second one, once it is known when that began."""
    if self._first_end is not None and self._second is not None:
      self._begun = max(self._first_end, self._second)

  def _settle(self, number: int) -> None:
    """Adds the input wait behind a step, once both its end and the batch are known.

    Whoever holds `_news` may call it; steps of which one of the two never comes are
    forgotten when a later one has both.
    """
    if number in self._ends and number in self._batches:
      end, (start, ready) = self._ends[number], self._batches[number]
      if number > 1:
        self._input_wait += max(0.0, ready - max(start, end))
      for known in (self._ends, self._batches):
        for old in [key for key in known if key <= number]:
          del known[old]


class Stopwatch:
  """How long a `timed` block took, once it is over."""

  seconds = 0.0


def input_note(row: Mapping[str, float]) -> str:
  """A few words for the progress line where a run waits for its input; else ''."""
  share = row.get('input_wait_seconds', 0.0) / row.get('step_seconds', 1.0)
  return f'input wait {share:.0%}' if share > _WORTH_SAYING else ''


def _memory() -> dict[str, float]:
  """What this process holds, and the most that one of its devices ever held."""
  row = {}
  if resident := _resident_bytes():
    row['host_memory_bytes'] = float(resident)
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peaks = [held['peak_bytes_in_use'] for held in stats if 'peak_bytes_in_use' in held]
  if peaks:
    row['device_memory_bytes'] = float(max(peaks))
  return row


def _resident_bytes() -> int:
  """The resident set of this process; without /proc the largest it ever was."""
  statm = pathlib.Path('/proc/self/statm')
  if statm.exists():
    return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  import resource  # POSIX only

  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else peak * 1024
