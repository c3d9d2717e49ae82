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


def index_first(path):
  """Puts an mp4's index in front, as for streaming: cut off, it still opens."""
  import av

  whole = path.rename(path.with_suffix('.whole'))
  with (
    av.open(str(whole)) as source,
    av.open(str(path), 'w', options={'movflags': '+faststart'}) as container,
  ):
    stream = container.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
      if packet.size:
        packet.stream = stream
        container.mux(packet)
  whole.unlink()
  return path


def cut(path):
  """Leaves the first half of a file."""
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  return path


def damage(path, frame):
  """Flips 100 bytes of an mp4 where a frame begins."""
  import av

  with av.open(str(path)) as container:
    begin = [packet.pos for packet in container.demux(video=0)][frame]
  content = bytearray(path.read_bytes())
  content[begin : begin + 100] = bytes(b ^ 0xFF for b in content[begin : begin + 100])
  path.write_bytes(content)
  return path


def write_sound(path):
  """A file of sound alone."""
  import av

  with av.open(str(path), 'w') as container:
    stream = container.add_stream('pcm_s16le', rate=8000)
    sound = np.zeros((1, 800), np.int16)
    frame = av.AudioFrame.from_ndarray(sound, format='s16', layout='mono')
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def write_hour(path):
  """54,000 frames of 16x16 pixels at 15 a second."""
  import av

  with av.open(str(path), 'w') as container:
    options = {'preset': 'ultrafast', 'crf': '30'}
    stream = container.add_stream('libx264', rate=15, options=options)
    stream.height = stream.width = 16
    stream.pix_fmt = 'yuv420p'
    picture = np.zeros((16, 16, 3), np.uint8)
    for number in range(54_000):
      picture[:] = number % 251
      frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
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
