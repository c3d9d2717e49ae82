"""Gridworld mazes: walk from a start to a goal (section 5.6).

The walls come from `layouts.py`, whose public names are also found here.
A cell is (row, column), row 0 on top. H and W are the grid's height and width.
"""

from collections.abc import Sequence

import dm_env
import numpy as np

from alpt_jax.envs.layouts import (
  ACTION_NAMES,
  FORMS,
  MOVES,
  SIZE,
  Cell,
  MazeName,
  blocked_moves,
  checked_walls,
  layout,
  parse_name,
  start_goal_pairs,
)
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol

__all__ = [
  'ACTION_NAMES',
  'FORMS',
  'MOVES',
  'OBSERVATIONS',
  'SIZE',
  'Cell',
  'Maze',
  'MazeName',
  'blocked_moves',
  'from_spec',
  'idm_ceiling',
  'layout',
  'parse_name',
  'render',
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


def idm_ceiling(
  walls: np.ndarray, cells_before: np.ndarray, cells_after: np.ndarray
) -> float:
  """The accuracy that no inverse dynamics model can beat, on these transitions.

  A move tells its action. A bump tells only that the action was one of the k
  blocked ones: whoever explores uniformly and otherwise never bumps, as
  `EpsilonOptimal` does, took each with probability 1/k, so the best guess is
  right in 1/k of the cases.

  Args:
    walls: `[H, W]` bool.
    cells_before: `[N, 2]` integer agent cells, N at least 1.
    cells_after: `[N, 2]` integer agent cells one step later.

  Raises:
    UserError: a transition that cannot happen between these walls.
  """
  before, after = (np.asarray(cells, np.int64) for cells in (cells_before, cells_after))
  blocked = blocked_moves(walls)[before[:, 0], before[:, 1]]
  moved = (after - before)[:, None] == np.array(MOVES)
  moved = (moved.all(-1) & ~blocked).any(-1)
  num_blocked = blocked.sum(-1)
  possible = moved | ((before == after).all(-1) & (num_blocked > 0))
  if not possible.all():
    index = int(possible.argmin())
    raise UserError(
      f'transition {index}: expected one step or a bump, found '
      f'{tuple(before[index].tolist())} to {tuple(after[index].tolist())}, which '
      'these walls do not allow. Use the layout the episodes were recorded in.'
    )
  return float(np.where(moved, 1.0, 1.0 / np.maximum(num_blocked, 1)).mean())


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
  ):
    """Builds the maze; the first `reset` draws an episode.

    Args:
      name: which layout.
      observation: 'position', 'position_walls' or 'image'.
      goal: (row, column) of every episode's goal; None draws one per episode.
      seed: of the starts and goals, not of the layout.
      max_episode_steps: steps after which an episode is cut off, discount 1.
      walls: `[S, S]` bool, a layout drawn by hand, which `name` then only labels.

    Raises:
      UserError: a bad name, an unknown observation form, a goal on a wall, a cap
        below 1, or hand-drawn walls that are not square and connected.
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
      walls = layout(name)
    self._name, self._form = str(name), observation
    self._walls = checked_walls(walls, self._name)
    self._size = len(self._walls)
    self._free = np.flatnonzero(~self._walls).tolist()
    self._rng = np.random.default_rng(seed)
    self._max_episode_steps = max_episode_steps
    self._fixed_goal = None  # a place in `_free`
    if goal is not None:
      self._fixed_goal = self._free.index(self._index(goal, 'goal'))
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
      action_names=ACTION_NAMES,
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
    """Starts an episode at a uniformly drawn start (and goal, if not fixed)."""
    goal = self._fixed_goal
    if goal is None:
      goal = int(self._rng.integers(len(self._free)))
    start = int(self._rng.integers(len(self._free) - 1))
    start += start >= goal  # skips the goal
    return self._begin(self._free[start], self._free[goal])

  def reset_to(self, start: Cell, goal: Cell) -> dm_env.TimeStep:
    """Starts an episode at a chosen pair of cells; a fixed goal is passed over.

    Raises:
      UserError: a cell on a wall or outside, or start and goal are the same.
    """
    indices = self._index(start, 'start'), self._index(goal, 'goal')
    if indices[0] == indices[1]:
      raise UserError(
        f'{self._name}: expected two cells, found start and goal both at '
        f'{divmod(indices[0], self._size)}. Choose another start.'
      )
    return self._begin(*indices)

  def step(self, action: int) -> dm_env.TimeStep:
    """Moves the agent, or nothing if a wall is in the way."""
    if self._is_over:
      return self.reset()
    if not 0 <= action < 4:
      raise UserError(
        f'{self._name}, step {self._num_steps}, field action: expected 0 to 3 '
        f'({", ".join(ACTION_NAMES)}), found {action}.'
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
    """Four moves, in the order of `ACTION_NAMES`."""
    return dm_env.specs.DiscreteArray(4, np.int32, 'action')

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

  def _transitions(self) -> list[list[int]]:
    """The flat index that each action leads to, from every flat index."""
    here = np.arange(self._size**2)[:, None]
    offsets = np.array([down * self._size + right for down, right in MOVES])
    bumps = blocked_moves(self._walls).reshape(-1, len(MOVES))
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


# 8-bit RGB of `render`.
_WALL, _FLOOR, _GRID = (52, 60, 74), (247, 245, 240), (228, 224, 214)
_GOAL, _AGENT, _PATH = (58, 166, 85), (226, 88, 51), (76, 132, 206)


def render(
  walls: np.ndarray,
  agent: Cell | None = None,
  goal: Cell | None = None,
  path: Sequence[Cell] | None = None,
  scale: int = 12,
) -> np.ndarray:
  """Draws a maze as in figure 5a: `[H * scale, W * scale, 3]` uint8.

  Args:
    walls: `[H, W]` bool.
    agent: cell of an orange disc.
    goal: cell of the green square.
    path: `[P, 2]` visited cells in order; the trace fades towards the oldest.
    scale: pixels of a cell's side, 4 or more to tell things apart.
  """
  blocks = np.where(walls[..., None], _WALL, _FLOOR).astype(np.float32)
  picture = blocks.repeat(scale, 0).repeat(scale, 1)
  if scale >= 8:  # below, the lines would hide the floor
    on_floor = ~walls.repeat(scale, 0).repeat(scale, 1)
    lines = np.zeros_like(on_floor)
    lines[::scale] = lines[:, ::scale] = True
    picture[lines & on_floor] = _GRID
  cells = np.asarray([] if path is None else path, int).reshape(-1, 2)
  for age, (one, other) in enumerate(zip(cells[:-1], cells[1:], strict=True)):
    strength = 0.2 + 0.8 * (age + 1) / len(cells)
    thread = _between(one, other, scale)
    picture[thread] = np.array(_FLOOR) * (1 - strength) + np.array(_PATH) * strength
  if goal is not None:
    margin = scale // 8
    top, left = (scale * int(place) + margin for place in goal)
    side = scale - 2 * margin
    picture[top : top + side, left : left + side] = _GOAL
  if agent is not None:
    _disc(picture, agent, scale)
  return picture.round().astype(np.uint8)


def _between(one: np.ndarray, other: np.ndarray, scale: int) -> tuple[slice, ...]:
  """The pixels of a thread between two neighbouring cells' centres."""
  half = max(scale // 6, 1)
  low = np.minimum(one, other) * scale + scale // 2 - half
  high = np.maximum(one, other) * scale + scale // 2 + half
  return tuple(slice(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True))


def _disc(picture: np.ndarray, cell: Cell, scale: int) -> None:
  """Blends the agent's disc, with a smooth edge, into a cell of the picture."""
  offsets = np.arange(scale) - (scale - 1) / 2
  distance = np.hypot(offsets[:, None], offsets[None])
  cover = np.clip(0.4 * scale - distance + 0.5, 0, 1)[..., None]
  top, left = (scale * int(place) for place in cell)
  pixels = picture[top : top + scale, left : left + scale]
  pixels[:] = (1 - cover) * pixels + cover * np.array(_AGENT)
