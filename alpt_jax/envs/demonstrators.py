"""Scripted players of mazes: who records the data, and what scores mean.

The behaviour that section 5.6's data come from is an optimal player that acts at
random half of the time (epsilon 0.5; ours, the paper gives none). Epsilon 0 and 1,
the optimal player and the random walk, are the reference lines of a score.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from alpt_jax.envs.maze import Maze
from alpt_jax.envs.moves import Cell, Moves, blocked_moves, neighbours
from alpt_jax.errors import UserError
from alpt_jax.types import Episode


def distances(walls: np.ndarray, goal: Cell, moves: Moves) -> np.ndarray:
  """`[H, W]` int32 steps of the shortest way to `goal`; -1 where there is none."""
  row, column = (int(place) for place in goal)
  steps = np.full(walls.shape, -1, np.int32)
  if walls[row, column]:
    raise UserError(f'goal: expected a free cell, found a wall at ({row}, {column}).')
  bumps = blocked_moves(walls, moves).tolist()
  steps[row, column] = 0
  queue = deque([(row, column, 0)])
  while queue:
    row, column, walked = queue.popleft()
    for (down, right), bump in zip(moves.values(), bumps[row][column], strict=True):
      cell = row + down, column + right
      if not bump and steps[cell] < 0:
        steps[cell] = walked + 1
        queue.append((*cell, walked + 1))
  return steps


def optimal_actions(walls: np.ndarray, goal: Cell, moves: Moves) -> np.ndarray:
  """`[H, W, A]` bool: True for every action that brings the goal a step nearer.

  All False on walls, on the goal and where the goal cannot be reached.
  """
  steps = distances(walls, goal, moves)
  after = neighbours(steps, -1, moves)
  return (after == steps[..., None] - 1) & (steps[..., None] > 0)


class Player(Protocol):
  """Whoever chooses a maze action from the agent's and the goal's cell."""

  def action(self, agent: Cell, goal: Cell) -> int:
    """An index of the maze's moves."""


class EpsilonOptimal:
  """Optimal with probability 1 - epsilon, else uniform over all actions.

  Among several optimal actions each is equally likely: a fixed preference would
  make the demonstrations' actions easier to guess than the mazes make them.
  """

  def __init__(self, walls: np.ndarray, epsilon: float, seed: int, moves: Moves):
    """Plays in one layout.

    Args:
      walls: `[H, W]` bool.
      epsilon: 0 for the optimal player, 1 for the random walk.
      seed: of its choices.
      moves: the agent's.

    Raises:
      UserError: epsilon outside [0, 1].
    """
    if not 0 <= epsilon <= 1:
      raise UserError(f'epsilon: expected 0 to 1, found {epsilon}.')
    self._walls, self._moves = walls, moves
    self._epsilon = epsilon
    self._random = np.random.default_rng(seed).random
    self._choices = {}  # goal -> the optimal actions of every row, column

  def action(self, agent: Cell, goal: Cell) -> int:
    """An action for an agent on its way.

    Raises:
      UserError: the goal is reached already, or cannot be.
    """
    goal = int(goal[0]), int(goal[1])
    if goal not in self._choices:
      self._choices[goal] = _listed(optimal_actions(self._walls, goal, self._moves))
    choices = self._choices[goal][agent[0]][agent[1]]
    if not choices:
      raise UserError(
        f'agent: expected a free cell on the way to the goal {goal}, found '
        f'({agent[0]}, {agent[1]}). Start a new episode.'
      )
    if self._random() < self._epsilon:
      return int(self._random() * len(self._moves))
    return choices[int(self._random() * len(choices))]


def _listed(is_optimal: np.ndarray) -> list[list[list[int]]]:
  """`[H, W, A]` bool as a list of actions for every cell."""
  return [
    [[action for action, good in enumerate(cell) if good] for cell in row]
    for row in is_optimal.tolist()
  ]


def record_episodes(maze: Maze, policy: Player, num_episodes: int) -> Iterator[Episode]:
  """Plays whole episodes, one at a time; actions int32, the rest as `Episode` says."""
  for _ in range(num_episodes):
    time_step = maze.reset()
    observations, actions, rewards, discounts = [time_step.observation], [], [], []
    while not time_step.last():
      actions.append(policy.action(maze.agent, maze.goal))
      time_step = maze.step(actions[-1])
      observations.append(time_step.observation)
      rewards.append(time_step.reward)
      discounts.append(time_step.discount)
    yield Episode(
      np.stack(observations),
      np.array(actions, np.int32),
      np.array(rewards, np.float32),
      np.array(discounts, np.float32),
    )


def scripted_success(
  maze_walls: np.ndarray,
  pairs: Sequence[tuple[Cell, Cell]] | np.ndarray,
  epsilon: float,
  within: int,
  seed: int,
  moves: Moves,
) -> float:
  """The share of (start, goal) pairs that `EpsilonOptimal` solves in time.

  Args:
    maze_walls: `[S, S]` bool, connected by orthogonal moves.
    pairs: `[P, 2, 2]` (start, goal) cells, P at least 1.
    epsilon: 0 optimal, 1 the random walk.
    within: the number of steps granted.
    seed: of the player's choices.
    moves: the agent's; each goal can be reached from its start by them.
  """
  maze = Maze('scripted', max_episode_steps=within, walls=maze_walls, moves=moves)
  player = EpsilonOptimal(maze_walls, epsilon, seed, moves)
  num_solved = 0
  for start, goal in pairs:
    time_step = maze.reset_to(start, goal)
    while not time_step.last():
      time_step = maze.step(player.action(maze.agent, maze.goal))
    num_solved += time_step.discount == 0
  return num_solved / len(pairs)
