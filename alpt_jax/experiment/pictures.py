"""Films of played episodes as files that any browser shows."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image


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
