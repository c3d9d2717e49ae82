"""Makes a dataset of recordings: of videos, of arrays, or of another dataset.

  python -m alpt_jax.bin.convert --data=VIDEOS --out=DIR
  python -m alpt_jax.bin.convert --data=VIDEOS --out=DIR --frame_skip=4 --max_pool
  python -m alpt_jax.bin.convert --data=FILE.npz --out=DIR
  python -m alpt_jax.bin.convert --data=minari:own/game-v0 --out=DIR
  python -m alpt_jax.bin.convert --data=DATASET --out=DIR
  python -m alpt_jax.bin.convert --data=DIR/Asterix --out=DIR --runs=1,2 --reward_lead=1

What --data holds is told by its content:

Videos: a folder of .mp4, .mkv, .gif, .webm, .avi or .mov files, or of folders of PNGs
whose names end in a number. Beside a video there may be a table of its name, clip1.csv
for clip1.mp4, of `frame,action[,reward][,end]`:

  frame,action,reward
  0,NOOP,
  31,LEFT,
  58,,
  120,FIRE,1

Frames count from 0, as the file stores them, also where --fps holds or skips some. An
action holds from its frame to the next row; it is not known from a row without one,
before the first row, and in videos without a table: these are what a model learns to
label. A reward is given once, for the action taken on seeing its frame. `end` is
`terminal` or `cut` on the last frame of an episode; the next frame begins another.
Folders of videos in --data are several games, each converted to its own folder in
--out. What cannot be read is named with file and line and ends the conversion, or is
left out with --keep_going.

Arrays: an .npz file of observations, actions (-1: not known), rewards, terminals and
timeouts (alpt_jax/data/arrays.py), or a Minari dataset with Discrete actions.

Datasets: a pool, a packed set, RLDS files, files of RL Unplugged: whatever training
reads. Of what bin/label wrote the recorded actions alone are taken; --guesses=0.9 takes
guesses of that confidence, too. Their rewards are written as they were recorded, unless
--reward_lead=1, or -1 where the screens show that they are early, has them moved; the
last lines say which it was. A training run takes them as they are written: its
`data.reward_lead`, `runs` and `checkpoints` are about files of RL Unplugged, and not
looked at for what this writes.

Training, evaluation and `bin/record --card` take the folder that is written like any
other. Packed screens take a fiftieth of a pool's disk, any window is read at once
without TensorFlow, and batches do not depend on the number of hosts
(alpt_jax/data/packed.py). A packed set and the pool of the same episodes are one
dataset: labels and runs of the one are those of the other.

The folder is complete or not there: a conversion that is interrupted (Ctrl-C, SIGTERM)
leaves nothing and begins anew. What one that was killed left, OUT.partial-*, is removed
by the next on the same machine. Exit codes: 0 done, 1 the machine failed (a full disk),
2 what was given is wrong, 3 done but for what --keep_going left out.
"""

import shlex
import signal
import sys

from absl import flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, conversion, conversion_flags

_DATA = flags.DEFINE_string(
  'data', None, 'Folder of videos or of a dataset, .npz file, or minari:ID.'
)
_OUT = flags.DEFINE_string('out', None, 'Folder to write; must not exist.')
_FORM = flags.DEFINE_enum(
  'form',
  'packed',
  list(conversion.FORMS),
  'How episodes are kept: compressed for many epochs, or as plain arrays.',
)
flags.adopt_module_key_flags(conversion_flags)


def main(argv):
  del argv
  for flag in (_DATA, _OUT):
    if not flag.value:
      raise UserError(f'--{flag.name}: expected a folder. See --help.')
  out = cli.folder('out', _OUT.value)
  kind = conversion_flags.kind_of(_DATA.value)
  # What is half written is removed, as on Ctrl-C.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  kind.convert_fn(
    _DATA.value,
    out,
    _FORM.value,
    lambda line: print(line, flush=True),
    shlex.join(['python', '-m', 'alpt_jax.bin.convert', *sys.argv[1:]]),
  )


if __name__ == '__main__':
  cli.run(main)
