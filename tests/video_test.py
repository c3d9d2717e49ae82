"""Videos: every frame in its place, and one line for each way to be damaged."""

import struct
import subprocess
import sys

import numpy as np
import pytest
import tiny_video
from PIL import Image
from tiny_video import said, write_pngs

pytest.importorskip('av')

from alpt_jax.data import screens, video
from alpt_jax.data.clip import FrameForm
from alpt_jax.errors import UserError

GRAY = FrameForm(grayscale=True)


def levels(clip):
  """The grey level of each frame: of `grey_levels` its number."""
  return [int(picture[0, 0, 0]) for picture in video.frames(clip)]


# What is read.


def test_a_video_without_loss_gives_the_frames_that_were_written(tmp_path):
  frames = tiny_video.pictures(9, 28, 30)
  clip = video.probe(tiny_video.write(tmp_path / 'a.mkv', frames))
  assert clip[1:9] == (9, 30, 28, 60.0, 'ffv1', 9 / 60, 9, None)
  assert np.array_equal(np.stack(list(video.frames(clip))), frames)


def test_a_gif_gives_as_many_frames_as_were_written(tmp_path):
  path = tiny_video.write(tmp_path / 'a.gif', tiny_video.pictures(7), rate=50)
  clip = video.probe(path)
  assert (clip.num_frames, clip.frame_rate) == (7, 50.0)
  with Image.open(path) as gif:  # the same file, read by Pillow
    for number, picture in enumerate(video.frames(clip)):
      gif.seek(number)
      assert np.array_equal(picture, np.asarray(gif.convert('RGB')))


@pytest.mark.parametrize('kind', ['.mkv', 'folder'])
def test_grey_of_colours_is_the_emulators(tmp_path, kind):
  frames = tiny_video.pictures(3)
  if kind == 'folder':
    clip = video.probe(write_pngs(tmp_path / 'a', frames))
  else:
    clip = video.probe(tiny_video.write(tmp_path / ('a' + kind), frames))
  for picture, read in zip(frames, video.frames(clip, GRAY), strict=True):
    expected = np.asarray(Image.fromarray(picture).convert('L'))
    assert read.shape == (28, 28, 1) and np.array_equal(read[..., 0], expected)
    assert np.abs(expected - picture @ np.array([0.299, 0.587, 0.114])).max() < 0.51


def test_grey_of_an_ordinary_video_is_the_luma_that_it_stores(tmp_path):
  # 16 to 235 are black to white: grey is not lost to the colours' way and back.
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.grey_levels(250))
  read = [int(picture[0, 0, 0]) for picture in video.frames(video.probe(path), GRAY)]
  assert read[0] == 0 and np.abs(np.array(read) - np.arange(250)).max() <= 1


def test_only_wanted_frames_are_given(tmp_path):
  clip = video.probe(tiny_video.write(tmp_path / 'a.mkv', tiny_video.grey_levels(9)))
  form = FrameForm(False, lambda index: index % 4 == 0)
  assert [int(picture[0, 0, 0]) for picture in video.frames(clip, form)] == [0, 4, 8]


def test_an_observation_pools_two_frames_before_it_is_shrunk(tmp_path):
  frames = tiny_video.pictures(6)
  clip = video.probe(tiny_video.write(tmp_path / 'a.mkv', frames))

  def corner(plane):
    return plane[:2, :3]

  # The same frame may end one episode and begin another.
  shown, is_pooled = [0, 2, 2, 5], [False, True, False, True]
  read = list(screens.observations(clip, shown, is_pooled, False, corner))
  expected = [
    frames[0],
    np.maximum(frames[1], frames[2]),
    frames[2],
    np.maximum(frames[4], frames[5]),
  ]
  assert np.array_equal(np.stack(read), np.stack(expected)[:, :2, :3])
  grey = list(screens.observations(clip, [0, 5], [False, False]))
  assert [picture.shape for picture in grey] == [(28, 28, 1)] * 2


def test_a_name_with_a_colon_is_no_protocol(tmp_path):
  path = tiny_video.write(tmp_path / 'http:a.mkv', tiny_video.grey_levels(3))
  assert levels(video.probe(path)) == [0, 1, 2]


# Rates.


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
@pytest.mark.parametrize('rate', [15, 30, 60])
def test_the_rate_is_that_of_the_timestamps(tmp_path, suffix, rate):
  path = tmp_path / ('a' + suffix)
  clip = video.probe(tiny_video.write(path, tiny_video.grey_levels(20), rate))
  assert clip.frame_rate == pytest.approx(rate, rel=1e-3) and not clip.starts
  assert clip.seconds == pytest.approx(20 / rate, rel=1e-3)


def test_a_varying_rate_is_refused_with_a_rate_to_hold_at(tmp_path):
  # Steps of 20 ms, and one of 60 before frame 3.
  times = [0, 20, 40, 100, 120, 140, 160, 180]
  path = tmp_path / 'a.mkv'
  tiny_video.write(path, tiny_video.grey_levels(8), times=times)
  assert said(path) == (
    ', frame 3 (0:00.1): frames come 20 to 60 ms apart. Pass --fps=50 to hold each '
    'until the next is due.'
  )
  clip = video.probe(path, fps=50)
  # At 60 and 80 ms frame 2 is still the last one: it is shown thrice.
  assert levels(clip) == [0, 1, 2, 2, 2, 3, 4, 5, 6, 7]
  assert (clip.num_frames, clip.num_stored, len(clip.starts)) == (10, 8, 8)
  assert clip.frame_rate == 50 and clip.seconds == 10 / 50


