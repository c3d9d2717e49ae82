"""The label demo's recordings: tables tell what was done, and what they may of it."""

import dataclasses

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.area_resize import AreaResize
from alpt_jax.data import screens, video
from alpt_jax.data.video_steps import steps_of
from alpt_jax.data.video_table import read_table
from alpt_jax.envs.atari import Atari
from alpt_jax.experiment import demo_recordings
from alpt_jax.experiment.demo_recordings import DemoGame, record_game

DEMO = DemoGame('Breakout', num_steps=90, num_kept=30, stretch=10, clip_steps=40)
SPEC = specs.atari_spec(
  'Breakout', dataclasses.replace(specs.RL_UNPLUGGED_PROTOCOL, sticky_actions=0.0)
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('demo')
  record_game(DEMO, folder, say=lambda line: None)
  return folder


def clips(folder, part):
  """(clip, its one episode as a table of the part tells it), in order."""
  for path in sorted((folder / demo_recordings.VIDEOS / 'Breakout').glob('*.mp4')):
    clip = video.probe(path)
    table = read_table(folder / part / 'Breakout' / f'{path.stem}.csv', clip.num_frames)
    steps = steps_of(table, clip.num_frames, SPEC.action_names, SPEC.protocol)
    (episode,) = steps.episodes
    assert steps.num_mixed == 0 or part == demo_recordings.VIDEOS
    yield clip, episode


def test_what_the_tables_tell_leads_to_what_the_videos_show(folder):
  """The emulator, given those actions, scores the same and shows the same screens."""
  environment = Atari(SPEC)
  first = environment.reset().observation
  lengths = []
  for clip, episode in clips(folder, demo_recordings.TRUTH):
    assert episode.is_labelled.all()
    steps = [environment.step(action) for action in episode.actions]
    assert [step.reward for step in steps] == episode.rewards.tolist()
    expected = np.stack([first, *(step.observation for step in steps)])
    resize = AreaResize((clip.height, clip.width), SPEC.observation.shape[:2])
    seen = np.stack(
      list(screens.observations(clip, episode.shown, episode.is_pooled, True, resize))
    )
    # Pooled within a clip alone, and compressed: nearly all pixels, nearly the same.
    error = np.abs(seen.astype(int) - expected)
    assert error.mean() < 1
    lengths.append(len(steps))
    first = expected[-1]
  assert lengths == [40, 40, 10]


def test_so_many_actions_are_told_in_stretches_and_they_are_true(folder):
  told = 0
  parts = (demo_recordings.VIDEOS, demo_recordings.TRUTH)
  for (_, given), (_, true) in zip(
    *(clips(folder, part) for part in parts), strict=True
  ):
    known = given.is_labelled
    np.testing.assert_array_equal(given.actions[known], true.actions[known])
    np.testing.assert_array_equal(given.rewards, true.rewards)
    begins = np.flatnonzero(np.diff(known.astype(int), prepend=0) == 1)
    assert not (begins % DEMO.stretch).any()
    told += known.sum()
  assert told == DEMO.num_kept


def test_of_a_source_everything_is_told(tmp_path):
  demo = DemoGame('Freeway', num_steps=5)
  record_game(demo, tmp_path, say=lambda line: None)
  tables = [
    tmp_path / part / 'Freeway' / 'clip00.csv'
    for part in (demo_recordings.VIDEOS, demo_recordings.TRUTH)
  ]
  assert tables[0].read_text() == tables[1].read_text()
