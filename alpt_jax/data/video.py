"""Videos and folders of PNGs as frames, in order, none lost without a word.

The only file that knows PyAV, which is asked for when a video is opened. A clip is
probed by its timestamps, without decoding, before anything is read: what is cut off,
of a varying rate or empty is named then; what is damaged inside, while decoding.

Grey is the luma that a video stores; of what stores red, green and blue (GIF, PNG,
lossless RGB) it is .299 R + .587 G + .114 B (ITU-R BT.601) as Pillow rounds it, which
is the Arcade Learning Environment's grey.
"""

import contextlib
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from alpt_jax.data.clip import Clip, FrameForm, PictureFn, gray, pixels, place_at
from alpt_jax.data.frame_times import (
  clock,
  constant_rate,
  due,
  odd_frame,
  usual_rate,
)
from alpt_jax.data.pictures import picture_folder, stored_pictures
from alpt_jax.errors import UserError


def versions() -> dict[str, str]:
  """`{'av': .., 'ffmpeg': ..}`: what decodes here."""
  av = _av()
  return {'av': av.__version__, 'ffmpeg': av.ffmpeg_version_info}


def probe(path: str | pathlib.Path, fps: float = 0.0) -> Clip:
  """What a video or a folder of PNGs holds, by its timestamps; decodes nothing.

  Args:
    path: a file that FFmpeg reads, or a folder for `picture_folder`.
    fps: 0 refuses a varying rate. Else frame j is the last that is due at
      j / fps seconds, so each is held until the next one, or skipped.

  Raises:
    UserError: missing, empty, not a video, cut off, or of a varying rate.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    return picture_folder(path, fps)
  if not path.exists():
    raise UserError(f'{path}: expected a video, found nothing there.')
  if path.stat().st_size == 0:
    raise UserError(
      f'{path}: expected a video, found an empty file. Record or copy it anew, or '
      'remove it.'
    )
  with _opened(path) as container:
    stream = _picture_stream(container, path)
    found = _Found(stream, container)
  times = _times(path, found)
  return _clip(path, found, times, fps)


_AS_IT_IS = FrameForm(grayscale=False)


def frames(clip: Clip, form: FrameForm = _AS_IT_IS) -> Iterator[np.ndarray]:
  """The wanted frames in order, `[height, width, 1 or 3]` uint8; never write to one.

  Reads to the end, so that damage behind the last wanted frame is found. One frame
  is in memory at a time. A held frame is converted once and given several times.

  Raises:
    UserError: at the frame that cannot be decoded or has another size, and at the
      end where another number of frames was decoded than the index promises.
  """
  stored = stored_pictures(clip) if clip.path.is_dir() else _decoded(clip)
  if clip.starts:
    stored = _held(stored, clip)
  last = picture = None
  for index, picture_fn in enumerate(stored):
    if not form.wanted_fn(index):
      continue
    if picture_fn is not last:
      last, picture = picture_fn, picture_fn(form.grayscale)
    yield picture


class _Found:
  """What the index and the packets of an open video say; the video may be closed."""

  def __init__(self, stream, container):
    self.size = stream.width, stream.height
    self.codec = stream.codec_context.name
    self.tick = float(stream.time_base)
    rates = (stream.guessed_rate, stream.average_rate)
    self.stated_rates = [float(rate) for rate in rates if rate]
    # mp4 and avi count their frames, Matroska says when it ends.
    self.num_promised = stream.frames
    self.promised_end = _promised_end(stream, container)
    self.num_packets = 0
    self.stamps = []
    self.end = 0.0  # seconds, of the frame that is shown the latest
    for packet in container.demux(stream):
      if not packet.size:
        continue
      self.num_packets += 1
      stamp = packet.dts if packet.pts is None else packet.pts
      if not packet.is_discard:  # cut away by an edit list: decoded, never shown
        self.stamps.append(stamp)
      self.end = max(self.end, ((stamp or 0) + (packet.duration or 0)) * self.tick)


def _av() -> Any:
  try:
    import av
    import av.error
    import av.video.reformatter
  except ImportError as error:
    raise UserError("videos need PyAV. Run: pip install 'alpt-jax[video]'") from error
  return av


@contextlib.contextmanager
def _opened(path: pathlib.Path):
  av = _av()
  try:
    # 'file:' keeps a colon in a name from being taken for a protocol.
    with av.open(f'file:{path}') as container:
      yield container
  except av.error.FFmpegError as error:
    raise UserError(
      f'{path}: cannot be opened as a video ({_reason(error)}). Copy it anew; a '
      'recording that was cut off may be repaired with ffmpeg.'
    ) from error


def _picture_stream(container, path: pathlib.Path):
  if not container.streams.video:
    kinds = {stream.type for stream in container.streams} or {'nothing'}
    found = 'audio alone' if kinds == {'audio'} else ', '.join(sorted(kinds))
    raise UserError(f'{path}: expected a video stream, found {found}. Remove it.')
  return container.streams.video[0]


def _promised_end(stream, container) -> float | None:
  """When a Matroska file says that its pictures end, in seconds."""
  if 'matroska' not in container.format.name:
    return None
  written = stream.metadata.get('DURATION', '')
  if re.fullmatch(r'[0-9]+:[0-9]+:[0-9.]+', written):
    hours, minutes, seconds = map(float, written.split(':'))
    return 3600 * hours + 60 * minutes + seconds
  # The longest stream's: only of one that is alone does it say something.
  alone = len(container.streams) == 1
  return container.duration / 1e6 if alone and container.duration else None


def _times(path: pathlib.Path, found: _Found) -> np.ndarray:
  """`[num_stored]` seconds since the first frame, ascending."""
  if not found.stamps:
    raise UserError(f'{path}: holds no frame. Record or copy it anew, or remove it.')
  if None in found.stamps:
    raise UserError(
      f'{path}: its frames have no timestamps. Write it as .mkv or .mp4 with ffmpeg.'
    )
  stamps = np.sort(np.array(found.stamps, np.int64))
  times = (stamps - stamps[0]) * found.tick
  if found.num_packets < found.num_promised:
    raise _cut_off(
      path, f'{found.num_promised} frames, {found.num_packets} are there', times
    )
  steps = np.diff(times)
  slack = 2 * max(np.median(steps) if len(steps) else 0, found.tick)
  if found.promised_end and found.end + slack < found.promised_end:
    promised = f'{clock(found.promised_end)}, {len(times)} frames are there'
    raise _cut_off(path, promised, times)
  if path.suffix.lower() == '.gif' and not _has_gif_end(path):
    raise _cut_off(path, f'an end mark, {len(times)} frames are there', times)
  return times


def _has_gif_end(path: pathlib.Path) -> bool:
  with path.open('rb') as file:
    file.seek(-min(64, path.stat().st_size), 2)
    return file.read().rstrip(b'\0\r\n').endswith(b';')  # GIF89a, section 27


def _cut_off(path: pathlib.Path, promised: str, times: np.ndarray) -> UserError:
  return UserError(
    f'{path}: its index promises {promised}: cut off at {clock(times[-1])}. Copy it '
    'anew.'
  )


def _clip(path: pathlib.Path, found: _Found, times: np.ndarray, fps: float) -> Clip:
  """The clip as it is, or held at `fps` where that differs."""
  rate = constant_rate(times, found.tick, found.stated_rates)
  # Within a thousandth is the same rate: Matroska's timestamps are rounded.
  is_held = bool(fps) and (rate is None or abs(rate / fps - 1) > 1e-3)
  if rate is None and not fps:
    steps, odd = 1000 * np.diff(times), odd_frame(times)
    raise UserError(
      f'{path}, frame {odd} ({clock(times[odd])}): frames come {steps.min():.0f} to '
      f'{steps.max():.0f} ms apart. Pass --fps={usual_rate(times, found.tick):.4g} to '
      'hold each until the next is due.'
    )
  num_frames, starts = len(times), None
  if is_held:
    starts = tuple(due(time, fps, found.tick) for time in times)
    num_frames = starts[-1] + 1
  rate = fps or rate
  seconds = num_frames / rate if rate else 0.0
  return Clip(
    path=path,
    num_frames=num_frames,
    width=found.size[0],
    height=found.size[1],
    frame_rate=rate,
    codec=found.codec,
    seconds=seconds,
    num_stored=len(times),
    starts=starts,
  )


def _held(stored: Iterator[PictureFn], clip: Clip) -> Iterator[PictureFn]:
  times_shown = np.diff((*clip.starts, clip.num_frames))
  # Asked for one more, `stored` reads to its end.
  for picture_fn, count in zip(stored, times_shown, strict=True):
    yield from itertools.repeat(picture_fn, count)


def _decoded(clip: Clip) -> Iterator[PictureFn]:
  av = _av()
  # One for all frames: seven times as fast as a frame's own `to_ndarray`.
  reformatter = av.video.reformatter.VideoReformatter()
  num_decoded = 0
  with _opened(clip.path) as container:
    stream = _picture_stream(container, clip.path)
    stream.thread_type = 'SLICE'  # threads of frames lose the place of an error
    decoded = container.decode(stream)
    while True:
      try:
        frame = next(decoded, None)
      except av.error.FFmpegError as error:
        place = _stored_place(clip, 'about frame', num_decoded)
        raise UserError(
          f'{place}: cannot be decoded ({_reason(error)}). Copy it anew, or remove it.'
        ) from error
      if frame is None or num_decoded == clip.num_stored:
        num_decoded += frame is not None
        break
      if (frame.width, frame.height) != (clip.width, clip.height):
        size = pixels((frame.width, frame.height))
        raise UserError(
          f'{_stored_place(clip, "frame", num_decoded)}: expected '
          f'{pixels((clip.width, clip.height))}, found {size}. Cut it there.'
        )
      if frame.rotation:  # of phones: players turn it, a model would see it lying
        raise UserError(
          f'{clip.path}: is to be shown turned by {frame.rotation} degrees. Write it '
          f'turned: ffmpeg -i {clip.path.name} -crf 18 turned{clip.path.suffix}.'
        )
      yield _converter(frame, reformatter)
      num_decoded += 1
  if num_decoded != clip.num_stored:
    raise UserError(
      f'{clip.path}: its index promises {clip.num_stored} frames, {num_decoded} were '
      'decoded. Copy it anew.'
    )


def _stored_place(clip: Clip, word: str, number: int) -> str:
  """Of a frame as the file counts it; its clock is another one where it is held."""
  return place_at(clip._replace(frame_rate=0.0) if clip.starts else clip, number, word)


def _converter(frame, reformatter) -> PictureFn:
  def picture(grayscale: bool) -> np.ndarray:
    stores_luma = not (frame.format.is_rgb or frame.format.has_palette)
    if grayscale and stores_luma:
      luma = reformatter.reformat(frame, format='gray', threads=1)
      return luma.to_ndarray()[..., None]
    colors = reformatter.reformat(frame, format='rgb24', threads=1).to_ndarray()
    return gray(Image.fromarray(colors)) if grayscale else colors

  return picture


def _reason(error: Exception) -> str:
  return getattr(error, 'strerror', None) or str(error)
