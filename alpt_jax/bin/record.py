"""Plays an environment with a scripted policy and writes a dataset folder.

  python -m alpt_jax.bin.record --environment=maze/blocked:20/7 --out=DIR

The folder holds RLDS files that plain TFDS reads, the same episodes as a pool,
a data card and a picture. It is complete or not there: an interrupted recording
leaves nothing under its name.
"""

import pathlib

from absl import flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli
from alpt_jax.experiment.recording import Recording, describe, record

_OUT = flags.DEFINE_string('out', None, 'Dataset folder; must not exist.')
_ENVIRONMENT = flags.DEFINE_string('environment', None, 'E.g. maze/tunneled/3.')
_OBSERVATION = flags.DEFINE_string(
  'observation', 'position', 'position, position_walls or image.'
)
_EPISODES = flags.DEFINE_integer('episodes', 500, 'How many.')
_EPSILON = flags.DEFINE_float('epsilon', 0.5, 'Share of random actions.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of starts, goals and actions.')
_GOAL = flags.DEFINE_list('goal', None, 'row,column of a fixed goal.')
_MAX_STEPS = flags.DEFINE_integer('max_episode_steps', 500, 'Cut off after these.')
_RLDS = flags.DEFINE_bool('rlds', True, 'Also write RLDS (needs TensorFlow).')


def main(argv):
  del argv
  goal = _GOAL.value
  if goal is not None:
    if len(goal) != 2 or not all(part.strip().isdigit() for part in goal):
      raise UserError(f"--goal: expected row,column, found '{','.join(goal)}'.")
    goal = (int(goal[0]), int(goal[1]))
  recording = Recording(
    environment=_ENVIRONMENT.value,
    observation=_OBSERVATION.value,
    episodes=_EPISODES.value,
    epsilon=_EPSILON.value,
    seed=_SEED.value,
    goal=goal,
    max_episode_steps=_MAX_STEPS.value,
  )
  folder = pathlib.Path(_OUT.value)
  pool = record(recording, folder, rlds=_RLDS.value)
  print(f'{folder}: {describe(pool)}')
  print((folder / 'card.md').read_text())


if __name__ == '__main__':
  flags.mark_flags_as_required(['out', 'environment'])
  cli.run(main)
