"""Clips: the timestamps of one, and whether several are of one game."""

import pathlib

import numpy as np
import pytest

from alpt_jax.data import frame_times
from alpt_jax.data.clip import Clip, check_alike, check_fits
from alpt_jax.errors import UserError

# Timestamps.


def test_rounded_timestamps_are_a_constant_rate():
  # 60 a second in whole milliseconds: 0, 17, 33, 50, ...
  times = np.round(np.arange(600) * 1000 / 60) / 1000
  assert frame_times.constant_rate(times, 0.001, [60.0]) == 60.0
  # A rate that is stated and not kept is not believed: by frame 599 it is 10 s off.
  measured = frame_times.constant_rate(times, 0.001, [30.0])
  assert measured == pytest.approx(60, rel=1e-3)


def test_a_lost_frame_is_a_varying_rate():
  times = np.delete(np.arange(100) / 60, 40)
  assert frame_times.constant_rate(times, 0.001, [60.0]) is None
  assert frame_times.odd_frame(times) == 40
  assert frame_times.usual_rate(times, 0.001) == pytest.approx(60)


def test_a_rounded_timestamp_is_still_on_time():
  # 17 ms is behind 1000 / 60: to the letter every other frame would come too late.
  times = np.round(np.arange(600) * 1000 / 60) / 1000
  assert [frame_times.due(time, 60, 0.001) for time in times] == list(range(600))


@pytest.mark.parametrize('fps', [24, 25, 30, 59.94, 60, 144])
def test_a_held_clip_shows_every_frame_when_it_is_due(fps):
  # Frame j shows the last one that is due at j / fps, a tick's rounding forgiven.
  times = np.cumsum([0, 0.017, 0.016, 0.1, 0.01, 0.033, 0.2])
  starts = [frame_times.due(time, fps, 0.001) for time in times]
  for number in range(starts[-1] + 1):
    shown = np.searchsorted(starts, number, side='right') - 1
    now = number / fps
    assert times[shown] <= now + 0.001 + 1e-6
    assert shown == len(times) - 1 or times[shown + 1] > now - 1e-6


# Recordings of one game.


def a_clip(name='b.mp4', num_frames=9, width=160, height=210, frame_rate=60.0):
  path = pathlib.Path('clips', name)
  return Clip(path, num_frames, width, height, frame_rate, 'h264', 1.0, num_frames)


def test_recordings_of_one_game_have_one_size_and_one_rate():
  first = a_clip('a.mp4')
  check_alike(a_clip(frame_rate=60.2), first)
  check_alike(a_clip(frame_rate=0.0), first)  # a folder of pictures
  with pytest.raises(UserError) as error:
    check_alike(a_clip(frame_rate=30.0), first)
  assert str(error.value) == (
    'clips/b.mp4: 30 frames a second, clips/a.mp4 has 60. Pass --fps=30, or convert '
    'them apart.'
  )
  with pytest.raises(UserError) as error:
    check_alike(a_clip(width=1280, height=720), first)
  assert str(error.value) == (
    'clips/b.mp4: expected 160x210 pixels as in clips/a.mp4, found 1280x720 pixels: '
    'another game, or another window? Convert it apart.'
  )


def test_a_recording_must_have_a_step_and_the_pixels_asked_for():
  check_fits(a_clip(num_frames=5), 84, 84, 4)
  with pytest.raises(UserError) as error:
    check_fits(a_clip(num_frames=3), 84, 84, 4)
  assert str(error.value) == (
    'clips/b.mp4: expected at least 5 frames for one step of 4, found 3. Remove it, '
    'or lower --frame_skip.'
  )
  with pytest.raises(UserError, match='--size=64x84. Pass --size=64x60.'):
    check_fits(a_clip(width=60, height=64), 64, 84, 1)
