"""Conversions where the machine lacks something: room, a folder, TensorFlow."""

import os
import shutil
import subprocess
import sys

import pytest
import tiny
import tiny_video
from tiny_convert import names, program, record_maze

from alpt_jax.data.packed import open_recorded
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.errors import UserError
from alpt_jax.experiment.conversion import convert

_LIMITED = """
import resource, runpy, sys
largest = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
runpy.run_module('alpt_jax.bin.convert', run_name='__main__', alter_sys=True)
"""


def program_without_room(largest, *args):
  """One that cannot write a file of more bytes than this, as on a full disk."""
  command = [sys.executable, '-c', _LIMITED, str(largest), *args]
  return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope='module')
def maze(tmp_path_factory):
  return record_maze(tmp_path_factory)


def test_a_conversion_that_finds_no_room_leaves_nothing(tmp_path):
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), tiny.tiny_episodes((100,) * 50))
  args = [f'--data={tmp_path}/pool', f'--out={tmp_path}/out', '--form=pool']
  done = program_without_room(4_096, *args)
  assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
  for part in ('pool: could not be written to', 'Free some disk space'):
    assert part in done.stderr
  assert names(tmp_path) == ['pool']


def test_a_card_that_finds_no_room_is_said_and_the_set_is_whole(maze, tmp_path):
  shutil.copytree(maze, tmp_path / 'maze')
  (tmp_path / 'maze' / 'card.md').write_bytes(bytes(100_000))
  others = [maze / 'card.json', *(maze / 'pool').iterdir()]
  largest = max(path.stat().st_size for path in others)
  args = [f'--data={tmp_path}/maze', f'--out={tmp_path}/out', '--form=pool']
  done = program_without_room(largest, *args)
  assert done.returncode == 0, done.stderr
  assert 'card.md: not copied to' in done.stdout
  assert open_pool(tmp_path / 'out').num_episodes == 4
  assert (tmp_path / 'out' / 'card.json').exists()
  assert not (tmp_path / 'out' / 'card.md').exists()


def test_a_folder_that_cannot_be_made_is_named(maze, tmp_path):
  (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
  with pytest.raises(UserError, match='could not be written to .*link.*Choose another'):
    convert(str(maze), tmp_path / 'link' / 'out', say=lambda line: None)


def test_shards_where_tensorflow_is_not_installed_are_refused_in_one_line(
  tmp_path,
):
  """The shard is told by its name; nothing of it is read."""
  shards = tmp_path / 'Freeway'
  shards.mkdir()
  (shards / 'run_1-00000-of-00001').touch()
  (tmp_path / 'hidden').mkdir()
  name = tmp_path / 'hidden' / 'tensorflow.py'
  name.write_text("raise ImportError('No module named tensorflow')")
  environment = os.environ | {'PYTHONPATH': str(name.parent)}
  done = program(f'--data={shards}', f'--out={tmp_path}/out', env=environment)
  assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
  assert 'RL Unplugged need TensorFlow (No module named tensorflow)' in done.stderr
  assert names(tmp_path) == ['Freeway', 'hidden']


@pytest.mark.slow
def test_a_damaged_shard_is_one_line_without_the_words_of_tensorflow(tmp_path):
  path = tmp_path / 'Freeway' / 'run_1-00000-of-00001'
  path.parent.mkdir()
  path.write_bytes(b'no record of TensorFlow')
  done = program(f'--data={path.parent}', f'--out={tmp_path}/out')
  assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
  assert f'{path}: damaged after 0 whole episodes' in done.stderr
  assert names(tmp_path) == ['Freeway']


@pytest.fixture
def clips(tmp_path):
  pytest.importorskip('av')
  (tmp_path / 'clips').mkdir()
  tiny_video.write(tmp_path / 'clips' / 'a.mkv', tiny_video.pictures(40))
  (tmp_path / 'clips' / 'a.csv').write_text('0,LEFT\n')
  return tmp_path / 'clips'


def test_videos_that_find_no_room_are_not_taken_for_damaged_ones(clips, tmp_path):
  args = [f'--data={clips}', f'--out={tmp_path}/out', '--size=0', '--norlds']
  done = program_without_room(4_096, *args, '--keep_going')
  assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
  assert 'Free some disk space' in done.stderr and 'left out' not in done.stdout
  assert names(tmp_path) == ['clips']


@pytest.mark.slow
def test_videos_need_tensorflow_for_rlds_alone(clips, tmp_path):
  (tmp_path / 'hidden').mkdir()
  (tmp_path / 'hidden' / 'tensorflow.py').write_text("raise ImportError('missing')")
  environment = os.environ | {'PYTHONPATH': str(tmp_path / 'hidden')}
  args = [f'--data={clips}', f'--out={tmp_path}/out', '--size=0']
  refused = program(*args, env=environment)
  assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
  assert refused.stderr.endswith('Or write no RLDS: --norlds.\n')
  assert names(tmp_path) == ['clips', 'hidden']
  done = program(*args, '--norlds', env=environment)
  assert done.returncode == 0, done.stderr
  assert open_recorded(tmp_path / 'out' / 'packed').num_transitions == 39
