"""Streams from shards: the rows of a pool, in an order that only the seed decides."""

import dataclasses
import os
import pathlib
import shutil

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.data import encoded, labels, rl_unplugged, stream
from alpt_jax.data.blocks import Blocks, deal
from alpt_jax.data.pool import write_pool
from alpt_jax.data.shards import write_shards
from alpt_jax.data.stream import ShardStream
from alpt_jax.data.windows import WindowReader, with_frames
from alpt_jax.errors import UserError
from alpt_jax.types import Episode

GAME = 'Breakout'
SPEC = specs.atari_spec(GAME, specs.RL_UNPLUGGED_PROTOCOL)
VOCABULARY = specs.joint_vocabulary([SPEC])
# Three shards of 20 + 1, 3 + 12 and 9 + 7 transitions, 52 in all.
LENGTHS = (20, 3, 9, 1, 12, 7)
BLOCK = 32


def episode_of(length, number):
  """Random frames: the last one of a window tells which transition it shows."""
  rng = np.random.default_rng([length, number])
  discounts = np.ones(length, np.float32)
  discounts[-1] = number % 2
  return Episode(
    rng.integers(0, 256, (length + 1, 84, 84, 1)).astype(np.uint8),
    rng.integers(0, 4, length).astype(np.int32),
    rng.integers(-2, 3, length).astype(np.float32),
    discounts,
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Six episodes in three shards; not to be changed."""
  folder = tmp_path_factory.mktemp('shards')
  write_shards(folder, GAME, [episode_of(n, i) for i, n in enumerate(LENGTHS)], 3)
  return folder


def scanned(folder, lead=0):
  return rl_unplugged.scan(
    folder, GAME, folder / 'cache', (1,), reward_lead=lead, say=lambda line: None
  )


@pytest.fixture(scope='module')
def manifest(folder):
  return scanned(folder)


def streamed(manifest, folder, window_length=5, seed=0, **settings):
  settings = {'block': BLOCK} | settings
  return ShardStream(manifest, folder, VOCABULARY, 3, window_length, seed, **settings)


def take(stream, first, count):
  return with_frames(stream.take(first, count), stream.frames)


def pool_of(manifest, folder, path):
  episodes = [
    Episode(rl_unplugged.decode(episode.frames), *episode[1:])
    for _, episode in rl_unplugged.read_episodes(manifest, folder)
  ]
  return write_pool(path, manifest.spec, episodes)


def transitions_of(window, pool):
  """Which transition of a pool each window ends with, by its last frame."""
  rows = np.arange(pool.num_transitions) + pool.episode_of + 1
  known = {pool.observations[row].tobytes(): n for n, row in enumerate(rows)}
  return np.array([known[frames[-1].tobytes()] for frames in window.observations])


@pytest.fixture(scope='module')
def pool(manifest, folder, tmp_path_factory):
  return pool_of(manifest, folder, tmp_path_factory.mktemp('pool') / 'pool')


def assert_equal_windows(one, two):
  for name, a, b in zip(one._fields, one, two, strict=True):
    assert a.dtype == b.dtype and np.array_equal(a, b), name


def joined(*windows):
  return type(windows[0])(*(np.concatenate(a) for a in zip(*windows, strict=True)))


# The rows.


@pytest.mark.parametrize('window_length, lead', [(5, 0), (5, 1), (1, 1)])
def test_rows_are_those_of_a_pool(folder, tmp_path, window_length, lead):
  manifest = scanned(folder, lead)
  pool = pool_of(manifest, folder, tmp_path / 'pool')
  drawn = labels.draw_labels(manifest, 15, seed=1, segment_length=4)
  hidden = labels.hide_actions(
    pool, labels.Labels(pool.manifest_hash, 1, drawn.segments, drawn.heldout_episodes)
  )
  nothing = labels.Labels(pool.manifest_hash, 1, ((0, 0, 0),), ())
  for known, of_pool in (
    ('all', pool),
    (drawn, hidden),
    (None, labels.hide_actions(pool, nothing)),
  ):
    heldout = drawn.heldout_episodes if known is drawn else ()
    stream = streamed(manifest, folder, window_length, labels=known, heldout=heldout)
    found = take(stream, 0, 48)
    ends = transitions_of(found, pool)
    expected = WindowReader(of_pool, VOCABULARY, 3, window_length)(ends)
    assert_equal_windows(found, expected)
    if known is drawn:
      assert found.is_labelled.any() and not found.is_labelled.all()
      left_out = pool.transitions_of(np.array(heldout))
      assert len(left_out) and not np.isin(ends, left_out).any()


def test_hidden_actions_are_gone(manifest, folder):
  found = take(streamed(manifest, folder), 0, 64)
  assert not found.is_labelled.any() and not found.actions.any()


def test_every_transition_is_shown_equally_often(manifest, folder, pool):
  # Shards of 21, 15 and 16 transitions: three blocks of two visit each shard twice.
  # Two of them hold 31 to 37, so 32 windows show nearly all, and one at most twice.
  found = take(streamed(manifest, folder), 0, 3 * BLOCK)
  counts = np.bincount(transitions_of(found, pool), minlength=52)
  assert counts.max() <= 3 and (counts > 0).sum() >= 48


def test_a_set_smaller_than_a_group_is_repeated_evenly(tmp_path):
  write_shards(tmp_path, GAME, [episode_of(3, 0)], 1)
  manifest = scanned(tmp_path)
  source = streamed(manifest, tmp_path)
  assert source.block_size == 16
  pool = pool_of(manifest, tmp_path, tmp_path / 'pool')
  # 16 windows of 3 transitions: five of each and one more.
  counts = np.bincount(transitions_of(take(source, 0, 16), pool))
  assert sorted(counts.tolist()) == [5, 5, 6]


# The order.


def test_the_sequence_is_the_same_however_it_is_cut(manifest, folder):
  whole = take(streamed(manifest, folder, labels='all'), 0, 100)
  again = streamed(manifest, folder, labels='all')
  parts = [take(again, 0, 1), take(again, 1, 30), take(again, 31, 69)]
  assert_equal_windows(joined(*parts), whole)


def test_the_sequence_is_the_same_however_many_streams_there_are(
  manifest, folder, monkeypatch
):
  alone = take(streamed(manifest, folder, labels='all'), 0, 100)
  monkeypatch.setattr(stream, '_FEW', 0)
  again = streamed(manifest, folder, labels='all', num_threads=1)
  assert_equal_windows(take(again, 0, 100), alone)


def test_streams_of_one_form_have_their_frames_read_together(manifest, folder):
  one, two = (streamed(manifest, folder, seed=seed) for seed in range(2))
  assert one.frames is two.frames
  taken = one.take(0, 2), two.take(0, 3)
  into = np.empty((5, 6, 84, 84, 1), np.uint8)
  places = np.concatenate([window.observations for window in taken])
  one.frames.read(places, into, np.array([4, 0, 2, 1, 3]))
  for each, rows in ((one, [4, 0]), (two, [2, 1, 3])):
    assert np.array_equal(into[rows], take(each, 0, len(rows)).observations)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='needs /proc')
def test_many_streams_have_few_threads_each(manifest, folder):
  def num_threads():
    lines = pathlib.Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('Threads:'))

  streams = [streamed(manifest, folder, labels='all') for _ in range(12)]
  take(streams[0], 0, 1)
  before = num_threads()
  for each in streams[1:]:
    take(each, 0, 1)
  # One decodes, one reads ahead, and theirs that TensorFlow has beside them.
  assert num_threads() - before <= 4 * 11


def test_a_stream_of_many_mixes_fewer_windows(manifest, folder):
  """Of a block's 32 windows all are mixed, or 16 of them, the number of a group."""
  windows = {}
  for count in (1, 10**6):
    one = streamed(manifest, folder, labels='all', num_streams=count)
    windows[count] = take(one, 0, BLOCK)
    again = streamed(manifest, folder, labels='all', num_streams=count)
    whole = type(windows[count])(*(array[5:8] for array in windows[count]))
    assert_equal_windows(take(again, 5, 3), whole)
  last = [each.observations[:, -1] for each in windows.values()]
  orders = [[frame.tobytes() for frame in frames] for frames in last]
  assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize('first', [7, 16, 31, 32, 50, 70])
def test_a_stream_resumes_at_any_place(manifest, folder, first):
  whole = take(streamed(manifest, folder, labels='all'), 0, 80)
  resumed = take(streamed(manifest, folder, labels='all'), first, 10)
  assert_equal_windows(resumed, type(whole)(*(a[first : first + 10] for a in whole)))


def test_a_stream_may_jump(manifest, folder):
  source = streamed(manifest, folder, labels='all')
  first = take(source, 40, 10)
  take(source, 3, 5)
  assert_equal_windows(take(source, 40, 10), first)


def test_a_far_place_costs_no_more_than_its_block(manifest, folder):
  source = streamed(manifest, folder, labels='all')
  far = 10**9 * BLOCK + 5
  found = take(source, far, 3)
  assert_equal_windows(take(source, far, 3), found)


def test_seeds_and_hosts_differ(manifest, folder, pool):
  def first(**settings):
    return transitions_of(take(streamed(manifest, folder, **settings), 0, 32), pool)

  assert first().tolist() == first(seed=0).tolist() != first(seed=1).tolist()
  # Shard by shard: 0 and 2 for host 0, 1 for host 1.
  shards = manifest.file_of[pool.episode_of]
  assert set(shards[first(host=0, num_hosts=2)]) <= {0, 2}
  assert set(shards[first(host=1, num_hosts=2)]) == {1}


def test_windows_are_mixed_within_a_block(manifest, folder, pool):
  ends = transitions_of(take(streamed(manifest, folder), 0, BLOCK), pool)
  assert (np.diff(ends) < 0).sum() > BLOCK / 4
  assert len(set(pool.episode_of[ends[:10]].tolist())) > 1


# The plan.


@pytest.mark.parametrize('num_hosts', [1, 2, 3, 4, 5, 6])
def test_hosts_share_all_episodes_and_none_twice(manifest, num_hosts):
  dealt = [deal(manifest, host, num_hosts) for host in range(num_hosts)]
  episodes = np.concatenate([np.concatenate(shards) for shards in dealt])
  assert sorted(episodes.tolist()) == list(range(6))


def test_a_host_without_episodes_is_refused(manifest):
  with pytest.raises(UserError, match='no episode is left for host 6 of 7'):
    deal(manifest, 6, 7)
  with pytest.raises(UserError, match='no episode is left for host 0 of 1'):
    deal(manifest, 0, 1, left_out=range(6))


def test_a_plan_follows_from_seed_host_and_block(manifest):
  def drawn(seed=0, host=0, block=0):
    dealt = deal(manifest, 0, 1)
    return Blocks(manifest, dealt, seed, host, 32, 2).plan(block).transitions.tolist()

  assert drawn() == drawn()
  others = [drawn(seed=1), drawn(host=1), drawn(block=1), drawn(block=3)]
  assert all(drawn() != other for other in others)


def test_a_plan_by_hand(manifest):
  """Every window that a plan names lies in the record that it names it for."""
  blocks = Blocks(manifest, deal(manifest, 0, 1, left_out=[1]), 0, 0, 32, 2)
  seen = set()
  for block in range(3):
    plan = blocks.plan(block)
    assert len(plan.steps) == len(plan.transitions) == 32
    for visit, file in enumerate(plan.files.tolist()):
      own = plan.splits[plan.offsets[visit] : plan.offsets[visit + 1]]
      for index, (begin, end) in enumerate(zip(own[:-1], own[1:], strict=True)):
        here = (manifest.file_of == file) & (manifest.index_in_file == index)
        (episode,) = np.flatnonzero(here)
        assert episode != 1 or begin == end
        steps = plan.steps[begin:end]
        assert ((steps >= 0) & (steps < manifest.lengths[episode])).all()
        expected = manifest.starts[episode] + steps
        assert plan.transitions[begin:end].tolist() == expected.tolist()
    seen |= set(plan.files.tolist())
  # Six visits to three shards: each twice.
  assert seen == {0, 1, 2}


# What is wrong.


def test_files_of_another_size_are_refused_at_once(manifest, folder, tmp_path):
  shutil.copytree(folder / GAME, tmp_path / GAME)
  path = tmp_path / manifest.files[1]
  path.write_bytes(path.read_bytes()[:-10])
  with pytest.raises(UserError, match=f'{manifest.files[1]}: not as it was'):
    streamed(manifest, tmp_path)
  path.unlink()
  with pytest.raises(UserError, match=f'{manifest.files[1]}: no such'):
    streamed(manifest, tmp_path)


def test_a_file_that_is_damaged_later_is_named(manifest, folder, tmp_path):
  shutil.copytree(folder / GAME, tmp_path / GAME)
  for name in manifest.files:
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 255  # the same size
    (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match='run_1-0000.-of-00003') as info:
    take(streamed(manifest, tmp_path), 0, 200)
  assert '\n' not in str(info.value)


@pytest.mark.parametrize('kind', ['damaged', 'small', 'thin'])
def test_a_frame_that_is_no_such_picture_is_named(
  manifest, folder, tmp_path, monkeypatch, kind
):
  """A PNG of another size, or of none, in a file that was changed since its scan."""
  whole = encoded.encode_png
  episodes = [episode_of(n, i) for i, n in enumerate(LENGTHS)]
  wrong = episodes[4].observations[7]

  def encode(frame):
    if not np.array_equal(frame, wrong):
      return whole(frame)
    if kind != 'damaged':  # thin: what numpy would stretch
      return whole(frame[:10, :10] if kind == 'small' else frame[:, :1])
    content = bytearray(whole(frame))
    content[60:80] = bytes(20)  # of the pixels: the header is right
    return bytes(content)

  monkeypatch.setattr(encoded, 'encode_png', encode)
  names = write_shards(tmp_path, GAME, episodes, 3)
  sizes = np.array([(tmp_path / name).stat().st_size for name in names])
  changed = dataclasses.replace(manifest, sizes=sizes)
  expected = f'{tmp_path}/.*step 7, field observations'
  with pytest.raises(UserError, match=expected) as info:
    take(streamed(changed, tmp_path), 0, 64)
  assert '\n' not in str(info.value)


def test_a_file_with_fewer_episodes_is_named(manifest, folder, tmp_path):
  (tmp_path / GAME).mkdir()
  few = [episode_of(n, i) for i, n in enumerate((20, 3, 9))]
  names = write_shards(tmp_path, GAME, few, 3)
  for name, size in zip(names, manifest.sizes, strict=True):  # as large as before
    path = tmp_path / name
    os.truncate(path, int(size))
  with pytest.raises(UserError, match='run_1-0000.-of-00003'):
    take(streamed(manifest, tmp_path), 0, 200)


def test_labels_of_another_dataset_are_refused(manifest, folder):
  drawn = labels.Labels('0' * 16, 0, ((0, 0, 1),), ())
  with pytest.raises(UserError, match='do not belong'):
    streamed(manifest, folder, labels=drawn)


def test_the_settings_that_decide_the_sequence_are_fixed():
  """A changed value changes every run that resumes: that must be meant."""
  assert (stream.BLOCK, stream._VISITS) == (131_072, 2)
  sizes = [stream.num_shuffled(count) for count in (1, 5, 8, 41, 10_000)]
  assert sizes == [4_096, 4_096, 4_096, 799, 16]
  assert (stream._GROUP, stream._TURN) == (16, 16)
