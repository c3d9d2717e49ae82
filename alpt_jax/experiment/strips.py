"""A moment of a recording as one picture: the frames around a transition, in a row."""

import numpy as np
from PIL import Image, ImageDraw

from alpt_jax.data.pool import Pool

# Ours: a frame is shown about so large, in pixels, and this many of them on each side.
_SIDE = 168
_AROUND = 3

_GAP = 14  # between two frames
_ARROW = 16  # more between the two that the action lies between
_LINE = 3  # of the outline, and between it and its frame
_CAPTION = 16
_PAPER, _INK = '#DDDDDD', '#111111'
# Ours: more numbers of an observation than that nobody reads.
_MOST_CHANGES = 6


def draw_strip(pool: Pool, episode: int, step: int) -> Image.Image:
  """The frames around a transition; the two that it lies between are outlined.

  At most three up to where the action is taken and three behind, of its episode.

  Args:
    pool: its observations are images.
    episode: which.
    step: the transition's place in it.
  """
  first = max(0, step + 1 - _AROUND)
  last = min(int(pool.lengths[episode]), step + _AROUND)
  row = int(pool.starts[episode]) + episode
  frames = [_frame(each) for each in pool.observations[row + first : row + last + 1]]
  width, height = frames[0].size
  size = (
    _GAP + len(frames) * (width + _GAP) + _ARROW,
    height + 4 * _LINE + _CAPTION,
  )
  picture = Image.new('RGB', size, _PAPER)
  draw = ImageDraw.Draw(picture)
  for index, frame in enumerate(frames):
    offset = first + index - step
    left = _GAP + index * (width + _GAP) + _ARROW * (offset > 0)
    picture.paste(frame, (left, 2 * _LINE))
    if offset in (0, 1):
      edge = (left - 2 * _LINE, 0, left + width + 2 * _LINE - 1, height + 4 * _LINE - 1)
      draw.rectangle(edge, outline=_INK, width=_LINE)
    if offset == 1:
      _draw_arrow(draw, left - (_GAP + _ARROW) // 2, height // 2 + 2 * _LINE)
    text = {0: 'before', 1: 'after'}.get(offset, f'{offset - (offset > 0):+d}')
    draw.text((left, height + 4 * _LINE + 2), text, fill=_INK)
  return picture


def _draw_arrow(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
  """A triangle that points from one frame to the next."""
  half = _ARROW // 2 - 2
  draw.polygon([(x - half, y - 12), (x - half, y + 12), (x + half, y)], fill=_INK)


def _frame(observation: np.ndarray) -> Image.Image:
  """One frame, grey or coloured, enlarged or reduced by a whole number."""
  observation = np.asarray(observation)
  if observation.shape[-1] != 3:
    observation = observation[..., -1]  # of several grey ones the latest
  frame = Image.fromarray(observation).convert('RGB')
  side = max(frame.size)
  if side > _SIDE:
    return frame.reduce(-(-side // _SIDE))
  scale = _SIDE // side
  return frame.resize((frame.width * scale, frame.height * scale), Image.Resampling.BOX)


def changes(pool: Pool, episode: int, step: int) -> str:
  """What a transition changes, where observations are numbers: 'entry 1: 4 to 5'."""
  row = int(pool.starts[episode]) + episode + step
  before, after = np.asarray(pool.observations[row : row + 2])
  places = np.flatnonzero(before != after)
  if not len(places):
    return 'nothing changes'
  said = [
    f'entry {place}: {before[place]:g} to {after[place]:g}'
    for place in places[:_MOST_CHANGES]
  ]
  if len(places) > _MOST_CHANGES:
    said.append(f'and {len(places) - _MOST_CHANGES} more')
  return ', '.join(said)
