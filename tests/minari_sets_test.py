"""Minari datasets, written by Minari itself, become episodes."""

import json
import pathlib
import shutil
import sys
import tracemalloc

import numpy as np
import pytest

from alpt_jax.data.arrays import ArrayChoice
from alpt_jax.data.minari_sets import read_minari
from alpt_jax.data.pool import write_pool
from alpt_jax.errors import UserError
from alpt_jax.specs import ObservationSpec, Protocol

gymnasium = pytest.importorskip('gymnasium')
minari = pytest.importorskip('minari')
spaces = gymnasium.spaces
# About authors and environments.
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning:minari')

ID = 'own/game-v0'
VECTOR = spaces.Box(-np.inf, np.inf, (2,), np.float64)
# Two steps that end, three that are cut off. Observation t of episode e is
# [10 e + t, e].
LENGTHS = (2, 3)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
  return tmp_path / 'minari'


def buffer(number, observations=None, **changes):
  length = LENGTHS[number]
  steps = np.arange(length + 1)
  last = np.arange(length) == length - 1
  if observations is None:
    observations = np.stack([10.0 * number + steps, np.full(length + 1, number)], 1)
  fields = {
    'id': number,
    'observations': observations,
    'actions': 5 + np.arange(length),
    'rewards': np.arange(length) / 4,
    'terminations': last & (number == 0),
    'truncations': last & (number == 1),
    'infos': {},
  }
  return minari.data_collector.EpisodeBuffer(**{**fields, **changes})


def create(buffers=None, observation_space=VECTOR, action_space=None, **options):
  return minari.create_dataset_from_buffers(
    ID,
    buffers or [buffer(0), buffer(1)],
    observation_space=observation_space,
    action_space=action_space or spaces.Discrete(4, start=5),
    author='us',
    author_email='us',
    code_permalink='none',
    algorithm_name='none',
    **options,
  )


def read(name=ID, **choice):
  """(spec, episodes, remarks without the place)."""
  spec, episodes, remarks = read_minari(str(name), ArrayChoice(**choice))
  assert all(remark.startswith(f'minari:{name}: ') for remark in remarks)
  remarks = [each.removeprefix(f'minari:{name}: ') for each in remarks]
  return spec, list(episodes), remarks


def lists(episode):
  return [None if field is None else np.asarray(field).tolist() for field in episode]


NO_NAMES = (
  'actions have no names: called action_5 to action_8. Another game whose actions are '
  'called so has the same actions, for a model; --actions names them.'
)


@pytest.mark.parametrize('data_format', ['hdf5', 'arrow', 'parquet'])
def test_episodes_are_what_minari_stored(data_format, tmp_path):
  create(data_format=data_format)
  spec, (one, two), remarks = read()
  assert spec.name == ID and remarks == [NO_NAMES]
  # The space begins with 5.
  assert spec.action_names == ('action_5', 'action_6', 'action_7', 'action_8')
  assert spec.observation == ObservationSpec('vector', (2,), 'float32')
  assert lists(one) == [[[0, 0], [1, 0], [2, 0]], [0, 1], [0, 0.25], [1, 0], None]
  assert lists(two) == [
    [[10, 1], [11, 1], [12, 1], [13, 1]],
    [0, 1, 2],
    [0, 0.25, 0.5],
    [1, 1, 1],
    None,
  ]
  pool = write_pool(tmp_path / 'pool', spec, [one, two])
  assert pool.num_transitions == 5 and pool.is_labelled.all()


class Counter(gymnasium.Env):
  """Counts its steps; over after three."""

  observation_space = spaces.Box(0, 9, (1,), np.float32)
  action_space = spaces.Discrete(2)

  def reset(self, *, seed=None, options=None):
    self._count = 0
    return np.zeros(1, np.float32), {}

  def step(self, action):
    self._count += 1
    observation = np.full(1, self._count, np.float32)
    return observation, float(action), self._count == 3, False, {}


def test_what_minaris_own_collector_recorded_is_read():
  env = minari.DataCollector(Counter())
  for actions in ([0, 1, 1], [1]):
    env.reset()
    for action in actions:
      env.step(action)
  env.create_dataset('counter-v0')
  spec, (one, two), _ = read('counter-v0', action_names=('wait', 'go'))
  assert spec.name == 'own/counter-v0' and spec.action_names == ('wait', 'go')
  assert lists(one)[:4] == [[[0], [1], [2], [3]], [0, 1, 1], [0, 1, 1], [1, 1, 0]]
  # The second was still going on.
  assert lists(two)[:4] == [[[0], [1]], [1], [1], [1]]


