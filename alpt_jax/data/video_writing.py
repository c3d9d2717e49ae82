"""Frames written as a video that any player shows."""

import pathlib
from collections.abc import Iterable

import numpy as np

from alpt_jax.errors import UserError


def write_video(
  path: pathlib.Path, frames: Iterable[np.ndarray], frame_rate: int
) -> int:
  """Writes H.264 in an mp4, at a quality that leaves small things visible.

  Args:
    path: of the mp4; written over.
    frames: `[height, width, 3]` uint8 each, both sides even (its colours are halved).
    frame_rate: frames a second.

  Returns:
    the number of frames.

  Raises:
    UserError: PyAV is missing.
  """
  try:
    import av
  except ImportError as error:
    raise UserError("videos need PyAV. Run: pip install 'alpt-jax[video]'") from error
  num_frames = 0
  with av.open(f'file:{path}', 'w') as container:
    # Ours: below 23, the encoder's default, an emulator's screens lose nothing that
    # an inverse dynamics model looks at.
    options = {'crf': '18', 'preset': 'veryfast'}
    stream = container.add_stream('libx264', rate=frame_rate, options=options)
    stream.pix_fmt = 'yuv420p'
    for picture in frames:
      if not num_frames:
        stream.height, stream.width = picture.shape[:2]
      frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
      container.mux(stream.encode(frame))
      num_frames += 1
    container.mux(stream.encode())
  return num_frames
