"""Scores any checkpoint of any run, beside the reference policies.

  python -m alpt_jax.bin.evaluate --run=DIR [--step=N] [--episodes=256]
      [--protocol=sticky_actions=0.25,max_episode_steps=27000 --other_protocol]

Prints every score, writes them to DIR/scores.json, and films the policy in
DIR/episode.gif. Scores under different protocols do not compare: another one than the
run's own is refused, the fields named, unless --other_protocol says that it is meant.
"""

import json
import pathlib

from absl import flags

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, compiled
from alpt_jax.experiment.playing import parse_protocol
from alpt_jax.experiment.run import open_trained
from alpt_jax.specs import Protocol

_RUN = flags.DEFINE_string('run', None, 'Run folder.')
_STEP = flags.DEFINE_integer('step', None, 'Checkpoint step; default the last.')
_EPISODES = flags.DEFINE_integer(
  'episodes', None, 'Episodes; default the config.', lower_bound=1
)
_PROTOCOL = flags.DEFINE_string('protocol', '', 'Fields of the protocol to play under.')
_OTHER = flags.DEFINE_bool('other_protocol', False, "Another than the run's is meant.")


def _protocol(known: Protocol) -> Protocol:
  """The protocol to play under."""
  if not _PROTOCOL.value:
    return known
  wanted = parse_protocol(_PROTOCOL.value, known)
  differing = wanted.differences(known)
  if differing and not _OTHER.value:
    raise UserError(
      f'--protocol: {", ".join(differing)} as this run is scored. Scores under '
      'different protocols do not compare; add --other_protocol if that is meant.'
    )
  return wanted


def main(argv):
  del argv
  folder = pathlib.Path(_RUN.value)
  compiled.keep(folder / compiled.FOLDER)
  changes = {} if _EPISODES.value is None else {'num_episodes': _EPISODES.value}
  run, state = open_trained(folder, _STEP.value, **changes)
  protocol = _protocol(run.evaluator.protocol)
  if protocol != run.evaluator.protocol:
    run.evaluator.play_under(protocol)
  scores = {'step': int(state.step), **run.evaluator(int(state.step), state)}
  for name, value in scores.items():
    print(f'{name:>24}  {value:.4g}')
  actions = run.evaluator.per_action(state)
  for name, row in actions.items():
    shares = (f'{key} {value:.4g}' for key, value in row.items() if value is not None)
    print(f'{name:>24}  {", ".join(shares)}')
  written = {**scores, 'idm_per_action': actions, 'protocol': protocol.to_dict()}
  (folder / 'scores.json').write_text(json.dumps(written, indent=2) + '\n')
  if run.evaluator.can_play:
    run.evaluator.save_animation(folder / 'episode.gif', state)
    print(f'animation: {folder / "episode.gif"}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  cli.run(main)
