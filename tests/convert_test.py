"""Conversions: the same episodes in the other store, whole or not at all."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
from tiny_convert import names, program, record_maze

from alpt_jax import pace, specs
from alpt_jax.data.packed import PackedPool, open_packed, write_packed
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.data.shards import write_shards
from alpt_jax.errors import UserError
from alpt_jax.experiment import conversion
from alpt_jax.experiment.conversion import ShardChoice, convert
from alpt_jax.experiment.recording import card_of
from alpt_jax.types import Episode


def quiet(line):
  del line


@pytest.fixture(scope='module')
def maze(tmp_path_factory):
  return record_maze(tmp_path_factory)


def screens(length, number):
  rng = np.random.default_rng(number)
  return Episode(
    rng.integers(0, 256, (length + 1, 84, 84, 1)).astype(np.uint8),
    rng.integers(0, 3, length).astype(np.int32),
    rng.integers(-1, 2, length).astype(np.float32),
    np.ones(length, np.float32),
  )


@pytest.fixture(scope='module')
def shards(tmp_path_factory):
  """Two runs of Freeway with two and one shard: 4 + 3 and 5 transitions."""
  folder = tmp_path_factory.mktemp('shards')
  write_shards(folder, 'Freeway', [screens(4, 0), screens(3, 1)], 2, run=1)
  write_shards(folder, 'Freeway', [screens(5, 2)], 1, run=3)
  return folder / 'Freeway'


def test_a_pool_there_and_back_is_the_same_files(maze, tmp_path):
  packed = convert(str(maze), tmp_path / 'packed', say=quiet)
  assert isinstance(packed, PackedPool)
  convert(str(tmp_path / 'packed'), tmp_path / 'pool', 'pool', say=quiet)
  for path in (maze / 'pool').iterdir():
    assert (tmp_path / 'pool' / path.name).read_bytes() == path.read_bytes(), path


def test_the_card_comes_along_with_what_cannot_be_counted(maze, tmp_path):
  convert(str(maze), tmp_path / 'packed', say=quiet)
  card = card_of(tmp_path / 'packed')
  assert card == card_of(maze)
  assert card['best_possible_idm_accuracy'] is not None


def test_the_sizes_are_said(tmp_path):
  """3 + 2 rows of 3 bytes; a pool's files and a packed set's as they lie there."""
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), tiny.tiny_episodes((2, 1)))
  lines = []
  convert(str(tmp_path / 'pool'), tmp_path / 'packed', say=lines.append)
  before, now = (
    sum(path.stat().st_size for path in (tmp_path / name).iterdir())
    for name in ('pool', 'packed')
  )
  assert conversion.folder_bytes(tmp_path / 'packed') == now
  assert '2 episodes, 3 transitions of tiny' in lines[-3]
  assert lines[-1].startswith(f'{before / 1e6:.2f} MB before, {now / 1e6:.2f} MB now')
  assert f'({now / before:.1%})' in lines[-1]


def test_a_size_is_that_of_the_files_of_the_folder_itself(tmp_path):
  (tmp_path / 'file').write_bytes(b'12345')
  (tmp_path / 'subfolder').mkdir()
  (tmp_path / 'subfolder' / 'other').write_bytes(b'123')
  assert conversion.folder_bytes(tmp_path) == 5


def test_a_manifest_that_was_edited_is_said(maze, tmp_path):
  """The same fields in another spelling: another hash, which labels hang on."""
  shutil.copytree(maze, tmp_path / 'maze')
  path = tmp_path / 'maze' / 'pool' / 'manifest.json'
  path.write_text(json.dumps(json.loads(path.read_text())))
  before, lines = open_pool(path.parent).manifest_hash, []
  found = convert(str(tmp_path / 'maze'), tmp_path / 'packed', say=lines.append)
  assert found.manifest_hash == open_pool(maze / 'pool').manifest_hash != before
  (said,) = [line for line in lines if 'were changed' in line]
  for part in (before, found.manifest_hash, 'card is not copied'):
    assert part in said
  assert not (tmp_path / 'packed' / 'card.json').exists()
  lines.clear()
  convert(str(maze), tmp_path / 'again', say=lines.append)
  assert not [line for line in lines if 'were changed' in line]


def test_what_somebody_puts_there_meanwhile_is_kept(maze, tmp_path):
  thesis = tmp_path / 'out' / 'thesis.txt'

  def say(line):
    if line.startswith('All episodes are read'):
      thesis.parent.mkdir()
      thesis.write_text('years of work')

  for form in conversion.FORMS:
    with pytest.raises(UserError, match='out: exists and is not a pool'):
      convert(str(maze), tmp_path / 'out', form, say=say)
    assert thesis.read_text() == 'years of work'
    assert names(tmp_path) == ['out']
    shutil.rmtree(thesis.parent)


def test_another_set_that_was_written_meanwhile_is_kept(maze, tmp_path):
  def say(line):
    if line.startswith('All episodes are read'):
      write_packed(tmp_path / 'elsewhere', tiny.tiny_spec(), tiny.tiny_episodes((2,)))
      (tmp_path / 'elsewhere').rename(tmp_path / 'out')

  with pytest.raises(UserError, match='out: another set was written there meanwhile'):
    convert(str(maze), tmp_path / 'out', say=say)
  assert open_packed(tmp_path / 'out').num_transitions == 2


def test_progress_says_how_much_is_left(tmp_path, monkeypatch):
  """2 of 8 transitions in 11 seconds of a clock; then 6, and 8, each 11 later."""
  clock = iter(range(0, 99, 11))
  monkeypatch.setattr(pace.time, 'monotonic', lambda: float(next(clock)))
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), tiny.tiny_episodes((2, 4, 2)))
  lines = []
  convert(str(tmp_path / 'pool'), tmp_path / 'packed', say=lines.append)
  assert lines[:2] == [
    '1 episodes, 2 transitions, 0 a second, 0:33 left',
    '2 episodes, 6 transitions, 0 a second, 0:07 left',
  ]


def test_shards_become_the_pool_of_their_episodes(shards, tmp_path):
  found = convert(str(shards), tmp_path / 'packed', say=quiet)
  spec = specs.atari_spec('Freeway', specs.RL_UNPLUGGED_PROTOCOL)
  expected = write_pool(
    tmp_path / 'pool', spec, [screens(4, 0), screens(3, 1), screens(5, 2)]
  )
  assert found.manifest_hash == expected.manifest_hash
  assert found.spec.protocol == specs.RL_UNPLUGGED_PROTOCOL
  assert names(shards.parent) == ['Freeway']  # nothing is written beside them


def test_runs_and_shards_are_chosen_and_early_rewards_put_right(shards, tmp_path):
  one = convert(str(shards), tmp_path / 'one', choice=ShardChoice(runs=(3,)), say=quiet)
  assert one.lengths.tolist() == [5]
  choice = ShardChoice(runs=(1,), checkpoints=(1,), reward_lead=1)
  two = convert(str(shards), tmp_path / 'two', choice=choice, say=quiet)
  assert two.lengths.tolist() == [3]
  # r_t stood at step t - 1, so the first is not known and the last one's is dropped.
  assert two.rewards.tolist() == [0, *screens(3, 1).rewards[:2]]
  assert one.rewards.tolist() == screens(5, 2).rewards.tolist()
  with pytest.raises(UserError, match='run_2-'):
    convert(str(shards), tmp_path / 'x', choice=ShardChoice(runs=(2,)), say=quiet)
  assert names(tmp_path) == ['one', 'two']


@pytest.fixture(scope='module')
def early(tmp_path_factory):
  """A game whose score, 8 bright pixels, changes one step after its rewards."""
  rewards = np.zeros(300, np.float32)
  rewards[3::7] = 1
  score = np.concatenate([[0, 0], rewards[:-1]]).cumsum() % 2
  frames = np.zeros((301, 84, 84, 1), np.uint8)
  frames[:, :4, :4, 0] = 200 * score[:, None, None]
  actions, discounts = np.zeros(300, np.int32), np.ones(300, np.float32)
  folder = tmp_path_factory.mktemp('early')
  write_shards(folder, 'Freeway', [Episode(frames, actions, rewards, discounts)], 1)
  return folder / 'Freeway', rewards


@pytest.mark.parametrize(
  'lead, said',
  [
    (0, 'as recorded, though the screens say that they were recorded 1 step early.'),
    (1, 'moved, 1 step later than they were recorded.'),
    (-1, 'moved, 1 step later than they were recorded.'),
  ],
)
def test_the_end_says_what_became_of_the_rewards(early, tmp_path, lead, said):
  (folder, rewards), lines = early, []
  choice = ShardChoice(reward_lead=lead)
  found = convert(str(folder), tmp_path / 'packed', choice=choice, say=lines.append)
  moved = [0, *rewards[:-1]] if lead else rewards
  assert np.array_equal(found.rewards, moved)
  assert lines[-2] == f'Rewards are written {said}'
  assert any('Set reward_lead to 1' in line for line in lines) == (lead == 0)
  convert(str(tmp_path / 'packed'), tmp_path / 'pool', 'pool', say=lines.append)
  assert lines[-2] == 'Rewards are written as they are in the dataset that was read.'


def test_an_rlds_dataset_is_read_without_making_a_pool_of_it(tmp_path):
  from alpt_jax.data import rlds

  episodes = tiny.tiny_episodes((4, 2))
  rlds.write(tmp_path / 'rlds', tiny.tiny_spec(), episodes, {'policy': 'none'})
  before = names(tmp_path / 'rlds')
  found = convert(str(tmp_path / 'rlds'), tmp_path / 'packed', say=quiet)
  expected = write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes)
  assert found.manifest_hash == expected.manifest_hash
  assert names(tmp_path / 'rlds') == before


def test_what_is_not_known_stays_so_from_kind_to_kind(tmp_path):
  from alpt_jax.data import rlds

  known = [np.array([True, False, False, True]), np.array([False, False])]
  episodes = [
    episode._replace(is_labelled=each)
    for episode, each in zip(tiny.tiny_episodes((4, 2)), known, strict=True)
  ]
  expected = write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes)
  rlds.write(tmp_path / 'rlds', tiny.tiny_spec(), episodes, {}, is_partial=True)
  for number, kind in enumerate(('pool', 'rlds')):
    packed = tmp_path / f'packed{number}'
    found = convert(str(tmp_path / kind), packed, say=quiet)
    assert found.manifest_hash == expected.manifest_hash
    assert found.is_labelled.tolist() == [True, False, False, True, False, False]


def test_a_real_shard_is_smaller_and_read_alike(tmp_path):
  default = pathlib.Path(__file__).parents[2] / 'shared' / 'data'
  root = pathlib.Path(os.environ.get('ALPT_TEST_DATA', default)) / 'rl_unplugged'
  if not (root / 'Asterix' / 'run_1-00000-of-00001').is_file():
    pytest.skip('no real shard of Asterix; name its folder in ALPT_TEST_DATA')
  choice = ShardChoice(reward_lead=-1)
  found = convert(str(root / 'Asterix'), tmp_path / 'packed', choice=choice, say=quiet)
  assert found.rewards.sum() == 57 and found.lengths.tolist() == [853, 309]
  shard_bytes = (root / 'Asterix' / 'run_1-00000-of-00001').stat().st_size
  assert conversion.folder_bytes(tmp_path / 'packed') < shard_bytes / 4
  pool = convert(f'{tmp_path}/packed', tmp_path / 'pool', 'pool', say=quiet)
  rng = np.random.default_rng(0)
  rows = rng.integers(0, 1_164, (50, 6))
  assert np.array_equal(found.observations[rows], pool.observations[rows])


def test_what_cannot_be_converted_is_named(maze, tmp_path):
  (tmp_path / 'there').mkdir()
  with pytest.raises(UserError, match='there: exists'):
    convert(str(maze), tmp_path / 'there')
  with pytest.raises(UserError, match='nowhere: no such dataset folder'):
    convert(str(tmp_path / 'nowhere'), tmp_path / 'out')
  with pytest.raises(UserError, match='there: expected .*, found an empty folder'):
    convert(str(tmp_path / 'there'), tmp_path / 'out')
  with pytest.raises(UserError, match='expected files of RL Unplugged'):
    convert(str(maze), tmp_path / 'out', choice=ShardChoice(runs=(1,)))
  with pytest.raises(UserError, match='gs://.*expected the numbers of runs'):
    convert('gs://rl_unplugged/atari/Pong', tmp_path / 'out')
  assert names(tmp_path) == ['there']


def test_a_damaged_source_leaves_nothing(tmp_path):
  spec, episodes = tiny.tiny_spec(), tiny.tiny_episodes((5, 3))
  write_packed(tmp_path / 'packed', spec, episodes)
  path = tmp_path / 'packed' / 'observations.zst'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  with pytest.raises(UserError, match='observations.zst, rows 0 to 9'):
    convert(str(path.parent), tmp_path / 'out', 'pool', say=quiet)
  assert names(tmp_path) == ['packed']


def test_a_stopped_conversion_leaves_nothing(tmp_path):
  """A source that sends its own process SIGTERM after the first episode."""
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), tiny.tiny_episodes((5, 3)))
  code = """
