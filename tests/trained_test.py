"""The Python API on a tiny run, from videos to labels and to actions."""

import json
import pathlib

import numpy as np
import pytest
import tiny_video
from tiny_configs import get_config

from alpt_jax import trained
from alpt_jax.data.packed import open_recorded
from alpt_jax.data.pool_files import sha256_of
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.run import Run
from alpt_jax.experiment.trained_models import load_labeller
from alpt_jax.experiment.video_conversion import VideoChoice, convert_videos
from alpt_jax.labelling.labeller import LabellingConfig, label_pool

pytest.importorskip('av')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """`clips`, of 28x28 pixels, the `own` set made of them, and a `run` on it."""
  folder = tmp_path_factory.mktemp('trained')
  clips = folder / 'clips'
  clips.mkdir()
  for number in range(30):
    num_frames = 41 + number
    tiny_video.write(clips / f'c{number:02d}.mkv', tiny_video.pictures(num_frames))
    rows = [f'{frame},{"UP" if frame % 4 else "DOWN"}' for frame in range(20)]
    (clips / f'c{number:02d}.csv').write_text('\n'.join([*rows, '20,']))
  choice = VideoChoice(size=None, rlds=False, frame_skip=2, max_pool=True)
  convert_videos(str(clips), folder / 'own', 'pool', choice, list)
  fields = get_config('own', f'target={folder / "own"},method=dt1-idm')
  fields.model.update({'width': 8, 'num_heads': 2, 'num_layers': 1})
  fields.training.update({'num_steps': 2, 'batch_size': 8, 'checkpoint_every': 2})
  fields.evaluation.num_transitions = 16
  Run(from_mapping(fields)).train(folder / 'run')
  return folder


@pytest.fixture(scope='module')
def model(folder):
  return trained.load(folder / 'run')


def test_frames_are_those_of_the_dataset_that_was_converted(folder, model):
  pool = open_recorded(folder / 'own' / 'pool')
  for episode in (0, 7):
    frames = model.frames(folder / 'clips' / f'c{episode:02d}.mkv')
    np.testing.assert_array_equal(frames, pool.episode(episode).observations)


@pytest.mark.parametrize('size', [28, 63])
def test_a_running_game_is_seen_as_its_recording(model, tmp_path, size):
  screens = tiny_video.pictures(9, size, size)
  recorded = model.frames(tiny_video.write(tmp_path / 'game.mkv', screens))
  # Two frames a step, of which the maximum is seen.
  seen = [model.observation(screens[0])]
  seen += [model.observation(screens[t], screens[t - 1]) for t in (2, 4, 6, 8)]
  np.testing.assert_array_equal(np.stack(seen), recorded)


def test_the_run_says_of_which_files_its_dataset_was_made(folder):
  identity = json.loads((folder / 'run' / 'identity.json').read_text())
  digests = sorted(sha256_of(path) for path in (folder / 'clips').glob('*.mkv'))
  assert identity['recordings'] == [digests]


def test_labels_are_those_of_the_dataset_and_given_actions_stay(folder, model):
  pool = open_recorded(folder / 'own' / 'pool')
  expected = label_pool(
    load_labeller(folder / 'run'), pool, LabellingConfig(), episodes=[3]
  )
  episode = pool.episode(3)
  labels = model.label(episode.observations, episode.actions, episode.is_labelled)
  assert model.spec.action_names == ('DOWN', 'UP')
  assert labels.names == [model.spec.action_names[a] for a in expected.action]
  np.testing.assert_allclose(labels.confidence, expected.confidence, rtol=1e-5)
  np.testing.assert_array_equal(labels.is_recorded, episode.is_labelled)
  # Without them every one is a guess.
  guesses = model.label(episode.observations)
  assert len(guesses.names) == len(episode.actions)
  assert not guesses.is_recorded.any()
  assert (guesses.confidence[episode.is_labelled] < 1).all()


def test_the_policy_plays_a_game_that_is_stepped_elsewhere(folder, model):
  frames = model.frames(folder / 'clips' / 'c00.mkv')

  def played(seed):
    player = model.player(seed)
    player.begin(frames[0])
    actions = [player.act()]
    for frame in frames[1:]:
      player.see(frame, 0.0)
      actions.append(player.act())
    return actions

  actions = played(0)
  assert set(actions) <= set(model.spec.action_names)
  assert actions == played(0)


def test_what_does_not_fit_is_named(folder, model, tmp_path):
  slow = tiny_video.write(tmp_path / 'slow.mkv', tiny_video.pictures(9), rate=30)
  with pytest.raises(UserError, match=r'slow.mkv: frame_rate 30 / frame_skip 2 \(15'):
    model.frames(slow)
  small = tiny_video.write(tmp_path / 'small.mkv', tiny_video.pictures(9, 14, 14))
  with pytest.raises(UserError, match='14x14 pixels'):
    model.frames(small)
  with pytest.raises(UserError, match='expected'):
    model.label(np.zeros((9, 28, 28, 3), np.uint8))
  with pytest.raises(UserError, match='both actions and is_labelled'):
    model.label(np.zeros((9, 28, 28, 1), np.uint8), np.zeros(8, int))
  for screen in (np.zeros((27, 28, 3), np.uint8), np.zeros((28, 28, 3), np.float32)):
    with pytest.raises(UserError, match='screen: expected uint8 .* 28x28 or more'):
      model.observation(screen)
  with pytest.raises(UserError, match=str(pathlib.Path('nowhere'))):
    trained.load(tmp_path / 'nowhere')
