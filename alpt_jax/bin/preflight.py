"""Says whether a run fits on machines that are not there, and what would limit it.

  python -m alpt_jax.bin.preflight --topology=v4:2x2x4 \
      --config=configs/atari.py:size=paper,batch=2048

Compiles the run's real training step for a slice of TPUs, with the real compiler of
TPUs, which needs no TPU (pip install 'alpt-jax[tpu]'), and no dataset. It prints the
memory that each chip needs, the messages between chips, a step's time by its two limits
and the input that each host must give. `--topology=here`: the devices of this machine.
Minutes for models of some size; docs/preflight.md says how many.

Exit codes: 0 it fits, 1 it does not, 2 something given is wrong.
"""

import functools
import pathlib

from absl import flags
from ml_collections import config_flags

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment import cli
from alpt_jax.experiment.config import from_mapping
from alpt_jax.preflight.estimate import estimate, step_flops
from alpt_jax.preflight.program import compile_step, prepare
from alpt_jax.preflight.report import report, verdict
from alpt_jax.preflight.topologies import open_topology

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Configuration file.')
_TOPOLOGY = flags.DEFINE_string('topology', None, "Slice of TPUs, or 'here'.")
_UTILISATION = flags.DEFINE_float(
  'utilisation', 0.4, "Share of the chips' peak that arithmetic is taken to reach."
)
_TEXT = flags.DEFINE_string('text', None, 'File for the compiled program.')

_say = functools.partial(print, flush=True)


def main(argv):
  del argv
  if not 0 < _UTILISATION.value <= 1:
    raise UserError(
      f'--utilisation: expected above 0, at most 1, found {_UTILISATION.value}.'
    )
  text = pathlib.Path(_TEXT.value) if _TEXT.value else None
  if text and not text.parent.is_dir():
    raise UserError(f'--text: {text.parent} is no folder. Make it first.')
  config = from_mapping(_CONFIG.value)
  program = prepare(config, open_topology(_TOPOLOGY.value))
  _say(f'compiling the training step of {config.title} for {_TOPOLOGY.value}')
  compiled = compile_step(program, _say)
  found = estimate(program, compiled, step_flops(program), _UTILISATION.value)
  _say('\n' + report(program, compiled, found, _UTILISATION.value))
  if text:
    text.write_text(compiled.text)
  if found.fits is False:
    raise RunFailed(verdict(found))


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'topology'])
  cli.run(main)
