"""Gridworld mazes: walk from a start to a goal (section 5.6).

The walls come from `layouts.py`, the agent's steps from `moves.py`; what players of
mazes need of them is also found here.
A cell is (row, column), row 0 on top. H and W are the grid's height and width.
"""

import dm_env
import numpy as np

from alpt_jax.envs.layouts import (
  FORMS,
  SIZE,
  MazeName,
  checked_walls,
  layout,
  parse_name,
)
from alpt_jax.envs.moves import (
  DIAGONAL,
  ORTHOGONAL,
  Cell,
  Moves,
  blocked_moves,
  components,
  start_goal_pairs,
)
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol

__all__ = [
  'DIAGONAL',
  'FORMS',
  'OBSERVATIONS',
  'ORTHOGONAL',
  'SIZE',
  'Cell',
  'Maze',
  'MazeName',
  'Moves',
  'blocked_moves',
  'from_spec',
  'layout',
  'parse_name',
  'start_goal_pairs',
]

OBSERVATIONS = ('position', 'position_walls', 'image')
_GOAL_PART = '/goal:'  # ends the name of a maze whose goal is fixed


def from_spec(spec: EnvironmentSpec) -> 'Maze':
  """The maze that a dataset was recorded in, or a policy was trained for.

  Raises:
    UserError: the spec is not that of a maze, or its protocol an emulator's.
  """
  others = spec.protocol.differences(Protocol(spec.protocol.max_episode_steps))
  if others:
    raise UserError(f'{spec.name}, field protocol: a maze knows no {others[0]}.')
  name, _, goal = spec.name.partition(_GOAL_PART)
  goal = tuple(int(place) for place in goal.split(',')) if goal else None
  name = parse_name(name)
  for form in OBSERVATIONS:
    maze = Maze(name, form, goal, 0, spec.protocol.max_episode_steps)
    if maze.environment_spec == spec:
      return maze
  raise UserError(f'{spec.name}: no maze has the observation {spec.observation}.')


