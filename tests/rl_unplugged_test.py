"""RL Unplugged shards: what is read is what was recorded, or one line says why not."""

import dataclasses
import gzip
import os
import pathlib
import shutil
import time

import numpy as np
import pytest
import tiny

from alpt_jax import specs
from alpt_jax.data import encoded, labels, rl_unplugged, slices
from alpt_jax.data.manifest import load_manifest, save_manifest
from alpt_jax.data.pool import write_pool
from alpt_jax.data.reward_lead import reward_lead
from alpt_jax.data.shards import write_shards
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.types import Episode

# Below rl_unplugged, which quietens TensorFlow before it is imported.
import tensorflow as tf  # isort: skip

GAME = 'Breakout'
SPEC = specs.atari_spec(GAME, specs.RL_UNPLUGGED_PROTOCOL)
LENGTHS = (7, 3, 12, 1, 5)
FIRST, SECOND = f'{GAME}/run_1-00000-of-00002', f'{GAME}/run_1-00001-of-00002'


def episode_of(length, number, terminal=True):
  """Random frames, so that every one of them names its place."""
  rng = np.random.default_rng([length, number])
  discounts = np.ones(length, np.float32)
  discounts[-1] = 0 if terminal else 1
  return Episode(
    rng.integers(0, 256, (length + 1, 84, 84, 1)).astype(np.uint8),
    rng.integers(0, 4, length).astype(np.int32),
    rng.integers(-2, 3, length).astype(np.float32),
    discounts,
  )


def episodes_of(lengths=LENGTHS):
  return [episode_of(length, i, i % 2 == 0) for i, length in enumerate(lengths)]


def scanned(folder, **settings):
  settings = {'runs': (1,), 'say': lambda line: None} | settings
  return rl_unplugged.scan(folder, GAME, folder / 'cache', **settings)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """Five episodes in two shards, 0 2 4 and 1 3; not to be changed."""
  folder = tmp_path_factory.mktemp('shards')
  write_shards(folder, GAME, episodes_of(), 2)
  return folder


@pytest.fixture
def copied(tmp_path, written):
  """The same, for a test to damage."""
  shutil.copytree(written / GAME, tmp_path / GAME)
  return tmp_path


@pytest.fixture
def real():
  """The folder that holds a real shard of Asterix."""
  default = pathlib.Path(__file__).parents[2] / 'shared' / 'data'
  folder = pathlib.Path(os.environ.get('ALPT_TEST_DATA', default)) / 'rl_unplugged'
  if not (folder / 'Asterix' / 'run_1-00000-of-00001').is_file():
    pytest.skip('no real shard of Asterix; name its folder in ALPT_TEST_DATA')
  return folder


def lists_of(episode=None, **changes):
  """The features of one good record, for a test to change."""
  length = 3
  lists = {
    'checkpoint_idx': [0],
    'episode_idx': [0],
    'episode_return': [0.0],
    'clipped_episode_return': [0.0],
    'observations': [encoded.encode_png(np.zeros((84, 84, 1), np.uint8))]
    * (length + 1),
    'actions': [0] * (length + 1),
    'unclipped_rewards': [0.0] * (length + 1),
    'clipped_rewards': [0.0] * (length + 1),
    'discounts': [1.0] * length + [0.0],
  } | changes
  return {name: values for name, values in lists.items() if values is not None}


def write_records(folder, *records, name='run_1-00000-of-00001'):
  (folder / GAME).mkdir(exist_ok=True)
  with rl_unplugged.shard_writer(folder / GAME / name) as writer:
    for record in records:
      writer.write(record)
  return folder


def read(manifest, folder, episodes=None):
  return [
    (index, Episode(rl_unplugged.decode(episode.frames), *episode[1:]))
    for index, episode in rl_unplugged.read_episodes(manifest, folder, episodes)
  ]


# What is written is read.


