"""How policies are scored in a maze: the same pairs for every method of a seed."""

import copy
import pathlib
from collections.abc import Callable, Sequence

import dm_env

from alpt_jax.acting import scores
from alpt_jax.acting.rollout import OneByOne, Player, StartFn, play
from alpt_jax.envs import demonstrators, maze, maze_picture
from alpt_jax.experiment.pictures import save_gif
from alpt_jax.specs import EnvironmentSpec

# Ours; evaluation never shares a draw with recording.
_PAIRS_SEED = 77_001
# epsilon of each reference policy (section 5.1 records with 0.5).
REFERENCES = {'random_walk': 1.0, 'behaviour': 0.5, 'optimal': 0.0}
_FILMED_EPISODES = 3
_PICTURE_SECONDS = 0.12
# The last picture of an episode is held for so many.
_HELD = 6


class MazeArena:
  """Random (start, goal) pairs in one maze, played sampled and again greedily."""

  def __init__(
    self, spec: EnvironmentSpec, num_episodes: int, seed: int, num_stages: int = 1
  ):
    """Draws the pairs; an episode is granted `spec.protocol.max_episode_steps`.

    Args:
      spec: of a maze.
      num_episodes: pairs.
      seed: of the pairs and of what is sampled.
      num_stages: groups of episodes that take turns: while the device decides for one,
        another one's agents move. The scores are the same. Two are no faster: to move
        them takes a tenth of the time.

    Raises:
      UserError: not a maze, or a protocol that only emulators know.
    """
    self._maze = maze.from_spec(spec)
    self._within = spec.protocol.max_episode_steps
    self._seed = seed
    self._num_stages = num_stages
    self._pairs = maze.start_goal_pairs(
      self._maze.walls,
      num_episodes,
      _PAIRS_SEED + seed,
      self._maze.moves,
      self._maze.fixed_goal,
    )

  def references(self) -> dict[str, float]:
    """Success of the scripted policies on the same episodes."""
    walls, moves = self._maze.walls, self._maze.moves
    return {
      name: demonstrators.scripted_success(
        walls, self._pairs, epsilon, self._within, self._seed, moves
      )
      for name, epsilon in REFERENCES.items()
    }

  def scores(self, player: Player) -> dict[str, float]:
    """Share of episodes that reach the goal in time, sampled and greedy."""
    starts = self.starts()
    count = len(starts)
    results = play(
      player,
      [OneByOne([*starts, *starts]) for _ in range(self._num_stages)],
      2 * count,
      max_steps=self._within,
      seed=self._seed,
      greedy=[False] * count + [True] * count,
    )
    return {
      'success_sampled': scores.success_share(results[:count], self._within),
      'success_greedy': scores.success_share(results[count:], self._within),
    }

  def film(self, player: Player, path: pathlib.Path) -> None:
    """Films the first episodes, sampled, as a gif."""
    films: list[_Filmed] = []
    starts = [_film(start, films) for start in self.starts()[:_FILMED_EPISODES]]
    play(
      player,
      [OneByOne(starts)],
      len(starts),
      max_steps=self._within,
      seed=self._seed,
      greedy=[False] * len(starts),
    )
    frames = [f for film in films for f in [*film.frames, *film.frames[-1:] * _HELD]]
    save_gif(path, frames, _PICTURE_SECONDS)

  def starts(self) -> Sequence[StartFn]:
    """One function per scored episode."""

    def start(first, goal) -> StartFn:
      def begin():
        # Shares the layout's tables; an episode's own state is set by reset_to.
        environment = copy.copy(self._maze)
        return environment, environment.reset_to(tuple(first), tuple(goal))

      return begin

    return [start(first, goal) for first, goal in self._pairs.tolist()]


class _Filmed(dm_env.Environment):
  """Passes everything on and keeps a picture of each moment."""

  def __init__(self, environment: dm_env.Environment, draw_fn: Callable):
    self._environment = environment
    self._draw_fn = draw_fn
    self.frames = [draw_fn()]

  def reset(self) -> dm_env.TimeStep:
    timestep = self._environment.reset()
    self.frames = [self._draw_fn()]
    return timestep

  def step(self, action) -> dm_env.TimeStep:
    timestep = self._environment.step(action)
    self.frames.append(self._draw_fn())
    return timestep

  def observation_spec(self):
    return self._environment.observation_spec()

  def action_spec(self):
    return self._environment.action_spec()


def _film(start: StartFn, films: list[_Filmed]) -> StartFn:
  """Wraps a start so that its episode's pictures are appended to `films`."""

  def begin():
    environment, first = start()
    trace = []

    def draw():
      trace.append(environment.agent)
      agent, goal = environment.agent, environment.goal
      return maze_picture.render(environment.walls, agent, goal, trace)

    films.append(_Filmed(environment, draw))
    return films[-1], first

  return begin
