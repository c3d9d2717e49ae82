"""Packed sets: the rows and batches of the pool of the same episodes, byte for byte."""

import json
import os
import threading

import numpy as np
import pytest
import tiny
import tiny_configs
import zstandard

from alpt_jax import specs
from alpt_jax.data import labels, packed
from alpt_jax.data.card import make_card
from alpt_jax.data.mixture import Mixture
from alpt_jax.data.packed import (
  open_packed,
  open_recorded,
  rows_per_chunk,
  write_packed,
)
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.data.windows import with_frames
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.recorded import PoolSet, View

# 21 transitions and 5 last observations: 26 rows, in chunks of 4 six and a half.
LENGTHS = (5, 3, 9, 1, 3)
FILES = (
  'observations.zst offsets.npy checksums.npy returns_to_go.npy actions.npy '
  'rewards.npy discounts.npy lengths.npy'
).split()


@pytest.fixture(autouse=True)
def chunks_of_four(monkeypatch):
  monkeypatch.setattr(packed, 'rows_per_chunk', lambda spec: 4)


def written(tmp_path, lengths=LENGTHS):
  """(pool, packed set) of the same episodes."""
  spec, episodes = tiny.tiny_spec(), tiny.tiny_episodes(lengths)
  return (
    write_pool(tmp_path / 'pool', spec, episodes),
    write_packed(tmp_path / 'packed', spec, episodes),
  )


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def assert_equal(one, two):
  assert one.dtype == two.dtype and np.array_equal(one, two)


# The same as a pool.


def test_a_packed_set_and_its_pool_are_one_dataset(tmp_path):
  pool, found = written(tmp_path)
  assert found.manifest_hash == pool.manifest_hash
  assert found.spec == pool.spec
  assert (found.num_episodes, found.num_transitions) == (5, 21)
  for index in range(5):
    tiny.assert_equal_episodes(found.episode(index), pool.episode(index))
  assert names(tmp_path / 'packed') == sorted([*FILES, 'manifest.json'])


@pytest.mark.parametrize(
  'name',
  'observations actions rewards discounts lengths is_labelled starts episode_of '
  'clipped_rewards returns_to_go'.split(),
)
def test_every_field_is_the_pools(tmp_path, name):
  pool, found = written(tmp_path)
  assert_equal(np.asarray(getattr(found, name)), np.asarray(getattr(pool, name)))


@pytest.mark.parametrize(
  'index',
  [
    0,
    25,
    -1,
    np.int64(7),
    slice(None),
    slice(3, 9),
    slice(20, 99),
    slice(9, 2, -3),
    slice(5, 5),
    [3, 4, 5, 6],
    [25, 0, 0, 13, -26],
    # Neighbours in the file, not in the answer; one twice and one left out.
    [5, 4, 5, 7],
    np.arange(24).reshape(4, 6) + 1,
    np.zeros((2, 0), int),
    [],
  ],
  ids=str,
)
def test_an_index_gives_the_rows_that_numpy_gives(tmp_path, index):
  pool, found = written(tmp_path)
  rows = np.array(pool.observations)
  expected = rows[np.asarray(index, int)] if isinstance(index, list) else rows[index]
  assert_equal(found.observations[index], expected)
  assert found.observations.shape == (26, 3) and len(found.observations) == 26


@pytest.mark.parametrize('index', [26, -27, [0, 26], 1.0, [0.5], [True], 'a'])
def test_what_is_no_row_is_an_index_error(tmp_path, index):
  _, found = written(tmp_path)
  with pytest.raises(IndexError):
    found.observations[index]


def test_rows_may_be_changed_by_whoever_asked_for_them(tmp_path):
  _, found = written(tmp_path)
  rows = found.observations[0:4]
  rows[:] = 0
  assert found.observations[0:4].any()


