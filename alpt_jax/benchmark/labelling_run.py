"""Section `label_run`: `bin/label` from a packed set to tables and RLDS files.

The model knows nothing, which costs as much as knowing the game. What it labels is
recorded for it by the script of `envs/`, packed, and knows the actions of 80 of every
1,000 transitions, which are labelled twice: the audit comes first.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from alpt_jax.benchmark import labelling, memory_trace
from alpt_jax.benchmark.measured import Section
from alpt_jax.benchmark.programs import Program
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.data.labels import save_labels
from alpt_jax.data.packed import write_packed
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import identity, label_run, models, recording_atari
from alpt_jax.experiment.label_run import LabelChoice
from alpt_jax.experiment.models import Origin
from alpt_jax.experiment.recording_atari import AtariRecording
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.types import Episode

# Of launch/label_demo.sh: what it labels, and about how long its episodes are.
_DEMO, _EPISODE = 10_000, 500
# Agent steps of an hour, 15 a second.
_HOUR = 54_000
_THOUSAND, _KNOWN = 1_000, 80


def measure_label_runs(
  subject: Subject,
  limits: Mapping[str, Program],
  repeats: int,
  demo: int = _DEMO,
  hour: int = _HOUR,
) -> Section:
  """Section `label` over the demo's packed set, then all of `bin/label`.

  That labels the demo's set, an hour in one episode, and an hour in many; each once, in
  a process of its own, which has labelled a short set before, so that programs are
  compiled and libraries loaded. Rows as `memory_trace.Trace.record` has them, and

    transitions_per_s, .._per_cpu_s    of all that `bin/label` does but the label card
    waited                             share of the time since the first batch was there
                                       in which the model had no input

  Args:
    subject: whose IDM, of whose target a recording is made.
    limits: `ceilings.programs`.
    repeats: turns of what is measured in turns.
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
    folder, facts = pathlib.Path(temporary), {}
    lengths_of = _write_sets(spec, folder, demo, hour)
    section = labelling.measure_labels(subject, limits, repeats, [f'{folder}/demo'])
    _write_run(subject, folder / 'run')
    for name, lengths in lengths_of.items():
      short, whole = (
        LabelChoice(folder / 'run', folder / each, folder / name / out, card=False)
        for each, out in (('short', 'first'), (name, 'labels'))
      )
      _, trace = memory_trace.traced(_label, [short], [whole])
      rows = {
        **trace.record(),
        'transitions_per_s': sum(lengths) / trace.seconds,
        'transitions_per_cpu_s': sum(lengths) / trace.cpu_seconds,
        'waited': trace.result,
      }
      facts |= {f'{name}: {key}': float(f'{rows[key]:.4g}') for key in rows}
  return dataclasses.replace(section, facts=section.facts | facts)


def _write_sets(
  spec: EnvironmentSpec, folder: pathlib.Path, demo: int, hour: int
) -> dict[str, list[int]]:
  """Packs what was played, a short set and those that are labelled.

  Returns:
    the episodes' lengths of the latter.
  """
  recording = AtariRecording(spec.name, demo, max_episode_steps=_EPISODE)
  played = recording_atari.record_atari(
    recording, folder / 'played', say=lambda line: None
  )
  lengths_of = {
    'demo': played.lengths.tolist(),
    'hour_in_one': [hour],
    'hour_in_many': [_THOUSAND] * (hour // _THOUSAND),
  }
  for name, lengths in {'short': [_EPISODE] * 2, **lengths_of}.items():
    write_packed(folder / name / 'packed', spec, _episodes(played, lengths))
  return lengths_of


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


def _episodes(played: Pool, lengths: Sequence[int]) -> Iterator[Episode]:
  """What was played as episodes of other lengths, over and over where it ends."""
  begin = 0
  for length in lengths:
    moments = np.arange(begin, begin + length + 1) % played.num_transitions
    # An episode's last screen is left out, so that these are of one transition each.
    rows, own = moments + np.asarray(played.episode_of)[moments], moments[:-1]
    begin += length
    is_labelled = np.arange(length) % _THOUSAND < _KNOWN
    yield Episode(
      played.observations[rows],
      np.where(is_labelled, played.actions[own], 0),
      played.rewards[own],
      np.ones(length, np.float32),
      is_labelled,
    )
