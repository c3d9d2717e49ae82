"""Runs an experiment from nothing to its report, and goes on where it stopped.

  python -m alpt_jax.bin.reproduce --experiment=figure5 --seeds=5
  python -m alpt_jax.bin.reproduce --experiment=figure2/maze --dry_run
  python -m alpt_jax.bin.reproduce --config=configs/quickstart.py --out=DIR

Records the datasets that are missing, trains every run (several at a time, one a GPU
or core), and writes results.csv and report/index.html into the experiment's folder:
of the paper's experiments (configs/paper) OUT/<name>-<part>, else OUT. `--shard=i/n`
is one machine's share of n. Exit codes as in bin/pretrain; 1 when a run failed, which
the report shows.
"""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment import cli, compiled
from alpt_jax.launching import experiments, sweep, workers

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment file.')
_EXPERIMENT = flags.DEFINE_string(
  'experiment', None, 'Of configs/paper: NAME, NAME/maze, NAME/atari or all.'
)
_ARGUMENTS = {
  'size': flags.DEFINE_enum(
    'size', 'twin', ('twin', 'paper', 'smoke'), 'Of --experiment.'
  ),
  'seeds': flags.DEFINE_string('seeds', '', 'A number of seeds, or a list: 7,11,13.'),
  'targets': flags.DEFINE_string('targets', '', 'Target environments, by commas.'),
  'data_seed': flags.DEFINE_string('data_seed', '', 'Of recorded Atari games.'),
  'rl_unplugged': flags.DEFINE_string('rl_unplugged', '', 'Folder of its shards.'),
}
_OUT = flags.DEFINE_string('out', None, 'Folder; runs/reproduce for --experiment.')
_DATA = flags.DEFINE_string('data', '', 'Folder of recorded datasets.')
_WORKERS = flags.DEFINE_integer('workers', 2, 'Runs at a time.', lower_bound=1)
_SHARD = flags.DEFINE_string('shard', '0/1', 'i/n: the share of one machine of n.')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Say what would be done, and how long.')
flags.DEFINE_alias('dry-run', 'dry_run')
# What a process gives to those that it starts.
_TASK = flags.DEFINE_enum('task', None, ('record', 'train'), 'Of one worker.')
_WORKER = flags.DEFINE_string('worker', '0/1', 'i/n: which worker this is.')
_STAGE = flags.DEFINE_integer('stage', 0, 'Of which stage of the experiment.')


def main(_):
  failed = []
  shard = _pair('shard', _SHARD.value)
  # All are planned before any is begun: a wrong argument is no surprise at night.
  shares = [(part, sweep.part_of(part.planned, *shard)) for part in _parts()]
  for part, planned in shares:
    if _TASK.value == 'record':
      workers.record_shard(planned, *_pair('worker', _WORKER.value))
    elif _TASK.value == 'train':
      compiled.keep(part.compiled)
      if workers.run_shard(planned, *_pair('worker', _WORKER.value), _STAGE.value):
        raise RunFailed(f'worker {_WORKER.value}: a run failed.')
    elif _DRY_RUN.value:
      print(experiments.forecast(part, planned, _WORKERS.value))
    else:
      again = [sys.executable, '-m', 'alpt_jax.bin.reproduce', *sys.argv[1:]]
      again += [f'--experiment={part.name}'] if part.name else []
      if not experiments.reproduce(part, planned, again, _WORKERS.value):
        failed.append(part.name)
  if failed:
    raise RunFailed(
      f'{", ".join(failed) or "some"}: runs failed; the lines above and the report '
      'name them.'
    )


def _parts() -> list[experiments.Part]:
  if bool(_EXPERIMENT.value) == bool(_CONFIG.value):
    raise UserError('expected --experiment=NAME or --config=FILE, one of them.')
  if _EXPERIMENT.value:
    arguments = {n: flag.value.replace(',', '+') for n, flag in _ARGUMENTS.items()}
    out = pathlib.Path(_OUT.value or 'runs/reproduce')
    return experiments.find(_EXPERIMENT.value, out, arguments, _DATA.value)
  if not _OUT.value:
    raise UserError('--out: expected a folder beside --config.')
  folder = pathlib.Path(_OUT.value)
  return [experiments.from_file(_CONFIG.value, folder, _DATA.value)]


def _pair(flag: str, text: str) -> tuple[int, int]:
  """(i, n) of i/n."""
  index, slash, count = text.partition('/')
  if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
    raise UserError(f"--{flag}: expected i/n with i < n, found '{text}'.")
  return int(index), int(count)


if __name__ == '__main__':
  cli.run(main)
