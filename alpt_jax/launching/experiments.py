"""The paper's experiments by name, from nothing to a report.

Each is a file `configs/paper/NAME.py`, in one part or two.
"""

import dataclasses
import pathlib
import signal
from collections.abc import Mapping

import ml_collections

from alpt_jax.errors import PeerLost, Preempted, RunFailed, UserError, did_you_mean
from alpt_jax.experiment import cli
from alpt_jax.experiment.records import write_record
from alpt_jax.experiment.run import is_done
from alpt_jax.launching import sweep, workers
from alpt_jax.launching.sweep import load_config_file
from alpt_jax.report import page, report, summary
from alpt_jax.report.experiment import EXPERIMENT

_FOLDER = pathlib.Path('configs/paper')
_SHARED = 'experiment'  # what they have in common; itself none
ALL = 'all'
# Exit codes of workers: from here on a signal ended one; these mean asked to stop.
_KILLED = 128
_STOPPED = {cli.PREEMPTED, _KILLED + signal.SIGTERM, _KILLED + signal.SIGINT}


@dataclasses.dataclass(frozen=True)
class Part:
  """One part of one experiment.

  Attributes:
    name: for example 'figure5/maze'.
    config: as `sweep.plan` takes it.
    folder: where it is written.
    data: where its datasets are recorded; shared by experiments of one size.
    compiled: where compiled programs are kept; shared by all experiments.
    planned: its runs, every one checked.
  """

  name: str
  config: ml_collections.ConfigDict
  folder: pathlib.Path
  data: pathlib.Path
  compiled: pathlib.Path
  planned: sweep.Sweep


def from_file(config: ml_collections.ConfigDict, folder: pathlib.Path, data='') -> Part:
  """An experiment of a file of its own, whose parts have no names."""
  return _planned('', config, folder, data or folder / 'data', folder)


def _planned(name: str, config, folder, data, root) -> Part:
  data = pathlib.Path(data)
  planned = sweep.plan(config, folder, data)
  return Part(name, config, folder, data, root / 'compiled', planned)


def find(
  name: str, root: pathlib.Path, arguments: Mapping[str, str], data: str = ''
) -> list[Part]:
  """The parts of an experiment, in order.

  Args:
    name: 'figure5', 'figure2/maze' or 'all'.
    root: folder of all experiments.
    arguments: of configs/paper/experiment.py but for `part`; '' for defaults.
    data: folder of the datasets; '' for one in `root`.

  Raises:
    UserError: no such experiment or part, or an argument that it does not take.
  """
  known = sorted(p.stem for p in _FOLDER.glob('*.py') if p.stem != _SHARED)
  if not known:
    raise UserError(f'{_FOLDER}: no experiments there. Run from the project folder.')
  stem, slash, wanted = name.partition('/')
  if stem not in (*known, ALL):
    raise UserError(f"experiment '{stem}' is not known{did_you_mean(stem, known)}.")
  parts = []
  for one in known if stem == ALL else (stem,):
    has = load_config_file(_FOLDER / f'{one}.py').PARTS
    if slash and wanted not in has:
      raise UserError(
        f"{one}: part '{wanted}' is not known{did_you_mean(wanted, has)}."
      )
    for part in (wanted,) if slash else has:
      parts.append(_part(one, part, root, arguments, data))
  return parts


def _part(stem: str, part: str, root, arguments, data: str) -> Part:
  text = ','.join(f'{key}={value}' for key, value in arguments.items() if value)
  try:
    config = load_config_file(_FOLDER / f'{stem}.py').get_config(f'part={part},{text}')
  except ValueError as error:
    raise UserError(f'{stem}/{part}: {error}') from error
  size, seed = config.size, config.record.get('seed', 0)
  words = ['data', *([] if size == 'twin' else [size])]
  words += [f'seed{seed}'] if seed else []
  place = data or root / '-'.join(words)
  return _planned(f'{stem}/{part}', config, root / config.experiment, place, root)


def forecast(part: Part, planned: sweep.Sweep, num_workers: int) -> str:
  """What one machine has to do of a part, in one line.

  Costs were measured at the twins' size.
  """
  done = sum(is_done(folder) for folder in planned.runs)
  missing = len(sweep.missing_recordings(planned))
  text = f'{planned.name}: {len(planned.runs)} runs, {done} of them done, in '
  text += f'{planned.folder}; {missing} datasets to record'
  if not part.config.get('costs'):
    return f'{text}; how long it takes was not measured'
  seconds = sweep.estimate(
    planned, part.config.costs, num_workers, part.config.step_costs
  )
  return f'{text}; about {seconds / 60:.0f} min with {num_workers} at a time'


def reproduce(
  part: Part, planned: sweep.Sweep, again: list[str], num_workers: int
) -> bool:
  """Does a part, in processes of their own, and writes its report.

  Args:
    part: which.
    planned: one machine's share of its runs, or all.
    again: the command that those processes run, without what tells them their task.
    num_workers: processes at a time.

  Returns:
    False where a run failed; the report shows which.

  Raises:
    Preempted: a signal came; every run that was going on is saved.
    PeerLost: a worker crashed; the report is written.
    RunFailed, UserError: a dataset could not be recorded.
  """
  print(forecast(part, planned, num_workers), flush=True)
  planned.folder.mkdir(parents=True, exist_ok=True)
  described = sweep.describe(part.config, part.planned, part.data)
  write_record(planned.folder / EXPERIMENT, described)
  if missing := sweep.missing_recordings(planned):
    # Processes of their own: what TensorFlow takes is given back when they end.
    for code in _run([*again, '--task=record'], min(num_workers, len(missing))):
      if code:
        message = f'{planned.name}: a dataset could not be recorded, see above.'
        raise {cli.USER_ERROR: UserError}.get(code, RunFailed)(message)
  codes = []
  for stage, stage_runs in enumerate(planned.stages):
    count = min(num_workers, len(stage_runs))
    codes += _run([*again, '--task=train', f'--stage={stage}'], count)
  results = report.load(planned.folder)
  path = page.build(results)
  print(f'{summary.text(results)}\n')
  print(f'results: {planned.folder / "results.csv"}\nreport:  {path}')
  if crashed := [code for code in codes if code >= _KILLED]:
    raise PeerLost(
      f'{planned.name}: a worker crashed (exit code {crashed[0]}; out of memory, '
      'perhaps). Run the same again, with fewer --workers if it crashes again.'
    )
  return not any(codes)


def _run(command: list[str], count: int) -> list[int]:
  """Exit codes of `count` workers.

  Raises:
    Preempted: one was asked to stop, be it before it had anything to save.
  """
  codes = workers.run_workers(
    [[*command, f'--worker={index}/{count}'] for index in range(count)]
  )
  if not _STOPPED.isdisjoint(codes):
    raise Preempted('every run that was going on is saved. Run the same again.')
  return codes
