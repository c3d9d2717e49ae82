"""Measures what things cost on this machine, beside its limits; a table and JSON.

  python -m alpt_jax.bin.benchmark --sections=step,act,label --size=small
  python -m alpt_jax.bin.benchmark --sections=pool,stream --data=DIR,DIR,... \
      --json=benchmark.json

step    a training step of the IDM, of the DT, and of both, as in docs/benchmarks.md
act     a decision for 16 environments at once, beside two whole passes
label   the IDM's labels for windows that are there
memory  what the step of both needs with and without rematerialisation; not run
pool    batches out of the pools of dataset folders, all games mixed equally
stream  the same out of the RL Unplugged files that bin/record --shards wrote there,
        or of RL Unplugged itself, all games below a folder

The first four need no data: the models are those of configs/, their screens noise. Run
from the project folder. Figures are of an idle machine; on a busy one ratios, whose
parts take turns, and figures per CPU-second still hold.
"""

import json
import pathlib

from absl import flags

from alpt_jax.benchmark import (
  acting,
  ceilings,
  inputs,
  labelling,
  machine,
  subjects,
  training_steps,
)
from alpt_jax.errors import UserError
from alpt_jax.experiment import cli
from alpt_jax.experiment.identity import circumstances

_MEASURES = {
  'step': training_steps.measure_steps,
  'act': acting.measure_acting,
  'label': labelling.measure_labels,
}
_INPUTS = ('pool', 'stream')
SECTIONS = (*_MEASURES, 'memory', *_INPUTS)

_SECTIONS = flags.DEFINE_list('sections', list(_MEASURES), 'Which of them.')
_JSON = flags.DEFINE_string('json', None, 'File for the figures.')
_CORES = flags.DEFINE_integer('cores', 0, 'CPU cores to use; 0: all.', lower_bound=0)
_BATCH = flags.DEFINE_integer('batch_size', 256, 'Windows per batch.', lower_bound=1)
# Of step, act, label and memory.
_SIZE = flags.DEFINE_string('size', 'small', f'Of {", ".join(subjects.SIZES)}.')
_DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'bfloat16'], 'Of the computation.'
)
_REMAT = flags.DEFINE_bool('remat', False, 'Compute activations again, keep fewer.')
_SCAN = flags.DEFINE_bool('scan_layers', False, 'All layers but the last as one.')
_REPEATS = flags.DEFINE_integer('repeats', 9, 'Turns of each program.', lower_bound=1)
_SETTINGS = (_SIZE, _BATCH, _DTYPE, _REMAT, _SCAN, _REPEATS)
# Of pool and stream.
_DATA = flags.DEFINE_list('data', [], 'Dataset folders.')
_LENGTH = flags.DEFINE_integer('window_length', 5, 'T; T + 1 frames.', lower_bound=1)
_BATCHES = flags.DEFINE_integer('batches', 2_000, 'How many to read.', lower_bound=3)
_FIRST = flags.DEFINE_integer('first_step', 0, 'Where to begin, as if resumed.')


def main(argv):
  del argv
  _check_flags()
  machine.use_cores(_CORES.value)
  figures, described = {}, machine.describe()
  for section in _SECTIONS.value:
    if section in _INPUTS:
      lengths = _LENGTH.value, _BATCH.value, _BATCHES.value, _FIRST.value
      figures[section] = inputs.measure_section(section, _DATA.value, *lengths)
      _print_rows(section, figures[section])
    else:
      figures[section] = _measure(section)
  if _JSON.value:
    used = {flag.name: flag.value for flag in _SETTINGS}
    found = {**circumstances(), 'machine': described, 'flags': used, **machine.peaks()}
    text = json.dumps({**found, 'figures': figures}, indent=2)
    pathlib.Path(_JSON.value).write_text(f'{text}\n')


def _check_flags() -> None:
  if unknown := sorted(set(_SECTIONS.value) - set(SECTIONS)):
    raise UserError(
      f'--sections: expected some of {", ".join(SECTIONS)}, found {unknown[0]}.'
    )
  if not _DATA.value and (reading := set(_SECTIONS.value) & set(_INPUTS)):
    raise UserError(
      f'--data: expected dataset folders for section {min(reading)}, found none.'
    )


def _measure(section: str) -> dict:
  """Measures one of the sections that need no data, and prints it."""
  config = subjects.config_of(
    _SIZE.value, _BATCH.value, _DTYPE.value, _REMAT.value, _SCAN.value
  )
  subject = subjects.prepare(config)
  print(f'{section}, {_SIZE.value}, {_BATCH.value} windows, {_DTYPE.value}', flush=True)
  if section == 'memory':
    found = training_steps.step_memory(subject)
    _print_rows(section, found)
    return found
  limits = ceilings.programs(_DTYPE.value)
  found = _MEASURES[section](subject, limits, _REPEATS.value)
  print(found.table(), flush=True)
  return found.record()


def _print_rows(section: str, rows: dict[str, float]) -> None:
  for name, value in rows.items():
    print(f'{section:8}{name:22}{value:16,.2f}', flush=True)


if __name__ == '__main__':
  cli.run(main)
