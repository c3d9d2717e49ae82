"""Pictures of mazes: walls, agent, goal and the way walked, as in figure 5a.

H and W are the grid's height and width.
"""

from collections.abc import Sequence

import numpy as np

from alpt_jax.envs.moves import Cell

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
    window, thread = _between(one, other, scale)
    colour = np.array(_FLOOR) * (1 - strength) + np.array(_PATH) * strength
    picture[window][thread] = colour
  if goal is not None:
    margin = scale // 8
    top, left = (scale * int(place) + margin for place in goal)
    side = scale - 2 * margin
    picture[top : top + side, left : left + side] = _GOAL
  if agent is not None:
    _disc(picture, agent, scale)
  return picture.round().astype(np.uint8)


def _between(
  one: np.ndarray, other: np.ndarray, scale: int
) -> tuple[tuple[slice, ...], np.ndarray]:
  """A thread between two neighbouring cells' centres: where, and which pixels there."""
  half = max(scale // 6, 1)
  low = np.minimum(one, other) * scale + scale // 2 - half
  high = np.maximum(one, other) * scale + scale // 2 + half
  window = tuple(slice(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True))
  rows, columns = np.indices(high - low)
  down, right = other - one
  if down * right < 0:
    columns = columns[:, ::-1]
  thread = abs(rows - columns) < 1.5 * half  # about as thick as a straight one
  return window, thread if down * right else np.ones_like(thread)


def _disc(picture: np.ndarray, cell: Cell, scale: int) -> None:
  """Blends the agent's disc, with a smooth edge, into a cell of the picture."""
  offsets = np.arange(scale) - (scale - 1) / 2
  distance = np.hypot(offsets[:, None], offsets[None])
  cover = np.clip(0.4 * scale - distance + 0.5, 0, 1)[..., None]
  top, left = (scale * int(place) for place in cell)
  pixels = picture[top : top + scale, left : left + scale]
  pixels[:] = (1 - cover) * pixels + cover * np.array(_AGENT)
