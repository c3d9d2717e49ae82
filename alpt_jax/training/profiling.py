"""A look at some steps through JAX's profiler, asked for by `--profile=FIRST:COUNT`."""

import os
import pathlib
import re
import shutil
from typing import NamedTuple

import jax

from alpt_jax.errors import UserError

# How the names of what the profiler writes end, behind the name of the host.
_KINDS = ('.xplane.pb', '.trace.json.gz')


class ProfiledSteps(NamedTuple):
  """Which optimiser steps of a run to look at; the first of a run is step 1."""

  first: int
  count: int

  @property
  def last(self) -> int:
    """The last of them."""
    return self.first + self.count - 1


def parse(text: str) -> ProfiledSteps | None:
  """The steps of `--profile=FIRST:COUNT`; None of an empty text.

  Raises:
    UserError: not two whole numbers from 1.
  """
  if not text:
    return None
  match = re.fullmatch(r'(\d+):(\d+)', text)
  if not match or 0 in (steps := ProfiledSteps(*map(int, match.groups()))):
    raise UserError(
      '--profile: expected FIRST:COUNT, the first step and how many, both from 1 '
      f"(100:5 for steps 100 to 104), found '{text}'."
    )
  return steps


class Profiler:
  """Profiles the steps that were asked for, if the run comes by them.

  The loop, around each step:

    profiler.begin(step, state); state, metrics = step_fn(...); profiler.end(metrics)

  A run that goes on inside the window profiles the rest of it, one that goes on behind
  it nothing. The profile of every process of the run lies in one session, so that tools
  show them side by side:

    <workdir>/profile/plugins/profile/step_<first>/<host>-<process>.xplane.pb

  What goes wrong with a profile is said and never ends a run.
  """

  def __init__(self, steps: ProfiledSteps | None, workdir: str | os.PathLike):
    """Looks at nothing yet.

    Args:
      steps: which; None: none at all.
      workdir: the run's folder, of which `profile/` is written.
    """
    self._steps = steps
    self._folder = pathlib.Path(workdir) / 'profile'
    self._annotation: jax.profiler.StepTraceAnnotation | None = None
    self._first = self._now = 0  # the step that it began with, and the latest
    self._is_on = False

  def begin(self, step: int, pending) -> None:
    """Before step `step` is dispatched.

    Args:
      step: its number.
      pending: what earlier steps are still computing: waited for before the first
        profiled step, so that nothing else is in the profile.
    """
    if self._steps is None or not self._steps.first <= step <= self._steps.last:
      return
    if not self._is_on:
      jax.block_until_ready(pending)
      self._start(step)
    self._now = step
    if self._is_on:
      self._annotation = jax.profiler.StepTraceAnnotation('train', step_num=step)
      self._annotation.__enter__()

  def end(self, metrics) -> None:
    """After a step was dispatched; the last profiled one is waited for and written."""
    if self._annotation is None:
      return
    self._annotation.__exit__(None, None, None)
    self._annotation = None
    if self._now == self._steps.last:
      jax.block_until_ready(metrics)
      self._stop()

  def close(self) -> None:
    """Writes what there is of a window in which the run ends."""
    if self._annotation is not None:  # the step itself failed
      self._annotation.__exit__(None, None, None)
      self._annotation = None
    if self._is_on:
      self._stop()

  def __enter__(self) -> 'Profiler':
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def _start(self, step: int) -> None:
    try:
      jax.profiler.start_trace(self._own_folder)
    except RuntimeError as error:  # another profiler is on
      self._give_up('start', error)
      return
    self._first, self._is_on = step, True

  def _stop(self) -> None:
    self._is_on, self._steps = False, None
    try:
      jax.profiler.stop_trace()
      self._gather()
    except (RuntimeError, OSError) as error:  # a full disk, most often
      self._give_up('be written', error)
      return
    if jax.process_index() == 0:
      print(
        f'profile: steps {self._first:,} to {self._now:,} lie in {self._folder}. Open '
        f'them with `pip install xprof; xprof --logdir={self._folder}`, or drop a '
        '.trace.json.gz of it on https://ui.perfetto.dev.',
        flush=True,
      )

  @property
  def _own_folder(self) -> pathlib.Path:
    """Where this process's profiler writes: it names files by host and second alone."""
    return self._folder / f'process-{jax.process_index()}'

  def _gather(self) -> None:
    """Moves this process's files into the session of the run."""
    session = self._folder / 'plugins' / 'profile' / f'step_{self._first}'
    session.mkdir(parents=True, exist_ok=True)
    for path in self._own_folder.glob('plugins/profile/*/*'):
      kind = next((kind for kind in _KINDS if path.name.endswith(kind)), '')
      host = path.name.removesuffix(kind)
      path.replace(session / f'{host}-{jax.process_index()}{kind}')
    shutil.rmtree(self._own_folder)

  def _give_up(self, what: str, error: Exception) -> None:
    self._steps = None
    reason = (str(error).splitlines() or [repr(error)])[0]
    print(f'profile: could not {what} ({reason}). Training goes on.', flush=True)
