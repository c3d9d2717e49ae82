"""Numbers of a run: one JSON line each, TensorBoard, and a line to watch."""

import json
import math
import os
import pathlib
import socket
import struct
import time
from collections.abc import Mapping

from tensorboardX import summary
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from alpt_jax.pace import duration


class MetricWriter:
  """Appends rows to `metrics.jsonl`; a resumed run leaves no row twice.

  A row is `{"kind": ..., "step": ..., name: number or null, ...}`; kinds are
  'train' and 'evaluation'. Numbers that are not finite are written as null.

  A row can be read as soon as it is written, but where a bucket is mounted as a folder:
  there a file arrives when it is closed, see `flush_to_disk`.
  """

  def __init__(self, workdir: str | os.PathLike, resumed_step: int = 0):
    """Drops the rows of steps after `resumed_step`: they will be run again."""
    workdir = pathlib.Path(workdir)
    self._path = workdir / 'metrics.jsonl'
    rows = [(line, json.loads(line)) for line in self._lines()]
    kept = [(line, row) for line, row in rows if row['step'] <= resumed_step]
    self._rows = {(row.get('kind'), row['step']) for _, row in kept}
    partial = self._path.with_name('metrics.jsonl.partial')
    partial.write_text(''.join(line for line, _ in kept))
    os.replace(partial, self._path)
    self._board_path = _board_path(workdir / 'tensorboard')
    self._open()
    self._add(0, file_version='brain.Event:2')
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(resumed_step + 1, session_log=start)  # later rows are void

  def _lines(self) -> list[str]:
    """The complete lines that are there; a crash may have cut the last one."""
    if not self._path.exists():
      return []
    lines = self._path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith('}\n')]

  def _open(self) -> None:
    self._file = open(self._path, 'a', buffering=1)  # noqa: SIM115 (see close)
    self._board = open(self._board_path, 'ab')  # noqa: SIM115

  def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
    """Writes one row; `values` are numbers."""
    values = {name: float(value) for name, value in values.items()}
    row = {name: v if math.isfinite(v) else None for name, v in values.items()}
    self._file.write(json.dumps({'kind': kind, 'step': step, **row}) + '\n')
    self._rows.add((kind, step))
    for name, value in values.items():
      self._add(step, summary=summary.scalar(f'{kind}/{name}', value))
    self._board.flush()

  def has(self, kind: str, step: int) -> bool:
    """Whether there is such a row, of this process or kept from one before.

    A checkpoint whose evaluation was cut off has none.
    """
    return (kind, step) in self._rows

  def flush_to_disk(self) -> None:
    """Closes the files and goes on with them: their rows are now where others see them.

    To be called before each checkpoint, so that a run which goes on from it has the
    rows before it, wherever its folder lies. (Cloud Storage FUSE uploads a file when it
    is closed, not when it is flushed or synced.)
    """
    self.close()
    self._open()

  # TensorBoard's files are written here, record by record: tensorboardX's own writer
  # has a thread, and whoever feeds it waits for ever once a full disk has ended that;
  # nor can it go on with a file that was closed.
  def _add(self, step: int, **what) -> None:
    event = event_pb2.Event(wall_time=time.time(), step=step, **what)
    data = event.SerializeToString()
    length = struct.pack('<Q', len(data))
    for part in (length, data):
      self._board.write(part + struct.pack('<I', masked_crc32c(part)))

  def close(self) -> None:
    """Everything is in the files; both are closed even if the disk is full."""
    try:
      self._file.close()
    finally:
      self._board.close()


def _board_path(folder: pathlib.Path) -> pathlib.Path:
  """A new file for TensorBoard, which reads a folder's in the order of their names."""
  folder.mkdir(exist_ok=True)
  return folder / f'events.out.tfevents.{time.time():.6f}.{socket.gethostname()}'


class Progress:
  """A line with step, rate and time left, every few seconds.

  Without a title nothing is shown: in the processes of a run that are not the first.
  """

  def __init__(
    self, title: str | None, first_step: int, num_steps: int, every: float = 10.0
  ):
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

  def compiled(self) -> None:
    """Says how long the first step took to be made ready, if that was long."""
    if self._title is not None and self.elapsed > self._every:
      print(f'{self._title}  ready after {duration(self.elapsed)}', flush=True)

  def show(
    self, step: int, values: Mapping[str, float], *, note: str = '', always=False
  ) -> None:
    """Prints the line, `note` at its end, unless the last one was just now."""
    if self._title is None:
      return
    now = time.monotonic()
    if not always and now - self._last < self._every:
      return
    self._last = now
    rate = self.rate(step)
    left = (self._num_steps - step) / rate if rate else math.nan
    parts = [f'{name} {value:.3f}' for name, value in values.items()]
    shown = '  '.join([*parts, note] if note else parts)
    print(
      f'{self._title}  step {step:,}/{self._num_steps:,}  {rate:.1f} steps/s  '
      f'{duration(left)} left  {shown}',
      flush=True,
    )