@pytest.mark.parametrize('inside', ['', 'data'])
def test_a_folder_is_read_wherever_it_lies(root, tmp_path, inside):
  create()
  shutil.move(root / ID, tmp_path / 'elsewhere')
  spec, episodes, _ = read(tmp_path / 'elsewhere' / inside)
  assert spec.name == ID and len(episodes) == 2


def test_pictures_are_read_and_it_is_said_that_they_were_compressed():
  rng = np.random.default_rng(0)
  pictures = [
    rng.integers(256, size=(length + 1, 40, 32, 3)).astype(np.uint8)
    for length in LENGTHS
  ]
  buffers = [buffer(number, each) for number, each in enumerate(pictures)]
  space = spaces.Box(0, 255, (40, 32, 3), np.uint8)
  create(buffers, space)
  spec, episodes, remarks = read()
  assert spec.observation == ObservationSpec('image', (40, 32, 3), 'uint8')
  assert [each.observations.shape for each in episodes] == [
    (3, 40, 32, 3),
    (4, 40, 32, 3),
  ]
  assert remarks[0] == 'pictures were compressed with loss (JPEG), as Minari does.'
  assert (episodes[0].observations != pictures[0]).any()
  minari.delete_dataset(ID)
  create(buffers, space, jpeg_encoding=False)
  _, episodes, remarks = read()
  assert remarks == [NO_NAMES]
  np.testing.assert_array_equal(episodes[0].observations, pictures[0])


def test_grey_pictures_have_one_channel():
  pictures = [np.full((length + 1, 40, 32), 7, np.uint8) for length in LENGTHS]
  create(
    [buffer(number, each) for number, each in enumerate(pictures)],
    spaces.Box(0, 255, (40, 32), np.uint8),
  )
  spec, episodes, _ = read()
  assert spec.observation.shape == (40, 32, 1)
  assert (episodes[1].observations == 7).all()


def test_a_long_episode_is_cut_and_no_step_lost():
  create()
  _, episodes, remarks = read(protocol=Protocol(2))
  assert [lists(each)[:2] for each in episodes] == [
    [[[0, 0], [1, 0], [2, 0]], [0, 1]],
    [[[10, 1], [11, 1], [12, 1]], [0, 1]],
    [[[12, 1], [13, 1]], [2]],
  ]
  assert [each.discounts[-1] for each in episodes] == [0, 1, 1]
  assert remarks[1:] == ['cuts after 2 steps: 1.']


def refused(*words, name=ID, **choice):
  """Asserts that reading fails with one line of these words, in this order."""
  with pytest.raises(UserError) as caught:
    read(name, **choice)
  message = str(caught.value)
  assert '\n' not in message
  place = 0
  for word in (f'minari:{name}', *words):
    assert word in message[place:], message
    place = message.index(word, place)


def test_continuous_actions_are_refused():
  actions = [np.zeros((length, 6), np.float32) for length in LENGTHS]
  buffers = [buffer(number, actions=each) for number, each in enumerate(actions)]
  create(buffers, action_space=spaces.Box(-1, 1, (6,), np.float32))
  refused('action space Box(-1.0, 1.0, (6,)', 'expected Discrete; continuous', 'Choose')


def test_several_actions_at_once_are_refused():
  actions = [np.zeros((length, 2), int) for length in LENGTHS]
  buffers = [buffer(number, actions=each) for number, each in enumerate(actions)]
  create(buffers, action_space=spaces.MultiDiscrete([2, 3]))
  refused('action space MultiDiscrete([2 3]): expected Discrete; one at a time')


def test_observations_of_several_parts_are_refused():
  observations = [{'x': np.zeros((length + 1, 2))} for length in LENGTHS]
  buffers = [buffer(number, each) for number, each in enumerate(observations)]
  create(buffers, spaces.Dict(x=VECTOR))
  refused('observation space Dict(', 'expected a Box', 'as an .npz of arrays')


def test_integers_as_observations_are_refused():
  observations = [np.zeros((length + 1, 2), int) for length in LENGTHS]
  buffers = [buffer(number, each) for number, each in enumerate(observations)]
  create(buffers, spaces.Box(0, 9, (2,), int))
  refused('observation space: expected uint8 pictures', 'found int64 [2]')


