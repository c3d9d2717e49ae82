"""An experiment's runs, planned from its config: which, from what, in what order."""

import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from alpt_jax import methods
from alpt_jax.errors import UserError
from alpt_jax.experiment import lineage
from alpt_jax.experiment.config import RunConfig, from_mapping
from alpt_jax.experiment.recording import RECORDING, Recording
from alpt_jax.experiment.records import read_record
from alpt_jax.experiment.run import is_done


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


def plan(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  data: pathlib.Path | None = None,
) -> Sweep:
  """Expands an experiment's config; checks every run's before any is started.

  Each of `config.runs` is the text that goes behind the colon of `config.run_config`;
  or that text, the fields in which this run differs further (`title` among them), and
  if others start from it a name, which they give as their `initial`.

  Args:
    config: of the experiment.
    folder: where everything is written.
    data: where datasets are recorded, by default in `folder`.

  Raises:
    UserError: a run's config is not one, or two runs are the same.
  """
  data = data or folder / 'data'
  for flag, path in (('--out', folder), ('--data', data)):
    if ',' in str(path):
      raise UserError(f'{flag}: {path}: expected a path without commas.')
  get_config = load_config_file(pathlib.Path(config.run_config)).get_config
  drafts = []
  for entry in config.runs:
    text, changes, name = (entry, {}, '') if isinstance(entry, str) else entry
    try:
      fields = get_config(f'{text},root={data}')
    except ValueError as error:
      raise UserError(str(error)) from error
    fields.experiment = config.experiment
    fields.update(config.overrides)
    fields.update(changes)
    drafts.append((fields, name))
  places: dict[str, pathlib.Path] = {}
  runs: dict[pathlib.Path, RunConfig] = {}
  recordings: dict[pathlib.Path, Any] = {}
  for fields, name in drafts:
    fields.initial = str(places.get(fields.initial, fields.initial))
    run = from_mapping(fields)
    place = folder / 'runs' / _run_name(run)
    if place in runs or name in places:
      raise UserError(f'{config.experiment}: two of its runs are {place.name}.')
    runs[place] = run
    if name:
      places[name] = place
    for dataset, recording in _recordings_of(run, config.record.to_dict(), data):
      if recordings.setdefault(dataset, recording) != recording:
        raise UserError(f'{dataset}: two runs want different recordings there.')
  return Sweep(config.experiment, folder, runs, recordings)


def load_config_file(path: pathlib.Path):
  """A config file as a module; it has a `get_config`."""
  if not path.is_file():
    raise UserError(f'{path}: no such config file. Run from the project folder.')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _run_name(run: RunConfig) -> str:
  """One name for a run, however much of its experiment is asked for at once."""
  slug = re.sub('[^a-z0-9]+', '-', f'{run.target} {run.title}'.lower()).strip('-')
  return f'{slug}-labels{run.data.labels}-seed{run.seed}'


def _recordings_of(run: RunConfig, fields: Mapping[str, Any], data: pathlib.Path):
  """(dataset folder, recording) of a run's datasets that belong in `data`.

  Every seed has mazes of its own; a game is recorded once for all of them. What lies
  elsewhere, RL Unplugged for one, is not ours to record, nor is what has no name.
  """
  if not run.data.environments:
    return
  folders = (run.data.target, *run.data.sources)
  for folder, environment in zip(folders, run.data.environments, strict=True):
    if not pathlib.Path(folder).is_relative_to(data):
      continue
    if environment.startswith('atari/'):
      from alpt_jax.experiment.recording_atari import AtariRecording  # the emulator's

      recording = AtariRecording(environment, **fields)
    else:
      recording = Recording(environment, run.data.observation, seed=run.seed, **fields)
    yield pathlib.Path(folder), recording


def describe(
  config: ml_collections.ConfigDict, sweep: Sweep, data: pathlib.Path
) -> dict[str, Any]:
  """What a report must know of an experiment beside its runs, in plain JSON types.

  Args:
    config: of the experiment.
    sweep: all of it; a run that left no trace is missed by its report.
    data: where its datasets are.
  """
  return {
    'name': config.experiment,
    'title': config.get('title', ''),
    'size': config.get('size', ''),
    'claims': json.loads(json.dumps(list(config.get('claims', ())))),
    'data': os.path.relpath(data, sweep.folder),
    'planned': [
      {
        'folder': folder.name,
        'target': run.target,
        'method': run.title,
        'labels': lineage.budget(run),
        'seed': run.seed,
        'phase': run.phase,
      }
      for folder, run in sweep.runs.items()
    ],
  }


