"""The environments that a trained policy is scored in."""

import copy
import pathlib
from collections.abc import Callable, Sequence

import dm_env
import numpy as np
from PIL import Image

from alpt_jax.acting.rollout import StartFn
from alpt_jax.envs import demonstrators, maze
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec

# Both seeds are ours; evaluation never shares a draw with recording.
_PAIRS_SEED = 77_001
# epsilon of each reference policy (section 5.1 records with 0.5).
REFERENCES = {'random_walk': 1.0, 'behaviour': 0.5, 'optimal': 0.0}


def can_play(spec: EnvironmentSpec) -> bool:
  """Whether policies for an environment can be scored by playing it."""
  return spec.name.startswith('maze/')


def episode_starts(
  spec: EnvironmentSpec, num_episodes: int, seed: int
) -> Sequence[StartFn]:
  """The episodes that every method of a seed is scored on.

  For a maze: one random (start, goal) pair each.

  Raises:
    UserError: this project cannot play the environment.
  """
  prototype = _environment(spec)
  pairs = _pairs(prototype, num_episodes, seed)

  def start(first, goal) -> StartFn:
    def begin():
      # Shares the layout's tables; an episode's own state is set by reset_to.
      environment = copy.copy(prototype)
      return environment, environment.reset_to(tuple(first), tuple(goal))

    return begin

  return [start(first, goal) for first, goal in pairs.tolist()]


def reference_scores(
  spec: EnvironmentSpec, num_episodes: int, seed: int, within: int
) -> dict[str, float]:
  """Success of the scripted policies on the same episodes."""
  environment = _environment(spec)
  pairs = _pairs(environment, num_episodes, seed)
  walls = environment.walls
  return {
    name: demonstrators.scripted_success(walls, pairs, epsilon, within, seed)
    for name, epsilon in REFERENCES.items()
  }


def _environment(spec: EnvironmentSpec) -> maze.Maze:
  if not can_play(spec):
    raise UserError(f"no environment here can play '{spec.name}'. Known: maze/...")
  return maze.from_spec(spec)


def _pairs(environment: maze.Maze, num_episodes: int, seed: int) -> np.ndarray:
  """`[P, 2, 2]` (start, goal) cells; P is fewer where a fixed goal was a start."""
  pairs = maze.start_goal_pairs(environment.walls, num_episodes, _PAIRS_SEED + seed)
  if environment.fixed_goal is not None:
    pairs = pairs[(pairs[:, 0] != environment.fixed_goal).any(-1)]
    pairs[:, 1] = environment.fixed_goal
  return pairs


class Filmed(dm_env.Environment):
  """Passes everything on and keeps a picture of each moment."""

  def __init__(self, environment: dm_env.Environment, draw: Callable[[], np.ndarray]):
    self._environment = environment
    self._draw = draw
    self.frames = [draw()]

  def reset(self) -> dm_env.TimeStep:
    timestep = self._environment.reset()
    self.frames = [self._draw()]
    return timestep

  def step(self, action) -> dm_env.TimeStep:
    timestep = self._environment.step(action)
    self.frames.append(self._draw())
    return timestep

  def observation_spec(self):
    return self._environment.observation_spec()

  def action_spec(self):
    return self._environment.action_spec()


def film(start: StartFn, films: list[Filmed]) -> StartFn:
  """Wraps a start so that its episode's pictures are appended to `films`."""

  def begin():
    environment, first = start()
    trace = []

    def draw():
      trace.append(environment.agent)
      return maze.render(environment.walls, environment.agent, environment.goal, trace)

    films.append(Filmed(environment, draw))
    return films[-1], first

  return begin


def save_gif(
  path: pathlib.Path, films: Sequence[Filmed], seconds: float = 0.12
) -> None:
  """Writes several episodes one after the other, the last picture of each held."""
  frames = [
    Image.fromarray(frame)
    for film in films
    for frame in [*film.frames, *film.frames[-1:] * 6]
  ]
  frames[0].save(
    path,
    save_all=True,
    append_images=frames[1:],
    duration=int(seconds * 1000),
    loop=0,
    optimize=True,
  )
