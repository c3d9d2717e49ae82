"""Where a maze's walls are, and how its agent moves: what its name stands for.

A maze is named 'maze/blocked:20/7': family, form and number of blocks, layout
seed; the name alone determines its walls and moves. Blocked and tunneled layouts
follow the generator that Yang et al. (2022), cited by section 5.6, take from
google-research/dice_rl (environments/gridworld), with one change of ours: blocked
layouts are redrawn until every free cell can reach every other. Diagonal mazes are
ours, for section 5.5: drawn like blocked ones, but their agent moves diagonally.

A cell is (row, column), row 0 on top. H and W are the grid's height and width.
"""

import dataclasses

import numpy as np

from alpt_jax.envs.moves import (
  DIAGONAL,
  ORTHOGONAL,
  Moves,
  check_joined,
  components,
)
from alpt_jax.errors import UserError, did_you_mean

SIZE = 20  # section 5.6


@dataclasses.dataclass(frozen=True)
class _Form:
  """A kind of maze.

  Attributes:
    has_blocks: single wall cells in an open room; else corridors.
    moves: of its agent.
  """

  has_blocks: bool
  moves: Moves


# A form's place here is part of its layouts' seeds: append only.
_FORMS = {
  'blocked': _Form(has_blocks=True, moves=ORTHOGONAL),
  'tunneled': _Form(has_blocks=False, moves=ORTHOGONAL),
  'diagonal': _Form(has_blocks=True, moves=DIAGONAL),
}
FORMS = tuple(_FORMS)

_NUM_BLOCKS = 20  # ours: the paper gives no number
_MAX_TRIES = 2000  # about half a second
_CORRIDOR, _INNER_WALL, _SHORTCUT = 2, 1, 0.1  # dice_rl's `sample_wall`


@dataclasses.dataclass(frozen=True)
class MazeName:
  """What determines a layout.

  Attributes:
    form: 'blocked' (single wall cells in an open room), 'tunneled' (corridors two
      cells wide) or 'diagonal' (as blocked, walked diagonally).
    num_blocks: single wall cells inside the border; 0 for 'tunneled'.
    layout_seed: which of the form's layouts, 0 or more.
  """

  form: str
  num_blocks: int
  layout_seed: int

  def __str__(self) -> str:
    """The name that `parse_name` reads back."""
    blocks = f':{self.num_blocks}' if _FORMS[self.form].has_blocks else ''
    return f'maze/{self.form}{blocks}/{self.layout_seed}'

  @property
  def moves(self) -> Moves:
    """How the agent moves there."""
    return _FORMS[self.form].moves


def parse_name(name: str, size: int = SIZE) -> MazeName:
  """Reads 'maze/FORM[:BLOCKS]/SEED'; a form without its blocks has 20.

  Raises:
    UserError: another shape, an unknown form, a seed or number of blocks that is
      no whole number from 0, or more blocks than a grid of `size` can hold.
  """
  parts = name.split('/')
  if len(parts) != 3 or parts[0] != 'maze':
    raise UserError(
      f"maze name: expected maze/FORM[:BLOCKS]/SEED, found '{name}'. "
      'Write for example maze/blocked:20/7, maze/tunneled/3 or maze/diagonal:20/7.'
    )
  form, colon, blocks = parts[1].partition(':')
  if form not in FORMS:
    raise UserError(
      f"maze name '{name}': unknown form '{form}'{did_you_mean(form, FORMS)}"
    )
  has_blocks = _FORMS[form].has_blocks
  if colon and not has_blocks:
    raise UserError(
      f"maze name '{name}': a {form} maze has no number of blocks, found "
      f"'{blocks}'. Write maze/{form}/{parts[2]}."
    )
  num_blocks = _NUM_BLOCKS if has_blocks else 0
  if colon:
    num_blocks = _whole_number(blocks, name, 'number of blocks')
  parsed = MazeName(form, num_blocks, _whole_number(parts[2], name, 'layout seed'))
  _check_fits(parsed, size)
  return parsed


def _whole_number(text: str, name: str, field: str) -> int:
  if not (text.isascii() and text.isdecimal()):
    raise UserError(
      f"maze name '{name}', {field}: expected a whole number from 0, found '{text}'."
    )
  return int(text)


