"""How much of a maze's actions can be seen: what no inverse dynamics model can beat."""

import numpy as np

from alpt_jax.envs.moves import Moves, blocked_moves
from alpt_jax.errors import UserError


def ceiling(
  walls: np.ndarray,
  cells_before: np.ndarray,
  cells_after: np.ndarray,
  moves: Moves,
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
    moves: the agent's.

  Raises:
    UserError: a transition that cannot happen between these walls.
  """
  before, after = (np.asarray(cells, np.int64) for cells in (cells_before, cells_after))
  blocked = blocked_moves(walls, moves)[before[:, 0], before[:, 1]]
  moved = (after - before)[:, None] == np.array(list(moves.values()))
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
