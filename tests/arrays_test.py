"""Gymnasium-style arrays in an .npz become the episodes that they say."""

import tracemalloc

import numpy as np
import pytest
from tiny_arrays import ALL, FIELDS, read, save

from alpt_jax import specs
from alpt_jax.data.arrays import read_npz
from alpt_jax.data.pool import write_pool
from alpt_jax.specs import ObservationSpec, Protocol


def lists(episode):
  return [None if field is None else np.asarray(field).tolist() for field in episode]


LAYOUTS = {
  'next observations': {},
  'one more in each episode': {'observations': ALL, 'next_observations': None},
}


@pytest.mark.parametrize('save_fn', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_episodes_are_what_the_arrays_say(tmp_path, layout, save_fn):
  spec, episodes, remarks = read(save(tmp_path, save_fn, **LAYOUTS[layout]))
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


def test_without_next_observations_the_last_transitions_are_dropped_and_counted(
  tmp_path,
):
  _, (one, two), remarks = read(save(tmp_path, next_observations=None))
  assert lists(one) == [[[0, 0], [1, 0], [2, 0]], [0, 1], [0.5, 0], [1, 1], None]
  assert lists(two) == [[[10, 1], [11, 1]], [1], [0], [1], None]
  assert remarks == [
    'no observation follows the last action of each of 2 episodes: 2 transitions are '
    'dropped, 2 of them with a reward, and all episodes are cut off. next_observations '
    'keep them.'
  ]


def test_gymnasiums_names_and_marks_of_any_dtype_mean_the_same(tmp_path):
  path = save(
    tmp_path,
    terminals=None,
    timeouts=None,
    terminations=FIELDS['terminals'].astype(np.float32),
    truncations=FIELDS['timeouts'].astype(np.uint8)[:, None],
  )
  assert [each.discounts[-1] for each in read(path)[1]] == [0, 1]


def test_an_end_that_is_both_is_terminal_as_the_game_was_over(tmp_path):
  _, episodes, remarks = read(save(tmp_path, timeouts=np.array([0, 0, 1, 0, 1])))
  assert [each.discounts[-1] for each in episodes] == [0, 1]
  assert remarks == ['ends that are marked as both, and taken as terminal: 1.']


def test_a_file_without_marks_is_one_episode_cut_off(tmp_path):
  path = save(
    tmp_path,
    terminals=None,
    timeouts=None,
    next_observations=None,
    observations=ALL[:6],
  )
  _, (episode,), remarks = read(path)
  assert episode.actions.tolist() == [0, 1, 2, 1, 0]
  assert episode.discounts.tolist() == [1] * 5
  assert remarks == ['no end is marked: 5 transitions are one episode, cut off.']


def test_a_last_episode_without_an_end_is_cut_off(tmp_path):
  _, (_, two), remarks = read(save(tmp_path, timeouts=None))
  assert two.discounts.tolist() == [1, 1]
  assert remarks == ['the last episode has no end marked: taken as cut off.']


def test_a_long_episode_is_cut_and_no_transition_lost(tmp_path):
  for layout in LAYOUTS.values():
    _, episodes, remarks = read(save(tmp_path, **layout), protocol=Protocol(2))
    assert [lists(each)[:2] for each in episodes] == [
      [[[0, 0], [1, 0], [2, 0]], [0, 1]],
      [[[2, 0], [3, 0]], [2]],  # the observation between them is in both
      [[[10, 1], [11, 1], [12, 1]], [1, 0]],
    ]
    assert [each.discounts[-1] for each in episodes] == [1, 0, 1]
    assert remarks == ['cuts after 2 steps: 1.']
  _, episodes, remarks = read(
    save(tmp_path, next_observations=None), protocol=Protocol(1)
  )
  assert [lists(each)[0] for each in episodes] == [
    [[0, 0], [1, 0]],
    [[1, 0], [2, 0]],
    [[10, 1], [11, 1]],
  ]
  assert remarks[1] == 'cuts after 1 steps: 1.'


def test_an_action_of_minus_one_is_not_known(tmp_path):
  spec, episodes, _ = read(save(tmp_path, actions=np.array([0, -1, 2, -1, -1])))
  assert [each.is_labelled.tolist() for each in episodes] == [
    [True, False, True],
    [False, False],
  ]
  assert [each.actions.tolist() for each in episodes] == [[0, 0, 2], [0, 0]]
  pool = write_pool(tmp_path / 'pool', spec, episodes)
  assert pool.is_labelled.tolist() == [True, False, True, False, False]


def test_what_is_labelled_says_to_be_unknown_is_not_looked_at(tmp_path):
  known = np.array([1, 0, 1, 1, 1])
  path = save(tmp_path, actions=np.array([0, np.nan, 2.0, 1, 0]), is_labelled=known)
  _, (one, two), _ = read(path)
  assert one.is_labelled.tolist() == [True, False, True] and two.is_labelled is None
  assert one.actions.tolist() == [0, 0, 2]


def test_names_are_told_or_made_up(tmp_path):
  spec, _, remarks = read(
    save(tmp_path, action_names=None), action_names=('a', 'b', 'c', 'd')
  )
  assert spec.action_names == ('a', 'b', 'c', 'd') and remarks == []
  spec, _, remarks = read(
    save(tmp_path, action_names=None, actions=np.array([0, 3, 0, 3, 0]))
  )
  assert spec.action_names == ('action_0', 'action_1', 'action_2', 'action_3')
  assert remarks == [
    'actions have no names: called action_0 to action_3, 2 of them occur. Another game '
    'whose actions are called so has the same actions, for a model; --actions names '
    'them.'
  ]
  spec, _, _ = read(save(tmp_path, action_names=np.array([b'up', b'down', b'stay'])))
  assert spec.action_names == ('up', 'down', 'stay')


def test_what_arrays_do_not_say_is_told(tmp_path):
  choice = {
    'environment': 'own/chess',
    'return_range': (-3, 4),
    'protocol': Protocol(9, frame_skip=4, frame_rate=60.0),
  }
  spec, _, _ = read(save(tmp_path), **choice)
  assert (spec.name, spec.return_range, spec.protocol) == tuple(choice.values())


def test_fields_that_are_not_read_are_named(tmp_path):
  _, _, remarks = read(save(tmp_path, log_probs=np.zeros(5), infos=np.array([{}] * 5)))
  assert remarks == ['not read: infos, log_probs.']
  # Where both kinds of end are there, it says nothing that they do not.
  assert read(save(tmp_path, dones=np.zeros(5)))[2] == ['not read: dones.']


FORMS = {
  (np.uint8, (4, 6)): ('image', (4, 6, 1), 'uint8'),
  (np.uint8, (4, 6, 3)): ('image', (4, 6, 3), 'uint8'),
  (np.float64, (3,)): ('vector', (3,), 'float32'),
  (np.float16, ()): ('vector', (1,), 'float32'),
  (np.dtype('>f4'), (2,)): ('vector', (2,), 'float32'),
}


@pytest.mark.parametrize('dtype, shape', FORMS)
def test_the_form_follows_from_shape_and_dtype(tmp_path, dtype, shape):
  rows = np.arange(7 * int(np.prod(shape))).reshape(7, *shape).astype(dtype)
  spec, (one, two), _ = read(save(tmp_path, observations=rows, next_observations=None))
  assert spec.observation == ObservationSpec(*FORMS[dtype, shape])
  found = np.concatenate([one.observations, two.observations])
  assert found.dtype == spec.observation.dtype
  assert found.tolist() == rows.reshape(found.shape).tolist()


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
