"""`bin/convert` as it is typed: flags, exit codes, several kinds of data."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny
import tiny_video

from alpt_jax.data.packed import open_recorded
from alpt_jax.data.pool import write_pool
from alpt_jax.errors import Incomplete, UserError
from alpt_jax.experiment import conversion_flags
from alpt_jax.specs import ATARI_RETURN_RANGE

pytest.importorskip('av')


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.fixture
def clips(folder):
  pathlib.Path('clips').mkdir()
  tiny_video.write(pathlib.Path('clips/a.mkv'), tiny_video.pictures(9))
  pathlib.Path('clips/a.csv').write_text('0,LEFT\n4,RIGHT\n')
  return pathlib.Path('clips')


@pytest.fixture
def typed():
  """Gives flags their values as a command line does, until the end of a test."""
  flags = conversion_flags.flags.FLAGS

  def parse(*arguments):
    flags.unparse_flags()
    for name in flags.get_flags_for_module(conversion_flags.__name__):
      flags[name.name].unparse()
    flags(['convert', *arguments])

  yield parse
  parse()


def convert(data='clips', out='out', say=list):
  kind = conversion_flags.kind_of(data)
  kind.convert_fn(data, pathlib.Path(out), 'pool', say, 'typed')


def said(data):
  with pytest.raises(UserError) as error:
    convert(data)
  return str(error.value)


def test_flags_are_the_fields_of_a_choice(typed):
  typed()
  choice = conversion_flags.video_choice()
  assert choice == conversion_flags.VideoChoice()
  typed('--actions=UP,DOWN', '--size=0', '--return_range=-1,5', '--norlds', '--fps=30')
  choice = conversion_flags.video_choice()
  assert (choice.actions, choice.size) == (('UP', 'DOWN'), None)
  assert (choice.return_range, choice.rlds, choice.fps) == ((-1, 5), False, 30.0)
  typed('--size=210x160')
  assert conversion_flags.video_choice().size == (210, 160)


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--size=84', "--size: expected height x width, as 84x84, or 0, found '84'."),
    (
      '--return_range=100',
      "--return_range: expected two whole numbers, as -20,100, found '100'.",
    ),
  ],
)
def test_a_flag_that_cannot_be_read_is_named(clips, typed, flag, message):
  typed(flag)
  assert said('clips') == message


def test_videos_are_told_from_datasets_by_what_is_there(clips, typed):
  typed('--size=0', '--norlds')
  convert('clips', 'first')
  found = open_recorded('first/pool')
  assert found.lengths.tolist() == [8] and found.spec.name == 'own/clips'
  assert found.spec.return_range == ATARI_RETURN_RANGE
  typed()
  convert('first', 'second')
  assert open_recorded('second').manifest_hash == found.manifest_hash
  first, second = (pathlib.Path(at, 'conversion.json') for at in ('first', 'second'))
  assert first.read_text() == second.read_text()


def test_a_recording_may_be_called_nearly_as_files_of_rl_unplugged(clips, typed):
  (clips / 'a.mkv').rename(clips / 'run_1-best-of-3.mkv')
  assert conversion_flags.kind_of('clips').name == 'a folder of videos'
  (clips / 'run_1-00000-of-00003').touch()
  assert conversion_flags.kind_of('clips').name == 'files of RL Unplugged'


def test_an_npz_is_one_in_capitals_too():
  assert conversion_flags.kind_of('X.NPZ').name == 'an .npz file'


def test_a_flag_about_another_kind_is_refused(clips, typed):
  write_pool('pool', tiny.tiny_spec(), tiny.tiny_episodes((2,)))
  typed('--fps=30')
  assert said('pool') == (
    '--fps: is about a Minari dataset, an .npz file, a folder of videos; pool is a '
    'pool or a packed set. Leave it away.'
  )
  typed('--runs=1')
  assert said('clips') == (
    '--runs: is about files of RL Unplugged; clips is a folder of videos. Leave it '
    'away.'
  )
  typed('--guesses=.5')
  assert said('pool').startswith('--guesses: is about a dataset with RLDS files; pool')


def test_what_is_neither_is_said_with_what_would_do(folder, typed):
  typed('--fps=30')
  pathlib.Path('notes').mkdir()
  pathlib.Path('notes/notes.txt').touch()
  assert said('notes') == (
    'notes: expected videos (.mp4, .mkv, .gif, ..) or folders of .png files, or '
    'manifest.json (a pool or a packed set), dataset_info.json (RLDS) or '
    'run_<r>-<i>-of-<N> (RL Unplugged), found none of these. Correct the path.'
  )
  assert 'nowhere: no such' in said('nowhere')
  pathlib.Path('all/games/pong').mkdir(parents=True)
  tiny_video.write_pngs(pathlib.Path('all/games/pong/film'), tiny_video.pictures(3))
  assert said('all') == ('all: recordings lie too deep in it. Did you mean all/games?')
  assert 'found a file. Name its folder.' in said('notes/notes.txt')


def test_guesses_count_as_recorded_only_where_that_is_asked_for(folder, typed):
  from alpt_jax.data import rlds, rlds_forms
  from alpt_jax.data.checks import check_episode
  from alpt_jax.data.rlds import tfds

  spec = tiny.tiny_spec()
  (episode,) = (check_episode(each, spec, '') for each in tiny.tiny_episodes((4,)))
  fields = ('is_labelled', 'is_recorded', 'confidence')
  pathlib.Path('labelled').mkdir()
  info = rlds_forms.dataset_info('labelled', spec, {}, 'tiny', fields)
  writer = tfds.core.SequentialWriter(info, 1)
  writer.initialize_splits(['train'])
  knowledge = {
    'is_labelled': np.array([True, True, True, False]),
    'is_recorded': np.array([True, False, False, False]),
    'confidence': np.array([1, 0.95, 0.6, 0], np.float32),
  }
  writer.add_examples({'train': [{'steps': rlds_forms.steps(episode, knowledge)}]})
  writer.close_all()
  text = json.dumps(spec.to_dict())
  pathlib.Path('labelled/environment.json').write_text(text)
  rlds.to_pool('labelled', 'labelled/pool')
  typed()
  convert('labelled', 'recorded')
  assert open_recorded('recorded').is_labelled.tolist() == [True, False, False, False]
  typed('--guesses=0.9')
  lines = []
  convert('labelled', 'guessed', lines.append)
  assert open_recorded('guessed').is_labelled.tolist() == [True, True, False, False]
  # It is said of what is made of it, too, and known before a run and on its card.
  typed()
  convert('guessed', 'again')
  pools = [open_recorded(name) for name in ('recorded', 'guessed', 'again')]
  assert [pool.guesses for pool in pools] == [None, 0.9, 0.9]
  assert pools[1].manifest_hash == pools[2].manifest_hash != pools[0].manifest_hash
  assert lines[0].startswith('Guesses of a confidence of 0.9 or more count as recorded')
  typed('--guesses=1.5')
  assert said('labelled') == '--guesses: expected a confidence, 0 to 1, found 1.5.'


def test_what_was_left_out_is_no_success(clips, typed):
  (clips / 'b.mp4').touch()
  typed('--size=0', '--norlds', '--keep_going')
  with pytest.raises(Incomplete) as error:
    convert()
  assert str(error.value) == (
    'clips: 1 input was left out, each named above; out holds the others.'
  )
  assert open_recorded('out/pool').num_episodes == 1


def program(*args, **options):
  command = [sys.executable, '-m', 'alpt_jax.bin.convert', *args]
  root = pathlib.Path(__file__).parents[1]
  path = os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')])
  options = {'env': os.environ | {'PYTHONPATH': path}, **options}
  return subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
  )


@pytest.mark.slow
def test_the_program_says_by_its_exit_code_how_it_went(clips):
  args = ['--data=clips', '--out=out', '--size=0', '--frame_skip=4', '--norlds']
  (clips / 'b.mp4').touch()
  refused, partly = (
    program(*args),
    program(*args[:1], '--out=b', *args[2:], '-keep_going'),
  )
  out, error = refused.communicate()
  assert refused.returncode == 2 and 'kept' not in out
  assert error.startswith('error: clips/b.mp4: expected a video, found an empty file')
  assert len(error.splitlines()) == 1 and not pathlib.Path('out').exists()
  out, error = partly.communicate()
  assert partly.returncode == 3, error
  assert 'left out: clips/b.mp4: ' in out and '1 of 2 recordings kept' in out
  assert (
    error.startswith('partly: clips: 1 input was left out') and error.count('\n') == 1
  )
  assert open_recorded('b/packed').num_transitions == 2
  card = pathlib.Path('b/card.md').read_text()
  assert '--data=clips --out=b --size=0 --frame_skip=4 --norlds -keep_going' in card


@pytest.mark.slow
def test_a_program_that_is_stopped_leaves_nothing(clips):
  frames = np.tile(tiny_video.pictures(100), (60, 1, 1, 1))
  tiny_video.write(clips / 'b.mkv', frames)
  args = ('--data=clips', '--out=out', '--size=0', '--norlds')
  running = program(*args)
  deadline = time.monotonic() + 60
  while not list(pathlib.Path().glob('out.partial-*')):
    assert running.poll() is None and time.monotonic() < deadline
    time.sleep(0.01)
  running.send_signal(signal.SIGINT)
  _, error = running.communicate()
  assert running.returncode == 130, error
  assert [path.name for path in pathlib.Path().iterdir()] == ['clips']
