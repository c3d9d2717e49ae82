"""Runs an experiment from nothing to its report, and goes on where it stopped.

  python -m alpt_jax.bin.reproduce --config=configs/quickstart.py --out=DIR

Records the datasets that are missing, trains every run (several at a time, one a
core), and writes DIR/results.csv and DIR/report/index.html. Exit codes as in
bin/pretrain; 1 when a run failed, which the report shows.
"""

import pathlib
import sys

import jax
from absl import flags
from ml_collections import config_flags

from alpt_jax.errors import Preempted, RunFailed, UserError
from alpt_jax.experiment import cli
from alpt_jax.launching import sweep
from alpt_jax.report import differences, page, runs, tables

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment file.')
_OUT = flags.DEFINE_string('out', None, 'Folder of everything it writes.')
_WORKERS = flags.DEFINE_integer('workers', 2, 'Runs at a time.', lower_bound=1)
_RECORD_ONLY = flags.DEFINE_bool('record_only', False, 'Record, and train nothing.')
_SHARD = flags.DEFINE_string('shard', None, 'i/n: train only every n-th run.')
_STAGE = flags.DEFINE_integer('stage', 0, 'Of which stage of the experiment.')


def main(argv):
  planned = sweep.plan(_CONFIG.value, pathlib.Path(_OUT.value))
  if _RECORD_ONLY.value:
    sweep.record_shard(planned, *_shard())
    return
  if _SHARD.value is not None:
    _train_shard(planned)
    return
  print(f'{planned.name}: {len(planned.runs)} runs in {planned.folder}', flush=True)
  own = [sys.executable, '-m', 'alpt_jax.bin.reproduce', *argv[1:]]
  own += [f'--config={_config_path()}', f'--out={_OUT.value}']
  if sweep.missing_recordings(planned):
    # Processes of their own: what TensorFlow takes is given back when they end.
    count = min(_WORKERS.value, len(planned.recordings))
    own_records = [*own, '--record_only']
    codes = sweep.run_workers(
      [[*own_records, f'--shard={i}/{count}'] for i in range(count)]
    )
    if any(codes):
      sys.exit(next(code for code in codes if code))  # it has said why
  codes = []
  for stage, stage_runs in enumerate(planned.stages):
    count = min(_WORKERS.value, len(stage_runs))
    codes += sweep.run_workers(
      [[*own, f'--stage={stage}', f'--shard={i}/{count}'] for i in range(count)]
    )
    if cli.PREEMPTED in codes:
      raise Preempted('every worker saved. Run the same again.')
  path = page.build(planned.folder)
  loaded = runs.load_runs(planned.folder)
  print(tables.to_text(tables.final_table(loaded)))
  if paired := differences.differences_text(loaded):
    print(f'\n{paired}')
  print(f'\nresults: {planned.folder / "results.csv"}\nreport:  {path}')
  if any(codes):
    raise RunFailed('some runs failed; the lines above and the report name them.')


def _shard() -> tuple[int, int]:
  """(i, n) of --shard, all of it by default."""
  if _SHARD.value is None:
    return 0, 1
  index, slash, count = _SHARD.value.partition('/')
  if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
    raise UserError(f"--shard: expected i/n with i < n, found '{_SHARD.value}'.")
  return int(index), int(count)


def _train_shard(planned: sweep.Sweep) -> None:
  index, count = _shard()
  # A worker that starts again, and the second worker of a pair, compile less.
  cache = planned.folder / 'compiled'
  jax.config.update('jax_compilation_cache_dir', str(cache.absolute()))
  if sweep.run_shard(planned, index, count, _STAGE.value):
    raise RunFailed(f'shard {_SHARD.value}: a run failed.')


def _config_path() -> str:
  """The config flag as it was given, argument and all."""
  return config_flags.get_config_filename(flags.FLAGS['config'])


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'out'])
  cli.run(main)
