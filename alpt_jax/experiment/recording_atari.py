"""Recording an Atari game: episodes of mixed quality, a pool, shards, a card."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from alpt_jax import specs
from alpt_jax.data.card import make_card, write_card
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.data.shards import write_shards
from alpt_jax.envs import atari_demonstrators as demonstrators
from alpt_jax.envs.atari import Atari
from alpt_jax.envs.atari_ceiling import ceiling, sampled_effects
from alpt_jax.errors import UserError
from alpt_jax.experiment.conversion import reported
from alpt_jax.experiment.pictures import save_best_episode
from alpt_jax.experiment.recording import (
  check_positive,
  command,
  new_folder,
  write_rlds,
)

# Ours: states whose actions are all tried, about two seconds.
_LOOKED_AT = 200


@dataclasses.dataclass(frozen=True)
class AtariRecording:
  """What to record; sticky actions and the cap as in RL Unplugged by default.

  Attributes:
    environment: for example 'atari/Breakout'.
    transitions: how many, exactly (ours: the pool of one game is 0.2 GB).
    epsilon: how often the script does something random (`EpsilonScript`); None
      goes from 1 to 0 over the recording. 1 is random play, for games without a
      script the only one.
    seed: of the emulator and of the random actions.
    sticky_actions: probability that an emulator frame repeats the action before.
    max_episode_steps: agent steps after which an episode is cut off.
    shards: how many files in the format of RL Unplugged to write as well.
  """

  environment: str
  transitions: int = 30_000
  epsilon: float | None = None
  seed: int = 0
  sticky_actions: float = specs.RL_UNPLUGGED_PROTOCOL.sticky_actions
  max_episode_steps: int = specs.RL_UNPLUGGED_PROTOCOL.max_episode_steps
  shards: int = 0


def record_atari(
  recording: AtariRecording,
  folder: pathlib.Path,
  *,
  rlds: bool = False,
  say: Callable[[str], Any] = print,
) -> Pool:
  """Plays and writes a dataset; the folder is complete or not there at all.

  It holds the pool, `<Game>/run_1-<i>-of-<N>` if shards are asked for, the card and
  a picture. The last episode is cut off where the transitions are reached.

  Args:
    recording: what to play.
    folder: must not exist yet.
    rlds: also write RLDS files, which needs TensorFlow, as shards do.
    say: receives lines about progress.

  Raises:
    UserError: something cannot be recorded as asked, or the folder exists.
  """
  check_positive('transitions', recording.transitions)
  if not 0 <= recording.shards <= recording.transitions:
    raise UserError(
      f'shards: expected 0 to {recording.transitions:,}, one transition at least in '
      f'each, found {recording.shards}.'
    )
  spec = _spec(recording)
  epsilon = recording.epsilon
  with new_folder(folder, recording) as partial:
    environment = Atari(spec, recording.seed)
    # A schedule ends at 0, so a game without a script is refused at once.
    lowest = demonstrators.epsilon_schedule(1) if epsilon is None else epsilon
    player = demonstrators.EpsilonScript(spec, lowest, recording.seed + 1)
    episodes = demonstrators.record_episodes(
      environment, player, recording.transitions, epsilon
    )
    pool = write_pool(
      partial / 'pool', spec, reported(episodes, recording.transitions, say)
    )
    if recording.shards:
      _write_shards(partial, pool, recording.shards)
    if rlds:
      metadata = {'environment': spec.name, 'policy': 'epsilon_script'}
      write_rlds(partial, pool, metadata)
    source = command(recording, folder, rlds)
    visible = _visible(pool, recording)
    write_card(partial, make_card(pool, None, source, visible=visible))
    save_best_episode(partial / 'picture.png', pool)
  return pool


def _spec(recording: AtariRecording) -> specs.EnvironmentSpec:
  kind, _, game = recording.environment.partition('/')
  if kind != 'atari':
    raise UserError(
      f"environment: expected 'atari/<Game>', found '{recording.environment}'."
    )
  protocol = dataclasses.replace(
    specs.RL_UNPLUGGED_PROTOCOL,
    sticky_actions=recording.sticky_actions,
    max_episode_steps=recording.max_episode_steps,
  )
  return specs.atari_spec(game, protocol)


def _visible(pool: Pool, recording: AtariRecording) -> dict[str, float]:
  """What the screen shows of the recorded actions, from as many states as will do."""
  alike, _ = sampled_effects(pool.spec, _LOOKED_AT, recording.seed, recording.epsilon)
  counts = np.bincount(pool.actions, minlength=len(pool.spec.action_names))
  merged = specs.fire_merged(pool.spec.action_names)
  return {
    'accuracy': ceiling(alike, counts),
    'accuracy_merged': ceiling(alike, counts, merged),
  }


def _write_shards(folder: pathlib.Path, pool: Pool, num_shards: int) -> None:
  """Shard i holds the i-th part of the recording, as those of a DQN's training do."""
  if num_shards > pool.num_episodes:
    raise UserError(
      f'shards: expected at most {pool.num_episodes}, one for each episode that was '
      f'recorded, found {num_shards}. Record more transitions, or into fewer shards.'
    )
  parts = np.array_split(np.arange(pool.num_episodes), num_shards)
  # The writer deals episodes out in turn.
  order = [divmod(number, num_shards) for number in range(pool.num_episodes)]
  episodes = (pool.episode(int(parts[shard][index])) for index, shard in order)
  write_shards(folder, specs.atari_game(pool.spec), episodes, num_shards)