def test_what_was_written_is_read_bit_for_bit(written):
  manifest = scanned(written)
  # Shard 0 holds episodes 0, 2 and 4, shard 1 holds 1 and 3.
  assert manifest.files == (FIRST, SECOND)
  assert manifest.lengths.tolist() == [7, 12, 5, 3, 1]
  assert manifest.file_of.tolist() == [0, 0, 0, 1, 1]
  assert manifest.index_in_file.tolist() == [0, 1, 2, 0, 1]
  assert manifest.checkpoint_idx.tolist() == [0, 0, 0, 1, 1]
  assert manifest.episode_idx.tolist() == [0, 1, 2, 0, 1]
  assert manifest.starts.tolist() == [0, 7, 19, 24, 27]
  assert manifest.num_episodes == 5 and manifest.num_transitions == 28
  expected = [episodes_of()[i] for i in (0, 2, 4, 1, 3)]
  for (index, found), (i, episode) in zip(
    read(manifest, written), enumerate(expected), strict=True
  ):
    assert index == i
    tiny.assert_equal_episodes(found, episode)


def test_only_wanted_episodes_are_read_in_ascending_order(written):
  found = rl_unplugged.read_episodes(scanned(written), written, [4, 1, 4])
  assert [(index, len(episode.actions)) for index, episode in found] == [
    (1, 12),
    (4, 1),
  ]


def test_the_first_record_by_hand(written):
  """L = 7 transitions are 8 steps; the last step holds the frame alone."""
  path = written / FIRST
  record = next(iter(tf.data.TFRecordDataset(os.fspath(path), 'GZIP'))).numpy()
  features = tf.train.Example.FromString(record).features.feature
  episode = episode_of(7, 0)
  assert set(features) == set(lists_of())
  assert list(features['actions'].int64_list.value) == [*episode.actions, 0]
  assert list(features['unclipped_rewards'].float_list.value) == [*episode.rewards, 0]
  clipped = episode.rewards.clip(-1, 1)
  assert list(features['clipped_rewards'].float_list.value) == [*clipped, 0]
  assert list(features['discounts'].float_list.value) == [1] * 7 + [0]
  assert features['clipped_episode_return'].float_list.value[0] == clipped.sum()
  assert len(features['observations'].bytes_list.value) == 8


def test_a_png_of_ours_is_what_tensorflow_decodes():
  frame = episode_of(1, 0).observations[0]
  assert np.array_equal(tf.io.decode_png(encoded.encode_png(frame)).numpy(), frame)


@pytest.mark.slow
def test_the_parser_of_tensorflow_datasets_reads_what_we_write(tmp_path, written):
  from tensorflow_datasets.rl_unplugged import rlu_atari_checkpoints_ordered

  class Ours(rlu_atari_checkpoints_ordered.RluAtariCheckpointsOrdered):
    name = 'ours'
    _INPUT_FILE_PREFIX = os.fspath(written)
    _SHARDS = 2

  builder = Ours(config=f'{GAME}_run_1', data_dir=os.fspath(tmp_path))
  builder.download_and_prepare()
  for split, numbers in (('checkpoint_00', (0, 2, 4)), ('checkpoint_01', (1, 3))):
    rows = list(builder.as_dataset(split=split))
    assert len(rows) == len(numbers)
    for row, number in zip(rows, numbers, strict=True):
      steps = list(row['steps'].as_numpy_iterator())
      episode = episodes_of()[number]
      length = len(episode.actions)
      assert len(steps) == length + 1
      frames = np.stack([step['observation'] for step in steps])
      assert np.array_equal(frames, episode.observations)
      assert [step['action'] for step in steps[:-1]] == episode.actions.tolist()
      assert [step['reward'] for step in steps[:-1]] == episode.rewards.tolist()
      assert [step['discount'] for step in steps[:-1]] == episode.discounts.tolist()
      assert [step['is_last'] for step in steps] == [False] * length + [True]
      assert steps[-1]['is_terminal'] == (episode.discounts[-1] == 0)


