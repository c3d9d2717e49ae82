"""Recording Atari games: exact counts, the same bits again, nothing half-written."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny

from alpt_jax import pace
from alpt_jax.data.card import to_markdown
from alpt_jax.data.pool import open_pool
from alpt_jax.envs.atari import Atari
from alpt_jax.errors import UserError
from alpt_jax.experiment import recording_atari
from alpt_jax.experiment.recording import Recording, card_of, command, record
from alpt_jax.experiment.recording_atari import AtariRecording, record_atari

_ROOT = pathlib.Path(__file__).parents[1]
SHORT = AtariRecording('atari/Breakout', transitions=50, max_episode_steps=20)


def run(*arguments, expect=0, cwd=_ROOT):
  """Runs bin/record; returns its stdout and stderr."""
  result = subprocess.run(
    [sys.executable, '-m', 'alpt_jax.bin.record', *map(str, arguments)],
    cwd=cwd,
    env={**os.environ, 'PYTHONPATH': str(_ROOT)},
    capture_output=True,
    text=True,
    timeout=100,
  )
  assert result.returncode == expect, result.stdout + result.stderr
  return result.stdout, result.stderr


def test_a_recording_holds_exactly_the_transitions_asked_for(tmp_path):
  pool = record_atari(SHORT, tmp_path / 'a')
  # 50 in episodes of at most 20, nobody loses five balls in so few steps.
  assert pool.lengths.tolist() == [20, 20, 10]
  assert (pool.discounts == 1).all()
  assert pool.spec.name == 'atari/Breakout'
  assert pool.observations.shape == (53, 84, 84, 1)
  assert pool.spec.protocol.sticky_actions == 0.25  # RL Unplugged's
  assert open_pool(tmp_path / 'a' / 'pool').manifest_hash == pool.manifest_hash
  card = json.loads((tmp_path / 'a' / 'card.json').read_text())
  assert card['num_transitions'] == 50
  assert card['best_possible_idm_accuracy'] is None
  assert (tmp_path / 'a' / 'picture.png').stat().st_size > 0


def test_a_seed_gives_the_same_recording_bit_for_bit(tmp_path):
  hashes = {}
  for name, seed in (('one', 3), ('again', 3), ('other', 4)):
    recording = AtariRecording('atari/SpaceInvaders', 60, seed=seed)
    hashes[name] = record_atari(recording, tmp_path / name).manifest_hash
  assert hashes['one'] == hashes['again'] != hashes['other']


def test_what_was_recorded_is_what_the_environment_does(tmp_path):
  """The actions, played again with the same seed, lead to the same frames."""
  pool = record_atari(SHORT, tmp_path / 'a')
  environment = Atari(pool.spec, SHORT.seed)
  for index in range(pool.num_episodes):
    episode = pool.episode(index)
    time_steps = [environment.reset()]
    time_steps += [environment.step(int(action)) for action in episode.actions]
    for observation, time_step in zip(episode.observations, time_steps, strict=True):
      np.testing.assert_array_equal(observation, time_step.observation)
    assert episode.rewards.tolist() == [each.reward for each in time_steps[1:]]


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'transitions': 0}, 'transitions: expected at least 1, found 0'),
    ({'epsilon': 1.5}, 'epsilon: expected 0 to 1, found 1.5'),
    ({'seed': -1}, 'seed: expected 0 or more, found -1'),
    ({'shards': -1}, 'shards: expected 0 to 30,000, .* found -1'),
    ({'sticky_actions': 2.0}, 'sticky_actions: expected 0 to 1, found 2.0'),
    ({'max_episode_steps': 0}, 'max_episode_steps: expected 1 or more, found 0'),
    ({'environment': 'atari/Brekout'}, "did you mean 'Breakout'"),
    # The schedule would need a script later on: refused at once.
    ({'environment': 'atari/Qbert'}, "'Qbert' has no scripted player"),
    ({'environment': 'maze/tunneled/3'}, 'expected .atari/<Game>.'),
  ],
)
def test_what_cannot_be_recorded_is_said_and_leaves_nothing(tmp_path, fields, message):
  recording = AtariRecording(**{'environment': 'atari/Breakout', **fields})
  with pytest.raises(UserError, match=message):
    record_atari(recording, tmp_path / 'a')
  assert not list(tmp_path.iterdir())


def test_a_game_without_a_script_can_be_recorded_at_random(tmp_path):
  recording = AtariRecording('atari/Qbert', 40, epsilon=1.0)
  assert record_atari(recording, tmp_path / 'a').num_transitions == 40


def test_an_interrupted_recording_leaves_nothing(tmp_path, monkeypatch):
  step, num_steps = Atari.step, []

  def interrupted(self, action):
    num_steps.append(1)
    if len(num_steps) > 30:  # in the second episode, the first is on the disk
      raise KeyboardInterrupt
    return step(self, action)

  monkeypatch.setattr(Atari, 'step', interrupted)
  with pytest.raises(KeyboardInterrupt):
    record_atari(SHORT, tmp_path / 'a')
  assert not list(tmp_path.iterdir())
  monkeypatch.undo()
  assert record_atari(SHORT, tmp_path / 'a').num_transitions == 50


@pytest.mark.slow
def test_a_killed_recording_never_looks_complete(tmp_path):
  folder = tmp_path / 'a'
  options = ('--environment=atari/Freeway', f'--out={folder}', '--max_episode_steps=20')
  process = subprocess.Popen(
    [sys.executable, '-m', 'alpt_jax.bin.record', *options],
    cwd=_ROOT,
    stdout=subprocess.DEVNULL,
  )
  while not list(tmp_path.iterdir()):
    assert process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not folder.exists()
  run(*options, '--transitions=30')
  assert [path.name for path in tmp_path.iterdir()] == ['a']
  assert open_pool(folder / 'pool').num_transitions == 30


def test_shard_i_gets_the_ith_part_of_the_recording(tmp_path, monkeypatch):
  """7 episodes in 3 shards: the first has one more, and time runs from 0 to 6."""
  dealt = [[], [], []]

  def deal(folder, game, episodes, num_shards):
    for number, episode in enumerate(episodes):
      dealt[number % num_shards].append(int(episode.observations[0, 0]) - 1)

  monkeypatch.setattr(recording_atari, 'write_shards', deal)
  spec = tiny.tiny_spec('atari/Breakout')
  pool = tiny.tiny_pool(lengths=(1,) * 7, spec=spec)
  recording_atari._write_shards(tmp_path, pool, 3)
  assert dealt == [[0, 1, 2], [3, 4], [5, 6]]
  with pytest.raises(UserError, match='at most 7, .* found 8'):
    recording_atari._write_shards(tmp_path, pool, 8)


@pytest.mark.slow
def test_shards_hold_what_the_pool_holds(tmp_path):
  from alpt_jax.data import rl_unplugged

  recording = AtariRecording(
    'atari/Breakout', transitions=90, max_episode_steps=20, shards=2
  )
  pool = record_atari(recording, tmp_path / 'a')
  names = sorted(path.name for path in (tmp_path / 'a' / 'Breakout').iterdir())
  assert names == ['run_1-00000-of-00002', 'run_1-00001-of-00002']
  manifest = rl_unplugged.scan(
    tmp_path / 'a', 'Breakout', tmp_path / 'cache', runs=(1,)
  )
  # 20, 20, 20 in the first, 20, 10 in the second.
  assert manifest.num_transitions == pool.num_transitions == 90
  assert pool.lengths.tolist() == [20, 20, 20, 20, 10]


def test_long_recordings_say_how_far_they_are(monkeypatch):
  seconds = iter([0, 8, 20, 24, 40])
  monkeypatch.setattr(pace.time, 'monotonic', lambda: next(seconds))
  lines = []
  episodes = [tiny.tiny_episode(100)] * 4
  assert len(list(recording_atari.reported(episodes, 400, lines.append))) == 4
  # Silent at 8 s; at 20 s 200 are done, 10 a second; silent at 24 s and at the end.
  assert lines == ['2 episodes, 200 transitions, 10 a second, 0:20 left']


@pytest.mark.slow
def test_the_source_of_a_card_is_a_command_that_records_the_same(tmp_path):
  """As the shell would split it; in another folder, where the name is free."""
  first, second = tmp_path / 'first', tmp_path / 'second'
  for folder in (first, second):
    folder.mkdir()
  recording = AtariRecording(
    'atari/Freeway', transitions=30, epsilon=0.5, seed=5, max_episode_steps=20
  )
  record_atari(recording, first / 'a')
  source = json.loads((first / 'a' / 'card.json').read_text())['source']
  words = shlex.split(source)
  assert words[:3] == ['python', '-m', 'alpt_jax.bin.record']
  run(*words[3:], cwd=second)
  one, other = (
    json.loads((f / 'a' / 'card.json').read_text()) for f in (first, second)
  )
  assert one == other


def test_the_source_spells_flags_as_the_program_does():
  maze = Recording('maze/tunneled/1', goal=(3, 4), episodes=2)
  assert command(maze, pathlib.Path('some/where x'), False) == (
    'python -m alpt_jax.bin.record --environment=maze/tunneled/1 '
    "'--out=where x' --observation=position --episodes=2 --epsilon=0.5 --seed=0 "
    '--goal=3,4 --max_episode_steps=500 --norlds'
  )


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('--environment=atari/Pong', '--goal=1,2'), '--goal: not a flag of atari'),
    (('--card',), 'expected --card --data=DIR and nothing else'),
    pytest.param(
      ('--environment=maze/tunneled/1', '--shards=2'),
      '--shards: not a flag of maze',
      marks=pytest.mark.slow,
    ),
    pytest.param(
      ('--environment=atary/Pong',), "did you mean 'atari'", marks=pytest.mark.slow
    ),
  ],
)
def test_flags_of_the_other_kind_are_one_line_and_exit_code_2(
  tmp_path, arguments, message
):
  _, stderr = run(*arguments, f'--out={tmp_path / "x"}', expect=2)
  assert message in stderr
  assert len(stderr.strip().splitlines()) == 1
  assert not list(tmp_path.iterdir())


def test_the_card_of_any_folder_can_be_printed_warnings_first(tmp_path):
  folder = tmp_path / 'maze'
  record(Recording('maze/tunneled/9', episodes=3), folder, rlds=False)
  page = to_markdown(card_of(folder))
  assert page == (folder / 'card.md').read_text()
  assert page.splitlines()[2].startswith('> **Warning:** ')


@pytest.mark.slow
def test_the_program_prints_a_card(tmp_path):
  pool = record(Recording('maze/tunneled/9', episodes=3), tmp_path / 'a', rlds=False)
  stdout, _ = run('--card', f'--data={tmp_path / "a"}')
  assert f'| {pool.manifest_hash} |' in stdout


def test_a_card_that_describes_something_else_is_not_believed(tmp_path):
  folder = tmp_path / 'maze'
  record(Recording('maze/tunneled/9', episodes=3), folder, rlds=False)
  ceiling = card_of(folder)['best_possible_idm_accuracy']
  assert 0 < ceiling <= 1
  path = folder / 'card.json'
  path.write_text(path.read_text().replace('"manifest_hash": "', '"manifest_hash": "x'))
  assert card_of(folder)['best_possible_idm_accuracy'] is None
  assert card_of(folder)['source'] == ''
  path.write_text('{')
  assert card_of(folder)['num_episodes'] == 3
