"""Gymnasium-style arrays in an .npz become episodes; bad ones are named in a line."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.data.arrays import ArrayChoice, read_npz
from alpt_jax.data.pool import write_pool
from alpt_jax.errors import UserError
from alpt_jax.specs import ObservationSpec, Protocol

# Two episodes: three transitions that end, two that are cut off. Observation t of
# episode e is [10 e + t, e].
OBSERVATIONS = np.array([[0, 0], [1, 0], [2, 0], [10, 1], [11, 1]], np.float32)
NEXT = np.array([[1, 0], [2, 0], [3, 0], [11, 1], [12, 1]], np.float32)
FIELDS = {
  'observations': OBSERVATIONS,
  'actions': np.array([0, 1, 2, 1, 0]),
  'rewards': np.array([0.5, 0, 1, 0, -2]),
  'terminals': np.array([False, False, True, False, False]),
  'timeouts': np.array([False, False, False, False, True]),
  'next_observations': NEXT,
  'action_names': np.array(['up', 'down', 'stay']),
}
ALL = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [10, 1], [11, 1], [12, 1]], np.float32)


@pytest.fixture
def save(tmp_path):
  """Writes `FIELDS` with changes; None leaves a field out."""

  def save(save_fn=np.savez, **changes):
    fields = FIELDS | changes
    path = tmp_path / 'game.npz'
    save_fn(
      path, **{name: value for name, value in fields.items() if value is not None}
    )
    return path

  return save


def read(path, **choice):
  """(spec, episodes, remarks without the path)."""
  spec, episodes, remarks = read_npz(path, ArrayChoice(**choice))
  assert all(remark.startswith(f'{path}: ') for remark in remarks)
  return spec, list(episodes), [each.removeprefix(f'{path}: ') for each in remarks]


def lists(episode):
  return [None if field is None else np.asarray(field).tolist() for field in episode]


LAYOUTS = {
  'next observations': {},
  'one more in each episode': {'observations': ALL, 'next_observations': None},
}


@pytest.mark.parametrize('save_fn', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_episodes_are_what_the_arrays_say(save, layout, save_fn):
  spec, episodes, remarks = read(save(save_fn, **LAYOUTS[layout]))
  assert remarks == []
  assert spec.name == 'own/game' and spec.action_names == ('up', 'down', 'stay')
  assert spec.observation == ObservationSpec('vector', (2,), 'float32')
  assert spec.return_range == specs.ATARI_RETURN_RANGE
  one, two = episodes
  assert lists(one) == [
    [[0, 0], [1, 0], [2, 0], [3, 0]],
    [0, 1, 2],
    [0.5, 0, 1],
    [1, 1, 0],
    None,
  ]
  assert lists(two) == [[[10, 1], [11, 1], [12, 1]], [1, 0], [0, -2], [1, 1], None]


def test_without_next_observations_the_last_transitions_are_dropped_and_counted(save):
  _, (one, two), remarks = read(save(next_observations=None))
  assert lists(one) == [[[0, 0], [1, 0], [2, 0]], [0, 1], [0.5, 0], [1, 1], None]
  assert lists(two) == [[[10, 1], [11, 1]], [1], [0], [1], None]
  assert remarks == [
    'no observation follows the last action of each of 2 episodes: 2 transitions are '
    'dropped, 2 of them with a reward, and all episodes are cut off. next_observations '
    'keep them.'
  ]


def test_gymnasiums_names_and_marks_of_any_dtype_mean_the_same(save):
  path = save(
    terminals=None,
    timeouts=None,
    terminations=FIELDS['terminals'].astype(np.float32),
    truncations=FIELDS['timeouts'].astype(np.uint8)[:, None],
  )
  assert [each.discounts[-1] for each in read(path)[1]] == [0, 1]


def test_an_end_that_is_both_is_terminal_as_the_game_was_over(save):
  _, episodes, remarks = read(save(timeouts=np.array([0, 0, 1, 0, 1])))
  assert [each.discounts[-1] for each in episodes] == [0, 1]
  assert remarks == ['ends that are marked as both, and taken as terminal: 1.']


def test_a_file_without_marks_is_one_episode_cut_off(save):
  path = save(
    terminals=None, timeouts=None, next_observations=None, observations=ALL[:6]
  )
  _, (episode,), remarks = read(path)
  assert episode.actions.tolist() == [0, 1, 2, 1, 0]
  assert episode.discounts.tolist() == [1] * 5
  assert remarks == ['no end is marked: 5 transitions are one episode, cut off.']


def test_a_last_episode_without_an_end_is_cut_off(save):
  _, (_, two), remarks = read(save(timeouts=None))
  assert two.discounts.tolist() == [1, 1]
  assert remarks == ['the last episode has no end marked: taken as cut off.']


def test_a_long_episode_is_cut_and_no_transition_lost(save):
  for layout in LAYOUTS.values():
    _, episodes, remarks = read(save(**layout), protocol=Protocol(2))
    assert [lists(each)[:2] for each in episodes] == [
      [[[0, 0], [1, 0], [2, 0]], [0, 1]],
      [[[2, 0], [3, 0]], [2]],  # the observation between them is in both
      [[[10, 1], [11, 1], [12, 1]], [1, 0]],
    ]
    assert [each.discounts[-1] for each in episodes] == [1, 0, 1]
    assert remarks == ['cuts after 2 steps: 1.']
  _, episodes, remarks = read(save(next_observations=None), protocol=Protocol(1))
  assert [lists(each)[0] for each in episodes] == [
    [[0, 0], [1, 0]],
    [[1, 0], [2, 0]],
    [[10, 1], [11, 1]],
  ]
  assert remarks[1] == 'cuts after 1 steps: 1.'


def test_an_action_of_minus_one_is_not_known(save, tmp_path):
  spec, episodes, _ = read(save(actions=np.array([0, -1, 2, -1, -1])))
  assert [each.is_labelled.tolist() for each in episodes] == [
    [True, False, True],
    [False, False],
  ]
  assert [each.actions.tolist() for each in episodes] == [[0, 0, 2], [0, 0]]
  pool = write_pool(tmp_path / 'pool', spec, episodes)
  assert pool.is_labelled.tolist() == [True, False, True, False, False]


def test_what_is_labelled_says_to_be_unknown_is_not_looked_at(save):
  known = np.array([1, 0, 1, 1, 1])
  path = save(actions=np.array([0, np.nan, 2.0, 1, 0]), is_labelled=known)
  _, (one, two), _ = read(path)
  assert one.is_labelled.tolist() == [True, False, True] and two.is_labelled is None
  assert one.actions.tolist() == [0, 0, 2]


def test_names_are_told_or_made_up(save):
  spec, _, remarks = read(save(action_names=None), action_names=('a', 'b', 'c', 'd'))
  assert spec.action_names == ('a', 'b', 'c', 'd') and remarks == []
  spec, _, remarks = read(save(action_names=None, actions=np.array([0, 3, 0, 3, 0])))
  assert spec.action_names == ('action_0', 'action_1', 'action_2', 'action_3')
  assert remarks == [
    'actions have no names: called action_0 to action_3, 2 of them occur. Another game '
    'whose actions are called so has the same actions, for a model; --actions names '
    'them.'
  ]
  spec, _, _ = read(save(action_names=np.array([b'up', b'down', b'stay'])))
  assert spec.action_names == ('up', 'down', 'stay')


def test_what_arrays_do_not_say_is_told(save):
  choice = {
    'environment': 'own/chess',
    'return_range': (-3, 4),
    'protocol': Protocol(9, frame_skip=4, frame_rate=60.0),
  }
  spec, _, _ = read(save(), **choice)
  assert (spec.name, spec.return_range, spec.protocol) == tuple(choice.values())


def test_fields_that_are_not_read_are_named(save):
  _, _, remarks = read(save(log_probs=np.zeros(5), infos=np.array([{}] * 5)))
  assert remarks == ['not read: infos, log_probs.']
  # Where both kinds of end are there, it says nothing that they do not.
  assert read(save(dones=np.zeros(5)))[2] == ['not read: dones.']


FORMS = {
  (np.uint8, (4, 6)): ('image', (4, 6, 1), 'uint8'),
  (np.uint8, (4, 6, 3)): ('image', (4, 6, 3), 'uint8'),
  (np.float64, (3,)): ('vector', (3,), 'float32'),
  (np.float16, ()): ('vector', (1,), 'float32'),
  (np.dtype('>f4'), (2,)): ('vector', (2,), 'float32'),
}


@pytest.mark.parametrize('dtype, shape', FORMS)
def test_the_form_follows_from_shape_and_dtype(save, dtype, shape):
  rows = np.arange(7 * int(np.prod(shape))).reshape(7, *shape).astype(dtype)
  spec, (one, two), _ = read(save(observations=rows, next_observations=None))
  assert spec.observation == ObservationSpec(*FORMS[dtype, shape])
  found = np.concatenate([one.observations, two.observations])
  assert found.dtype == spec.observation.dtype
  assert found.tolist() == rows.reshape(found.shape).tolist()


def refused(path, *words, **choice):
  """Asserts that reading fails with one line of these words, in this order."""
  with pytest.raises(UserError) as caught:
    read(path, **choice)
  message = str(caught.value)
  assert '\n' not in message
  place = 0
  for word in (str(path), *words):
    assert word in message[place:], message
    place = message.index(word, place)


# Changes to FIELDS -> the words of the message.
BAD = {
  'too few actions': (
    {'actions': np.zeros(4)},
    ('field rewards: expected [4] as actions, found [5]',),
  ),
  'too few rewards': (
    {'rewards': np.zeros(4)},
    ('field rewards: expected [5] as actions, found [4]',),
  ),
  'too few observations': (
    {'observations': ALL[:4], 'next_observations': None},
    ('field observations: expected 5 rows', 'or 7', 'of 2 episodes, found 4'),
  ),
  'one value as observations': (
    {'observations': np.float32(1), 'next_observations': None},
    ('field observations: expected rows, found one value',),
  ),
  'no actions at all': (
    {'actions': np.zeros(0)},
    ('field actions: expected [N] numbers, found none',),
  ),
  'observations under another name': (
    {'observations': None, 'obs': OBSERVATIONS},
    ('field observations: missing; it has action_names, actions', "Rename 'obs'."),
  ),
  'observations with a typing error': (
    {'observations': None, 'obzervations': OBSERVATIONS},
    ('field observations: missing', "Rename 'obzervations'."),
  ),
  'no actions': (
    {'actions': None},
    ('field actions: missing', '-1 where an action is not known.'),
  ),
  'no rewards': (
    {'rewards': None},
    ('field rewards: missing', '0 where there is none'),
  ),
  'ends under another name': (
    {'timeouts': None, 'truncated': np.zeros(5)},
    ('field timeouts: missing', "Rename 'truncated'."),
  ),
  'ends that do not say which': (
    {'terminals': None, 'timeouts': None, 'dones': np.zeros(5)},
    ('field dones: does not say how', 'Write terminals', 'and timeouts'),
  ),
  'ends under both names': (
    {'terminations': np.zeros(5)},
    ('field terminals: it has terminations, too. Remove one',),
  ),
  'an end that is neither': (
    {'terminals': np.array([0, 2, 0, 0, 0])},
    ('field terminals, row 1: expected 0 or 1, found 2',),
  ),
  'an action out of range': (
    {'actions': np.array([0, 1, 3, 1, 0])},
    ('field actions, row 2: expected 0 to 2 (up, down, stay), or -1', 'found 3'),
  ),
  'an action below -1': (
    {'actions': np.array([0, -2, 1, 1, 0])},
    ('field actions, row 1: expected 0 to 2', 'found -2'),
  ),
  'a number far too large for an action without name': (
    {'actions': np.array([0, 10**9, 1, 1, 0]), 'action_names': None},
    ('field actions: expected numbers below 1000', 'found 1000000000'),
  ),
  'no action known and no name': (
    {'actions': np.full(5, -1), 'action_names': None},
    ('field actions: none is known', '--actions=LEFT,RIGHT'),
  ),
  'actions that are not whole': (
    {'actions': np.array([0, 0.25, 1, 1, 0])},
    ('field actions, row 1: expected the number', 'continuous', 'found 0.25'),
  ),
  'actions that are not numbers': (
    {'actions': np.array([0, np.nan, 1, 1, 0])},
    ('field actions, row 1: expected the number', 'found nan'),
  ),
  'vectors as actions': (
    {'actions': np.zeros((5, 6), np.float32)},
    ('field actions: expected [5], found [5, 6]', 'Vectors', 'no names'),
  ),
  'names as actions': (
    {'actions': np.array(['up'] * 5)},
    ('field actions: expected numbers, found <U2',),
  ),
  'known and not known': (
    {'actions': np.array([0, -1, 1, 1, 0]), 'is_labelled': np.ones(5, bool)},
    ('field is_labelled, row 1: expected a known action', 'found -1'),
  ),
  'a reward that is no number': (
    {'rewards': np.array([0, 0, np.nan, 0, 0])},
    ('field rewards, row 2: expected a finite number, found nan',),
  ),
  'a reward too large for float32': (
    {'rewards': np.array([0, 1e300, 0, 0, 0])},
    ('field rewards, row 1: expected a finite number, found inf',),
  ),
  'an observation that is no number': (
    {'next_observations': np.where(NEXT == 12, np.nan, NEXT)},
    ('episode 1 (rows 3 to 4), step 2, field observation: expected a finite', 'nan'),
  ),
  'an observation that is no number inside an episode': (
    {
      'observations': np.where(OBSERVATIONS == 2, np.nan, OBSERVATIONS),
      'next_observations': np.where(NEXT == 2, np.nan, NEXT),
    },
    ('episode 0 (rows 0 to 2), step 2, field observation: expected a finite', 'nan'),
  ),
  'an observation too large for float32': (
    {
      'observations': np.where(ALL == 1, 1e300, ALL.astype(float)),
      'next_observations': None,
    },
    ('episode 0', 'step 1, field observation: expected a finite number, found inf'),
  ),
  'integers as observations': (
    {'observations': OBSERVATIONS.astype(int), 'next_observations': None},
    ('field observations: expected uint8 pictures', 'found int64 [2]. Write'),
  ),
  'channels first': (
    {'observations': np.zeros((7, 4, 84, 84), np.uint8), 'next_observations': None},
    ('field observations', 'found [4, 84, 84]: channels first?', 'moveaxis'),
  ),
  'pictures without pixels': (
    {'observations': np.zeros((7, 0, 4), np.uint8), 'next_observations': None},
    ('field observations: expected uint8 pictures', 'found uint8 [0, 4]'),
  ),
  'another form of next observations': (
    {'next_observations': NEXT.astype(np.float64)},
    ('field next_observations: expected float32 [5, 2]', 'found float64 [5, 2]'),
  ),
  'shuffled transitions': (
    {'next_observations': NEXT[::-1]},
    ('field next_observations, row 0: differs from observations, row 1', 'timeouts'),
  ),
  'an end that is not marked': (
    {'terminals': None},
    ('field next_observations, row 2: differs from observations, row 3', 'timeouts'),
  ),
  'nothing but single transitions': (
    {'terminals': np.ones(5), 'next_observations': None},
    ('field observations: nothing is left', 'Write next_observations'),
  ),
  'objects as observations': (
    {'observations': np.array([[0], [0, 1]] * 2 + [[0]], object)},
    ('field observations: expected numbers, found pickled Python objects', 'Write one'),
  ),
  'objects as names': (
    {'action_names': np.array(['up', 'down'], object)},
    ('field action_names: expected numbers, found pickled Python objects',),
  ),
  'column by column': (
    {'observations': np.asfortranarray(ALL), 'next_observations': None},
    ('field observations: lies column by column', 'ascontiguousarray'),
  ),
  'numbers as names': (
    {'action_names': np.arange(3)},
    ('field action_names: expected [A] text, found int64 [3]',),
  ),
  'a name twice': (
    {'action_names': np.array(['up', 'down', ' up'])},
    ('field action_names, row 2: expected a name of its own, of printable', "'up'"),
  ),
  'a name that cannot be printed': (
    {'action_names': np.array(['up', 'down', 'a\nb'])},
    ('field action_names, row 2: expected a name', r"found 'a\nb'"),
  ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_arrays_are_named(save, case):
  changes, words = BAD[case]
  refused(save(**changes), *words)


def test_other_names_than_the_files_are_refused(save):
  words = 'action_names: has up, down, stay, --actions left, right. Leave'
  refused(save(), words, action_names=('left', 'right'))


def test_a_return_outside_its_range_names_the_episode(save):
  # Clipped: .5, 0, 1 and 0, -1.
  words = 'episode 1 (rows 3 to 4)', 'are -1 to -1, --return_range is 0,3'
  refused(save(), *words, 'Pass --return_range=-1,3.', return_range=(0, 3))
  assert len(read(save(), return_range=(-1, 3))[1]) == 2


def test_what_is_no_zip_file_is_refused(tmp_path):
  path = tmp_path / 'game.npz'
  refused(path, 'found nothing there')
  np.save(path.with_suffix('.npy'), ALL)
  path.with_suffix('.npy').rename(path)
  refused(path, 'expected arrays in a zip file, as numpy.savez writes them')
  path.write_bytes(b'')
  refused(path, 'expected arrays in a zip file')
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('readme.txt', 'x')
  refused(path, 'field observations: missing; it has none')


def test_a_file_that_is_cut_off_is_refused(save):
  path = save()
  path.write_bytes(path.read_bytes()[:-100])
  refused(path, 'or one that is cut off. Write or copy it anew.')


@pytest.mark.parametrize('save_fn', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('field', ['observations', 'rewards', 'next_observations'])
def test_a_damaged_array_is_named(save, save_fn, field):
  path = save(save_fn)
  with zipfile.ZipFile(path) as file:
    entry = file.getinfo(f'{field}.npy')
  data = bytearray(path.read_bytes())
  # Behind the local header, in the last bytes of what is stored.
  data[
    entry.header_offset + 30 + len(entry.filename) + 20 + entry.compress_size - 5
  ] ^= 1
  path.write_bytes(data)
  refused(path, f'field {field}: cannot be read', 'Copy or write the file anew.')


def test_an_array_shorter_than_its_header_says_is_named(save, tmp_path):
  path = save()
  with zipfile.ZipFile(path) as file:
    members = {name: file.read(name) for name in file.namelist()}
  members['observations.npy'] = members['observations.npy'][:-8]
  with zipfile.ZipFile(path, 'w') as file:
    for name, content in members.items():
      file.writestr(name, content)
  refused(path, 'field observations: cannot be read (it is shorter than its header')


@pytest.mark.parametrize('save_fn', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('has_next', [True, False])
def test_one_episode_is_in_memory_at_a_time(tmp_path, save_fn, has_next):
  num_episodes, length, side = 40, 25, 64
  episode_bytes = length * side * side
  rng = np.random.default_rng(0)
  # 4 MB of observations; half of them black, so that they shrink by half.
  rows = rng.integers(256, size=(num_episodes * length + 1, side, side), dtype=np.uint8)
  rows[:, side // 2 :] = 0
  fields = {'observations': rows[:-1], 'actions': np.zeros(num_episodes * length, int)}
  if has_next:
    fields['next_observations'] = rows[1:]
  ends = np.arange(1, num_episodes * length + 1) % length == 0
  path = tmp_path / 'game.npz'
  save_fn(path, **fields, rewards=np.zeros(len(ends)), timeouts=ends)
  tracemalloc.start()
  _, episodes, _ = read_npz(path)
  count = sum(1 for _ in episodes)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert count == num_episodes
  # Ours: both arrays of an episode, their join, and a piece of 1 MB on its way.
  assert peak < 6 * episode_bytes + 2.5e6 < rows.nbytes
