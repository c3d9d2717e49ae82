"""Trains on the target alone, from a pretraining run's last checkpoint.

  python -m alpt_jax.bin.finetune --from=PRETRAINED --workdir=DIR \
      --config=configs/maze.py:method=alpt,phase=finetune

Section 4.2: the IDM learns from D+, the DT from D+ and D-, relabelled. The target
may have action names that the pretraining never saw: fresh rows are added. A method
without pretraining (dt1, dt1-idm, bc, cql, oracle) needs no --from and starts afresh.
The same command goes on where a stopped run left off; exit codes as in bin/pretrain.
"""

from absl import flags
from ml_collections import config_flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, cluster, compiled
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.run import Run
from alpt_jax.training import profiling

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Configuration file.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of this run.')
_FROM = flags.DEFINE_string('from', '', 'Run folder of the pretraining.')
_PROFILE = flags.DEFINE_string(
  'profile', '', 'FIRST:COUNT, the steps to look at (docs/observability.md).'
)
cluster.define_flags()


def main(argv):
  del argv
  fields = _CONFIG.value
  fields.initial = _FROM.value
  config = from_mapping(fields)
  if config.phase != 'finetune':
    raise UserError(
      f"phase: bin/finetune runs finetune, found '{config.phase}'. Put "
      'phase=finetune behind the config, or use bin/pretrain.'
    )
  workdir = cli.folder('workdir', _WORKDIR.value)
  profiled = profiling.parse(_PROFILE.value)
  cluster.start(workdir, config)
  compiled.keep(workdir / compiled.FOLDER)
  Run(config).train(workdir, profiled)
  if cluster.is_lead():
    print(f'done: {workdir}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  cli.run(main)
