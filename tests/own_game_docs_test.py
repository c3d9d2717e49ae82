"""docs/own_game.md: every command, program, table and message of the page, as written.

Commands run in a folder in which the page's paths exist. Nothing is changed but the
size of models and trainings: `TINY` is appended to each command that trains.
"""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_game
import tiny_video
from tiny_configs import get_config

from alpt_jax.data.video_steps import steps_of
from alpt_jax.data.video_table import read_table
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets, label_run
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.video_conversion import VideoChoice, convert_videos
from alpt_jax.specs import Protocol

pytest.importorskip('av')

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'own_game.md').read_text()
TINY = (
  ' --config.training.num_steps=2 --config.optimizer.warmup_steps=1'
  ' --config.model.width=8 --config.model.num_heads=2 --config.model.num_layers=1'
  ' --config.evaluation.num_transitions=16'
)
OWN, OTHER = ('NOOP', 'LEFT', 'RIGHT'), ('DOWN', 'LEFT', 'RIGHT', 'UP')
NUM_CLIPS = 8


def blocks(*languages):
  """(language, text) of the page's blocks, in order."""
  found = re.findall(r'^ *```(\w+)\n(.*?)^ *```$', PAGE, re.MULTILINE | re.DOTALL)
  return [(language, text) for language, text in found if language in languages]


def messages():
  """What was given -> what is printed, of the page's last table."""
  table = PAGE.split('| what was given | what is printed |')[1]
  return dict(re.findall(r'^\| (.+?) \| `(.+)` \|$', table, re.MULTILINE))


@contextlib.contextmanager
def raises_as_printed(given):
  """`UserError` with the page's message; where it has '...' anything may stand."""
  with pytest.raises(UserError) as raised:
    yield
  expected = '.+'.join(map(re.escape, messages()[given].split(' ... ')))
  assert re.fullmatch(expected, str(raised.value)), f'{raised.value}'


def record_clips(folder):
  """clips/mygame as the page describes it, six tables of eight, and clips/othergame."""
  for number in range(NUM_CLIPS):
    clip = folder / 'clips' / 'mygame' / f'clip{number}.mp4'
    table = tiny_game.record(clip, 240 + 240 * (number == 0), OWN, seed=number)
    if number < 6:
      clip.with_suffix('.csv').write_text(table)
    clip = folder / 'clips' / 'othergame' / f'clip{number}.mp4'
    clip.parent.mkdir(exist_ok=True)
    table = tiny_game.record(clip, 120, OTHER, seed=number)
    clip.with_suffix('.csv').write_text(table)
  ((_, table),) = blocks('csv')
  (folder / 'clips' / 'mygame' / 'clip0.csv').write_text(table)


# What needs no training.


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  folder = tmp_path_factory.mktemp('recorded')
  record_clips(folder)
  return folder


@pytest.fixture
def clips(recorded, tmp_path, monkeypatch):
  """clips/mygame of one's own, below the working directory."""
  shutil.copytree(recorded / 'clips', tmp_path / 'clips')
  monkeypatch.chdir(tmp_path)
  return tmp_path / 'clips' / 'mygame'


def test_the_table_means_what_is_said_of_it(tmp_path):
  ((_, text),) = blocks('csv')
  (tmp_path / 'clip0.csv').write_text(text)
  table = read_table(tmp_path / 'clip0.csv', 480)
  first, second = steps_of(table, 480, OWN, Protocol(1000)).episodes
  names = np.where(first.is_labelled, np.array(OWN)[first.actions], '')
  assert set(names[:31]) == {'NOOP'} and set(names[31:58]) == {'LEFT'}
  assert set(names[58:120]) == {''} and set(names[120:]) == {'RIGHT'}
  assert first.rewards.nonzero()[0].tolist() == [120]
  # Frames 0 to 400 are the first episode.
  assert len(names) == 400 and first.discounts[-1] == 0
  assert second.shown[0] == 401 and second.discounts[-1] == 1
  assert second.is_labelled.all() and not second.actions.any()


def varying_rate(clips):
  (clips / 'clip7.mp4').unlink()
  times = [0, 16, 33, 50, 66, 83, 133, 150, 166]
  frames = np.broadcast_to(tiny_game.Game().reset(), (len(times), 96, 112, 3))
  tiny_video.write(clips / 'clip7.mkv', frames, times=times)


def other_window(clips):
  tiny_video.write(clips / 'clip7.mp4', np.zeros((9, 96, 128, 3), np.uint8))


def no_table(clips):
  for table in clips.glob('*.csv'):
    table.unlink()


def written(text, name='clip1.csv'):
  return lambda clips: (clips / name).write_text(text)


CONVERSIONS = {
  'a recording that was cut off': lambda clips: tiny_video.cut(clips / 'clip7.mp4'),
  'a varying rate': varying_rate,
  'another window': other_window,
  'no table at all': no_table,
  'a table of another name': written('frame,action\n0,LEFT\n', 'clp0.csv'),
  "a spreadsheet's separator": written('frame;action\n0;LEFT\n'),
  'seconds': written('frame,action\n12.5,LEFT\n'),
  'one action, two spellings': written('frame,action\n0,left\n'),
  'a row for each frame, and some are missing': written(
    'frame,action\n' + ''.join(f'{frame},LEFT\n' for frame in range(100))
  ),
}
TRAININGS = {
  'a target without labels',
  'a name that no source has (the run goes on)',
  'recordings whose action the run never met',
  '`--out` of another labelling',
}


def test_every_message_of_the_page_is_looked_at():
  assert messages().keys() == {*CONVERSIONS, *TRAININGS}


