"""Recording a maze: episodes, RLDS files, a pool, a card and a picture.

Also what recordings of all kinds share: a folder that is complete or not there, and
the card of a dataset.
"""

import contextlib
import dataclasses
import json
import pathlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from alpt_jax.data.card import make_card, write_card
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.envs import demonstrators, maze, maze_ceiling, maze_picture
from alpt_jax.errors import UserError
from alpt_jax.experiment.records import write_record
from alpt_jax.partial import PARTIAL, remove_abandoned, writer_name
from alpt_jax.types import Episode

# Beside a dataset: how it was recorded.
RECORDING = 'recording.json'


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
  check_positive('episodes', recording.episodes)
  with new_folder(folder, recording) as partial:
    environment = maze.Maze(
      recording.environment,
      recording.observation,
      recording.goal,
      recording.seed,
      recording.max_episode_steps,
    )
    walls, moves = environment.walls, environment.moves
    player = demonstrators.EpsilonOptimal(
      walls, recording.epsilon, recording.seed + 1, moves
    )
    pool = write_pool(
      partial / 'pool',
      environment.environment_spec,
      demonstrators.record_episodes(environment, player, recording.episodes),
    )
    if rlds:
      metadata = {
        'environment': environment.environment_spec.name,
        'layout_seed': maze.parse_name(recording.environment).layout_seed,
        'policy': 'epsilon_optimal',
        'epsilon': recording.epsilon,
      }
      write_rlds(partial, pool, metadata)
    cells = _cells(pool)
    before = np.arange(pool.num_transitions) + pool.episode_of
    ceiling = maze_ceiling.ceiling(walls, cells[before], cells[before + 1], moves)
    source = command(recording, folder, rlds)
    write_card(partial, make_card(pool, ceiling, source))
    picture = _typical_episode(pool, cells, walls)
    Image.fromarray(picture).save(partial / 'picture.png')
  return pool


@contextlib.contextmanager
def new_folder(folder: pathlib.Path, recording: Any) -> Iterator[pathlib.Path]:
  """Gives a folder to write to that takes its name when all went well.

  Several machines that share a disk may record the same at once: each writes to a
  folder of its own.

  Args:
    folder: where the dataset shall be.
    recording: a dataclass that says how it was recorded, `seed` among its fields;
      kept beside the data.

  Raises:
    UserError: the folder exists, now or at the end, or the seed is negative.
  """
  seed = recording.seed
  if folder.exists():
    raise UserError(f'{folder}: exists. Remove it or record into another folder.')
  if seed < 0:
    raise UserError(f'seed: expected 0 or more, found {seed}.')
  remove_abandoned(folder)
  partial = folder.with_name(f'{folder.name}.{PARTIAL}{writer_name()}')
  try:
    yield partial
    write_record(partial / RECORDING, dataclasses.asdict(recording))
    try:
      partial.rename(folder)
    except OSError as error:
      if not folder.exists():
        raise
      message = f'{folder}: was recorded by another process meanwhile.'
      raise UserError(message) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_positive(field: str, count: int) -> None:
  """Something of which there must be one or more."""
  if count < 1:
    raise UserError(f'{field}: expected at least 1, found {count}.')


def write_rlds(
  folder: pathlib.Path,
  pool: Pool,
  metadata: Mapping[str, Any],
  watch_fn: Callable[[Iterator[Episode]], Iterator[Episode]] = iter,
) -> None:
  """Puts a pool's episodes, as RLDS files, beside it; needs TensorFlow.

  Args:
    folder: of the dataset.
    pool: its episodes.
    metadata: of every episode, as `rlds.write` takes it.
    watch_fn: passes the episodes on as they are written.
  """
  from alpt_jax.data import rlds  # the only part that needs it

  episodes = (pool.episode(index) for index in range(pool.num_episodes))
  is_partial = not pool.is_labelled.all()
  rlds.write(
    folder / 'rlds', pool.spec, watch_fn(episodes), metadata, is_partial=is_partial
  )
  for path in (folder / 'rlds').iterdir():  # beside the pool, card and picture
    path.rename(folder / path.name)
  (folder / 'rlds').rmdir()


def command(recording: Any, folder: pathlib.Path, rlds: bool) -> str:
  """The command that records the same again, into a folder of the same name.

  Args:
    recording: a dataclass whose fields are the flags of `bin/record`.
    folder: of the dataset.
    rlds: whether RLDS files were asked for.
  """
  words = ['python', '-m', 'alpt_jax.bin.record']
  fields = dataclasses.asdict(recording)
  environment = fields.pop('environment')
  words += [f'--environment={environment}', f'--out={folder.name}']
  for name, value in fields.items():
    if isinstance(value, tuple):
      value = ','.join(map(str, value))
    if value is not None:
      words.append(f'--{name}={value}')
  return shlex.join([*words, '--rlds' if rlds else '--norlds'])


def card_of(folder: pathlib.Path) -> dict[str, Any]:
  """The card of any dataset folder, counted anew.

  What cannot be counted, the source and the best possible accuracy, is taken from
  the folder's own card where that describes the same content.

  Raises:
    UserError: not a dataset, or damaged.
  """
  from alpt_jax.experiment import datasets  # loads JAX

  if datasets.holds_shards(str(folder)):
    from alpt_jax.experiment.shard_set import card_of_shards

    return card_of_shards(folder)
  pool = datasets.open_dataset(folder)
  known: dict[str, Any] = {}
  with contextlib.suppress(OSError, ValueError):
    known = json.loads((folder / 'card.json').read_text())
  if known.get('manifest_hash') != pool.manifest_hash:
    known = {}
  visible = None
  if known.get('visible_accuracy') is not None:
    visible = {
      'accuracy': known['visible_accuracy'],
      'accuracy_merged': known['visible_accuracy_merged'],
    }
  return make_card(
    pool,
    known.get('best_possible_idm_accuracy'),
    known.get('source', ''),
    visible=visible,
  )


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
  return maze_picture.render(walls, path[0], path[-1], path)


def describe(pool: Pool) -> str:
  """One line about what was recorded."""
  mean = pool.lengths.mean()
  return (
    f'{pool.num_episodes:,} episodes, {pool.num_transitions:,} transitions, '
    f'{mean:.1f} on average'
  )
