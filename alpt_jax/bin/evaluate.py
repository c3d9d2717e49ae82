"""Scores any checkpoint of any run, beside the reference policies.

  python -m alpt_jax.bin.evaluate --run=DIR [--step=N] [--episodes=256]

Prints every score, writes them to DIR/scores.json, and films the policy in
DIR/episode.gif.
"""

import json
import pathlib

from absl import flags

from alpt_jax.experiment import cli
from alpt_jax.experiment.run import open_trained

_RUN = flags.DEFINE_string('run', None, 'Run folder.')
_STEP = flags.DEFINE_integer('step', None, 'Checkpoint step; default the last.')
_EPISODES = flags.DEFINE_integer(
  'episodes', None, 'Episodes; default the config.', lower_bound=1
)


def main(argv):
  del argv
  folder = pathlib.Path(_RUN.value)
  changes = {} if _EPISODES.value is None else {'num_episodes': _EPISODES.value}
  run, state = open_trained(folder, _STEP.value, **changes)
  scores = {'step': int(state.step), **run.evaluator(int(state.step), state)}
  for name, value in scores.items():
    print(f'{name:>24}  {value:.4g}')
  actions = run.evaluator.per_action(state)
  for name, row in actions.items():
    shares = (f'{key} {value:.4g}' for key, value in row.items() if value is not None)
    print(f'{name:>24}  {", ".join(shares)}')
  written = {**scores, 'idm_per_action': actions}
  (folder / 'scores.json').write_text(json.dumps(written, indent=2) + '\n')
  if run.evaluator.can_play:
    run.evaluator.save_animation(folder / 'episode.gif', state)
    print(f'animation: {folder / "episode.gif"}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  cli.run(main)