def _check_fits(name: MazeName, size: int) -> None:
  if not 4 <= size <= 256:
    raise UserError(
      f'{name}, size: expected 4 to 256 (a cell is two uint8 entries), found {size}.'
    )
  # A third is ours: at 20x20 a tenth of the draws with 80 blocks are connected,
  # one in 250 with 100.
  limit = (size - 2) ** 2 // 3
  if name.num_blocks > limit:
    raise UserError(
      f'{name}, number of blocks: expected at most {limit} in a {size}x{size} grid, '
      f'found {name.num_blocks}. With more the free cells fall apart.'
    )


def layout(name: str | MazeName, size: int = SIZE) -> np.ndarray:
  """The walls of a maze: `[size, size]` bool, True on a wall; border included.

  Every free cell can be reached from every other by orthogonal moves; a diagonal
  maze's own moves join fewer.

  Raises:
    UserError: a name that `parse_name` refuses, or a form with blocks of which no
      connected layout was found.
  """
  name = parse_name(str(name), size)
  entropy = (FORMS.index(name.form), name.num_blocks, name.layout_seed)
  rng = np.random.default_rng(np.random.SeedSequence(entropy))
  if not _FORMS[name.form].has_blocks:
    return _tunneled(rng, size)
  for _ in range(_MAX_TRIES):
    walls = _blocked(rng, size, name.num_blocks)
    if _is_connected(walls):
      return walls
  raise UserError(
    f'{name}: no connected layout among {_MAX_TRIES} draws of form {name.form} with '
    f'{name.num_blocks} blocks in a {size}x{size} grid. Ask for fewer blocks.'
  )


def _shuffled(rng, num_items: int) -> np.ndarray:
  """A permutation from `random()` alone: NumPy may change its `permutation`."""
  return np.argsort(rng.random(num_items), kind='stable')


def _blocked(rng, size: int, num_blocks: int) -> np.ndarray:
  walls = np.ones((size, size), bool)
  walls[1:-1, 1:-1] = False
  empty = np.flatnonzero(~walls)
  walls.flat[empty[_shuffled(rng, len(empty))[:num_blocks]]] = True
  return walls


def _tunneled(rng, size: int) -> np.ndarray:
  """Depth-first backtracker on a lattice; a few extra openings make loops."""
  walls = np.ones((size, size), bool)
  last = size - 1 - _CORRIDOR  # the last row or column where a corridor can start
  walls[1 : 1 + _CORRIDOR, 1 : 1 + _CORRIDOR] = False
  steps = list(ORTHOGONAL.values())
  path = [((1, 1), iter(_shuffled(rng, 4)))]
  while path:
    (row, column), directions = path[-1]
    direction = next(directions, None)
    if direction is None:
      path.pop()
      continue
    down, right = steps[direction]
    step = _CORRIDOR + _INNER_WALL
    to_row, to_column = row + step * down, column + step * right
    if not (1 <= to_row <= last and 1 <= to_column <= last):
      continue
    is_new = walls[to_row, to_column]
    if is_new or rng.random() < _SHORTCUT:
      top, left = min(row, to_row), min(column, to_column)
      bottom, far_right = max(row, to_row), max(column, to_column)
      walls[top : bottom + _CORRIDOR, left : far_right + _CORRIDOR] = False
    if is_new:
      path.append(((to_row, to_column), iter(_shuffled(rng, 4))))
  return walls


def _is_connected(walls: np.ndarray) -> bool:
  """True where any free cell reaches all others (or there is none)."""
  return components(walls, ORTHOGONAL).max() <= 0


def checked_walls(walls: np.ndarray, name: str, moves: Moves) -> np.ndarray:
  """A read-only copy of hand-drawn walls, once they make a playable maze.

  Raises:
    UserError: not square, too large, the free cells fall apart (by orthogonal
      moves), or none can be left by the maze's own moves.
  """
  walls = np.array(walls, bool)
  is_square = walls.ndim == 2 and walls.shape[0] == walls.shape[1] <= 256
  if not is_square or (~walls).sum() < 2 or not _is_connected(walls):
    raise UserError(
      f'{name}, walls: expected a square grid of at most 256 rows with two or more '
      f'free cells, all connected; found shape {list(walls.shape)} with '
      f'{int((~walls).sum())} free cells.'
    )
  check_joined(walls, moves, f'{name}, walls')
  walls.flags.writeable = False
  return walls