def test_several_threads_may_read_at_once(tmp_path):
  pool, found = written(tmp_path, (200, 199))
  expected, wrong = np.array(pool.observations), []

  def read(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
      rows = rng.integers(0, len(expected), 64)
      if not np.array_equal(found.observations[rows], expected[rows]):
        wrong.append(seed)

  threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


def test_labels_windows_and_evaluation_are_the_pools(tmp_path):
  sets = [PoolSet(pool) for pool in written(tmp_path)]
  view = View(tiny.ACTIONS, 3, 5)
  drawn = [labels.draw_labels(each.index, 8, 1, 2, 0.2) for each in sets]
  assert drawn[0] == drawn[1]

  def taken(windows, *wanted):
    return with_frames(windows.take(*wanted), windows.frames)

  for cut in (
    lambda each: taken(each.windows(view, drawn[0], True), 0, 40, (0, 'a')),
    lambda each: taken(each.windows(view, None, False), 5, 40, (1, 'b')),
    lambda each: taken(each.labelled(view, drawn[0], 4), 0, 20, (0, 'c')),
    lambda each: each.evaluation(view, drawn[0], 6, True).window,
    lambda each: each.evaluation(view, drawn[0], 6, False).window,
  ):
    for one, two in zip(*(cut(each) for each in sets), strict=True):
      assert_equal(one, two)


@pytest.mark.parametrize('num_hosts', [1, 2, 4])
def test_the_batch_is_the_same_on_any_number_of_hosts(tmp_path, num_hosts):
  """Two stores in one mixture: a third of the rows of each of three streams."""
  one, two = written(tmp_path)

  def mixture(*pools):
    streams = [tiny.tiny_stream(pool, f'{i}') for i, pool in enumerate(pools)]
    return Mixture(streams, 8, seed=3)

  whole, mixed = mixture(one, one, one), mixture(one, two, two)
  for step in (0, 1, 17):
    expected = whole.batch(step).window
    parts = [mixed.batch(step, host, num_hosts).window for host in range(num_hosts)]
    for field, *cut in zip(expected, *parts, strict=True):
      assert_equal(np.concatenate(cut), field)


def test_the_card_is_the_pools(tmp_path):
  pool, found = written(tmp_path)
  assert make_card(found) == make_card(pool)


def test_rows_lie_in_a_file_that_zstandard_reads(tmp_path):
  pool, _ = written(tmp_path)
  with open(tmp_path / 'packed' / 'observations.zst', 'rb') as file:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    assert reader.read() == pool.observations.tobytes()


def test_what_is_as_long_as_the_set_stays_on_disk(tmp_path):
  _, found = written(tmp_path)
  for array in (found.actions, found.rewards, found.discounts, found.returns_to_go):
    assert isinstance(array.base, np.memmap)
  assert found.is_labelled.strides == (0,)  # one True for all


def test_what_is_not_known_of_a_pool_is_not_known_of_the_packed_set(tmp_path):
  known = [np.arange(length) % 2 == 0 for length in LENGTHS]
  episodes = [
    episode._replace(is_labelled=each)
    for episode, each in zip(tiny.tiny_episodes(LENGTHS), known, strict=True)
  ]
  pool = write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes)
  found = write_packed(tmp_path / 'packed', tiny.tiny_spec(), episodes)
  assert found.manifest_hash == pool.manifest_hash
  assert_equal(found.is_labelled, np.concatenate(known))
  assert_equal(found.actions, pool.actions)
  for index in range(5):
    tiny.assert_equal_episodes(found.episode(index), pool.episode(index))
  assert names(tmp_path / 'packed') == sorted(
    [*FILES, 'is_labelled.npy', 'manifest.json']
  )
  assert isinstance(found.is_labelled.base, np.memmap)  # on disk as the others
  # From the one into the other and back it stays one dataset.
  back = write_pool(tmp_path / 'back', pool.spec, map(found.episode, range(5)))
  assert back.manifest_hash == pool.manifest_hash
  np.save(tmp_path / 'packed' / 'is_labelled.npy', np.ones(21, bool))
  refused(tmp_path / 'packed', 'is_labelled.npy', 'changed since it was written')


def test_all_streams_of_a_run_share_what_is_left_visible(tmp_path):
  recorded, view = PoolSet(written(tmp_path)[1]), View(tiny.ACTIONS, 0, 5)
  drawn = [labels.draw_labels(recorded.index, 8, seed, 2) for seed in (1, 2)]
  one = recorded.windows(view, drawn[0], True).reader.pool
  assert recorded.labelled(view, drawn[0], 4).reader.pool is one
  other = recorded.labelled(view, drawn[1], 4).reader.pool
  for each, of in ((one, drawn[0]), (other, drawn[1])):
    known = labels.labelled_transitions(recorded.index, of)
    assert np.flatnonzero(each.is_labelled).tolist() == known.tolist()
  assert recorded.windows(view, drawn[0], False).reader.pool is recorded.index