import os, signal
from alpt_jax.bin import convert
from alpt_jax.data.pool import Pool
from alpt_jax.experiment import cli
episode = Pool.episode
def stopped(self, index):
  if index:
    os.kill(os.getpid(), signal.SIGTERM)
  return episode(self, index)
Pool.episode = stopped
cli.run(convert.main)
"""
  args = [f'--data={tmp_path}/pool', f'--out={tmp_path}/out']
  done = subprocess.run([sys.executable, '-c', code, *args], capture_output=True)
  assert done.returncode == 130, done.stderr
  assert names(tmp_path) == ['pool']


def test_the_program_converts_and_refuses_in_one_line(maze, tmp_path):
  done = program(f'--data={maze}', f'--out={tmp_path}/deep/packed')
  assert done.returncode == 0, done.stderr
  assert '4 episodes' in done.stdout and 'MB before' in done.stdout
  pool = open_pool(maze / 'pool')
  assert open_packed(tmp_path / 'deep' / 'packed').manifest_hash == pool.manifest_hash
  again = program(f'--data={maze}', f'--out={tmp_path}/deep/packed')
  wrong = program(f'--data={maze}', f'--out={tmp_path}/new', '--runs=1,b')
  for failed, part in ((again, 'packed: exists'), (wrong, '--runs: is about')):
    assert failed.returncode == 2
    assert part in failed.stderr and len(failed.stderr.splitlines()) == 1