def test_an_action_outside_its_space_is_named():
  create([buffer(0), buffer(1, actions=[5, 9, 5])])
  refused('episode 1, step 1, field action: expected 0 to 3 (action_5,', 'found 4')
  minari.delete_dataset(ID)
  create([buffer(0), buffer(1, actions=[4, 5, 5])])
  refused('episode 1, step 0, field action: expected 0 to 3', 'found -1')


def test_too_few_names_are_refused():
  create()
  refused('has 4 actions, --actions names 2', action_names=('up', 'down'))


def test_a_value_that_is_no_number_is_named():
  create([buffer(0), buffer(1, rewards=[0, np.nan, 0])])
  refused('episode 1, step 1, field reward: expected a finite number, found nan')
  minari.delete_dataset(ID)
  create([buffer(0), buffer(1, np.full((4, 2), np.inf))])
  refused('episode 1, step 0, field observation: expected a finite number, found inf')


def test_a_return_outside_its_range_is_named():
  create()
  words = 'are 0 to 1, --return_range is 0,1. Pass --return_range=0,2.'
  refused('episode 1: returns of rewards', words, return_range=(0, 1))


def test_an_end_inside_an_episode_is_refused():
  create([buffer(0), buffer(1, terminations=[False, True, False])])
  refused('episode 1, step 1: ends before its last step, 2. Split it there.')


def test_lengths_that_contradict_each_other_are_refused():
  create([buffer(0), buffer(1, actions=[5, 6])])
  refused('episode 1: expected 3 steps', 'found 2 actions, 3 rewards')
  minari.delete_dataset(ID)
  create([buffer(0), buffer(1, np.zeros((3, 2)))])
  refused('episode 1: expected observations [4, 2], found [3, 2]. Download')


def test_a_dataset_that_is_not_there_is_refused_with_what_is():
  create()
  words = "did you mean 'own/game-v0'? Known: own/game-v0. Download it: minari download"
  refused('no such folder, or dataset', words, name='own/game-v1')
  refused('no such folder, or dataset', name='nothing')


def test_a_damaged_dataset_is_refused(root):
  create()
  data = root / ID / 'data'
  content = (data / 'main_data.hdf5').read_bytes()
  (data / 'main_data.hdf5').write_bytes(content[: len(content) // 2])
  refused('cannot be read by this Minari', 'Download or copy it anew')
  metadata = json.loads((data / 'metadata.json').read_text())
  (data / 'metadata.json').write_text(json.dumps({**metadata, 'minari_version': '9'}))
  refused('cannot be read by this Minari', 'does not support the dataset')
  (data / 'metadata.json').write_text('{')
  refused('cannot be read by this Minari')
  (data / 'metadata.json').unlink()
  refused('cannot be read by this Minari', 'No data found')


def test_an_episode_that_is_damaged_is_named(monkeypatch):
  create()
  h5py = pytest.importorskip('h5py')
  path = pathlib.Path(minari.load_dataset(ID).storage.data_path) / 'main_data.hdf5'
  with h5py.File(path, 'a') as file:
    del file['episode_1']['rewards']
  refused('episode 1: cannot be read by this Minari', 'rewards')


def test_without_minari_it_is_said_how_to_install_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'minari', None)
  refused('Minari is needed', "Run: pip install 'alpt-jax[minari]'")


@pytest.mark.parametrize('data_format', ['hdf5', 'parquet'])
def test_one_episode_is_in_memory_at_a_time(data_format):
  num_episodes, length, width = 20, 10, 2_000
  rows = np.ones((length + 1, width))  # 176 kB
  steps = {'actions': np.full(length, 5), 'rewards': np.zeros(length)}
  ends = np.arange(length) == length - 1
  one = {'observations': rows, 'terminations': ends, 'truncations': ends, **steps}
  create(
    [buffer(0, **one, id=number) for number in range(num_episodes)],
    spaces.Box(-1, 1, (width,), np.float64),
    data_format=data_format,
  )
  tracemalloc.start()
  _, episodes, _ = read_minari(ID)
  count = sum(1 for _ in episodes)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert count == num_episodes
  # Ours: as stored, as float32, and what checking makes of it.
  assert peak < 6 * rows.nbytes < num_episodes * rows.nbytes
