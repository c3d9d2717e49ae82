"""Measures what things cost on this machine, beside its limits; a table and JSON.

  python -m alpt_jax.bin.benchmark --sections=step,act,label --size=small
  python -m alpt_jax.bin.benchmark --sections=pool,packed,stream --data=DIR,DIR,... \
      --json=benchmark.json

step    a training step of the IDM, of the DT, and of both, as in docs/benchmarks.md
act     a decision for 16 environments at once, beside two whole passes
label   the IDM's labels for windows that are there, and for a recording that is read
attention  of one layer, by each exact kernel that the device has
memory  what the step of both needs with and without rematerialisation; not run
evaluate  16 episodes in the emulator, at once and in groups that take turns
label_run  bin/label on a packed set, its parts and the whole; memory over an hour
convert    bin/convert on videos, its parts and the whole; memory over an hour
pool    batches out of dataset folders, all games mixed equally; packed: compressed
stream  the same out of RL Unplugged's files, or those that bin/record --shards wrote

All but pool, packed and stream need no data: the models are those of configs/, screens
are noise or played in the emulator. Run from the project folder, on an idle machine
(docs/benchmarks.md).
"""

from absl import flags

from alpt_jax.benchmark import (
  acting,
  attention,
  ceilings,
  converting,
  evaluating,
  figures_file,
  inputs,
  labelling,
  labelling_run,
  machine,
  subjects,
  training_steps,
)
from alpt_jax.errors import UserError
from alpt_jax.experiment import cli

_MEASURES = {
  'step': training_steps.measure_steps,
  'act': acting.measure_acting,
  'attention': attention.measure_attention,
  'label': lambda *given: labelling.measure_labels(*given, _DATA.value),
  'label_run': labelling_run.measure_label_runs,
}
_INPUTS = tuple(inputs.OPENERS)
SECTIONS = (*_MEASURES, 'memory', 'evaluate', 'convert', *_INPUTS)

_SECTIONS = flags.DEFINE_list('sections', ['step', 'act', 'label'], 'Which of them.')
_JSON = flags.DEFINE_string('json', None, 'File for the figures.')
_CORES = flags.DEFINE_integer('cores', 0, 'CPU cores to use; 0: all.', lower_bound=0)
_BATCH = flags.DEFINE_integer('batch_size', 256, 'Windows per batch.', lower_bound=1)
# Of all but convert and what --data is for.
_SIZE = flags.DEFINE_string('size', 'small', f'Of {", ".join(subjects.SIZES)}.')
_DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Of it all.')
_REMAT = flags.DEFINE_bool('remat', False, 'Compute activations again, keep fewer.')
_SCAN = flags.DEFINE_bool('scan_layers', False, 'All layers but the last as one.')
_REPEATS = flags.DEFINE_integer('repeats', 9, 'Turns of each program.', lower_bound=1)
_SETTINGS = (_SIZE, _BATCH, _DTYPE, _REMAT, _SCAN, _REPEATS)
# Of evaluate.
_GAME = flags.DEFINE_string('game', evaluating.DEFAULT_GAME, 'Which one is played.')
_STEPS = flags.DEFINE_integer('max_steps', 2_500, 'Of an episode.', lower_bound=1)
_STAND_IN = flags.DEFINE_float('stand_in_ms', 0, 'Of a slept decision; 0: none.', 0)
# Of pool, packed and stream; of label, where given.
_DATA = flags.DEFINE_list('data', [], 'Dataset folders.')
_LENGTH = flags.DEFINE_integer('window_length', 5, 'T; T + 1 frames.', lower_bound=1)
_BATCHES = flags.DEFINE_integer('batches', 2_000, 'How many to read.', lower_bound=3)
_HOSTS = flags.DEFINE_integer('processes', 1, 'That also read at once.', lower_bound=1)
_FIRST = flags.DEFINE_integer('first_step', 0, 'Where to begin, as if resumed.')


def main(argv):
  del argv
  _check_flags()
  machine.use_cores(_CORES.value)
  figures, described = {}, machine.describe()
  for section in _SECTIONS.value:
    figures[section] = figures_file.show(section, _measure(section))
  if _JSON.value:
    used = {flag.name: flag.value for flag in _SETTINGS}
    figures_file.write(_JSON.value, figures, described, used)


def _check_flags() -> None:
  if unknown := sorted(set(_SECTIONS.value) - set(SECTIONS)):
    raise UserError(
      f'--sections: expected some of {", ".join(SECTIONS)}, found {unknown[0]}.'
    )
  if not _DATA.value and (reading := set(_SECTIONS.value) & set(_INPUTS)):
    raise UserError(
      f'--data: expected dataset folders for section {min(reading)}, found none.'
    )


def _measure(section: str):
  """Measures a section: rows by name, or what has a table."""
  if section in _INPUTS:
    lengths = _LENGTH.value, _BATCH.value, _BATCHES.value, _FIRST.value, _HOSTS.value
    return inputs.measure_section(section, _DATA.value, *lengths)
  if section == 'convert':
    return converting.measure_conversion(_REPEATS.value)
  wanted = _SIZE.value, _BATCH.value, _DTYPE.value, _REMAT.value, _SCAN.value
  subject = subjects.prepare(subjects.config_of(*wanted))
  print(f'{section}, {_SIZE.value}, {_BATCH.value} windows, {_DTYPE.value}', flush=True)
  if section == 'memory':
    return training_steps.step_memory(subject)
  if section == 'evaluate':
    played = _GAME.value, _STEPS.value, _STAND_IN.value / 1e3
    return evaluating.measure_evaluation(subject, *played)
  limits = ceilings.programs(_DTYPE.value)
  return _MEASURES[section](subject, limits, _REPEATS.value)


if __name__ == '__main__':
  cli.run(main)
