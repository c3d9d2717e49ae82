"""What a recording is before it is decoded, and a frame before it is converted."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from alpt_jax.data.frame_times import clock
from alpt_jax.errors import UserError

# Suffixes, of small letters, that are taken for a video.
VIDEO_SUFFIXES = ('.avi', '.gif', '.mkv', '.mov', '.mp4', '.webm')
# Rates that differ by less are one: timestamps are rounded.
_SAME_RATE = 0.01


class Clip(NamedTuple):
  """What a recording holds, by its index and its timestamps."""

  path: pathlib.Path
  num_frames: int  # as `frames` gives them
  width: int  # pixels
  height: int  # pixels
  frame_rate: float  # frames a second; 0: not known
  codec: str  # 'h264', ..., 'png' for a folder of pictures
  seconds: float  # num_frames / frame_rate; 0 where the rate is not known
  num_stored: int  # frames in the file; num_frames unless each is held
  # Of each stored frame, from which on it is shown until the next one is due at
  # `frame_rate`; None: they are shown as they are stored.
  starts: tuple[int, ...] | None = None


# Converts a frame of a file, to grey where it is told so.
PictureFn = Callable[[bool], np.ndarray]


def _every_frame(index: int) -> bool:
  del index
  return True


class FrameForm(NamedTuple):
  """Which frames are converted, and to what."""

  grayscale: bool = True
  # From a frame's number; the others are decoded and cost no conversion.
  wanted_fn: Callable[[int], bool] = _every_frame


def place_at(clip: Clip, frame: int, word: str = 'frame') -> str:
  """'a.mp4, frame 71 (0:01.2)', without the time where no rate is known."""
  time = f' ({clock(frame / clip.frame_rate)})' if clip.frame_rate else ''
  return f'{clip.path}, {word} {frame}{time}'


def check_fits(clip: Clip, height: int, width: int, frame_skip: int) -> None:
  """Raises `UserError` where a clip has no step or fewer pixels than asked for."""
  if clip.num_frames <= frame_skip:
    lower = ', or lower --frame_skip' if frame_skip > 1 else ''
    raise UserError(
      f'{clip.path}: expected at least {frame_skip + 1} frames for one step of '
      f'{frame_skip}, found {clip.num_frames}. Remove it{lower}.'
    )
  if clip.height < height or clip.width < width:
    # Flags say the height first, as arrays do; players the width.
    smaller = f'{min(clip.height, height)}x{min(clip.width, width)}'
    raise UserError(
      f'{clip.path}: {clip.height}x{clip.width} pixels (height x width) are fewer '
      f'than --size={height}x{width}. Pass --size={smaller}.'
    )


def check_alike(clip: Clip, first: Clip) -> None:
  """Raises `UserError` where two recordings cannot be of one game.

  Args:
    clip: the one that is named.
    first: of the same game; a rate that is not known suits every other.
  """
  size, expected = (clip.width, clip.height), (first.width, first.height)
  if size != expected:
    raise UserError(
      f'{clip.path}: expected {pixels(expected)} as in {first.path}, found '
      f'{pixels(size)}: another game, or another window? Convert it apart.'
    )
  rates = sorted((clip.frame_rate, first.frame_rate))
  if rates[0] and rates[1] / rates[0] > 1 + _SAME_RATE:
    raise UserError(
      f'{clip.path}: {clip.frame_rate:.4g} frames a second, {first.path} has '
      f'{first.frame_rate:.4g}. Pass --fps={rates[0]:.4g}, or convert them apart.'
    )


def gray(picture: Image.Image) -> np.ndarray:
  """`[height, width, 1]` uint8."""
  return np.asarray(picture.convert('L'))[..., None]


def pixels(size: tuple[int, int]) -> str:
  """'160x210 pixels' of (width, height)."""
  return f'{size[0]}x{size[1]} pixels'
