"""The one training loop, for every phase, method and model."""

import contextlib
import dataclasses
import math
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax

from alpt_jax.errors import Preempted, RunFailed
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.metrics import MetricWriter, Progress


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


class StopRequest:
  """True once SIGTERM or SIGINT has come; a second SIGINT stops at once."""

  def __init__(self):
    self.name = ''

  def __bool__(self) -> bool:
    return bool(self.name)

  def _handle(self, number, frame):
    if self and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.name = signal.Signals(number).name

  @contextlib.contextmanager
  def listening(self):
    """Handles the signals inside the block (the main thread only)."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, self._handle) for number in numbers]
    try:
      yield self
    finally:
      for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def fit(
  state,
  *,
  step_fn: Callable,
  batch_fn: Callable[[int], Any],
  key: jax.Array,
  schedule: Schedule,
  checkpoints: Checkpoints,
  description: Mapping[str, Any],
  writer: MetricWriter,
  evaluate_fn: Callable[[int, Any], Mapping[str, float]],
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
    writer: where metrics go.
    evaluate_fn: `(step, state) -> metrics`; what to evaluate is the caller's.
    title: starts the progress line.
    shown: names of the metrics that it shows.

  Returns:
    The final state, saved.

  Raises:
    RunFailed: a training metric is not a number, or a save failed; the last good
      step is named and nothing after it is kept.
    Preempted: SIGTERM or SIGINT came; this step was saved.
  """
  step = int(state.step)
  progress = Progress(title, step, schedule.num_steps)
  batch = batch_fn(step) if step < schedule.num_steps else None
  with StopRequest().listening() as stop:
    while step < schedule.num_steps:
      state, metrics = step_fn(state, batch, key)
      step += 1
      if step < schedule.num_steps:
        batch = batch_fn(step)
      stopping = bool(stop)  # asked once: a signal during the save is for the next
      must_save = stopping or schedule.is_due(step, schedule.checkpoint_every)
      if must_save or schedule.is_due(step, schedule.log_every):
        metrics = _checked(jax.device_get(metrics), step, checkpoints)
      if schedule.is_due(step, schedule.log_every):
        metrics['steps_per_second'] = progress.rate(step)
        _write(writer, 'train', step, metrics, checkpoints)
        progress.show(step, _chosen(metrics, shown))
      if schedule.is_due(step, schedule.evaluate_every):
        scores = dict(evaluate_fn(step, state))
        row = {**scores, 'elapsed_seconds': progress.elapsed}
        _write(writer, 'evaluation', step, row, checkpoints)
        progress.show(step, _chosen(scores, shown), always=True)
      if must_save:
        checkpoints.save(step, state, description)
      if stopping and step < schedule.num_steps:
        checkpoints.wait()
        raise Preempted(f'{stop.name} at step {step}: saved. Run the same again.')
  checkpoints.wait()
  return state


def _write(writer: MetricWriter, kind: str, step: int, row, checkpoints) -> None:
  """Writes a row, or says that the disk did not take it."""
  try:
    writer.write(kind, step, row)
  except OSError as error:
    raise RunFailed(
      f'step {step}: the metrics could not be written ({error}). Last good step: '
      f'{checkpoints.last_good}. Free some disk space and run the same command again.'
    ) from error


def _chosen(metrics: Mapping[str, float], names: Collection[str]):
  return {name: value for name, value in metrics.items() if name in names}


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
