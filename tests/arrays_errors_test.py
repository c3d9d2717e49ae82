"""Arrays that cannot be episodes: each is refused in one line that names the place."""

import zipfile

import numpy as np
import pytest
from tiny_arrays import ALL, NEXT, OBSERVATIONS, read, refused, save

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
    ('field actions: expected numbers below 255', 'found 1000000000'),
  ),
  'not known, in a byte without sign': (
    {'actions': np.array([0, -1, 1, 1, 0]).astype(np.uint8), 'action_names': None},
    ('field actions: expected numbers below 255', 'found 255'),
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
def test_bad_arrays_are_named(tmp_path, case):
  changes, words = BAD[case]
  refused(save(tmp_path, **changes), *words)


def test_other_names_than_the_files_are_refused(tmp_path):
  words = 'action_names: has up, down, stay, --actions left, right. Leave'
  refused(save(tmp_path), words, action_names=('left', 'right'))


def test_a_return_outside_its_range_names_the_episode(tmp_path):
  # Clipped: .5, 0, 1 and 0, -1.
  words = 'episode 1 (rows 3 to 4)', 'are -1 to -1, --return_range is 0,3'
  refused(save(tmp_path), *words, 'Pass --return_range=-1,3.', return_range=(0, 3))
  assert len(read(save(tmp_path), return_range=(-1, 3))[1]) == 2


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


def test_a_file_that_is_cut_off_is_refused(tmp_path):
  path = save(tmp_path)
  path.write_bytes(path.read_bytes()[:-100])
  refused(path, 'or one that is cut off. Write or copy it anew.')


@pytest.mark.parametrize('save_fn', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('field', ['observations', 'rewards', 'next_observations'])
def test_a_damaged_array_is_named(tmp_path, save_fn, field):
  path = save(tmp_path, save_fn)
  with zipfile.ZipFile(path) as file:
    entry = file.getinfo(f'{field}.npy')
  data = bytearray(path.read_bytes())
  # Behind the local header, in the last bytes of what is stored.
  data[
    entry.header_offset + 30 + len(entry.filename) + 20 + entry.compress_size - 5
  ] ^= 1
  path.write_bytes(data)
  refused(path, f'field {field}: cannot be read', 'Copy or write the file anew.')


def test_an_array_shorter_than_its_header_says_is_named(tmp_path):
  path = save(tmp_path)
  with zipfile.ZipFile(path) as file:
    members = {name: file.read(name) for name in file.namelist()}
  members['observations.npy'] = members['observations.npy'][:-8]
  with zipfile.ZipFile(path, 'w') as file:
    for name, content in members.items():
      file.writestr(name, content)
  refused(path, 'field observations: cannot be read (it is shorter than its header')
