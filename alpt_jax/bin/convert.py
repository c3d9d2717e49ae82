"""Writes a recorded dataset in another form: packed for many epochs, or as a pool.

  python -m alpt_jax.bin.convert --data=DIR --out=DIR
  python -m alpt_jax.bin.convert --data=DIR/Asterix --out=DIR --runs=1,2 --reward_lead=1
  python -m alpt_jax.bin.convert --data=DIR --out=DIR --form=pool

Reads whatever training reads: a pool, a packed set, RLDS files, files of RL Unplugged.
Training, evaluation and `bin/record --card` take the folder that it writes like any
other.

Rewards are written as they were recorded, unless --reward_lead=1, or -1 where the
screens show that they are early, has them moved; the last lines say which it was. A
training run takes them as they are written: its `data.reward_lead`, `runs` and
`checkpoints` are about files of RL Unplugged, and not looked at for what this writes.

Packed screens take a fiftieth of a pool's disk, any window is read at once without
TensorFlow, and batches do not depend on the number of hosts (alpt_jax/data/packed.py).
A packed set and the pool of the same episodes are one dataset: labels and runs of the
one are those of the other.

The folder is complete or not there: a conversion that is interrupted (Ctrl-C, SIGTERM)
leaves nothing and begins anew. What one that was killed left, OUT.partial-*, is removed
by the next on the same machine.
"""

import signal

from absl import flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, conversion

_DATA = flags.DEFINE_string('data', None, 'Dataset folder.')
_OUT = flags.DEFINE_string('out', None, 'Folder to write; must not exist.')
_FORM = flags.DEFINE_enum('form', 'packed', list(conversion.FORMS), 'What to write.')
# Of RL Unplugged.
_RUNS = flags.DEFINE_list('runs', [], 'Which runs; all that are there.')
_CHECKPOINTS = flags.DEFINE_list('checkpoints', [], 'Which shards of each run; all.')
_LEAD = flags.DEFINE_integer(
  'reward_lead',
  0,
  'Steps by which rewards are early, undone; 0: as recorded; -1: as the screens say.',
)
_SKIP = flags.DEFINE_bool('skip_bad_shards', False, 'Leave damaged files out.')


def _numbers(flag: flags.FlagHolder) -> tuple[int, ...]:
  if wrong := [part for part in flag.value if not part.isdigit()]:
    raise UserError(f"--{flag.name}: expected numbers, found '{wrong[0]}'.")
  return tuple(map(int, flag.value))


def main(argv):
  del argv
  for flag in (_DATA, _OUT):
    if not flag.value:
      raise UserError(f'--{flag.name}: expected a folder. See --help.')
  if _LEAD.value not in (-1, 0, 1):
    raise UserError(f'--reward_lead: expected -1, 0 or 1, found {_LEAD.value}.')
  choice = conversion.ShardChoice(
    _numbers(_RUNS), _numbers(_CHECKPOINTS), _LEAD.value, _SKIP.value
  )
  # What is half written is removed, as on Ctrl-C.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  conversion.convert(
    _DATA.value,
    cli.folder('out', _OUT.value),
    _FORM.value,
    choice,
    lambda line: print(line, flush=True),
  )


if __name__ == '__main__':
  cli.run(main)
