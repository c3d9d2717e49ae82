"""Recording a maze: episodes, RLDS files, a pool, a card and a picture."""

import dataclasses
import pathlib
import shutil

import numpy as np
from PIL import Image

from alpt_jax.data.card import make_card, write_card
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.envs import demonstrators, maze
from alpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Recording:
  """What to record.

  Attributes:
    environment: for example 'maze/blocked:20/7'.
    observation: 'position', 'position_walls' or 'image'.
    episodes: how many (section 5.1: 500).
    epsilon: share of uniformly random actions (section 5.1: 0.5).
    seed: of starts, goals and actions; the layout has its own, in the name.
    goal: (row, column) of every episode, or None for a random one each.
    max_episode_steps: section 5.1: 500.
  """

  environment: str
  observation: str = 'position'
  episodes: int = 500
  epsilon: float = 0.5
  seed: int = 0
  goal: tuple[int, int] | None = None
  max_episode_steps: int = 500


def record(recording: Recording, folder: pathlib.Path, *, rlds: bool = True) -> Pool:
  """Plays and writes a dataset; the folder is complete or not there at all.

  Args:
    recording: what to play.
    folder: must not exist yet.
    rlds: also write RLDS files, which needs TensorFlow; the pool never does.

  Raises:
    UserError: something cannot be recorded as asked, or the folder exists.
  """
  if folder.exists():
    raise UserError(f'{folder}: exists. Remove it or record into another folder.')
  if recording.episodes < 1:
    raise UserError(f'episodes: expected at least 1, found {recording.episodes}.')
  if recording.seed < 0:
    raise UserError(f'seed: expected 0 or more, found {recording.seed}.')
  environment = maze.Maze(
    recording.environment,
    recording.observation,
    recording.goal,
    recording.seed,
    recording.max_episode_steps,
  )
  player = demonstrators.EpsilonOptimal(
    environment.walls, recording.epsilon, recording.seed + 1
  )
  spec = environment.environment_spec
  partial = folder.with_name(f'{folder.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  try:
    pool = write_pool(
      partial / 'pool',
      spec,
      demonstrators.record_episodes(environment, player, recording.episodes),
    )
    if rlds:
      _write_rlds(partial, pool, recording, environment)
    cells = _cells(pool)
    before = np.arange(pool.num_transitions) + pool.episode_of
    ceiling = maze.idm_ceiling(environment.walls, cells[before], cells[before + 1])
    write_card(partial, make_card(pool, ceiling, _source(recording)))
    picture = _typical_episode(pool, cells, environment.walls)
    Image.fromarray(picture).save(partial / 'picture.png')
    partial.rename(folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return pool


def _write_rlds(folder, pool: Pool, recording: Recording, environment) -> None:
  from alpt_jax.data import rlds  # the only part that needs TensorFlow

  name = maze.parse_name(recording.environment)
  metadata = {
    'environment': environment.environment_spec.name,
    'layout_seed': name.layout_seed,
    'policy': 'epsilon_optimal',
    'epsilon': recording.epsilon,
  }
  episodes = (pool.episode(index) for index in range(pool.num_episodes))
  rlds.write(folder / 'rlds', pool.spec, episodes, metadata)
  for path in (folder / 'rlds').iterdir():  # beside the pool, card and picture
    path.rename(folder / path.name)
  (folder / 'rlds').rmdir()


def _source(recording: Recording) -> str:
  fields = dataclasses.asdict(recording)
  return 'bin/record ' + ' '.join(f'{name}={value}' for name, value in fields.items())


def _cells(pool: Pool) -> np.ndarray:
  """`[N + E, 2]` the agent's cell in every observation of the pool."""
  observations = np.asarray(pool.observations)
  if pool.spec.observation.kind == 'image':
    return np.argwhere(observations[..., 2] > 0)[:, 1:]
  return observations[:, :2].astype(int)


def _typical_episode(pool: Pool, cells: np.ndarray, walls: np.ndarray) -> np.ndarray:
  """A picture of the layout and of an episode of median length, as in figure 5a."""
  episode = int(pool.lengths.argsort()[pool.num_episodes // 2])
  first = pool.starts[episode] + episode
  path = cells[first : first + pool.lengths[episode] + 1].tolist()
  return maze.render(walls, path[0], path[-1], path)


def describe(pool: Pool) -> str:
  """One line about what was recorded."""
  mean = pool.lengths.mean()
  return (
    f'{pool.num_episodes:,} episodes, {pool.num_transitions:,} transitions, '
    f'{mean:.1f} on average'
  )