@pytest.mark.parametrize('given', CONVERSIONS)
def test_a_conversion_that_goes_wrong_prints_what_the_page_says(clips, given):
  CONVERSIONS[given](clips)
  choice = VideoChoice(rlds=False, frame_skip=4)
  with raises_as_printed(given):
    convert_videos('clips', pathlib.Path('data'), choice=choice, say=list)
  assert not pathlib.Path('data').exists()


def test_a_target_without_labels_is_refused_as_the_page_says(clips):
  no_table(clips)
  for game, names in (('mygame', OWN), ('othergame', ())):
    choice = VideoChoice(rlds=False, actions=names)
    convert_videos(f'clips/{game}', pathlib.Path('data', game), choice=choice, say=list)
  fields = get_config('own', 'target=data/mygame,sources=data/othergame')
  with raises_as_printed('a target without labels'):
    datasets.load(from_mapping(fields))


# Everything else, in one folder.


def save_arrays(folder):
  """play.npz, and the Minari dataset own/game-v0 below $MINARI_DATASETS_PATH."""
  minari = pytest.importorskip('minari')
  gymnasium = pytest.importorskip('gymnasium')
  rng = np.random.default_rng(0)
  fields = {
    'observations': rng.integers(256, size=(41, 84, 84, 1)).astype(np.uint8),
    'actions': rng.integers(-1, 3, size=40),
    'rewards': np.zeros(40),
    'terminals': np.arange(40) == 39,
    'timeouts': np.zeros(40, bool),
  }
  np.savez(folder / 'play.npz', **fields)
  episode = minari.data_collector.EpisodeBuffer(
    id=0,
    observations=rng.normal(size=(41, 2)),
    actions=np.maximum(fields['actions'], 0),
    rewards=fields['rewards'],
    terminations=fields['terminals'],
    truncations=fields['timeouts'],
    infos={},
  )
  minari.create_dataset_from_buffers(
    'own/game-v0',
    [episode],
    observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64),
    action_space=gymnasium.spaces.Discrete(3),
    author='us',
    author_email='us',
    code_permalink='none',
    algorithm_name='none',
  )


def commands():
  """Every command and program of the page, in order, for a shell."""
  found = []
  for language, text in blocks('bash', 'python'):
    if language == 'python':
      found.append(f'python -c {shlex.quote(text)}')
      continue
    for line in text.replace('\\\n', ' ').splitlines():
      is_training = re.search(r'bin\.(pretrain|finetune) ', line)
      found.append(line + TINY if is_training else line)
  return found


@pytest.fixture(scope='module')
def done(recorded, tmp_path_factory):
  """The folder in which everything ran, and (command, what was printed) of each."""
  folder = tmp_path_factory.mktemp('own_game')
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('MINARI_DATASETS_PATH', str(folder / 'minari'))
    save_arrays(folder)
    shutil.copytree(recorded / 'clips', folder / 'clips')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    (folder / 'mygame.py').write_text('from tiny_game import Game\n')
    (folder / 'programs').mkdir()
    python = folder / 'programs' / 'python'
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    patch.setenv('PATH', str(python.parent), prepend=os.pathsep)
    for place in (ROOT / 'tests', ROOT):
      patch.setenv('PYTHONPATH', str(place), prepend=os.pathsep)
    return folder, [(command, ran(command, folder)) for command in commands()]


def ran(command, folder):
  result = subprocess.run(
    ['bash', '-c', command], cwd=folder, capture_output=True, text=True
  )
  assert result.returncode == 0, f'{command}\n{result.stdout}\n{result.stderr}'
  return result.stdout


@pytest.mark.slow
def test_every_command_of_the_page_runs_as_it_stands(done):
  folder, outputs = done
  assert len(outputs) == len(commands()) >= 11
  for file in (
    'data/mygame/card.md',
    'data/othergame/card.md',
    'runs/tuned/identity.json',
    'labels/mygame/label_card.html',
    'runs/agent/identity.json',
    'data/play/card.md',
    'data/minari/card.md',
  ):
    assert (folder / file).is_file(), file
  dry = next(printed for command, printed in outputs if '--dry_run' in command)
  assert '18 runs' in dry and not (folder / 'runs' / 'curve').exists()
  played = next(printed for command, printed in outputs if 'python -c' in command)
  labels = played.splitlines()
  assert len(labels) == 5
  assert all(re.fullmatch(r'(NOOP|LEFT|RIGHT) [01]\.\d\d', each) for each in labels)


@pytest.mark.slow
def test_a_name_that_no_source_has_is_told_as_the_page_says(done):
  joint = next(printed for each, printed in done[1] if '=runs/mygame ' in each)
  assert messages()['a name that no source has (the run goes on)'] in joint


@pytest.mark.slow
@pytest.mark.parametrize(
  ('given', 'data', 'min_confidence'),
  [
    ('recordings whose action the run never met', 'data/other', 0.0),
    ('`--out` of another labelling', 'data/mygame', 0.5),
  ],
)
def test_labelling_refuses_what_does_not_fit_as_the_page_says(
  done, monkeypatch, given, data, min_confidence
):
  monkeypatch.chdir(done[0])
  if not pathlib.Path(data).exists():
    clip = pathlib.Path('other', 'clip0.mp4')
    table = tiny_game.record(clip, 120, ('CROUCH', 'LEFT'))
    clip.with_suffix('.csv').write_text(table[: table.index('40,')] + '40,\n')
    choice = VideoChoice(rlds=False, frame_skip=4, max_pool=True)
    convert_videos('other', pathlib.Path(data), choice=choice, say=list)
  choice = label_run.LabelChoice(
    run=pathlib.Path('runs/mygame'),
    data=pathlib.Path(data),
    out=pathlib.Path('labels/mygame'),
    min_confidence=min_confidence,
  )
  with raises_as_printed(given):
    label_run.label_dataset(choice, list)
