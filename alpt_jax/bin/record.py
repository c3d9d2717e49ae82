"""Plays an environment with a scripted policy and writes a dataset folder.

  python -m alpt_jax.bin.record --environment=maze/blocked:20/7 --out=DIR
  python -m alpt_jax.bin.record --environment=atari/Breakout --out=DIR --shards=5
  python -m alpt_jax.bin.record --card --data=DIR

The folder holds the episodes as a pool, a data card and a picture; of a maze also
RLDS files that plain TFDS reads, of a game on demand files in the format of RL
Unplugged. It is complete or not there: an interrupted recording leaves nothing under
its name. `--card` prints the card of any dataset folder, its warnings first.
"""

import pathlib

from absl import flags

from alpt_jax.data.card import to_markdown
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment import cli
from alpt_jax.experiment.recording import Recording, card_of, describe, record

_OUT = flags.DEFINE_string('out', None, 'Dataset folder; must not exist.')
_ENVIRONMENT = flags.DEFINE_string(
  'environment', None, 'E.g. maze/tunneled/3 or atari/Breakout.'
)
_CARD = flags.DEFINE_bool('card', False, 'Print the card of --data, record nothing.')
_DATA = flags.DEFINE_string('data', None, 'Dataset folder of --card.')
_RLDS = flags.DEFINE_bool(
  'rlds', None, 'Also write RLDS (needs TensorFlow); by default only of mazes.'
)
# Every other flag is a field of its kind's recording, which knows the default.
flags.DEFINE_float(
  'epsilon',
  None,
  'Share of random actions; 0.5 for mazes. For Atari how often something random '
  'begins; by default it falls from 1 to 0 over the recording.',
)
flags.DEFINE_integer('seed', None, 'Of starts, goals and actions; 0.')
flags.DEFINE_integer(
  'max_episode_steps', None, 'Cut off after these; mazes 500, Atari 27000.'
)
flags.DEFINE_string(
  'observation', None, 'Mazes: position (default), position_walls or image.'
)
flags.DEFINE_integer('episodes', None, 'Mazes: how many; 500.')
_GOAL = flags.DEFINE_list('goal', None, 'Mazes: row,column of a fixed goal.')
flags.DEFINE_integer('transitions', None, 'Atari: how many, exactly; 30000.')
flags.DEFINE_float(
  'sticky_actions', None, 'Atari: chance that a frame repeats the last action; 0.25.'
)
flags.DEFINE_integer(
  'shards', None, 'Atari: also write so many files in the format of RL Unplugged.'
)

_COMMON = ('epsilon', 'seed', 'max_episode_steps')
_FIELDS = {
  'maze': (*_COMMON, 'observation', 'episodes', 'goal'),
  'atari': (*_COMMON, 'transitions', 'sticky_actions', 'shards'),
}


def _given() -> dict:
  """The fields of a recording that the command line sets."""
  names = {name for fields in _FIELDS.values() for name in fields}
  values = {name: flags.FLAGS[name].value for name in sorted(names)}
  return {name: value for name, value in values.items() if value is not None}


def _print_card(given: dict) -> None:
  if not _CARD.value or not _DATA.value or _OUT.value or _ENVIRONMENT.value or given:
    raise UserError('--card: expected --card --data=DIR and nothing else.')
  print(to_markdown(card_of(pathlib.Path(_DATA.value))))


def _goal(parts: list[str]) -> tuple[int, int]:
  if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
    raise UserError(f"--goal: expected row,column, found '{','.join(parts)}'.")
  return int(parts[0]), int(parts[1])


def main(argv):
  del argv
  given = _given()
  if _CARD.value or _DATA.value:
    _print_card(given)
    return
  for flag in (_ENVIRONMENT, _OUT):
    if flag.value is None:
      raise UserError(f'--{flag.name}: expected a value. See --help.')
  kind = _ENVIRONMENT.value.partition('/')[0]
  if kind not in _FIELDS:
    raise UserError(
      f"--environment: '{kind}' is not known{did_you_mean(kind, _FIELDS)}"
    )
  for name in given.keys() - _FIELDS[kind]:
    raise UserError(
      f'--{name}: not a flag of {kind} recordings. Theirs: '
      f'{", ".join(f"--{field}" for field in _FIELDS[kind])}.'
    )
  folder = pathlib.Path(_OUT.value)
  if kind == 'atari':
    # Only these need the emulator.
    from alpt_jax.experiment.recording_atari import AtariRecording, record_atari

    recording = AtariRecording(_ENVIRONMENT.value, **given)
    pool = record_atari(recording, folder, rlds=bool(_RLDS.value))
  else:
    if _GOAL.value is not None:
      given['goal'] = _goal(_GOAL.value)
    recording = Recording(_ENVIRONMENT.value, **given)
    pool = record(recording, folder, rlds=_RLDS.value is not False)
  print(f'{folder}: {describe(pool)}')
  print((folder / 'card.md').read_text())


if __name__ == '__main__':
  cli.run(main)
