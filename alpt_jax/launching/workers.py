"""An experiment's runs, done: several at a time, resumed, each failure its own.

Runs of one worker share a process, so runs of one shape share their compiled
programs; workers share the machine by one GPU each where it has some, else by one core
each. A run that is done is skipped, one that failed is shown and does not stop the
others.
"""

import gc
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

import jax

from alpt_jax import heap
from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment.config import claim_workdir
from alpt_jax.experiment.models import Steps
from alpt_jax.experiment.owner import FolderLost, FolderTaken
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, is_done, write_status
from alpt_jax.launching.sweep import Sweep, deal

# Ours: runs of how many kinds keep their programs in memory, 160 MB for each.
_MOST_PROGRAMS = 2


def record_shard(sweep: Sweep, index: int, count: int) -> None:
  """Records every `count`-th dataset, from `index` on, if it is not there yet."""
  for folder, recording in list(sweep.recordings.items())[index::count]:
    if folder.exists():
      continue
    print(f'recording {recording.environment} -> {folder}', flush=True)
    try:
      if isinstance(recording, Recording):
        record(recording, folder)
      else:
        from alpt_jax.experiment.recording_atari import record_atari

        record_atari(recording, folder)
    except UserError:
      if not folder.exists():  # else another machine was faster
        raise


def run_shard(sweep: Sweep, index: int, count: int, stage: int = 0) -> int:
  """Trains one of `count` shares of a stage's runs; returns how many failed."""
  num_failed, programs = 0, frozenset()
  runs = list(sweep.stages[stage].items())
  steps = [config.training.num_steps for _, config in runs]
  for folder, config in deal(runs, steps, count)[index]:
    is_ours = False
    try:
      if folder.is_dir():
        claim_workdir(folder, config)  # or says that it is another run's
      is_ours = True
      if is_done(folder):
        print(f'{folder.name}: done before', flush=True)
        continue
      if config.initial and not is_done(pathlib.Path(config.initial)):
        raise UserError(f'{config.initial}, which it starts from, is not finished.')
      run = Run(config)
      programs = _make_room(programs, run.step_config)
      state = run.train(folder)
      if run.evaluator.can_play and config.phase not in ('sources', 'pretrain'):
        run.evaluator.save_animation(folder / 'episode.gif', state)
    except (FolderTaken, FolderLost) as error:
      num_failed += 1  # here; it goes on where it is trained
      print(f'{folder.name}: not trained here: {error}', file=sys.stderr, flush=True)
    except (UserError, RunFailed) as error:
      num_failed += 1
      print(f'{folder.name}: failed: {error}', file=sys.stderr, flush=True)
      if is_ours and folder.is_dir() and not is_done(folder):
        write_status(folder, 'failed', str(error))
  return num_failed


def _make_room(held: frozenset[Steps], needed: Steps) -> frozenset[Steps]:
  """The steps whose programs are held, with those of the next run among them.

  Where they would become too many all are forgotten: they are read again from the
  folder of compiled programs, in about 5 s.
  """
  heap.give_back()  # what compiling and training took, 400 MB
  if needed in held or len(held) < _MOST_PROGRAMS:
    return held | {needed}
  jax.clear_caches()
  gc.collect()
  heap.give_back()
  return frozenset([needed])


def run_workers(commands: Sequence[Sequence[str]]) -> list[int]:
  """Runs commands side by side, each on its own GPU or core; returns exit codes.

  As a shell counts them: 128 and more for what a signal ended. SIGTERM and SIGINT are
  passed on, and the workers are waited for: each saves before it ends.
  """
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
  gpus = _gpus()
  workers: list[subprocess.Popen] = []

  def forward(number, frame):
    for worker in workers:
      worker.send_signal(number)

  before = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGINT)}
  try:
    for index, command in enumerate(commands):
      # A session of its own: Ctrl-C reaches it once, through `forward`.
      worker = subprocess.Popen(
        command, start_new_session=True, env=_environment(index, len(commands), gpus)
      )
      if len(cores) > 1 and not gpus:
        os.sched_setaffinity(worker.pid, {cores[index % len(cores)]})
      workers.append(worker)
    codes = [worker.wait() for worker in workers]
    return [128 - code if code < 0 else code for code in codes]
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _environment(index: int, count: int, gpus: Sequence[str]) -> dict[str, str]:
  """Of one worker of `count`."""
  environment = dict(os.environ)
  if gpus:
    environment['CUDA_VISIBLE_DEVICES'] = gpus[index % len(gpus)]
  if count > len(gpus):
    # They share a GPU's memory instead of each taking most of it.
    environment.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  return environment


def _gpus() -> list[str]:
  """NVIDIA's devices that JAX will use, as CUDA_VISIBLE_DEVICES names them."""
  wanted = os.environ.get('JAX_PLATFORMS', '') or 'cuda'
  if not ({'cuda', 'gpu'} & set(wanted.split(','))) or not _has_cuda():
    return []
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is not None:
    return [name for name in visible.split(',') if name not in ('', '-1')]
  try:
    listed = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True)
  except OSError:  # no such program, so no such device
    return []
  lines = listed.stdout.splitlines()
  return [str(index) for index in range(sum(line.startswith('GPU ') for line in lines))]


def _has_cuda() -> bool:
  """Whether JAX was installed with what drives them: `alpt-jax[cuda]`."""
  return any(
    importlib.util.find_spec(f'jax_cuda{version}_plugin') for version in (12, 13)
  )
