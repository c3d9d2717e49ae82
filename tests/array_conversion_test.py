"""bin/convert of arrays: the dataset that they are, and what is said of flags."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_arrays

from alpt_jax.data.packed import open_recorded
from alpt_jax.errors import UserError
from alpt_jax.experiment.array_conversion import convert_arrays
from alpt_jax.experiment.video_choice import VideoChoice


def convert(path, out, **choice):
  lines = []
  choice = VideoChoice(**{'rlds': False, **choice})
  convert_arrays(str(path), out, 'pool', choice, lines.append)
  return lines


def test_an_npz_becomes_a_dataset_with_what_is_known_of_it(tmp_path):
  actions = np.array([0, -1, 2, 1, 0])
  lines = convert(tiny_arrays.save(tmp_path, actions=actions), tmp_path / 'out')
  pool = open_recorded(tmp_path / 'out' / 'pool')
  assert pool.spec.name == 'own/game'
  assert pool.is_labelled.tolist() == [True, False, True, True, True]
  np.testing.assert_array_equal(pool.observations, tiny_arrays.ALL)
  assert 'actions known of 4 (80.0%): up, down, stay' in lines[-2]
  assert (tmp_path / 'out' / 'card.json').is_file()


@pytest.mark.parametrize('num_channels', [2, 3, 5])
def test_pictures_of_any_number_of_channels_have_a_picture(tmp_path, num_channels):
  pictures = np.random.default_rng(0).integers(256, size=(7, 14, 14, num_channels))
  path = tiny_arrays.save(
    tmp_path, observations=pictures.astype(np.uint8), next_observations=None
  )
  convert(path, tmp_path / 'out')
  assert (tmp_path / 'out' / 'picture.png').is_file()


def test_what_the_flags_say_of_the_recording_is_kept(tmp_path):
  path = tiny_arrays.save(tmp_path, action_names=None)
  names = ('A', 'B', 'C')
  convert(path, tmp_path / 'out', environment='own/x', actions=names, frame_skip=4)
  spec = open_recorded(tmp_path / 'out' / 'pool').spec
  assert (spec.name, spec.action_names) == ('own/x', names)
  assert spec.protocol.frame_skip == 4


def test_what_is_no_atari_screen_cannot_be_called_so(tmp_path):
  names = np.array(['NOOP', 'FIRE', 'RIGHT', 'LEFT'])
  path = tiny_arrays.save(tmp_path, action_names=names)
  with pytest.raises(UserError, match=r'expected observations uint8 \[84, 84, 1\]'):
    convert(path, tmp_path / 'out', environment='atari/Breakout')
  assert not (tmp_path / 'out').exists()


def test_a_minari_dataset_that_is_not_there_leaves_nothing(tmp_path):
  pytest.importorskip('minari')
  with pytest.raises(UserError, match='minari:own/none-v0: no such folder'):
    convert('minari:own/none-v0', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_flag_about_other_data_is_refused_by_the_program(tmp_path):
  path = tiny_arrays.save(tmp_path)
  command = [sys.executable, '-m', 'alpt_jax.bin.convert', f'--data={path}']
  done = subprocess.run(
    [*command, f'--out={tmp_path / "out"}', '--mixed=most'],
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (
    2,
    f'error: --mixed: is about a folder of videos; {path} is an .npz file. Leave it '
    'away.\n',
  )
