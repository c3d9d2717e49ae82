"""Measures what things cost on this machine, and prints a table and JSON.

  python -m alpt_jax.bin.benchmark --sections=pool,stream --data=DIR,DIR,... \
      --json=benchmark.json

pool    batches out of the pools of dataset folders, all games mixed equally
stream  the same out of the RL Unplugged files that bin/record --shards wrote there,
        or of RL Unplugged itself, all games below a folder

Figures are of an idle machine; on a busy one those per CPU-second still hold.
"""

import dataclasses
import json
import pathlib
import tempfile

from absl import flags

from alpt_jax.benchmark import inputs
from alpt_jax.errors import UserError
from alpt_jax.experiment import cli
from alpt_jax.experiment.identity import circumstances

SECTIONS = ('pool', 'stream')

_SECTIONS = flags.DEFINE_list('sections', list(SECTIONS), 'Which of them.')
_DATA = flags.DEFINE_list('data', None, 'Dataset folders.')
_BATCH = flags.DEFINE_integer('batch_size', 256, 'Windows per batch.', lower_bound=1)
_LENGTH = flags.DEFINE_integer('window_length', 5, 'T; T + 1 frames.', lower_bound=1)
_BATCHES = flags.DEFINE_integer('batches', 2_000, 'How many to read.', lower_bound=3)
_FIRST = flags.DEFINE_integer('first_step', 0, 'Where to begin, as if resumed.')
_JSON = flags.DEFINE_string('json', None, 'File for the figures.')


def main(argv):
  del argv
  if unknown := set(_SECTIONS.value) - set(SECTIONS):
    raise UserError(
      f'--sections: expected some of {", ".join(SECTIONS)}, found {min(unknown)}.'
    )
  figures = {}
  with tempfile.TemporaryDirectory() as cache:
    for section in _SECTIONS.value:
      if section == 'pool':
        sets = inputs.open_pools(_DATA.value)
      else:
        sets = inputs.open_shards(_DATA.value, pathlib.Path(cache))
      found = inputs.measure(
        sets, _LENGTH.value, _BATCH.value, _BATCHES.value, _FIRST.value
      )
      figures[section] = dataclasses.asdict(found)
      for name, value in figures[section].items():
        print(f'{section:8}{name:22}{value:12,.2f}', flush=True)
  if _JSON.value:
    text = json.dumps({**circumstances(), 'figures': figures}, indent=2)
    pathlib.Path(_JSON.value).write_text(f'{text}\n')


if __name__ == '__main__':
  flags.mark_flags_as_required(['data'])
  cli.run(main)
