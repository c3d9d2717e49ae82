"""The one training loop, for every phase, method and model."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax

from alpt_jax.errors import Preempted, RunFailed
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.metrics import MetricWriter, Progress
from alpt_jax.training.profiling import Profiler
from alpt_jax.training.stopping import StopRequest
from alpt_jax.training.timing import CHECKPOINT, EVALUATION, StepTimes, input_note


@dataclasses.dataclass(frozen=True)
class Schedule:
  """When what happens, in optimiser steps; 0 means never, but for the last step.

  Attributes:
    num_steps: of the whole run.
    log_every: a row of training metrics; the device is waited for.
    evaluate_every: the evaluation, and always after the last step.
    checkpoint_every: a checkpoint, and always after the last step.
  """

  num_steps: int
  log_every: int
  evaluate_every: int
  checkpoint_every: int

  def is_due(self, step: int, every: int) -> bool:
    """True at multiples of `every` and at the last step."""
    return step == self.num_steps or bool(every and step % every == 0)


def fit(
  state,
  *,
  step_fn: Callable,
  batch_fn: Callable[[int], Any],
  key: jax.Array,
  schedule: Schedule,
  checkpoints: Checkpoints,
  description: Mapping[str, Any],
  writer: MetricWriter | None,
  evaluate_fn: Callable[[int, Any], Mapping[str, float]],
  times: StepTimes,
  profiler: Profiler | None = None,
  evaluate_first: bool = False,
  before_save: Callable[[], None] = lambda: None,
  title: str = '',
  shown: Collection[str] = (),
):
  """Trains `state` from its own step number to the end of the schedule.

  The batch of a step is a function of its number, so a run that was killed and
  started again from its last checkpoint ends with the same bits.

  Args:
    state: a train state with a `step` field; its buffers are consumed.
    step_fn: `(state, batch, key) -> (state, metrics)`, jitted.
    batch_fn: step -> batch, already on the devices. The next one is made while
      the devices work on this one.
    key: the run's random key, the same after every restart.
    schedule: when what happens.
    checkpoints: where states are saved.
    description: what is saved beside each state.
    writer: where metrics go; None on processes that write nothing.
    evaluate_fn: `(step, state) -> metrics`; what to evaluate is the caller's. A stop
      cuts it off.
    times: measures; its numbers join the training metrics.
    profiler: looks at some of the steps.
    evaluate_first: begin with the evaluation of `state`, which was cut off.
    before_save: called first, and may raise `RunFailed`.
    title: starts the progress line.
    shown: names of the metrics that it shows.

  Returns:
    The final state, saved.

  Raises:
    RunFailed: a training metric is not a number, or a save failed; the last good
      step is named and nothing after it is kept.
    Preempted: SIGTERM or SIGINT came; this step was saved.
  """
  profiler = profiler or Profiler(None, '')
  step = first_step = int(state.step)
  journal = _Journal(
    writer,
    Progress(title if writer else None, step, schedule.num_steps),
    times,
    shown,
    checkpoints,
    description,
    before_save,
  )
  with times, profiler, StopRequest().listening() as stop:
    if evaluate_first and not journal.evaluate(step, state, evaluate_fn, stop):
      raise journal.preempted(step, stop)
    with times.making_batch():
      batch = batch_fn(step) if step < schedule.num_steps else None
    while step < schedule.num_steps:
      profiler.begin(step + 1, state)
      state, metrics = step_fn(state, batch, key)
      if step == first_step:
        journal.progress.compiled()
      profiler.end(metrics)
      times.dispatched(metrics)
      step += 1
      if step < schedule.num_steps:
        with times.making_batch():
          batch = batch_fn(step)
      # Asked once: with several processes all must hear the same.
      is_stopping = stop.is_due(step)
      must_save = is_stopping or schedule.is_due(step, schedule.checkpoint_every)
      must_log = schedule.is_due(step, schedule.log_every)
      must_evaluate = schedule.is_due(step, schedule.evaluate_every)
      if must_save or must_log or must_evaluate:
        metrics = _checked(jax.device_get(metrics), step, checkpoints)
      if must_log:
        journal.log(step, metrics)
      if must_save:
        journal.save(step, state)
      if must_evaluate and not is_stopping:
        is_stopping = not journal.evaluate(step, state, evaluate_fn, stop)
        if is_stopping and not must_save:
          journal.save(step, state)
      if is_stopping:
        raise journal.preempted(step, stop)
    checkpoints.wait()  # still listening: the last save must not be cut off
  return state


@dataclasses.dataclass(frozen=True)
class _Journal:
  """What a run leaves behind while it trains: rows, lines to watch, checkpoints."""

  writer: MetricWriter | None
  progress: Progress
  times: StepTimes
  shown: Collection[str]
  checkpoints: Checkpoints
  description: Mapping[str, Any]
  before_save: Callable[[], None]

  def log(self, step: int, metrics: dict[str, float]) -> None:
    """A row of training metrics, which are here already."""
    self.checkpoints.check()
    row = self.times.row()
    rate = {'steps_per_second': self.progress.rate(step)}
    self._write('train', step, {**metrics, **rate, **row})
    self.progress.show(step, self._chosen(metrics), note=input_note(row))

  def evaluate(self, step: int, state, evaluate_fn, stop: StopRequest) -> bool:
    """A row of the evaluation; False where a stop cut it off."""
    with self.times.timed(EVALUATION):
      row = stop.interruptibly(lambda: dict(evaluate_fn(step, state)))
    if row is None:
      return False
    elapsed = {'elapsed_seconds': self.progress.elapsed}
    self._write('evaluation', step, {**row, **elapsed})
    self.progress.show(step, self._chosen(row), always=True)
    return True

  def save(self, step: int, state) -> None:
    """A checkpoint, behind the rows before it."""
    self.before_save()
    if self.writer is not None:
      with self._disk(step):
        self.writer.flush_to_disk()
    with self.times.timed(CHECKPOINT):
      self.checkpoints.save(step, state, self.description)

  def preempted(self, step: int, stop: StopRequest) -> Preempted:
    """What to raise once the last save is on disk."""
    self.checkpoints.wait()
    return Preempted(f'{stop.name} at step {step}: saved. Run the same again.')

  def _chosen(self, metrics: Mapping[str, float]):
    return {name: value for name, value in metrics.items() if name in self.shown}

  def _write(self, kind: str, step: int, row) -> None:
    if self.writer is not None:
      with self._disk(step):
        self.writer.write(kind, step, row)

  @contextlib.contextmanager
  def _disk(self, step: int):
    """Says that the disk did not take a row."""
    try:
      yield
    except OSError as error:
      raise RunFailed(
        f'step {step}: the metrics could not be written ({error}). Last good step: '
        f'{self.checkpoints.last_good}. Free some disk space and run the same command '
        'again.'
      ) from error


def _checked(metrics, step: int, checkpoints: Checkpoints) -> dict[str, float]:
  """The metrics as floats, or `RunFailed` when one is not finite."""
  metrics = {name: float(value) for name, value in metrics.items()}
  for name, value in metrics.items():
    if not math.isfinite(value):
      checkpoints.wait()
      raise RunFailed(
        f'step {step}: {name} is {value}. Last good step: {checkpoints.last_good}. '
        'Lower the learning rate.'
      )
  return metrics