def test_no_shard_stays_if_an_episode_is_wrong(tmp_path):
  bad = episode_of(4, 0)._replace(actions=np.array([0, 1, 4, 0]))
  with pytest.raises(UserError, match='episode 1, step 2, field action.*found 4'):
    write_shards(tmp_path, GAME, [episode_of(4, 0), bad], 1)
  with pytest.raises(UserError, match='each of 2 shards, got 1'):
    write_shards(tmp_path, GAME, [episode_of(4, 0)], 2)
  assert not list(tmp_path.iterdir())


def test_a_run_is_not_written_over_but_another_may_join_it(copied):
  with pytest.raises(UserError, match='run 1 is there already'):
    write_shards(copied, GAME, episodes_of((2,)), 1)
  write_shards(copied, GAME, episodes_of((2,)), 1, run=2)
  assert scanned(copied, runs=(1, 2)).num_episodes == 6


# Which files.


def test_shards_are_those_of_the_runs_and_checkpoints_asked_for(tmp_path):
  (tmp_path / GAME).mkdir()
  for run, total in ((1, 3), (2, 2), (10, 1)):
    for i in range(total):
      (tmp_path / GAME / f'run_{run}-{i:05d}-of-{total:05d}').write_bytes(b'x')
  (tmp_path / GAME / 'README').write_text('no shard')

  def chosen(*arguments):
    names = rl_unplugged.shards(tmp_path, GAME, *arguments)
    return [name.removeprefix(f'{GAME}/run_').replace('-0000', '-') for name in names]

  assert chosen() == ['1-0-of-3', '1-1-of-3', '1-2-of-3', '2-0-of-2', '2-1-of-2']
  assert chosen((2, 1), (1,)) == ['2-1-of-2', '1-1-of-3']
  assert chosen((10,)) == ['10-0-of-1']
  with pytest.raises(UserError, match='run_2-00002-of-00002: no such file; 1 of 1'):
    chosen((2,), (2,))
  with pytest.raises(
    UserError, match='run_3-<i>-of-<N>, found those of runs: 1, 2, 10'
  ):
    chosen((3,))
  (tmp_path / GAME / 'run_1-00001-of-00003').unlink()
  with pytest.raises(UserError, match='run_1-00001-of-00003: no such file; 1 of 3'):
    chosen()
  assert chosen((1,), (0, 2)) == ['1-0-of-3', '1-2-of-3']
  (tmp_path / GAME / 'run_1-00001-of-00002').write_bytes(b'x')
  with pytest.raises(UserError, match='one set of shards for run 1'):
    chosen()


def test_a_missing_folder_and_an_unknown_game_are_named(tmp_path):
  with pytest.raises(UserError, match='Breakout: no such folder'):
    rl_unplugged.shards(tmp_path, GAME)
  with pytest.raises(UserError, match="did you mean 'Breakout'"):
    rl_unplugged.shards(tmp_path, 'Brakeout')


def test_a_bucket_that_cannot_be_read_says_to_download(monkeypatch):
  def refused(path):
    raise tf.errors.PermissionDeniedError(None, None, 'HTTP 403\nmore')

  monkeypatch.setattr(tf.io.gfile, 'listdir', refused)
  with pytest.raises(UserError, match=r'gs://b/Breakout: .*HTTP 403.*Download') as info:
    rl_unplugged.shards('gs://b', GAME)
  assert '\n' not in str(info.value)


def test_shards_have_no_place_for_an_action_that_is_not_known(tmp_path):
  known = np.array([True, True, False, True])
  episodes = [episode_of(3, 0), episode_of(4, 1)._replace(is_labelled=known)]
  with pytest.raises(UserError, match='episode 1, step 2, field action: .* is known'):
    write_shards(tmp_path, GAME, episodes, 1)
  assert not (tmp_path / GAME).exists()


