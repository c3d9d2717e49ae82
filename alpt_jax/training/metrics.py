"""Numbers of a run: one JSON line each, TensorBoard, and a line to watch."""

import json
import math
import os
import pathlib
import time
from collections.abc import Mapping

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2


class MetricWriter:
  """Appends rows to `metrics.jsonl`; a resumed run leaves no row twice.

  A row is `{"kind": ..., "step": ..., name: number or null, ...}`; kinds are
  'train' and 'evaluation'. Numbers that are not finite are written as null.
  """

  def __init__(self, workdir: str | os.PathLike, resumed_step: int = 0):
    """Drops the rows of steps after `resumed_step`: they will be run again."""
    workdir = pathlib.Path(workdir)
    self._path = workdir / 'metrics.jsonl'
    kept = [line for line in self._lines() if json.loads(line)['step'] <= resumed_step]
    partial = self._path.with_name('metrics.jsonl.partial')
    partial.write_text(''.join(kept))
    os.replace(partial, self._path)
    self._file = open(self._path, 'a', buffering=1)  # noqa: SIM115 (see close)
    # Written by this thread: tensorboardX's own writer has another one, and whoever
    # feeds it waits for ever once a full disk has ended that.
    (workdir / 'tensorboard').mkdir(exist_ok=True)
    prefix = workdir / 'tensorboard' / 'events'
    self._board = event_file_writer.EventsWriter(str(prefix))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(resumed_step + 1, session_log=start)  # later rows are void

  def _lines(self) -> list[str]:
    """The complete lines that are there; a crash may have cut the last one."""
    if not self._path.exists():
      return []
    lines = self._path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith('}\n')]

  def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
    """Writes one row; `values` are numbers."""
    values = {name: float(value) for name, value in values.items()}
    row = {name: v if math.isfinite(v) else None for name, v in values.items()}
    self._file.write(json.dumps({'kind': kind, 'step': step, **row}) + '\n')
    for name, value in values.items():
      self._add(step, summary=summary.scalar(f'{kind}/{name}', value))
    self._board.flush()

  def _add(self, step: int, **what) -> None:
    event = event_pb2.Event(wall_time=time.time(), step=step, **what)
    self._board.write_event(event)

  def close(self) -> None:
    """Flushes everything to disk."""
    self._file.close()
    self._board.close()


class Progress:
  """A line with step, rate and time left, every few seconds."""

  def __init__(self, title: str, first_step: int, num_steps: int, every: float = 10.0):
    self._title = title
    self._first = first_step
    self._num_steps = num_steps
    self._every = every
    self._start = self._last = time.monotonic()

  @property
  def elapsed(self) -> float:
    """Seconds since the start."""
    return time.monotonic() - self._start

  def rate(self, step: int) -> float:
    """Steps per second since the start."""
    return (step - self._first) / max(self.elapsed, 1e-9)

  def show(self, step: int, values: Mapping[str, float], *, always=False) -> None:
    """Prints the line unless the last one was just now."""
    now = time.monotonic()
    if not always and now - self._last < self._every:
      return
    self._last = now
    rate = self.rate(step)
    left = (self._num_steps - step) / rate if rate else math.nan
    shown = '  '.join(f'{name} {value:.3f}' for name, value in values.items())
    print(
      f'{self._title}  step {step:,}/{self._num_steps:,}  {rate:.1f} steps/s  '
      f'{_duration(left)} left  {shown}',
      flush=True,
    )


def _duration(seconds: float) -> str:
  if not math.isfinite(seconds):
    return '?'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