def test_a_constant_rate_is_held_at_another_one(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.grey_levels(6), rate=60)
  # In mp4 a frame's level is changed by the way to luma and back.
  stored = levels(video.probe(path))
  assert levels(video.probe(path, fps=30)) == [stored[i] for i in (0, 2, 4, 5)]
  doubled = levels(video.probe(path, fps=120))
  assert doubled == [stored[i] for i in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5)]
  assert not video.probe(path, fps=60).starts


# What is wrong with a file.


def test_a_missing_and_an_empty_file_are_named(tmp_path):
  assert 'expected a video, found nothing there' in said(tmp_path / 'a.mp4')
  (tmp_path / 'b.mp4').touch()
  assert said(tmp_path / 'b.mp4') == (
    ': expected a video, found an empty file. Record or copy it anew, or remove it.'
  )


def test_what_is_no_video_is_named(tmp_path):
  path = tmp_path / 'a.mp4'
  path.write_text('frame,action\n0,LEFT\n')
  assert ': cannot be opened as a video (Invalid data' in said(path)


def test_sound_alone_is_named(tmp_path):
  path = tiny_video.write_sound(tmp_path / 'a.mkv')
  assert said(path) == ': expected a video stream, found audio alone. Remove it.'


@pytest.mark.parametrize('suffix', ['.mkv', '.gif'])
def test_a_video_that_was_cut_off_is_named_before_it_is_decoded(tmp_path, suffix):
  frames = tiny_video.pictures(40)
  path = tiny_video.cut(tiny_video.write(tmp_path / ('a' + suffix), frames, rate=50))
  with pytest.raises(UserError, match=r'cut off at 0:00\.\d\. Copy it anew\.'):
    video.probe(path)


def test_an_mp4_without_its_index_is_named(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.pictures(40))
  assert ': cannot be opened as a video (Invalid data' in said(tiny_video.cut(path))


def test_an_mp4_that_ends_before_its_index_says_is_named(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.pictures(40))
  message = said(tiny_video.cut(tiny_video.index_first(path)))
  assert ': its index promises 40 frames, ' in message and 'cut off at' in message


def test_a_video_that_is_gone_when_it_is_decoded_is_named(tmp_path):
  path = tmp_path / 'a.mkv'
  tiny_video.write(path, tiny_video.pictures(3))
  clip = video.probe(path)
  path.unlink()
  with pytest.raises(UserError, match='a.mkv: cannot be opened as a video .No such'):
    list(video.frames(clip))


def test_damage_inside_is_named_with_its_place(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.pictures(40))
  message = said(tiny_video.damage(path, 20))
  assert message.startswith(', about frame 20 (0:00.3): cannot be decoded (Invalid')
  assert message.endswith('. Copy it anew, or remove it.')


def test_another_number_of_frames_than_probed_is_named(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mkv', tiny_video.grey_levels(5))
  clip = video.probe(path)
  for promised in (4, 6):
    with pytest.raises(UserError, match=f'promises {promised} frames, 5 were decoded'):
      list(video.frames(clip._replace(num_stored=promised)))


@pytest.mark.parametrize('wanted', ['last', 'none'])
def test_damage_behind_the_last_wanted_frame_is_found(tmp_path, wanted):
  path = tiny_video.write(tmp_path / 'a.mkv', tiny_video.grey_levels(5))
  clip = video.probe(path)._replace(num_stored=6, num_frames=6)
  form = FrameForm(False, lambda index: wanted == 'last' and index == 2)
  with pytest.raises(UserError, match='5 were decoded'):
    list(video.frames(clip, form))


# What it needs.

# Prints the memory of its own, in kB, a sixth of the way and at the end.
_READ = """
import sys
from alpt_jax.data import clip, video

def anonymous():
  lines = open('/proc/self/status').read().splitlines()
  return [int(line.split()[1]) for line in lines if line.startswith('RssAnon')][0]

read = video.frames(video.probe(sys.argv[1]), clip.FrameForm(grayscale=True))
for number, _ in enumerate(read, 1):
  if number == 9_000:
    print(anonymous())
print(anonymous(), number)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='/proc tells the memory')
def test_memory_is_flat_over_an_hour(tmp_path):
  path = tiny_video.write_hour(tmp_path / 'hour.mp4')
  command = [sys.executable, '-c', _READ, str(path)]
  said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  early, late, num_read = map(int, said.split())
  assert num_read == 54_000
  assert late - early < 20_000


def test_without_pyav_it_says_what_to_install(tmp_path):
  path = tiny_video.write(tmp_path / 'a.mkv', tiny_video.grey_levels(2))
  program = (
    "import sys; sys.modules['av'] = None\n"
    'from alpt_jax.data import video\n'
    'try: video.probe(sys.argv[1])\n'
    'except video.UserError as error: print(error)'
  )
  command = [sys.executable, '-c', program, str(path)]
  said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  assert said == "videos need PyAV. Run: pip install 'alpt-jax[video]'\n"


def test_versions_are_those_of_what_decodes():
  import av

  assert video.versions()['av'] == av.__version__
  assert video.versions()['ffmpeg'][0].isdigit()


def test_what_players_turn_is_refused(tmp_path):
  """A quarter turn, written into the track header as phones do."""
  path = tiny_video.write(tmp_path / 'a.mp4', tiny_video.pictures(9))
  content = bytearray(path.read_bytes())
  matrix = content.index(b'tkhd') + 44  # ISO/IEC 14496-12, 8.3.2
  turned = struct.pack('>9i', 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
  content[matrix : matrix + len(turned)] = turned
  path.write_bytes(content)
  assert said(path).startswith(
    ': is to be shown turned by -90 degrees. Write it turned'
  )