# The scan and what it keeps.


def test_a_scan_is_kept_until_a_file_changes(copied, monkeypatch):
  first = scanned(copied)
  with monkeypatch.context() as patched:
    patched.setattr(rl_unplugged, '_records', None)  # reading anything fails
    assert scanned(copied).manifest_hash == first.manifest_hash
  shutil.rmtree(copied / GAME)
  write_shards(copied, GAME, [episode_of(7, 9), *episodes_of()[1:]], 2)
  assert scanned(copied).manifest_hash != first.manifest_hash
  assert len(list((copied / 'cache').iterdir())) == 2


def test_the_hash_follows_the_content_and_the_lead(tmp_path, written):
  first = scanned(written)
  changed = episodes_of()
  changed[0] = changed[0]._replace(actions=(changed[0].actions + 1) % 4)
  write_shards(tmp_path, GAME, changed, 2)
  other = scanned(tmp_path)
  assert other.lengths.tolist() == first.lengths.tolist()
  assert other.manifest_hash != first.manifest_hash
  assert scanned(written, reward_lead=1).manifest_hash != first.manifest_hash
  assert len(first.manifest_hash) == 16 and int(first.manifest_hash, 16)


def test_a_manifest_on_disk_is_the_manifest_in_memory(tmp_path, written):
  manifest = dataclasses.replace(scanned(written), skipped=((FIRST, 'why'),))
  save_manifest(tmp_path / 'm.npz', manifest)
  loaded = load_manifest(tmp_path / 'm.npz')
  for field in dataclasses.fields(manifest):
    one, two = getattr(manifest, field.name), getattr(loaded, field.name)
    assert np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two
  assert loaded.manifest_hash == manifest.manifest_hash
  assert [path.name for path in tmp_path.iterdir()] == ['m.npz']


@pytest.mark.parametrize('content', [b'', b'x' * 50, b'PK\x03\x04broken'])
def test_a_damaged_manifest_is_named(tmp_path, content):
  (tmp_path / 'm.npz').write_bytes(content)
  with pytest.raises(UserError, match='m.npz: not a manifest'):
    load_manifest(tmp_path / 'm.npz')


def test_an_episode_of_one_step_has_no_transition(tmp_path):
  short = lists_of(
    observations=lists_of()['observations'][:1],
    actions=[0],
    unclipped_rewards=[0.0],
    discounts=[0.0],
  )
  records = [rl_unplugged.serialise(row) for row in (short, lists_of())]
  manifest = scanned(write_records(tmp_path, *records))
  assert manifest.lengths.tolist() == [3] and manifest.index_in_file.tolist() == [1]


# What is wrong is named with its place.


def frames_with(size):
  frames = list(lists_of()['observations'])
  frames[2] = encoded.encode_png(np.zeros((*size, 1), np.uint8))
  return frames


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'episode_idx': None, 'checkpoint_idx': None, 'episode_id': [1]},
      'field episode_idx: .* an older one',
    ),
    ({'unclipped_rewards': None}, 'field unclipped_rewards: expected a feature'),
    ({'observations': None}, 'field observations: expected a feature'),
    ({'actions': None}, 'field actions: expected a feature'),
    ({'actions': [0, 1, 4, 0]}, 'step 2, field actions: expected 0 to 3 .*found 4'),
    ({'actions': [0, -1, 2, 0]}, 'step 1, field actions: .*found -1'),
    ({'actions': [0, 1]}, 'field actions: expected 4 values.*found 2'),
    (
      {'unclipped_rewards': [0.0, 0.0, np.nan, 0.0]},
      'step 2, field unclipped_rewards: expected a finite number, found nan',
    ),
    ({'discounts': [1.0, 0.0, 1.0, 0.0]}, 'step 1, field discounts: expected 1, or 0'),
    ({'observations': frames_with((84, 80))}, 'step 2, .* of 84 x 84, found 80 x 84'),
    ({'observations': [b'no PNG'] * 4}, 'step 0, .* of 84 x 84, found something else'),
  ],
)
def test_a_wrong_record_is_named_with_its_place(tmp_path, changes, message):
  lists = lists_of(**changes)
  record = rl_unplugged.serialise(
    {name: v for name, v in lists.items() if name != 'episode_id'}
  )
  if 'episode_id' in lists:
    record = with_integers(record, 'episode_id', lists['episode_id'])
  write_records(tmp_path, rl_unplugged.serialise(lists_of()), record)
  with pytest.raises(UserError, match=f'run_1-00000-of-00001: episode 1.*{message}'):
    scanned(tmp_path)
  assert not (tmp_path / 'cache').exists()