def missing_recordings(sweep: Sweep) -> dict[pathlib.Path, Any]:
  """The datasets that are not there yet.

  Raises:
    UserError: one is there that was recorded in another way.
  """
  missing = {}
  for folder, recording in sweep.recordings.items():
    wanted = json.loads(json.dumps(dataclasses.asdict(recording)))
    path = folder / RECORDING
    if not folder.exists():
      missing[folder] = recording
    elif path.is_file() and (found := read_record(path)) != wanted:
      names = [name for name in wanted if found.get(name) != wanted[name]]
      differing = ', '.join(f'{n} {found.get(n)}, not {wanted[n]}' for n in names)
      raise UserError(
        f'{folder}: was recorded with {differing}. Choose another --data, or remove it.'
      )
  return missing


def part_of(sweep: Sweep, index: int, count: int) -> Sweep:
  """What one of `count` machines does: whole families of runs, of about equal length.

  Runs that start from one another stay together, so that no machine waits for
  another. Each machine records what its own runs need.

  Raises:
    UserError: there are fewer families than machines.
  """
  families = _families(sweep.runs)
  if count > len(families):
    raise UserError(
      f'--shard: {sweep.name} has {len(families)} groups of runs that can be trained '
      f'apart (runs of one pretraining stay together), found {count} machines. Use '
      'fewer, or more --seeds.'
    )
  steps = {folder: run.training.num_steps for folder, run in sweep.runs.items()}
  lengths = [sum(steps[folder] for folder in family) for family in families]
  share = {f for family in deal(families, lengths, count)[index] for f in family}
  mine = {f: run for f, run in sweep.runs.items() if f in share}
  needed = {d for run in mine.values() for d in (run.data.target, *run.data.sources)}
  recordings = {f: r for f, r in sweep.recordings.items() if str(f) in needed}
  return dataclasses.replace(sweep, runs=mine, recordings=recordings)


def deal(items: Sequence[Any], lengths: Sequence[int], count: int) -> list[list[Any]]:
  """Items in `count` shares of about equal length: the longest first, to the freest."""
  shares: list[list[Any]] = [[] for _ in range(count)]
  sums = [0] * count
  for index in sorted(range(len(items)), key=lambda index: -lengths[index]):
    freest = sums.index(min(sums))
    shares[freest].append(items[index])
    sums[freest] += lengths[index]
  return shares


def _families(runs: Mapping[pathlib.Path, RunConfig]) -> list[list[pathlib.Path]]:
  """The runs, each with those that start from it and the one that it starts from."""
  family_of: dict[pathlib.Path, list[pathlib.Path]] = {}
  for folder, run in runs.items():  # a base stands before what starts from it
    family = family_of.get(pathlib.Path(run.initial or '.'), [])
    family.append(folder)
    family_of[folder] = family
  return list({id(family): family for family in family_of.values()}.values())


def estimate(
  sweep: Sweep,
  costs: Sequence[float],
  workers: int,
  step_costs: Mapping[str, float],
) -> float:
  """Seconds that the runs will take that are not done yet; recording not counted.

  Args:
    sweep: the experiment.
    costs: CPU-seconds of a joint step, an evaluation and a run's remainder, on one
      core. A step without an IDM is taken for half of one with it.
    workers: runs at a time.
    step_costs: method -> CPU-seconds of a step, of those that are told apart.
  """
  step, evaluation, rest = costs
  total = 0.0
  for folder, run in sweep.runs.items():
    if is_done(folder):
      continue
    training = run.training
    share = 1.0 if methods.get(run.method).has_idm else 0.5
    every = training.evaluate_every or training.num_steps
    total += rest + training.num_steps * step_costs.get(run.method, step * share)
    total += math.ceil(training.num_steps / every) * evaluation
  return total / min(workers, len(sweep.runs))
