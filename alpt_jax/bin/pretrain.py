"""Trains an IDM and a DT: phases pretrain, joint, and sources (without the target).

  python -m alpt_jax.bin.pretrain --config=configs/maze.py:method=alpt --workdir=DIR

The same command goes on where a stopped run left off, with the programs that were
compiled then (DIR/compiled, `experiment/compiled.py`). Exit codes: 0 done, 1 failed
(disk, not-a-number), 2 something given is wrong, 42 stopped after a clean save, 128
and more crashed. Several processes make one run: docs/clusters.md.
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
_PROFILE = flags.DEFINE_string(
  'profile', '', 'FIRST:COUNT, the steps to look at (docs/observability.md).'
)
cluster.define_flags()


def main(argv):
  del argv
  config = from_mapping(_CONFIG.value)
  if config.phase == 'finetune':
    raise UserError(
      "phase: bin/pretrain runs pretrain, sources or joint, found 'finetune'. Use "
      'bin/finetune.'
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
