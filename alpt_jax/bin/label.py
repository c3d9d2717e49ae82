"""Labels a dataset with a trained model: an action for every transition.

  python -m alpt_jax.bin.label --run=DIR --data=DIR --out=DIR
  python -m alpt_jax.bin.label --run=DIR --data=DIR --out=DIR --shard=0/4
  python -m alpt_jax.bin.label --run=DIR --data=DIR --out=DIR --min_confidence=0.9

Writes OUT as an RLDS dataset: recorded actions as they are, bit for bit; where none is
recorded the model's guess, marked as one (`is_recorded`), and its confidence. The same
as tables in OUT/labels for pandas and anything else that reads Parquet. How sure a
guess claims to be is corrected by recorded actions that the model has never seen, the
audit (alpt_jax/experiment/known_actions.py).

A dataset is labelled in parts. One that was interrupted, even killed, goes on by the
same command with the parts that are missing, and has the same bits at the end.
--shard=i/n labels the i-th of n shares, here or on other machines, at once or one after
the other; the last to end completes the set.

At the end stands OUT/label_card.html: how often the guesses are right, with intervals,
what a confidence is worth, which moments are doubtful, and what all that means. --curve
names a folder of runs with fewer labels and without sources (configs/own_curve.py),
which tell whether more of either would help. The same command writes the card anew.

--forget labels the run's own target as if only the actions of its labels.json were
known: where all are recorded, the tables show the truth beside the guesses.
"""

import pathlib
import re

from absl import flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, compiled, label_run
from alpt_jax.labelling.labeller import SETTINGS, LabellingConfig

_RUN = flags.DEFINE_string('run', None, 'Folder of a run.')
_STEP = flags.DEFINE_integer('step', None, 'Which checkpoint; default the last.')
_DATA = flags.DEFINE_string('data', None, 'Folder of the dataset.')
_OUT = flags.DEFINE_string('out', None, 'Folder to write, or to go on with.')
_SHARD = flags.DEFINE_string('shard', '0/1', 'Which share of how many, i/n from 0.')
_LEAST = flags.DEFINE_float(
  'min_confidence', 0.0, 'Less sure guesses are left unlabelled.', 0.0, 1.0
)
_LABEL_BY = flags.DEFINE_enum(
  'label_by',
  LabellingConfig.label_by,
  list(SETTINGS),
  'Windows that label a transition; once is fastest.',
)
_BATCH = flags.DEFINE_integer(
  'batch_size', None, 'Windows computed at once; default what is fastest here.', 1
)
_RLDS = flags.DEFINE_bool('rlds', True, 'Write RLDS files, not tables alone.')
_FORGET = flags.DEFINE_bool('forget', False, "Forget what labels.json doesn't name.")
_CARD = flags.DEFINE_bool('card', True, 'Write the label card at the end.')
_CURVE = flags.DEFINE_string('curve', None, 'Folder of runs with fewer labels.')
_SEED = flags.DEFINE_integer('seed', 0, 'Deals the audit into halves.', 0)


def _shard() -> tuple[int, int]:
  match = re.fullmatch(r'(\d+)/(\d+)', _SHARD.value)
  if not match or int(match[1]) >= int(match[2]):
    raise UserError(
      f"--shard: expected i/n, i from 0 to n - 1, found '{_SHARD.value}'."
    )
  return int(match[1]), int(match[2])


def main(argv):
  del argv
  for flag in (_RUN, _DATA, _OUT):
    if not flag.value:
      raise UserError(f'--{flag.name}: expected a folder. See --help.')
  run = pathlib.Path(_RUN.value)
  choice = label_run.LabelChoice(
    run=run,
    data=pathlib.Path(_DATA.value),
    out=cli.folder('out', _OUT.value),
    step=_STEP.value,
    shard=_shard(),
    min_confidence=_LEAST.value,
    config=LabellingConfig(_LABEL_BY.value, _BATCH.value),
    rlds=_RLDS.value,
    forget=_FORGET.value,
    card=_CARD.value,
    curve=pathlib.Path(_CURVE.value) if _CURVE.value else None,
    seed=_SEED.value,
  )
  if run.is_dir():
    compiled.keep(run / compiled.FOLDER)
  label_run.label_dataset(choice, lambda line: print(line, flush=True))


if __name__ == '__main__':
  cli.run(main)
