"""How well an inverse dynamics model of an Atari game could do at best.

  python -m alpt_jax.bin.ceiling --game=Breakout [--states=200] [--seed=0]
    [--epsilon=1.0] [--out=FILE.json]

Plays, and tries in sampled states which actions leave the same next observation.
Writes nothing but FILE.
"""

import json
import pathlib

from absl import flags

from alpt_jax import specs
from alpt_jax.envs.atari_ceiling import ceiling, sampled_effects, shares_alike
from alpt_jax.envs.atari_demonstrators import SCRIPTED_GAMES
from alpt_jax.experiment import cli

_GAME = flags.DEFINE_string('game', None, 'Its RL Unplugged name, as SpaceInvaders.')
_STATES = flags.DEFINE_integer('states', 200, 'Sampled states.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the play.', lower_bound=0)
_EPSILON = flags.DEFINE_float(
  'epsilon',
  None,
  'Random share of the play; default from 1 to 0, as a recording goes, or 1 where '
  'the game has no scripted player.',
)
_OUT = flags.DEFINE_string('out', None, 'Where to write the figures as JSON.')


def main(argv):
  del argv
  game, epsilon = _GAME.value, _EPSILON.value
  spec = specs.atari_spec(game, specs.ATARI_EVALUATION_PROTOCOL)
  if epsilon is None and game not in SCRIPTED_GAMES:
    epsilon = 1.0
  found, taken = sampled_effects(spec, _STATES.value, _SEED.value, epsilon)
  names = spec.action_names
  merged = specs.fire_merged(names)
  alike = shares_alike(found)
  figures = {'game': game, 'num_states': len(found), 'seed': _SEED.value}
  figures |= {'epsilon': epsilon, 'action_names': names, 'num_taken': taken.tolist()}
  print(f'{"best possible accuracy":>28}   exact  FIRE merged')
  for title, weights in {'uniform': None, 'played': taken}.items():
    row = ceiling(found, weights), ceiling(found, weights, merged)
    figures |= {f'ceiling_{title}': row[0], f'ceiling_{title}_merged': row[1]}
    print(f'{title + " actions":>28}   {row[0]:.3f}  {row[1]:.3f}')
  print('\nshare of states in which two actions look alike, in percent')
  for name, row in zip(names, alike, strict=True):
    print(f'{name:>16}' + ''.join(f'{100 * share:5.0f}' for share in row))
  if _OUT.value:
    figures['alike'] = alike.round(4).tolist()
    pathlib.Path(_OUT.value).write_text(json.dumps(figures, indent=2) + '\n')


if __name__ == '__main__':
  flags.mark_flags_as_required(['game'])
  cli.run(main)
