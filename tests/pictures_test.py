"""Folders of PNGs as recordings: numbered without gaps, all of one size."""

import numpy as np
import pytest
import tiny_video
from PIL import Image
from tiny_video import said, write_pngs

from alpt_jax.data import video


def test_a_folder_of_pngs_is_a_recording(tmp_path):
  frames = tiny_video.pictures(12)
  # 9 comes before 10 although its name does not; a run's number is not a frame's.
  folder = write_pngs(tmp_path / 'run3', frames, first=5, name='run3-{}.png')
  (folder / '.hidden').write_text('a file manager')
  clip = video.probe(folder)
  assert (clip.num_frames, clip.frame_rate, clip.codec) == (12, 0.0, 'png')
  assert np.array_equal(np.stack(list(video.frames(clip))), frames)
  assert video.probe(folder, fps=30).frame_rate == 30


def test_a_gap_in_the_numbers_is_named(tmp_path):
  folder = write_pngs(tmp_path / 'a', tiny_video.pictures(4), first=38)
  (folder / 'frame_040.png').unlink()
  assert said(folder) == (
    '/frame_041.png: expected frame 40 after 39, found 41. Number them without gaps.'
  )


def test_a_number_that_comes_twice_is_named(tmp_path):
  folder = write_pngs(tmp_path / 'a', tiny_video.pictures(2))
  (folder / 'frame_1.png').write_bytes((folder / 'frame_001.png').read_bytes())
  assert said(folder) == '/frame_1.png: frame 1 again (frame_001.png). Remove one.'


def test_pictures_of_two_sizes_are_named(tmp_path):
  folder = write_pngs(tmp_path / 'a', tiny_video.pictures(2))
  Image.new('RGB', (30, 28)).save(folder / 'frame_002.png')
  assert said(folder).startswith('/frame_002.png: expected 28x28 pixels as in ')
  assert 'found 30x28 pixels.' in said(folder)


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('notes.txt', b'hello', 'expected nothing but .png files'),
    ('frame_002.png', b'', 'expected a picture, found an empty file'),
    ('frame_002.png', b'hello', 'cannot be opened as a PNG'),
    ('title.png', b'hello', "expected the frame's number in its name, found none"),
  ],
)
def test_what_is_no_picture_is_named(tmp_path, name, content, message):
  folder = write_pngs(tmp_path / 'a', tiny_video.pictures(2))
  (folder / name).write_bytes(content)
  assert f'/{name}: {message}' in said(folder)


def test_a_damaged_picture_is_named(tmp_path):
  folder = write_pngs(tmp_path / 'a', tiny_video.pictures(2))
  damaged = folder / 'frame_001.png'
  damaged.write_bytes(damaged.read_bytes()[:500])
  assert said(folder).startswith('/frame_001.png: cannot be decoded (')


def test_pictures_of_16_bits_are_refused(tmp_path):
  folder = tmp_path / 'a'
  folder.mkdir()
  Image.fromarray(np.zeros((28, 28), np.uint16)).save(folder / '0.png')
  assert 'expected 8 bits a channel, found 16' in said(folder)


def test_an_empty_folder_is_named(tmp_path):
  assert said(tmp_path) == ': expected .png files, found none.'
