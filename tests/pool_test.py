"""Pools on disk: round trips, nothing half-written, errors that say where."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tiny

from alpt_jax.data.checks import check_episode
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.errors import UserError
from alpt_jax.partial import writer_name
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol

ARRAYS = ('observations', 'actions', 'rewards', 'discounts', 'lengths')


def written(tmp_path, lengths=(5, 3)):
  return write_pool(tmp_path / 'pool', tiny.tiny_spec(), tiny.tiny_episodes(lengths))


def names(folder):
  return sorted(path.name for path in folder.iterdir())


# Writing and opening.


def test_a_written_pool_gives_back_its_episodes(tmp_path):
  written(tmp_path)
  pool = open_pool(tmp_path / 'pool')
  assert pool.spec == tiny.tiny_spec()
  assert pool.num_episodes == 2 and pool.num_transitions == 8
  for index, episode in enumerate(tiny.tiny_episodes((5, 3))):
    tiny.assert_equal_episodes(pool.episode(index), episode)
  assert pool.is_labelled.all()
  assert names(tmp_path / 'pool') == sorted(
    [*(f'{name}.npy' for name in ARRAYS), 'manifest.json']
  )


def test_a_pool_on_disk_is_the_pool_in_memory(tmp_path):
  one, two = written(tmp_path), tiny.tiny_pool((5, 3))
  for name in (*ARRAYS, 'starts', 'episode_of', 'clipped_rewards', 'returns_to_go'):
    assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_the_index_arithmetic_by_hand(tmp_path):
  pool = written(tmp_path, (2, 3, 1))
  assert pool.starts.tolist() == [0, 2, 5]
  assert pool.episode_of.tolist() == [0, 0, 1, 1, 1, 2]
  assert pool.transitions_of(np.array([0, 2])).tolist() == [0, 1, 5]
  # L + 1 observations of each: rows 0-2, 3-6 and 7-8.
  assert pool.observations[:, :2].tolist() == [
    [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2], [2, 3], [3, 0], [3, 1],
  ]  # fmt: skip


def test_observations_stay_on_disk(tmp_path):
  assert isinstance(written(tmp_path).observations, np.memmap)


def test_the_hash_follows_the_content(tmp_path):
  def written_hash(name, episodes, spec=None):
    return write_pool(tmp_path / name, spec or tiny.tiny_spec(), episodes).manifest_hash

  episodes = tiny.tiny_episodes((5, 3))
  first = written_hash('one', episodes)
  assert written_hash('two', episodes) == first
  changed = episodes[1]._replace(actions=np.array([1, 2, 0]))
  assert written_hash('three', [episodes[0], changed]) != first
  assert written_hash('four', episodes[::-1]) != first
  assert written_hash('five', episodes, tiny.tiny_spec(name='other')) != first


def test_episodes_are_consumed_one_at_a_time(tmp_path):
  read = []

  def episodes():
    for index in range(3):
      read.append(index)
      yield tiny.tiny_episode(2, index)

  assert write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes()).num_episodes == 3
  assert read == [0, 1, 2]


def test_an_iterator_that_fails_leaves_nothing(tmp_path):
  def episodes():
    yield tiny.tiny_episode(5)
    raise RuntimeError('the disk is on fire')

  with pytest.raises(RuntimeError, match='on fire'):
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes())
  assert names(tmp_path) == []


def test_a_refused_episode_leaves_the_pool_that_was_there(tmp_path):
  before = written(tmp_path)
  bad = tiny.tiny_episode(3)._replace(actions=np.array([0, 9, 0]))
  with pytest.raises(UserError, match='episode 1, step 1, field action'):
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), [tiny.tiny_episode(2), bad])
  assert names(tmp_path) == ['pool']
  assert open_pool(tmp_path / 'pool').manifest_hash == before.manifest_hash


def test_a_pool_is_replaced_by_a_pool(tmp_path):
  written(tmp_path)
  assert written(tmp_path, (4,)).num_transitions == 4
  assert open_pool(tmp_path / 'pool').num_transitions == 4
  assert names(tmp_path) == ['pool']


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
  (tmp_path / 'pool').mkdir()
  (tmp_path / 'pool' / 'thesis.txt').write_text('years of work')
  with pytest.raises(UserError, match='pool: exists and is not a pool'):
    written(tmp_path)
  assert (tmp_path / 'pool' / 'thesis.txt').read_text() == 'years of work'


def test_an_empty_folder_is_used(tmp_path):
  (tmp_path / 'pool').mkdir()
  assert written(tmp_path).num_episodes == 2


def test_no_episode_is_no_pool(tmp_path):
  with pytest.raises(UserError, match='pool: .* at least one episode, got none'):
    written(tmp_path, ())
  assert names(tmp_path) == []


# Where only some actions are known.

# Of the second of three episodes nothing is, of the first a part.
KNOWN = [[True, False, False, True, True], [False] * 3, None]


def partial_episodes():
  return [
    episode._replace(is_labelled=None if known is None else np.array(known))
    for episode, known in zip(tiny.tiny_episodes((5, 3, 2)), KNOWN, strict=True)
  ]


def test_what_is_not_known_stays_so(tmp_path):
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), partial_episodes())
  pool = open_pool(tmp_path / 'pool')
  known = [*KNOWN[0], *KNOWN[1], True, True]
  assert pool.is_labelled.tolist() == known
  # tiny_episode: (number + t) % 4; 0 where it is not known.
  assert pool.actions.tolist() == [0, 0, 0, 3, 0, 0, 0, 0, 2, 3]
  assert [pool.episode(e).is_labelled is None for e in range(3)] == [False, False, True]
  assert pool.episode(0).is_labelled.tolist() == KNOWN[0]
  again = (pool.episode(index) for index in range(3))
  copy = write_pool(tmp_path / 'copy', pool.spec, again)
  assert copy.manifest_hash == pool.manifest_hash


def test_an_action_that_is_not_known_leaves_no_trace(tmp_path):
  episodes = partial_episodes()
  other = episodes[0]._replace(actions=np.array([0, 3, -1, 3, 0]))
  hashes = [
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), [one, *episodes[1:]]).manifest_hash
    for one in (episodes[0], other)
  ]
  assert hashes[0] == hashes[1]
  less = other._replace(is_labelled=np.array([True, False, False, True, False]))
  pool = write_pool(tmp_path / 'pool', tiny.tiny_spec(), [less, *episodes[1:]])
  assert pool.manifest_hash != hashes[0]


def test_a_set_whose_actions_are_all_known_is_the_one_it_always_was(tmp_path):
  # The hash that commit b0da0eb gave it.
  assert written(tmp_path).manifest_hash == '19d5c65334661bd1'
  said = [
    episode._replace(is_labelled=np.ones(len(episode.actions), bool))
    for episode in tiny.tiny_episodes((5, 3))
  ]
  pool = write_pool(tmp_path / 'said', tiny.tiny_spec(), said)
  assert pool.manifest_hash == '19d5c65334661bd1'
  assert names(tmp_path / 'said') == names(tmp_path / 'pool')


def test_an_older_version_does_not_take_zeros_for_actions(tmp_path):
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), partial_episodes())
  manifest = json.loads((tmp_path / 'pool' / 'manifest.json').read_text())
  assert manifest['format'] == 2  # it opens 1 alone
  change_manifest(tmp_path / 'pool', format=1)
  refused(tmp_path / 'pool', 'field format: expected 2, found 1')
  del manifest['sha256']['is_labelled']
  change_manifest(tmp_path / 'pool', **manifest)
  refused(tmp_path / 'pool', 'field format: expected 1, found 2')


def test_what_says_which_are_known_is_checked_like_any_array(tmp_path):
  write_pool(tmp_path / 'pool', tiny.tiny_spec(), partial_episodes())
  path = tmp_path / 'pool' / 'is_labelled.npy'
  np.save(path, np.ones(10, bool))
  refused(tmp_path / 'pool', 'is_labelled.npy', 'changed since it was written')
  path.unlink()
  refused(tmp_path / 'pool', 'is_labelled.npy', 'expected bool [10] by the manifest')


# Opening what is damaged.


def refused(folder, *parts):
  """Opening fails in one line that holds all of `parts`."""
  with pytest.raises(UserError) as caught:
    open_pool(folder)
  message = str(caught.value)
  assert '\n' not in message
  for part in (str(folder), *parts):
    assert part in message, message


def test_a_folder_without_a_manifest_is_no_pool(tmp_path):
  refused(tmp_path, 'manifest.json is missing', 'Record it anew')
  written(tmp_path)
  (tmp_path / 'pool' / 'manifest.json').unlink()
  refused(tmp_path / 'pool', 'manifest.json is missing')


@pytest.mark.parametrize(
  'text', [b'', b'{"format": 1', b'[1]', b'{"format": 1}', b'{"format": "\xe9"}']
)
def test_a_damaged_manifest_is_named(tmp_path, text):
  written(tmp_path)
  (tmp_path / 'pool' / 'manifest.json').write_bytes(text)
  refused(tmp_path / 'pool', 'manifest.json', 'Record it anew')


@pytest.mark.parametrize(
  'field, value',
  [
    ('num_transitions', 8.0),
    ('num_transitions', '8'),
    ('num_episodes', -2),
    ('num_episodes', True),
    ('sha256', []),
  ],
)
def test_a_count_that_is_no_count_is_named(tmp_path, field, value):
  written(tmp_path)
  change_manifest(tmp_path / 'pool', **{field: value})
  refused(tmp_path / 'pool', 'manifest.json', f'{field}: expected', f'found {value!r}')


def change_manifest(folder, **fields):
  path = folder / 'manifest.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_another_format_is_refused(tmp_path):
  written(tmp_path)
  change_manifest(tmp_path / 'pool', format=99)
  refused(tmp_path / 'pool', 'field format: expected 1, found 99')


def test_an_environment_of_another_version_is_refused(tmp_path):
  written(tmp_path)
  form = tiny.tiny_spec().to_dict()
  unknown = form | {'observation': form['observation'] | {'dtype': 'uint9'}}
  for environment in ({'name': 'tiny'}, form | {'observation': 'rgb'}, unknown):
    change_manifest(tmp_path / 'pool', environment=environment)
    refused(tmp_path / 'pool', 'manifest.json', 'field environment')


@pytest.mark.parametrize('name', ARRAYS)
def test_a_missing_or_shortened_array_is_named(tmp_path, name):
  written(tmp_path)
  path = tmp_path / 'pool' / f'{name}.npy'
  content = path.read_bytes()
  for kept in (len(content) - 1, 100, 0):
    path.write_bytes(content[:kept])
    refused(tmp_path / 'pool', f'{name}.npy', 'Record it anew')
  path.unlink()
  refused(tmp_path / 'pool', f'{name}.npy', 'Record it anew')


def test_an_array_of_another_form_is_named(tmp_path):
  pool = written(tmp_path)
  path = tmp_path / 'pool' / 'actions.npy'
  np.save(path, pool.actions[:-1])
  refused(path.parent, 'actions.npy', 'expected int32 [8]', 'found int32 [7]')
  np.save(path, pool.actions.astype(np.int64))
  refused(path.parent, 'actions.npy', 'expected int32 [8]', 'found int64 [8]')
  np.save(path, pool.actions)
  np.save(tmp_path / 'pool' / 'observations.npy', np.zeros((10, 4), np.uint8))
  refused(path.parent, 'observations.npy', 'expected uint8 [10, 3]', 'found', '[10, 4]')


# What is wrong with an episode.

GOOD = tiny.tiny_episode(3)  # four observations, actions 0 1 2
VECTOR = EnvironmentSpec(
  'v', tiny.ACTIONS, ObservationSpec('vector', (2,), 'float32'), (0, 2), Protocol(9)
)


def at(values, step, value, dtype=np.float32):
  changed = np.array(values, dtype)
  changed[step] = value
  return changed


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'observations': np.zeros((4, 2), np.uint8)},
      'here, field observation: expected uint8 [3], found uint8 [2].',
    ),
    (
      {'observations': GOOD.observations.astype(np.float32)},
      'here, field observation: expected uint8 [3], found float32 [3].',
    ),
    (
      {'observations': GOOD.observations[:3]},
      'here: expected at least one transition and one observation more than '
      'actions, found 3 observations, 3 actions.',
    ),
    (
      {'observations': GOOD.observations[:1], 'actions': np.zeros(0, np.int32)},
      'here: expected at least one transition and one observation more than '
      'actions, found 1 observations, 0 actions.',
    ),
    (
      {'observations': at(GOOD.observations, (2, 2), 8, np.uint8)},
      'here, step 2, field observation: expected entry 2 below 8, found 8.',
    ),
    (
      {'actions': np.array([0, 1, 4])},
      'here, step 2, field action: expected 0 to 3 (down, left, right, up), found 4.',
    ),
    (
      {'actions': np.array([0, -1, 7])},
      'here, step 1, field action: expected 0 to 3 (down, left, right, up), found -1.',
    ),
    (
      {'actions': np.array([0, 1.5, 2])},
      'here, step 1, field action: expected 0 to 3 (down, left, right, up), found 1.5.',
    ),
    (
      {'actions': np.array([np.nan, 1, 2])},
      'here, step 0, field action: expected 0 to 3 (down, left, right, up), found nan.',
    ),
    (
      {'actions': np.zeros((3, 1), np.int32)},
      'here, field action: expected one number per step, found the shape [3, 1].',
    ),
    (
      {'rewards': at(GOOD.rewards, 1, np.nan)},
      'here, step 1, field reward: expected a finite number, found nan.',
    ),
    (
      {'rewards': at(GOOD.rewards, 2, np.inf)},
      'here, step 2, field reward: expected a finite number, found inf.',
    ),
    (
      # Too large for the float32 that is stored.
      {'rewards': at(GOOD.rewards, 0, 1e300, np.float64)},
      'here, step 0, field reward: expected a finite number, found inf.',
    ),
    (
      {'is_labelled': np.array([1, 0, 1])},
      'here, field is_labelled: expected bool [3], one for each transition, found '
      'int64 [3].',
    ),
    (
      {'is_labelled': np.ones(4, bool)},
      'here, field is_labelled: expected bool [3], one for each transition, found '
      'bool [4].',
    ),
    (
      {'rewards': GOOD.rewards[:2]},
      'here, field reward: expected 3 values, found 2.',
    ),
    (
      {'rewards': np.zeros((3, 2), np.float32)},
      'here, field reward: expected 3 values, found 3 x 2.',
    ),
    (
      {'discounts': at(GOOD.discounts, 1, np.nan)},
      'here, step 1, field discount: expected a finite number, found nan.',
    ),
    (
      {'discounts': np.ones(5)},
      'here, field discount: expected 3 values, found 5.',
    ),
  ],
)
def test_a_bad_episode_is_refused_with_its_place(changes, message):
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    check_episode(GOOD._replace(**changes), tiny.tiny_spec(), 'here')


def test_a_vector_that_is_not_finite_is_refused_with_its_step():
  episode = GOOD._replace(observations=at(np.zeros((4, 2)), (3, 1), np.nan))
  expected = 'here, step 3, field observation: expected a finite number, found nan.'
  with pytest.raises(UserError, match=f'^{re.escape(expected)}$'):
    check_episode(episode, VECTOR, 'here')


def test_what_is_not_known_of_an_action_is_not_looked_at():
  # Step 1's action is no number at all: it is written as 0.
  known = np.array([True, False, True])
  episode = GOOD._replace(actions=np.array([2, np.nan, 1]), is_labelled=known)
  found = check_episode(episode, tiny.tiny_spec(), 'here')
  assert found.actions.tolist() == [2, 0, 1] and found.actions.dtype == np.int32
  assert found.is_labelled.tolist() == [True, False, True]
  with pytest.raises(UserError, match='here, step 2, field action: .* found 4.'):
    bad = episode._replace(actions=np.array([2, 9, 4]))
    check_episode(bad, tiny.tiny_spec(), 'here')


def test_the_place_while_writing_is_the_episodes_number(tmp_path):
  bad = GOOD._replace(rewards=at(GOOD.rewards, 1, np.nan))
  with pytest.raises(UserError, match='^episode 2, step 1, field reward'):
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), [GOOD, GOOD, bad])


def test_a_good_episode_of_other_number_types_is_stored_in_the_pools(tmp_path):
  episode = GOOD._replace(
    actions=GOOD.actions.astype(np.uint8).tolist(),
    rewards=[0, 0, 1],
    discounts=GOOD.discounts.astype(np.float64),
  )
  found = check_episode(episode, tiny.tiny_spec(), 'here')
  tiny.assert_equal_episodes(found, GOOD)
  pool = write_pool(tmp_path / 'pool', tiny.tiny_spec(), [episode, episode])
  tiny.assert_equal_episodes(pool.episode(1), GOOD)


def test_the_same_pool_that_another_process_wrote_meanwhile_is_kept(
  tmp_path, monkeypatch
):
  def slowly():
    yield from tiny.tiny_episodes((5, 3))
    monkeypatch.setattr('alpt_jax.data.pool.writer_name', lambda: 'faster')
    written(tmp_path)  # it may be mapped into memory already
    inode.append((tmp_path / 'pool').stat().st_ino)

  inode = []
  spec = tiny.tiny_spec()
  pool = write_pool(tmp_path / 'pool', spec, slowly(), replace=False)
  assert (tmp_path / 'pool').stat().st_ino == inode[0]
  assert pool.lengths.tolist() == [5, 3]
  assert names(tmp_path) == ['pool']


@pytest.mark.parametrize('replace', [True, False])
@pytest.mark.parametrize('is_folder', [True, False])
def test_what_somebody_puts_there_meanwhile_is_never_deleted(
  tmp_path, replace, is_folder
):
  thesis = tmp_path / 'pool' / 'thesis.txt' if is_folder else tmp_path / 'pool'

  def episodes():
    yield tiny.tiny_episode(5)
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text('years of work')

  with pytest.raises(UserError, match='pool: exists and is not a pool'):
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), episodes(), replace=replace)
  assert thesis.read_text() == 'years of work'
  assert names(tmp_path) == ['pool']


def test_another_pool_that_was_written_meanwhile_is_kept_and_refused(
  tmp_path, monkeypatch
):
  def slowly():
    yield from tiny.tiny_episodes((5,))
    monkeypatch.setattr('alpt_jax.data.pool.writer_name', lambda: 'faster')
    written(tmp_path, (2, 2))

  with pytest.raises(UserError, match='pool: another set was written there meanwhile'):
    write_pool(tmp_path / 'pool', tiny.tiny_spec(), slowly(), replace=False)
  assert open_pool(tmp_path / 'pool').lengths.tolist() == [2, 2]
  assert names(tmp_path) == ['pool']


def test_what_a_killed_writer_left_is_removed_and_that_of_others_is_not(tmp_path):
  host, _, _ = writer_name().rpartition('-')
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  kept = [
    f'pool.partial-{host}-{os.getppid()}',
    # Machines of other names, one of which begins like this one's.
    f'pool.partial-elsewhere-{gone.pid}',
    f'pool.partial-{host}-2-{gone.pid}',
    f'pool.partial-{host}-mine',
  ]
  for name in (*kept, f'pool.partial-{host}-{gone.pid}'):
    (tmp_path / name).mkdir()
  written(tmp_path)
  assert names(tmp_path) == sorted(['pool', *kept])