def with_integers(record, name, values):
  """The record with a feature more, or another one, that holds integers."""
  example = tf.train.Example.FromString(record)
  example.features.feature[name].int64_list.value[:] = values
  return example.SerializeToString()


def test_a_feature_of_another_type_counts_as_missing(tmp_path):
  record = rl_unplugged.serialise(lists_of())
  write_records(tmp_path, with_integers(record, 'unclipped_rewards', [0] * 4))
  with pytest.raises(UserError, match='episode 0, field unclipped_rewards: expected a'):
    scanned(tmp_path)


def test_what_is_no_example_is_named(tmp_path):
  write_records(tmp_path, b'\xff\xff\xff')
  with pytest.raises(UserError, match='episode 0: not a tf.train.Example'):
    scanned(tmp_path)


def cut(path, share):
  content = path.read_bytes()
  path.write_bytes(content[: int(len(content) * share)])


def test_a_shortened_file_is_named_with_how_far_it_is_good(copied):
  cut(copied / FIRST, 0.7)  # episodes of 8, 13 and 6 steps: the second ends at 78 %
  with pytest.raises(UserError, match=f'{FIRST}: damaged after 1 whole episodes'):
    scanned(copied)


def test_a_file_without_episodes_is_named(copied):
  (copied / FIRST).write_bytes(b'')
  with pytest.raises(UserError, match=f'{FIRST}: the file is empty'):
    scanned(copied)
  (copied / FIRST).write_bytes(gzip.compress(b''))
  with pytest.raises(UserError, match=f'{FIRST}: holds no episode'):
    scanned(copied)


def test_bad_shards_may_be_left_out_and_are_named(copied):
  lines = []
  cut(copied / FIRST, 0.7)
  for _ in range(2):  # the second time from the cache
    manifest = scanned(copied, skip_bad=True, say=lines.append)
    assert manifest.files == (SECOND,)
    assert manifest.lengths.tolist() == [3, 1] and manifest.file_of.tolist() == [0, 0]
    assert [name for name, _ in manifest.skipped] == [FIRST]
    assert f'{FIRST} is left out' in lines[-1]
    assert [i for i, _ in rl_unplugged.read_episodes(manifest, copied)] == [0, 1]
  with pytest.raises(UserError, match=f'{FIRST}: damaged after 1'):
    scanned(copied)
  cut(copied / SECOND, 0.3)
  with pytest.raises(UserError, match='no shard can be read'):
    scanned(copied, skip_bad=True)


def test_files_that_changed_after_the_scan_are_refused(copied):
  manifest = scanned(copied)
  shutil.rmtree(copied / GAME)
  write_shards(copied, GAME, episodes_of((7, 3, 11, 1, 5)), 2)
  with pytest.raises(UserError, match='not as it was when it was scanned'):
    read(manifest, copied)


def test_a_frame_that_cannot_be_decoded_is_named_by_its_step():
  frames = list(lists_of()['observations'])
  frames[1] = frames[1][:60] + bytes(10) + frames[1][70:]
  with pytest.raises(UserError, match='x: episode 3, step 1, field observations'):
    rl_unplugged.decode(frames, 'x: episode 3')


