"""From a recording's frames to observations, as the emulator makes them of its own."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from alpt_jax.data.clip import Clip, FrameForm


def observations(
  clip: Clip,
  shown: Sequence[int],
  is_pooled: Sequence[bool],
  grayscale: bool = True,
  resize_fn: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
  """`[height, width, 1 or 3]` uint8 observations, one for each of N moments.

  As the emulator's: the maximum of two frames first, then the resize. Take the last
  one and ask for another: what lies behind the last moment is only then looked at.

  Args:
    clip: read once, to its end.
    shown: `[N]` ascending frame numbers; one may stand there twice.
    is_pooled: `[N]` whether the frame before is pooled with it, pixel by pixel.
    grayscale: one channel instead of three.
    resize_fn: `[height, width]` uint8 to another size, for each channel; None: kept.

  Raises:
    UserError: as `video.frames`, damage behind the last moment included.
  """
  from alpt_jax.data import video  # may be missing its package

  shown = np.asarray(shown, int)
  is_pooled = np.asarray(is_pooled, bool)
  wanted = np.zeros(clip.num_frames, bool)
  wanted[shown] = True
  wanted[shown[is_pooled] - 1] = True
  before, position = None, 0
  read = video.frames(clip, FrameForm(grayscale, wanted.__getitem__))
  for index, picture in zip(np.flatnonzero(wanted), read, strict=True):
    while position < len(shown) and shown[position] == index:
      pooled = np.maximum(before, picture) if is_pooled[position] else picture
      yield resized(pooled, resize_fn)
      position += 1
    before = picture


def resized(
  picture: np.ndarray, resize_fn: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
  """A `[height, width, channels]` picture, each channel by `resize_fn`; None: as is."""
  if resize_fn is None:
    return picture
  return np.stack([resize_fn(plane) for plane in np.moveaxis(picture, -1, 0)], -1)
