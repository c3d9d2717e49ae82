"""An experiment's runs: planned from its config, shared out, resumed, reported.

Runs of one worker share a process, so runs of one shape share their compiled
programs; workers share the machine by one core each where it has several. A run
that is done is skipped, one that failed is shown and does not stop the others.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment.config import RunConfig, claim_workdir, from_mapping
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, is_done, write_status


@dataclasses.dataclass(frozen=True)
class Sweep:
  """An experiment, planned.

  Attributes:
    name: of the experiment.
    folder: where everything is written.
    runs: run folder -> config, in the order in which they are run.
    recordings: dataset folder -> what to record there.
  """

  name: str
  folder: pathlib.Path
  runs: Mapping[pathlib.Path, RunConfig]
  recordings: Mapping[pathlib.Path, Any]

  @property
  def stages(self) -> list[dict[pathlib.Path, RunConfig]]:
    """The runs, each in a later stage than the one that it starts from."""
    stage_of: dict[pathlib.Path, int] = {}
    for folder, run in self.runs.items():
      base = pathlib.Path(run.initial) if run.initial else None
      stage_of[folder] = stage_of[base] + 1 if base in stage_of else 0
    count = max(stage_of.values()) + 1
    return [
      {f: run for f, run in self.runs.items() if stage_of[f] == stage}
      for stage in range(count)
    ]


def plan(config: ml_collections.ConfigDict, folder: pathlib.Path) -> Sweep:
  """Expands an experiment's config; checks every run's before any is started.

  Each of `config.runs` is the text that goes behind the colon of `config.run_config`,
  or a pair of it and the fields in which this run differs further, `title` among them.
  Where `initial` is the name of an earlier run's folder, it starts from that run.
  """
  if ',' in str(folder):
    raise UserError(f'--out: {folder}: expected a path without commas.')
  get_config = _load_get_config(pathlib.Path(config.run_config))
  runs: dict[pathlib.Path, RunConfig] = {}
  recordings: dict[pathlib.Path, Any] = {}
  for entry in config.runs:
    text, changes = (entry, {}) if isinstance(entry, str) else entry
    fields = get_config(f'{text},root={folder / "data"}')
    fields.experiment = config.experiment
    fields.update(config.overrides)
    fields.update(changes)
    if folder / 'runs' / fields.initial in runs:
      fields.initial = str(folder / 'runs' / fields.initial)
    run = from_mapping(fields)
    runs[folder / 'runs' / _run_name(run)] = run
    for dataset, recording in _recordings_of(run, config.record.to_dict()).items():
      if recordings.setdefault(dataset, recording) != recording:
        raise UserError(f'{dataset}: two runs want different recordings there.')
  if len(runs) < len(config.runs):
    raise UserError(f'{config.experiment}: two of its runs are the same.')
  return Sweep(config.experiment, folder, runs, recordings)


def _load_get_config(path: pathlib.Path):
  if not path.is_file():
    raise UserError(f'{path}: no such config file. Run from the project folder.')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config


def _run_name(run: RunConfig) -> str:
  title = re.sub('[^a-z0-9]+', '-', run.title.lower()).strip('-')
  return f'{title}-labels{run.data.labels}-seed{run.seed}'


def _recordings_of(run: RunConfig, fields: Mapping[str, Any]):
  """Dataset folder -> recording, for the datasets of a run that name theirs.

  Every seed has mazes of its own; a game is recorded once for all of them.
  """
  folders = (run.data.target, *run.data.sources)
  recordings: dict[pathlib.Path, Any] = {}
  for folder, environment in zip(folders, run.data.environments, strict=True):
    if environment.startswith('atari/'):
      from alpt_jax.experiment.recording_atari import AtariRecording  # the emulator's

      recording = AtariRecording(environment, **fields)
    else:
      recording = Recording(environment, run.data.observation, seed=run.seed, **fields)
    recordings[pathlib.Path(folder)] = recording
  return recordings


def missing_recordings(sweep: Sweep) -> dict[pathlib.Path, Any]:
  """The datasets that are not there yet."""
  return {f: r for f, r in sweep.recordings.items() if not f.exists()}


def record_shard(sweep: Sweep, index: int, count: int) -> None:
  """Records every `count`-th dataset, from `index` on, if it is not there yet."""
  for folder, recording in list(sweep.recordings.items())[index::count]:
    if folder.exists():
      continue
    print(f'recording {recording.environment} -> {folder}', flush=True)
    if isinstance(recording, Recording):
      record(recording, folder)
    else:
      from alpt_jax.experiment.recording_atari import record_atari

      record_atari(recording, folder)


def run_shard(sweep: Sweep, index: int, count: int, stage: int = 0) -> int:
  """Trains one of `count` shares of a stage's runs; returns how many failed."""
  num_failed = 0
  for folder, config in _shares(sweep.stages[stage], count)[index]:
    try:
      if is_done(folder):
        claim_workdir(folder, config)  # or says that it is another run's
        print(f'{folder.name}: done before', flush=True)
        continue
      if config.initial and not is_done(pathlib.Path(config.initial)):
        raise UserError(f'{config.initial}, which it starts from, is not finished.')
      run = Run(config)
      state = run.train(folder)
      if run.evaluator.can_play:
        run.evaluator.save_animation(folder / 'episode.gif', state)
    except (UserError, RunFailed) as error:
      num_failed += 1
      print(f'{folder.name}: failed: {error}', file=sys.stderr, flush=True)
      if folder.is_dir() and not is_done(folder):
        write_status(folder, 'failed', str(error))
  return num_failed


def _shares(runs: Mapping[pathlib.Path, RunConfig], count: int):
  """Runs in `count` shares of about equal length: the longest first, to the freest."""
  shares: list[list] = [[] for _ in range(count)]
  lengths = [0] * count
  for folder, config in sorted(
    runs.items(), key=lambda item: -item[1].training.num_steps
  ):
    freest = lengths.index(min(lengths))
    shares[freest].append((folder, config))
    lengths[freest] += config.training.num_steps
  return shares


def run_workers(commands: Sequence[Sequence[str]]) -> list[int]:
  """Runs commands side by side, each on a core of its own; returns exit codes.

  SIGTERM and SIGINT are passed on, and the workers are waited for: each saves
  before it ends.
  """
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
  workers: list[subprocess.Popen] = []

  def forward(number, frame):
    for worker in workers:
      worker.send_signal(number)

  before = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGINT)}
  try:
    for index, command in enumerate(commands):
      # A session of its own: Ctrl-C reaches it once, through `forward`. On a GPU
      # the workers share its memory instead of each taking most of it.
      worker = subprocess.Popen(
        command,
        start_new_session=True,
        env={'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', **os.environ},
      )
      if len(cores) > 1:
        os.sched_setaffinity(worker.pid, {cores[index % len(cores)]})
      workers.append(worker)
    return [worker.wait() for worker in workers]
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