# Rewards that are recorded early.


def test_a_lead_moves_rewards_later_and_nothing_else(written):
  plain = read(scanned(written), written)
  shifted = read(scanned(written, reward_lead=1), written)
  for (_, one), (_, two) in zip(plain, shifted, strict=True):
    assert two.rewards.tolist() == [0, *one.rewards[:-1]]
    assert two.rewards.dtype == np.float32
    tiny.assert_equal_episodes(one._replace(rewards=two.rewards), two)


def scored_game(length, lag, seed=0):
  """A thing that moves all the time, and a score that counts the rewards."""
  rng = np.random.default_rng(seed)
  rewards = (rng.random(length) < 0.1).astype(np.float32)
  score = np.concatenate([[0], np.cumsum(np.append(np.zeros(lag), rewards)[:length])])
  frames = np.zeros((length + 1, 84, 84, 1), np.uint8)
  for step, column in enumerate(rng.integers(0, 74, length + 1)):
    frames[step, 40:50, column : column + 10] = 200
    frames[step, 2:10, 4:10] = 10 * (score[step] % 20)
  return frames, rewards


@pytest.mark.parametrize('lag', [0, 1, 2])
def test_the_detector_tells_when_the_score_moves(lag):
  games = [scored_game(300, lag), scored_game(200, lag, seed=1)]
  found = reward_lead(games)
  assert found.lead == {0: 0, 1: 1, 2: None}[lag]
  # Nothing else moves with the score, so the right lag fits perfectly.
  assert found.fits[lag] > 0.99
  # A game that shows rewards one step late by itself, as Breakout does.
  assert reward_lead(games, screen_lag=1).lead == {0: None, 1: 0, 2: 1}[lag]


def test_the_detector_is_silent_where_it_cannot_know():
  assert reward_lead([scored_game(30, 1)]).lead is None  # few rewards
  frames, rewards = scored_game(500, 1)
  frames[:, 2:10, 4:10] = 0  # no score is shown
  assert reward_lead([(frames, rewards)]).lead is None
  assert reward_lead([(frames, np.zeros(500))]).lead is None


def test_real_rewards_come_one_step_early(real, tmp_path):
  lines = []
  arguments = real, 'Asterix', tmp_path, (1,)
  manifest = rl_unplugged.scan(*arguments, say=lines.append)
  assert manifest.detected_lead == 1 and manifest.reward_lead == 0
  assert 'Set reward_lead to 1' in lines[-1]
  taken = rl_unplugged.scan(*arguments, reward_lead=None, say=lines.append)
  assert taken.reward_lead == 1 and len(lines) == 2


def test_a_real_shard_is_read(real, tmp_path):
  say = [].append
  manifest = rl_unplugged.scan(real, 'Asterix', tmp_path, (1,), say=say)
  # 854 and 310 steps; no observation follows the last of them.
  assert manifest.lengths.tolist() == [853, 309]
  assert manifest.checkpoint_idx.tolist() == [4, 1]
  assert manifest.episode_idx.tolist() == [246, 181]
  episodes = [episode for _, episode in read(manifest, real)]
  assert [episode.rewards.sum() for episode in episodes] == [40, 17]
  assert [episode.observations.shape for episode in episodes] == [
    (854, 84, 84, 1),
    (310, 84, 84, 1),
  ]
  assert {int(a) for episode in episodes for a in episode.actions} == set(range(9))
  assert all(episode.discounts[-1] == 0 for episode in episodes)


# Labels and slices.


def pool_of(manifest, folder, tmp_path):
  """All episodes of a manifest as an ordinary pool."""
  return write_pool(
    tmp_path / 'pool', manifest.spec, [episode for _, episode in read(manifest, folder)]
  )