class Maze(dm_env.Environment):
  """Reward 1 for entering the goal, which ends the episode; a bump is a no-op.

  Observation forms (uint8; read-only, shared by the steps of one episode):

    'position'        [4] agent row, agent column, goal row, goal column
    'position_walls'  [13] the same, then the 3x3 walls around the agent, row by
                      row, 1 on a wall and outside the grid
    'image'           [size, size, 3] wall, goal, agent; 255 where present

  All carry the goal: without it a policy trained on several mazes at once cannot
  tell which way to go.
  """

  def __init__(
    self,
    name: str | MazeName,
    observation: str = 'position',
    goal: Cell | None = None,
    seed: int = 0,
    max_episode_steps: int = 500,
    *,
    walls: np.ndarray | None = None,
    moves: Moves = ORTHOGONAL,
  ):
    """Builds the maze; the first `reset` draws an episode.

    Args:
      name: which layout.
      observation: 'position', 'position_walls' or 'image'.
      goal: (row, column) of every episode's goal; None draws one per episode.
      seed: of the starts and goals, not of the layout.
      max_episode_steps: steps after which an episode is cut off, discount 1.
      walls: `[S, S]` bool, a layout drawn by hand, which `name` then only labels.
      moves: of the agent between hand-drawn walls; read only with `walls`.

    Raises:
      UserError: a bad name, an unknown observation form, a goal on a wall or that no
        other cell reaches, a cap below 1, or hand-drawn walls that `checked_walls`
        refuses.
    """
    if observation not in OBSERVATIONS:
      raise UserError(
        f"maze observation: unknown form '{observation}'"
        f'{did_you_mean(observation, OBSERVATIONS)}'
      )
    if max_episode_steps < 1:
      raise UserError(
        f'{name}, max_episode_steps: expected 1 or more, found {max_episode_steps}.'
      )
    if walls is None:
      name = parse_name(name) if isinstance(name, str) else name
      walls, moves = layout(name), name.moves
    self._name, self._form = str(name), observation
    self._walls, self._moves = checked_walls(walls, str(name), moves), moves
    self._component = components(self._walls, moves).reshape(-1).tolist()
    self._size = len(self._walls)
    self._free = np.flatnonzero(~self._walls).tolist()
    self._rng = np.random.default_rng(seed)
    self._max_episode_steps = max_episode_steps
    self._fixed_goal = None  # a place in `_free`
    if goal is not None:
      self._fixed_goal = self._free.index(self._reachable(goal))
      self._name += f'{_GOAL_PART}{int(goal[0])},{int(goal[1])}'
    self._next = self._transitions()
    self._drawing = self._without_goal()
    self._agent = self._goal = self._num_steps = 0
    self._is_over = True

  @property
  def walls(self) -> np.ndarray:
    """`[size, size]` bool, read-only."""
    return self._walls

  @property
  def moves(self) -> Moves:
    """What each action does; the order is that of the actions."""
    return self._moves

  @property
  def agent(self) -> tuple[int, int]:
    """Where the agent stands."""
    return divmod(self._agent, self._size)

  @property
  def goal(self) -> tuple[int, int]:
    """Where this episode's goal is."""
    return divmod(self._goal, self._size)

  @property
  def fixed_goal(self) -> tuple[int, int] | None:
    """The goal of every episode, or None where each draws its own."""
    place = self._fixed_goal
    return None if place is None else divmod(self._free[place], self._size)

  @property
  def environment_spec(self) -> EnvironmentSpec:
    """What data recorded here, and policies that play here, must share."""
    is_image = self._form == 'image'
    return EnvironmentSpec(
      name=self._name,
      action_names=tuple(self._moves),
      observation=ObservationSpec(
        kind='image' if is_image else 'integers',
        shape=self.observation_spec().shape,
        dtype='uint8',
        num_values=() if is_image else self._num_values(),
      ),
      return_range=(0, 2),
      protocol=Protocol(self._max_episode_steps),
    )

  def reset(self) -> dm_env.TimeStep:
    """Starts an episode at a start and a goal (if not fixed) that it can reach.

    Uniform over all such pairs, whichever component they are in.
    """
    free, component = self._free, self._component
    while True:
      goal = self._fixed_goal
      if goal is None:
        goal = int(self._rng.integers(len(free)))
      start = int(self._rng.integers(len(free) - 1))
      start += start >= goal  # skips the goal
      if component[free[start]] == component[free[goal]]:
        return self._begin(free[start], free[goal])

  def reset_to(self, start: Cell, goal: Cell) -> dm_env.TimeStep:
    """Starts an episode at a chosen pair of cells; a fixed goal is passed over.

    Raises:
      UserError: a cell on a wall or outside, start and goal are the same, or no way
        leads from one to the other.
    """
    indices = self._index(start, 'start'), self._index(goal, 'goal')
    if indices[0] == indices[1]:
      raise UserError(
        f'{self._name}: expected two cells, found start and goal both at '
        f'{divmod(indices[0], self._size)}. Choose another start.'
      )
    if self._component[indices[0]] != self._component[indices[1]]:
      raise UserError(
        f'{self._name}: expected a start that reaches the goal '
        f'{divmod(indices[1], self._size)} by {", ".join(self._moves)}, found '
        f'{divmod(indices[0], self._size)}. Choose another start.'
      )
    return self._begin(*indices)

  def step(self, action: int) -> dm_env.TimeStep:
    """Moves the agent, or nothing if a wall is in the way."""
    if self._is_over:
      return self.reset()
    if not 0 <= action < len(self._moves):
      raise UserError(
        f'{self._name}, step {self._num_steps}, field action: expected 0 to '
        f'{len(self._moves) - 1} ({", ".join(self._moves)}), found {action}.'
      )
    self._agent = agent = self._next[self._agent][action]
    self._num_steps += 1
    if agent == self._goal:
      self._is_over = True
      return dm_env.termination(1.0, self._observe())
    if self._num_steps == self._max_episode_steps:
      self._is_over = True
      return dm_env.truncation(0.0, self._observe())
    return dm_env.transition(0.0, self._observe())

  def observation_spec(self) -> dm_env.specs.BoundedArray:
    """The form of an observation and its largest entry."""
    maximum = 255 if self._form == 'image' else self._size - 1
    shape = self._drawing.shape if self._form == 'image' else self._drawing.shape[1:]
    return dm_env.specs.BoundedArray(shape, np.uint8, 0, maximum, 'observation')

  def action_spec(self) -> dm_env.specs.DiscreteArray:
    """The moves, in their order."""
    return dm_env.specs.DiscreteArray(len(self._moves), np.int32, 'action')

  def reward_spec(self) -> dm_env.specs.BoundedArray:
    """0 on the way, 1 at the goal."""
    return dm_env.specs.BoundedArray((), float, 0.0, 1.0, 'reward')

  def _begin(self, start: int, goal: int) -> dm_env.TimeStep:
    self._agent, self._goal, self._num_steps = start, goal, 0
    self._is_over = False
    self._scene = self._drawing.copy()
    if self._form == 'image':
      self._scene[(*self.goal, 1)] = 255
    else:
      self._scene[:, 2:4] = self.goal
    self._scene.flags.writeable = False
    return dm_env.restart(self._observe())

  def _observe(self) -> np.ndarray:
    """A row of the episode's table, or its picture with the agent drawn in."""
    if self._form != 'image':
      return self._scene[self._agent]
    picture = self._scene.copy()
    picture[(*self.agent, 2)] = 255
    return picture

  def _num_values(self) -> tuple[int, ...]:
    """Four coordinates, then nine walls that are there or not."""
    coordinates = (self._size,) * 4
    return coordinates + (2,) * 9 if self._form == 'position_walls' else coordinates

  def _index(self, cell: Cell, field: str) -> int:
    """A free cell's flat index, row by row."""
    row, column = (int(place) for place in cell)
    inside = 0 <= row < self._size and 0 <= column < self._size
    if not inside or self._walls[row, column]:
      raise UserError(
        f'{self._name}, {field}: expected a free cell, found ({row}, {column}), '
        f'{"a wall" if inside else "outside the grid"}. Choose another.'
      )
    return row * self._size + column

  def _reachable(self, goal: Cell) -> int:
    """The flat index of a fixed goal, once it can be entered."""
    index = self._index(goal, 'goal')
    if self._component.count(self._component[index]) < 2:
      raise UserError(
        f'{self._name}, goal: expected a cell that another reaches by '
        f'{", ".join(self._moves)}, found {divmod(index, self._size)}. Choose another.'
      )
    return index

  def _transitions(self) -> list[list[int]]:
    """The flat index that each action leads to, from every flat index."""
    here = np.arange(self._size**2)[:, None]
    steps = self._moves.values()
    offsets = np.array([down * self._size + right for down, right in steps])
    bumps = blocked_moves(self._walls, self._moves).reshape(-1, len(offsets))
    return np.where(bumps, here, here + offsets).tolist()

  def _without_goal(self) -> np.ndarray:
    """What observations share: a row for each agent cell, or the walls' picture."""
    if self._form == 'image':
      picture = np.zeros((self._size, self._size, 3), np.uint8)
      picture[..., 0] = 255 * self._walls
      return picture
    cells = np.indices(self._walls.shape).reshape(2, -1).T
    columns = [cells, np.zeros_like(cells)]
    if self._form == 'position_walls':
      padded = np.pad(self._walls, 1, constant_values=True)
      around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
      columns.append(around.reshape(-1, 9))
    return np.concatenate(columns, axis=1).astype(np.uint8)
