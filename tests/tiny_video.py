"""Tiny videos, written with PyAV: no frame of one can be mistaken for another."""

import fractions
import functools

import numpy as np
import pytest
from PIL import Image

from alpt_jax.data import video
from alpt_jax.errors import UserError

FORMATS = {  # suffix -> codec, its pixels, its options; all but mp4 without loss
  '.mkv': ('ffv1', 'bgr0', {}),
  '.mp4': ('libx264', 'yuv420p', {'crf': '0', 'preset': 'ultrafast'}),
  '.gif': ('gif', 'rgb8', {}),
}


@functools.cache
def pictures(num_frames, height=28, width=28):
  """`[num_frames, height, width, 3]` uint8, of noise."""
  rng = np.random.default_rng(num_frames)
  return rng.integers(256, size=(num_frames, height, width, 3)).astype(np.uint8)


def grey_levels(num_frames):
  """`[num_frames, 28, 28, 3]` uint8: frame n is all n."""
  levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
  return np.broadcast_to(levels, (num_frames, 28, 28, 3)).copy()


def write(path, frames, rate=60, times=None):
  """Writes `[N, H, W, 3]` uint8 frames; `times`: `[N]` milliseconds, else a rate."""
  import av

  codec, pixels, options = FORMATS[path.suffix]
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixels
    if times is not None:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for number, picture in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
      if times is not None:
        frame.pts, frame.time_base = times[number], fractions.Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def write_pngs(folder, frames, first=0, name='frame_{:03d}.png'):
  folder.mkdir()
  for number, picture in enumerate(frames, first):
    Image.fromarray(picture).save(folder / name.format(number))
  return folder


def said(path, fps=0.0):
  """What is said of a recording that cannot be read, wherever it is noticed."""
  with pytest.raises(UserError) as error:
    for _ in video.frames(video.probe(path, fps)):
      pass
  message = str(error.value)
  assert message.startswith(str(path)) and '\n' not in message
  return message.removeprefix(str(path))