@pytest.mark.parametrize(
  'shape, dtype, expected',
  [
    # 128 KiB hold 18 screens, 109 pictures of 20 x 20, 1 large one; powers of 2.
    ((84, 84, 1), 'uint8', 16),
    ((20, 20, 3), 'uint8', 64),
    ((224, 224, 3), 'uint8', 8),
    ((3,), 'uint8', 1_024),
    ((512,), 'float32', 64),
  ],
)
def test_a_chunk_is_as_large_as_is_compressed_at_once(shape, dtype, expected):
  form = specs.ObservationSpec('image', shape, dtype)
  spec = specs.EnvironmentSpec('e', ('a',), form, (0, 1), specs.Protocol(9))
  assert rows_per_chunk(spec) == expected


# Writing.


def test_episodes_are_consumed_one_at_a_time(tmp_path):
  folder, seen = tmp_path / 'packed', []

  def episodes():
    for index in range(3):
      seen.append(index)
      yield tiny.tiny_episode(2, index)

  assert write_packed(folder, tiny.tiny_spec(), episodes()).num_episodes == 3
  assert seen == [0, 1, 2]


def test_an_iterator_that_fails_leaves_nothing(tmp_path):
  def episodes():
    yield tiny.tiny_episode(5)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    write_packed(tmp_path / 'packed', tiny.tiny_spec(), episodes())
  assert names(tmp_path) == []


def test_a_bad_episode_and_none_at_all_are_refused(tmp_path):
  bad = tiny.tiny_episode(3)._replace(actions=np.array([0, 9, 0]))
  with pytest.raises(UserError, match='episode 1, step 1, field action'):
    write_packed(tmp_path / 'packed', tiny.tiny_spec(), [tiny.tiny_episode(2), bad])
  with pytest.raises(UserError, match='packed: expected at least one episode'):
    write_packed(tmp_path / 'packed', tiny.tiny_spec(), [])
  assert names(tmp_path) == []


def test_what_is_there_gives_way_or_stays_as_asked(tmp_path):
  folder, spec = tmp_path / 'packed', tiny.tiny_spec()
  written(tmp_path)
  assert write_packed(folder, spec, tiny.tiny_episodes((4,))).num_episodes == 1
  with pytest.raises(UserError, match='packed: another set'):
    write_packed(folder, spec, tiny.tiny_episodes((2, 2)), replace=False)
  again = write_packed(folder, spec, tiny.tiny_episodes((4,)), replace=False)
  assert again.lengths.tolist() == [4]
  assert names(tmp_path) == ['packed', 'pool']


# Damage.


def refused(folder, *parts, open_fn=open_packed):
  with pytest.raises(UserError) as caught:
    open_fn(folder)
  message = str(caught.value)
  assert '\n' not in message
  for part in (str(folder), *parts):
    assert part in message, message


@pytest.mark.parametrize('name', FILES)
def test_a_file_that_is_missing_or_cut_short_is_named(tmp_path, name):
  written(tmp_path)
  path = tmp_path / 'packed' / name
  content = path.read_bytes()
  for kept in (len(content) - 1, 3, 0):
    path.write_bytes(content[:kept])
    refused(path.parent, name, 'expected' if name == FILES[0] else '', 'again')
  path.unlink()
  refused(path.parent, name, 'no such file' if name == FILES[0] else '', 'again')


@pytest.mark.parametrize('name', FILES[1:])
def test_an_array_that_was_changed_is_named(tmp_path, name):
  written(tmp_path)
  path = tmp_path / 'packed' / name
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  refused(path.parent, f'{name}: changed since it was written')


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path):
  written(tmp_path)
  offsets = np.load(tmp_path / 'packed' / 'offsets.npy')
  path = tmp_path / 'packed' / 'observations.zst'
  content = bytearray(path.read_bytes())
  content[offsets[2] - 1] ^= 1  # the last byte of the second chunk
  path.write_bytes(content)
  rows = open_packed(path.parent).observations
  assert rows[[0, 3, 8, 25]].any()
  with pytest.raises(UserError, match=r'observations.zst, rows 4 to 7: .*damaged'):
    rows[0:8]


