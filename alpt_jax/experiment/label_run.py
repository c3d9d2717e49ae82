"""Labels a dataset with a run's model, part by part: `bin/label`.

OUT, the folder that is written:

  labelling.json     who labels what, and how; begun with another, it is refused
  audit.parquet      what the model says where its guesses can be judged
  labels/            a table for each part (`data/label_table.py` says of what)
  *.tfrecord-*       the episodes of each part as RLDS, with their labels
  dataset_info.json, features.json, environment.json: when all parts are there
  label_card.*, strips/    what the labels are worth (`label_card.py`), at the end

Each file is whole or not there, and depends on nothing but what was labelled and by
which model. So several processes may do some parts each, and one that was killed goes
on with the parts that are missing. Whoever finds that all are there finishes the set.

fields of labelling.json:

  run, step, data          as they were called
  identity                 what must be the same to go on
  environment              of the dataset
  temperature              value, is_fitted
  audit                    of: 'audit', 'heldout', 'new' or '' (`known_actions.py`);
                           basis of its units: 'recording', 'episode' or
                           'stretch';
                           may_be_trained_on; guesses: as `Pool.guesses`
  counts                   transitions, recorded, trained_on, audit
  parts                    [first episode, number of episodes] of each
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alpt_jax.data.recorded_labels import longest_stretch
from alpt_jax.errors import Preempted, RunFailed, UserError
from alpt_jax.experiment import datasets, identity, trained_models
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.known_actions import KnownActions, known_actions
from alpt_jax.experiment.label_files import LabelFiles
from alpt_jax.experiment.label_progress import ReportedProgress, Stopped
from alpt_jax.experiment.recordings import Recordings, read_recordings
from alpt_jax.labelling import calibration, intervals
from alpt_jax.labelling import labeller as labelling
from alpt_jax.labelling import parts as cutting
from alpt_jax.labelling.labeller import Labeller, LabellingConfig, label_pool
from alpt_jax.labelling.parts import Part
from alpt_jax.labelling.stretches import label_stretches
from alpt_jax.training.stopping import StopRequest

Say = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class LabelChoice:
  """What is labelled by whom, and how.

  Attributes:
    run: folder of the run whose inverse dynamics model labels.
    data: folder of the dataset.
    out: folder that is written.
    step: which checkpoint; None: the last.
    shard: (i, n): the i-th of n shares of the parts.
    min_confidence: less sure guesses are left unlabelled.
    config: how transitions are labelled.
    rlds: whether RLDS files are written, too.
    forget: whether all actions are forgotten that the run's label file does not name.
    card: whether the label card is written at the end.
    curve: a folder of runs that tell what more labels would bring; None: not asked.
    seed: deals the units of the audit into halves.
  """

  run: pathlib.Path
  data: pathlib.Path
  out: pathlib.Path
  step: int | None = None
  shard: tuple[int, int] = (0, 1)
  min_confidence: float = 0.0
  config: LabellingConfig = LabellingConfig()
  rlds: bool = True
  forget: bool = False
  card: bool = True
  curve: pathlib.Path | None = None
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class _Work:
  """What is labelled and by whom, opened and found to fit."""

  choice: LabelChoice
  labeller: Labeller
  config: RunConfig
  step: int
  digest: str
  known: KnownActions
  recordings: Recordings

  @property
  def identity(self) -> dict[str, Any]:
    """What must be the same for files to belong together."""
    choice = self.choice
    return {
      'step': self.step,
      'checkpoint': self.digest,
      'dataset': self.known.pool.manifest_hash,
      'labels': self.known.label_hash,
      'forget': choice.forget,
      'min_confidence': choice.min_confidence,
      'label_by': choice.config.label_by,
      # Sums over other batches are rounded in another way.
      'batch_size': labelling.batch_size_of(self.labeller, choice.config),
      'seed': choice.seed,
    }


def label_dataset(choice: LabelChoice, say: Say = print) -> ReportedProgress:
  """Labels the parts of one share that are missing; finishes the set where none is.

  Args:
    choice: what.
    say: receives lines about progress, and the counts at the end.

  Returns:
    what labelling the missing parts took.

  Raises:
    UserError: the run has no model that labels, the dataset does not fit it or has
      nothing to label, or `out` holds something else.
    RunFailed: the disk is full, or fails.
    Preempted: SIGTERM or SIGINT; the same command goes on.
  """
  work = _open(choice)
  pool = work.known.pool
  parts = cutting.cut(pool.lengths)
  mine = cutting.share(parts, pool.lengths, *choice.shard)
  files = LabelFiles(choice.out, work.identity, work.known, parts, choice.rlds)
  with StopRequest().listening() as stop, _named(files):
    record = files.begun() or _begin(work, files, ReportedProgress(say, stop))
    progress = ReportedProgress(say, stop)
    missing = [part for part in files.missing() if part in mine]
    _label_parts(work, files, missing, record['temperature']['value'], progress)
    say(f'{len(missing)} of {len(mine)} parts labelled: {progress.summary()}')
    if others := len(files.missing()):
      say(
        f'{choice.out}: {others} of {len(parts)} parts are missing. Label the other '
        'shards, too; the last one to end completes the set.'
      )
      return progress
    files.finish()
    verdict = _write_card(work) if choice.card else []
  for line in (*files.summary(), *verdict):
    say(line)
  return progress


def _write_card(work: _Work) -> list[str]:
  """Writes the label card; what it says in short, and where it is."""
  from alpt_jax.experiment import label_card  # which draws pictures

  out, choice = work.choice.out, work.choice
  card = label_card.write_label_card(out, work.known.pool, choice.data, choice.curve)
  return [*card['verdict'], f'all of it: {out / label_card.PAGE}']


def _open(choice: LabelChoice) -> _Work:
  """Opens all that is read."""
  if datasets.holds_shards(f'{choice.data}'):
    raise UserError(
      f'{choice.data}: files of RL Unplugged cannot be read in parts. Pack them first: '
      f'bin/convert --data={choice.data} --out=DIR.'
    )
  trained = trained_models.load(choice.run, choice.step)
  labeller = trained_models.labeller_of(trained, choice.run)
  pool = datasets.open_dataset(choice.data)
  labelling.check(labeller, pool.spec, choice.config)
  config = trained.origin.config
  recordings = read_recordings(choice.data, pool)
  known = known_actions(pool, recordings, choice.run, config, choice.forget)
  return _Work(
    choice, labeller, config, trained.step, trained.digest, known, recordings
  )


@contextlib.contextmanager
def _named(files: LabelFiles):
  """Says, of a disk that fails and a request to stop, how the labelling goes on."""
  try:
    yield
  except (OSError, Stopped) as error:
    there = len(files.parts) - len(files.missing())
    state = f'{files.folder}: {there} of {len(files.parts)} parts are there'
    if isinstance(error, Stopped):
      raise Preempted(f'{state}. The same command goes on.') from error
    raise RunFailed(
      f'{state}, then the disk failed ({error}). Look after it, free some space; the '
      'same command goes on.'
    ) from error


def _begin(
  work: _Work, files: LabelFiles, progress: ReportedProgress
) -> dict[str, Any]:
  """Labels the audit, as every confidence needs its temperature; what is then known."""
  choice, known = work.choice, work.known
  pool, audit = known.pool, np.reshape(known.audit, (-1, 3)).astype(np.int64)
  episodes, steps = _places(audit)
  actions = np.asarray(pool.actions[pool.starts[episodes] + steps])
  progress.expect('audit', len(steps))
  probabilities = label_stretches(
    work.labeller, pool, known.audit, choice.config, progress
  )
  recordings = work.recordings
  recording = recordings.of_episode[episodes]
  units = intervals.units_of(
    recording,
    episodes,
    steps,
    len(recordings.names),
    pool.num_episodes,
    # As long as those that were drawn, else neighbours would count as independent.
    longest_stretch(work.config.data.segment_length, work.config.model.num_transitions),
  )
  temperatures = calibration.crosswise(probabilities, actions, units.units, choice.seed)
  columns = {
    'episode': episodes,
    'step': steps,
    'true_action': actions,
    'recording': recording,
    'unit': units.units,
  }
  record = files.claim(
    {
      'run': f'{choice.run}',
      'step': work.step,
      'data': f'{choice.data}',
      'environment': pool.spec.to_dict(),
      'temperature': {
        'value': temperatures.value,
        'is_fitted': temperatures.is_fitted,
      },
      'audit': {
        'of': known.audit_of,
        'basis': units.basis,
        'may_be_trained_on': known.may_be_trained_on,
        'guesses': known.pool.guesses,
      },
      'counts': {
        'transitions': pool.num_transitions,
        'recorded': int(pool.is_labelled.sum()),
        'trained_on': int(known.trained_on.sum()),
        'audit': len(steps),
      },
      'parts': [[part.first, part.count] for part in files.parts],
      **identity.circumstances(),
    }
  )
  files.write_audit(probabilities, temperatures.crosswise, columns)
  return record


def _places(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """`([n] episodes, [n] steps)` of the transitions of `[S, 3]` segments."""
  episodes, firsts, lengths = segments.T
  steps = [
    np.arange(first, first + n) for first, n in zip(firsts, lengths, strict=True)
  ]
  return np.repeat(episodes, lengths), np.concatenate([np.zeros(0, np.int64), *steps])


def _label_parts(
  work: _Work,
  files: LabelFiles,
  parts: Sequence[Part],
  temperature: float,
  progress: ReportedProgress,
) -> None:
  """Labels parts; each is written while the next is labelled."""
  pool = work.known.pool
  sizes = [
    int(pool.lengths[part.first : part.first + part.count].sum()) for part in parts
  ]
  with concurrent.futures.ThreadPoolExecutor(1, 'writing') as writer:
    written = None
    for part in parts:
      title = f'part {part.index + 1} of {len(files.parts)}'
      progress.expect(title, sum(sizes))
      found = label_pool(
        work.labeller, pool, work.choice.config, part.episodes, progress
      )
      if written:
        written.result()
      written = writer.submit(files.write_part, part, found, temperature)
    if written:
      written.result()
