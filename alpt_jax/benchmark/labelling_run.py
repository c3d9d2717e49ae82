"""Section `label_run`: `bin/label` from a packed set to tables and RLDS files.

The model knows nothing, which costs as much as knowing the game. What it labels is
recorded for it by the script of `envs/`, packed, and knows the actions of 80 of every
1,000 transitions, which are labelled twice: the audit comes first.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from alpt_jax.benchmark import memory_trace
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.data.labels import save_labels
from alpt_jax.data.packed import write_packed
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import identity, label_run, models, recording_atari
from alpt_jax.experiment.label_run import LabelChoice
from alpt_jax.experiment.models import Origin
from alpt_jax.experiment.recording_atari import AtariRecording
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints

# Of launch/label_demo.sh: what it labels, and about how long its episodes are.
_DEMO, _EPISODE = 10_000, 500
# Agent steps of an hour, 15 a second.
_HOUR = 54_000
_KNOWN_OF_1000 = 80


def measure_label_runs(
  subject: Subject, demo: int = _DEMO, hour: int = _HOUR
) -> dict[str, float]:
  """What it takes to label the demo's set, and an hour in one episode and in many.

  Each in a process of its own, which has labelled a short set before, so that programs
  are compiled and libraries loaded. Rows as `memory_trace.Trace.record` has them, and

    transitions_per_s, .._per_cpu_s    of all that `bin/label` does but the label card
    waited                             share of the time since the first batch was there
                                       in which the model had no input

  Args:
    subject: whose IDM, of whose target a recording is made.
    demo: transitions of the demo's set.
    hour: of the others.

  Raises:
    UserError: its target is no game of the emulator.
  """
  spec = subject.data.target.spec
  if spec.observation.kind != 'image':
    raise UserError(
      'section label_run: expected a --size whose model sees screens, such as small, '
      f'found observations of kind {spec.observation.kind}.'
    )
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    recording = AtariRecording(spec.name, demo, max_episode_steps=_EPISODE)
    played = recording_atari.record_atari(
      recording, folder / 'played', say=lambda line: None
    )
    sets = {
      'short': [_EPISODE] * 2,
      'demo': played.lengths.tolist(),
      'hour_in_one': [hour],
      'hour_in_many': [1_000] * (hour // 1_000),
    }
    choices = {}
    _write_run(subject, folder / 'run')
    for name, lengths in sets.items():
      write_packed(folder / name / 'packed', spec, _episodes(played, lengths))
      choices[name] = LabelChoice(
        folder / 'run', folder / name, folder / f'{name}_labels', card=False
      )
    found = {}
    short = choices.pop('short')
    for name, choice in choices.items():
      again = dataclasses.replace(short, out=folder / f'short_{name}')
      _, trace = memory_trace.traced(_label, [again], [choice])
      rates = {
        'transitions_per_s': sum(sets[name]) / trace.seconds,
        'transitions_per_cpu_s': sum(sets[name]) / trace.cpu_seconds,
        'waited': trace.result,
      }
      rows = {**rates, **trace.record()}
      found |= {f'{name}_{key}': value for key, value in rows.items()}
  return found


def _label(choice: LabelChoice) -> float:
  """What `bin/label` does; the share of the time in which there was no input."""
  return label_run.label_dataset(choice, lambda line: None).rates()[1]


def _write_run(subject: Subject, workdir: pathlib.Path) -> None:
  """A run's folder before its first step."""
  config, data, steps = subject.config, subject.data, subject.steps
  spec, names = data.target.spec, data.vocabulary
  window = models.example_window(
    spec.observation, len(names), config.model.num_transitions
  )
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  state = models.trainer(steps).init_state(steps, window, config.seed, mesh)
  workdir.mkdir()
  identity.write_identity(workdir, config, data)
  save_labels(workdir / 'labels.json', data.labels)
  checkpoints = Checkpoints(models.checkpoint_folder(workdir))
  origin = Origin(config, spec, names, spec.return_range)
  checkpoints.save(0, state, origin.to_dict())
  checkpoints.close()


def _episodes(played: Pool, lengths: Sequence[int]) -> Iterator:
  """What was played as episodes of other lengths, over and over where it ends."""
  begin = 0
  for length in lengths:
    moments = np.arange(begin, begin + length + 1) % played.num_transitions
    # An episode's last screen is left out, so that these are of one transition each.
    rows, own = moments + np.asarray(played.episode_of)[moments], moments[:-1]
    begin += length
    is_labelled = np.arange(length) % 1_000 < _KNOWN_OF_1000
    yield played.episode(0)._replace(
      observations=played.observations[rows],
      actions=np.where(is_labelled, played.actions[own], 0),
      rewards=played.rewards[own],
      discounts=np.ones(length, np.float32),
      is_labelled=is_labelled,
    )
