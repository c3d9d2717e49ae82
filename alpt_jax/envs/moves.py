"""The steps that a maze's agent can take, and which cells they join.

Moves are a mapping from an action's name to its (rows, columns); an action's index is
its place there. Each has its opposite among them, so a way leads back as well.

A diagonal move keeps row + column even or odd, so it joins at most half of a room's
cells. Only the cell it leads to counts: an agent passes between two walls that touch
at a corner.

A cell is (row, column), row 0 on top. H and W are the grid's height and width, A the
number of moves.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from alpt_jax.errors import UserError

Cell = Sequence[int]  # (row, column)
Moves = Mapping[str, tuple[int, int]]

# Lower case, so that they never share a row of the vocabulary with ALE's 'UP'.
ORTHOGONAL: Moves = {'down': (1, 0), 'right': (0, 1), 'up': (-1, 0), 'left': (0, -1)}
# Ours, for transfer without common actions (section 5.5): none of the names above.
DIAGONAL: Moves = {
  'down_right': (1, 1),
  'up_right': (-1, 1),
  'up_left': (-1, -1),
  'down_left': (1, -1),
}


def neighbours(values: np.ndarray, outside, moves: Moves) -> np.ndarray:
  """`[H, W]` values -> `[H, W, A]`, the value of the cell each move points at."""
  padded = np.pad(values, 1, constant_values=outside)
  height, width = values.shape
  return np.stack(
    [
      padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
      for down, right in moves.values()
    ],
    axis=-1,
  )


def blocked_moves(walls: np.ndarray, moves: Moves) -> np.ndarray:
  """`[H, W, A]` bool: True where a move would bump; the outside is wall."""
  return neighbours(walls, True, moves)


def components(walls: np.ndarray, moves: Moves) -> np.ndarray:
  """`[H, W]` int32, from 0: cells of one number reach each other; -1 on walls."""
  numbers = np.full(walls.shape, -1, np.int32)
  unseen = dict.fromkeys(map(tuple, np.argwhere(~walls).tolist()))
  number = 0
  while unseen:
    edge = [unseen.popitem()[0]]
    while edge:
      row, column = edge.pop()
      numbers[row, column] = number
      for down, right in moves.values():
        cell = row + down, column + right
        if cell in unseen:
          del unseen[cell]
          edge.append(cell)
    number += 1
  return numbers


def check_joined(walls: np.ndarray, moves: Moves, place: str) -> None:
  """Refuses walls between which nobody can take a step.

  Raises:
    UserError: no two cells are joined by a move; `place` is named.
  """
  if blocked_moves(walls, moves)[~walls].all():
    raise UserError(
      f'{place}: expected a free cell that a move ({", ".join(moves)}) leads to '
      'another, found none. Draw a wider maze.'
    )


def start_goal_pairs(
  walls: np.ndarray,
  num_pairs: int,
  seed: int,
  moves: Moves,
  goal: Cell | None = None,
) -> np.ndarray:
  """Draws (start, goal) cells uniformly from all pairs that an agent can walk.

  Where the moves join some cells only, every component takes part, by its number of
  pairs: the largest alone would leave half of a diagonal maze unseen.

  Args:
    walls: `[H, W]` bool.
    num_pairs: P, how many.
    seed: of the draw.
    moves: the agent's.
    goal: of every pair, a cell that some move leaves; None draws one for each.

  Returns:
    `[P, 2, 2]` int64 free cells, start and goal different.

  Raises:
    UserError: no two cells are joined.
  """
  check_joined(walls, moves, 'start and goal')
  free = np.argwhere(~walls)
  component = components(walls, moves)[~walls]
  rng = np.random.default_rng(seed)
  pairs = np.empty((0, 2), np.int64)
  while len(pairs) < num_pairs:
    if goal is None:
      goals = rng.integers(len(free), size=num_pairs)
    else:
      goals = np.repeat(np.flatnonzero((free == goal).all(-1)), num_pairs)
    starts = rng.integers(len(free) - 1, size=num_pairs)
    starts += starts >= goals  # skips the goal
    joined = component[starts] == component[goals]
    pairs = np.concatenate([pairs, np.stack([starts, goals], axis=1)[joined]])
  return free[pairs[:num_pairs]]