def test_labels_are_drawn_from_a_manifest_as_from_a_pool(written):
  manifest = scanned(written)
  drawn = labels.draw_labels(manifest, 9, seed=1, segment_length=4)
  assert drawn.budget == 9 and drawn.dataset == manifest.manifest_hash
  for episode, first, count in drawn.segments:
    assert first + count <= manifest.lengths[episode]
    assert episode not in drawn.heldout_episodes


def test_slices_are_the_segments_with_room_for_their_windows(written):
  manifest = scanned(written)  # lengths 7, 12, 5, 3, 1
  drawn = labels.Labels(
    manifest.manifest_hash, 0, ((1, 8, 2), (0, 0, 2), (1, 0, 1), (3, 1, 1)), ()
  )
  # T = 3: two transitions more on either side. Episode 1: [0, 3) and [6, 12).
  found = slices.labelled_slices(manifest, drawn, 3)
  assert found.tolist() == [[0, 0, 4], [1, 0, 3], [1, 6, 6], [3, 0, 3]]
  # T = 5: [0, 5) and [4, 12) of episode 1 meet.
  assert slices.labelled_slices(manifest, drawn, 5).tolist()[1] == [1, 0, 12]


@pytest.mark.parametrize('window_length', [1, 3, 5])
@pytest.mark.parametrize('lead', [0, 1])
def test_a_labelled_pool_gives_the_windows_of_the_whole_set(
  tmp_path, written, window_length, lead
):
  manifest = scanned(written, reward_lead=lead)
  whole = pool_of(manifest, written, tmp_path)
  drawn = labels.draw_labels(manifest, 9, seed=3, segment_length=2)
  of_whole = dataclasses.replace(drawn, dataset=whole.manifest_hash)
  expected_ends = labels.labelled_windows(whole, of_whole, window_length)
  hidden = labels.hide_actions(whole, of_whole)
  pool, ends = slices.labelled_pool(manifest, written, drawn, window_length)
  assert pool.is_labelled.sum() == 9
  assert not pool.actions[~pool.is_labelled].any()
  assert len(pool.actions) < len(whole.actions)
  vocabulary = specs.joint_vocabulary([manifest.spec])
  found = WindowReader(pool, vocabulary, 2, window_length)(ends)
  expected = WindowReader(hidden, vocabulary, 2, window_length)(expected_ends)
  assert found.is_labelled.any(1).all()
  for name, one, two in zip(found._fields, found, expected, strict=True):
    assert one.dtype == two.dtype and np.array_equal(one, two), name


def test_slices_keep_their_order_and_all_their_actions(written):
  manifest = scanned(written)
  wanted = [(3, 1, 2), (1, 4, 3), (1, 2, 4)]
  pool = slices.slice_pool(manifest, written, wanted)
  episodes = [episodes_of()[i] for i in (1, 2, 2)]  # where the manifest's 3, 1, 1 lie
  for index, (_, first, count) in enumerate(wanted):
    found, episode = pool.episode(index), episodes[index]
    assert found.actions.tolist() == episode.actions[first : first + count].tolist()
    assert np.array_equal(
      found.observations, episode.observations[first : first + count + 1]
    )
    to_go = episode.rewards.clip(-1, 1)[first:].sum()
    assert pool.returns_to_go[pool.starts[index]] == to_go
  assert pool.is_labelled.all()
  with pytest.raises(UserError, match='do not belong'):
    labels.hide_actions(pool, labels.draw_labels(manifest, 4, seed=0))


@pytest.mark.slow
def test_frames_are_encoded_fast_enough_to_record_while_playing(real, tmp_path):
  """700 steps a CPU-second, playing included; measured 25,000 for encoding alone."""
  manifest = rl_unplugged.scan(real, 'Asterix', tmp_path, (1,), say=[].append)
  frames = read(manifest, real, [0])[0][1].observations
  begun = time.process_time()
  for frame in frames:
    encoded.encode_png(frame)
  assert len(frames) / (time.process_time() - begun) > 5_000