@pytest.mark.parametrize(
  'field, value, expected',
  [
    ('format', 'packed 2', "field format: expected 'packed 1', found 'packed 2'"),
    ('codec', 'lz5', "field codec: expected 'zstd', found 'lz5'"),
    ('chunk_rows', 0, 'field chunk_rows: expected a positive number, found 0'),
    ('chunk_rows', 8, 'expected int64 [5] by the manifest, found int64 [8]'),
    ('pool', None, 'field pool: expected the manifest of a pool, found None'),
    ('sha256', [], 'field sha256: expected a hash of each array, found []'),
    ('pool', {'format': 7}, 'field format: expected 1, found 7'),
    ('pool', {'format': 1}, 'num_transitions: expected a positive integer, found None'),
  ],
)
def test_a_manifest_of_another_version_is_refused(tmp_path, field, value, expected):
  written(tmp_path)
  path = tmp_path / 'packed' / 'manifest.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
  refused(path.parent, expected)


def test_a_set_of_a_newer_version_is_named_as_packed(tmp_path):
  written(tmp_path)
  path = tmp_path / 'packed' / 'manifest.json'
  newer = {'format': 'packed 2', 'episodes': {}}
  path.write_text(json.dumps(newer))
  refused(path.parent, "expected 'packed 1', found 'packed 2'", open_fn=open_recorded)


def test_what_is_no_array_is_told_in_our_own_words(tmp_path):
  """numpy's advice about such a file is to trust it, and load what it pickled."""
  written(tmp_path)
  path = tmp_path / 'packed' / 'actions.npy'
  content = path.read_bytes()
  for bad in (content[:100], b'junk' + content):
    path.write_bytes(bad)
    expected = f'expected int32 [21] by the manifest, found {len(bad)} bytes that are'
    refused(path.parent, expected)
  path.unlink()
  refused(path.parent, 'found none (No such file or directory). Record it anew')


def test_the_one_is_not_opened_as_the_other(tmp_path):
  written(tmp_path)
  refused(tmp_path / 'packed', 'field format: expected 1, found', open_fn=open_pool)
  refused(tmp_path / 'pool', "field format: expected 'packed 1', found 1")
  refused(tmp_path, 'manifest.json is missing', open_fn=open_recorded)


# As a dataset.


def test_a_dataset_folder_may_hold_a_packed_set(tmp_path):
  pool, _ = written(tmp_path)
  for folder in (tmp_path / 'packed', tmp_path / 'pool', tmp_path):
    assert datasets.open_dataset(folder).manifest_hash == pool.manifest_hash
  os.rename(tmp_path / 'pool', tmp_path / 'elsewhere')
  found = datasets.open_dataset(tmp_path)
  assert isinstance(found, packed.PackedPool)


@pytest.mark.parametrize('method', ['alpt', 'dt1', 'oracle'])
def test_a_run_on_packed_sets_has_the_batches_and_labels_of_pools(tmp_path, method):
  tiny_configs.record_mazes(tmp_path)
  text = f'root={tmp_path},labels=20,method={method}'

  def of(target):
    fields = tiny_configs.get_config('maze', text)
    fields.data.target = str(target)
    config = from_mapping(fields)
    data = datasets.load(config)
    return data, datasets.make_mixture(config, data)

  recorded = tmp_path / 'maze-blocked-20-1000-position'
  pool = datasets.open_dataset(recorded)
  again = write_packed(
    tmp_path / 'target', pool.spec, map(pool.episode, range(pool.num_episodes))
  )
  assert isinstance(again, packed.PackedPool)
  (plain, expected), (compressed, found) = of(recorded), of(tmp_path / 'target')
  assert compressed.hash == plain.hash
  assert compressed.labels == plain.labels
  for step in (0, 5):
    one, two = found.batch(step), expected.batch(step)
    for a, b in zip((*one.window, *one[1:]), (*two.window, *two[1:]), strict=True):
      assert_equal(a, b)
