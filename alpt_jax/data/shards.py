"""The shards of a game: which files they are, and writing new ones."""

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Sequence

import numpy as np

from alpt_jax import returns, specs
from alpt_jax.data import encoded
from alpt_jax.data.checks import check_all_known, check_episode
from alpt_jax.errors import UserError
from alpt_jax.types import Episode

_SHARD = re.compile(r'run_(\d+)-(\d{5})-of-(\d{5})')


def recorded_runs(folder: pathlib.Path) -> list[int]:
  """The numbers of the runs whose shards lie in a folder, [] where there are none."""
  matches = (_SHARD.fullmatch(path.name) for path in folder.glob('run_*'))
  return sorted({int(match[1]) for match in matches if match})


def choose_shards(
  place: str,
  listed: Iterable[str],
  runs: Sequence[int],
  checkpoints: Sequence[int] | None = None,
) -> list[str]:
  """The names of the wanted shards among those of a folder; see `rl_unplugged`.

  Args:
    place: the folder, for messages.
    listed: names of the files in it.
    runs: which runs.
    checkpoints: which shards of every run; all by default.

  Raises:
    UserError: a run or a shard is missing.
  """
  found: dict[int, dict[int, str]] = {}
  totals: dict[int, int] = {}
  for name in listed:
    if match := _SHARD.fullmatch(name):
      run, index, total = map(int, match.groups())
      if totals.setdefault(run, total) != total:
        raise UserError(
          f'{place}/{name}: expected one set of shards for run {run}, found some '
          f'-of-{totals[run]:05d} and some -of-{total:05d}. Remove one set.'
        )
      found.setdefault(run, {})[index] = name
  names = []
  for run in runs:
    if run not in found:
      there = ', '.join(map(str, sorted(found))) or 'none'
      raise UserError(
        f'{place}: expected files run_{run}-<i>-of-<N>, found those of runs: {there}. '
        'Download them, or correct the runs.'
      )
    wanted = range(totals[run]) if checkpoints is None else checkpoints
    missing = [index for index in wanted if index not in found[run]]
    if missing:
      raise UserError(
        f'{place}/run_{run}-{missing[0]:05d}-of-{totals[run]:05d}: no such file; '
        f'{len(missing)} of {len(wanted)} shards are missing. Download them, or name '
        'the checkpoints that are there.'
      )
    names += [found[run][index] for index in wanted]
  return names


def write_shards(
  folder: str | os.PathLike,
  game: str,
  episodes: Iterable[Episode],
  num_shards: int,
  run: int = 1,
) -> tuple[str, ...]:
  """Writes episodes as the shards of one run; all of them, or none.

  Episode k goes to shard k modulo `num_shards`, which is also its checkpoint_idx.
  Unlike in the files of RL Unplugged, `unclipped_rewards` and `episode_return` are
  not clipped.

  Args:
    folder: local; shards go to `<folder>/<game>`, which must hold none of the run.
    game: for example 'Breakout'.
    episodes: read once, checked one by one, one in memory at a time.
    num_shards: N in the names of the files.
    run: r in the names of the files.

  Returns:
    the names of the shards, relative to `folder`.

  Raises:
    UserError: the run is there already, an episode does not fit the game or has an
      action that is not known (episode, step and field named), or there are fewer
      episodes than shards.
  """
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow

  spec = specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL)
  target = pathlib.Path(folder) / game
  if sorted(target.glob(f'run_{run}-*')):
    raise UserError(
      f'{target}: run {run} is there already. Remove it, or name another.'
    )
  names = [f'run_{run}-{i:05d}-of-{num_shards:05d}' for i in range(num_shards)]
  partial = target.with_name(f'{game}.partial-{os.getpid()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    with contextlib.ExitStack() as stack:
      writers = [
        stack.enter_context(rl_unplugged.shard_writer(partial / name)) for name in names
      ]
      number = -1
      for number, episode in enumerate(episodes):
        place = f'{target}: episode {number}'
        episode = check_episode(episode, spec, place)
        check_all_known(episode, place, 'Write a pool or RLDS instead.')
        index, shard = divmod(number, num_shards)
        writers[shard].write(rl_unplugged.serialise(_lists(episode, shard, index)))
    if number + 1 < num_shards:
      raise UserError(
        f'{target}: expected at least one episode for each of {num_shards} shards, got '
        f'{number + 1}. Record more, or ask for fewer shards.'
      )
    target.mkdir(exist_ok=True)
    for name in names:
      os.replace(partial / name, target / name)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return tuple(f'{game}/{name}' for name in names)


def _lists(episode: Episode, checkpoint_idx: int, episode_idx: int):
  """The L + 1 steps of an episode by feature, as `rl_unplugged` draws them."""
  rewards = np.append(episode.rewards, np.float32(0))
  clipped = returns.clip_rewards(rewards)
  discounts = np.ones(len(rewards), np.float32)
  discounts[-1] = episode.discounts[-1]
  return {
    'checkpoint_idx': [checkpoint_idx],
    'episode_idx': [episode_idx],
    'episode_return': [rewards.sum()],
    'clipped_episode_return': [clipped.sum()],
    'observations': [encoded.encode_png(frame) for frame in episode.observations],
    'actions': np.append(episode.actions, 0),
    'unclipped_rewards': rewards,
    'clipped_rewards': clipped,
    'discounts': discounts,
  }
