"""Section `convert`: how fast recordings become a dataset, and in how much memory.

What is converted is recorded for it: Breakout as `launch/label_demo.sh` records it, in
160x210 and 60 frames a second, some minutes in clips that end with the game. Longer
recordings show the same over and over.
"""

import itertools
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from alpt_jax.area_resize import AreaResize
from alpt_jax.benchmark import memory_trace, timing
from alpt_jax.data import screens
from alpt_jax.data.clip import Clip, FrameForm
from alpt_jax.experiment import demo_recordings
from alpt_jax.experiment.demo_recordings import FRAME_RATE, DemoGame
from alpt_jax.experiment.video_choice import VideoChoice
from alpt_jax.experiment.video_conversion import convert_videos

_GAME = DemoGame('Breakout', num_steps=2_500, num_kept=500)
_SKIP, _SIZE = 4, (84, 84)
# Ours. Turns at most: one takes 10 seconds.
_TURNS = 3
# Every so manieth pixel is left in an hour, whose length matters, not its size.
_THINNED = 5
_HOUR = 3_600 * FRAME_RATE


def measure_conversion(
  repeats: int,
  game: DemoGame = _GAME,
  hour: int = _HOUR,
) -> dict[str, float]:
  """Rates of each step of the way, then what long recordings need.

  Of each step frames a second and a CPU-second, those of the videos, of which a step of
  the game takes four:

    decode        no frame is converted
    decode_grey   every frame is
    observations  the two of four that are seen, their maximum, its area at 84x84
    packed        all of `bin/convert` without RLDS
    packed_rlds   and with it

  Of long recordings, without and with RLDS, `memory_trace.Trace.record`: ten minutes
  and an hour in 42x32 pixels, and ten minutes as they were recorded; in a process that
  has converted before, so that libraries are loaded.

  Args:
    repeats: turns.
    game: what is recorded.
    hour: frames of the longest recording.
  """
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    demo_recordings.record_game(game, folder, lambda line: None)
    videos = folder / demo_recordings.VIDEOS / game.game
    found = _rates(videos, folder / 'out', min(repeats, _TURNS))
    clips = _clips(videos)
    small = [each[::_THINNED, ::_THINNED] for each in _shown(clips)]
    for name, pictures, count, size in (
      ('small_ten_minutes', itertools.cycle(small), hour // 6, None),
      ('small_hour', itertools.cycle(small), hour, None),
      ('ten_minutes', _shown_again(clips), hour // 6, _SIZE),
    ):
      path = folder / name / 'video.mp4'
      _write(path, itertools.islice(pictures, count))
      for ending, rlds in (('', False), ('_rlds', True)):
        arguments = path.parent, folder / 'out', size, rlds
        short = videos, folder / 'out', _SIZE, rlds
        _, trace = memory_trace.traced(_convert, short, arguments)
        rows = trace.record()
        rows['frames_per_cpu_s'] = count / trace.cpu_seconds
        found |= {f'{name}{ending}_{key}': value for key, value in rows.items()}
  return found


def _rates(videos: pathlib.Path, out: pathlib.Path, turns: int) -> dict[str, float]:
  clips = _clips(videos)
  count = sum(clip.num_frames for clip in clips)
  ways: dict[str, Callable[[], object]] = {
    'decode': lambda: _read(clips, FrameForm(wanted_fn=lambda index: False)),
    'decode_grey': lambda: _read(clips, FrameForm()),
    'observations': lambda: _observe(clips),
    'packed': lambda: _convert(videos, out, _SIZE, False),
    'packed_rlds': lambda: _convert(videos, out, _SIZE, True),
  }
  times = timing.take_turns(ways, turns)
  found = {}
  for name in ways:
    found[f'{name}_frames_per_s'] = count / times[name].seconds
    found[f'{name}_frames_per_cpu_s'] = count / times[name].cpu_seconds
  return {'frames': count, **found}


def _clips(videos: pathlib.Path) -> list[Clip]:
  from alpt_jax.data import video  # may be missing its package

  return [video.probe(path) for path in sorted(videos.glob('*.mp4'))]


def _read(clips: list[Clip], form: FrameForm) -> None:
  from alpt_jax.data import video  # may be missing its package

  for clip in clips:
    for _ in video.frames(clip, form):
      pass


def _observe(clips: list[Clip]) -> None:
  for clip in clips:
    shown = np.arange(0, clip.num_frames, _SKIP)
    resize_fn = AreaResize((clip.height, clip.width), _SIZE)
    for _ in screens.observations(clip, shown, shown > 0, True, resize_fn):
      pass


def _convert(
  data: pathlib.Path, out: pathlib.Path, size: tuple[int, int] | None, rlds: bool
) -> None:
  """What `bin/convert` does; of what it made before nothing is left."""
  shutil.rmtree(out, ignore_errors=True)
  choice = VideoChoice(
    actions=('FIRE', 'LEFT', 'NOOP', 'RIGHT'),
    size=size,
    frame_skip=_SKIP,
    max_pool=True,
    rlds=rlds,
  )
  convert_videos(f'{data}', out, choice=choice, say=lambda line: None)


def _shown(clips: list[Clip]) -> Iterator[np.ndarray]:
  """`[210, 160, 3]` uint8, every frame of some clips."""
  from alpt_jax.data import video  # may be missing its package

  for clip in clips:
    yield from video.frames(clip, FrameForm(grayscale=False))


def _shown_again(clips: list[Clip]) -> Iterator[np.ndarray]:
  while True:
    yield from _shown(clips)


def _write(path: pathlib.Path, pictures: Iterator[np.ndarray]) -> None:
  from alpt_jax.data.video_writing import write_video  # may be missing its package

  path.parent.mkdir()
  write_video(path, pictures, FRAME_RATE)
