"""Played episodes as files that any browser shows: films, and a few moments."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from alpt_jax.data.pool import Pool


def save_gif(path: pathlib.Path, frames: Sequence[np.ndarray], seconds: float) -> None:
  """Writes `[H, W, 3]` uint8 frames as an endless gif, `seconds` for each."""
  pictures = [Image.fromarray(frame) for frame in frames]
  pictures[0].save(
    path,
    save_all=True,
    append_images=pictures[1:],
    duration=int(seconds * 1000),
    loop=0,
    optimize=True,
  )


def save_best_episode(path: pathlib.Path, pool: Pool) -> None:
  """Four moments of the episode of highest return, side by side, at twice the size.

  Of other channels than colours, as of frames that are stacked, the first is shown.
  """
  best = int(np.add.reduceat(pool.rewards, pool.starts).argmax())
  moments = (np.array([1, 3, 5, 7]) * pool.lengths[best]) // 8
  pictures = np.asarray(pool.observations[pool.starts[best] + best + moments])
  strip = np.concatenate(list(pictures), axis=1).repeat(2, 0).repeat(2, 1)
  Image.fromarray(strip if strip.shape[-1] == 3 else strip[..., 0]).save(path)
