"""Windows and hidden actions, every integer written by hand."""

import dataclasses

import numpy as np
import pytest
import tiny

from alpt_jax.data.labels import Labels, hide_actions
from alpt_jax.data.mixture import Mixture
from alpt_jax.data.windows import WindowReader
from alpt_jax.types import Episode

# Five steps written by hand: the agent goes from cell 10 to cell 15.
#   step         0     1     2     3     4
#   action    right right    up  left  down     own numbers: down left right up
#   raw           0     2     0    -3     1
#   clipped       0     1     0    -1     1
#   to go         1     1     0     0     1     1 = 0 + 1 + 0 - 1 + 1, ...
FIVE = Episode(
  observations=np.array([[10], [11], [12], [13], [14], [15]], np.uint8),
  actions=np.array([2, 2, 3, 1, 0], np.int32),
  rewards=np.array([0, 2, 0, -3, 1], np.float32),
  discounts=np.array([1, 1, 1, 1, 0], np.float32),
)
# The run knows two more actions, so joint numbers are own numbers + 2.
VOCABULARY = ('NOOP', 'FIRE', 'down', 'left', 'right', 'up')


def five_steps():
  return tiny.pool_of([FIVE])


def read(pool, ends, length=5, vocabulary=VOCABULARY):
  return WindowReader(pool, vocabulary, 3, length)(np.array(ends))


def test_the_whole_of_a_five_step_episode_is_one_window():
  window = read(five_steps(), [4])
  assert window.observations[..., 0].tolist() == [[10, 11, 12, 13, 14, 15]]
  assert window.actions.tolist() == [[4, 4, 5, 3, 2]]
  assert window.is_labelled.tolist() == [[True] * 5]
  assert window.rewards.tolist() == [[0, 1, 0, -1, 1]]
  assert window.discounts.tolist() == [[1, 1, 1, 1, 0]]
  assert window.returns_to_go.tolist() == [[1, 1, 0, 0, 1]]
  assert window.valid.tolist() == [[True] * 5]
  assert window.allowed.tolist() == [[False, False, True, True, True, True]]
  assert window.environment.tolist() == [3]


def test_at_an_episodes_start_a_window_is_padded_on_the_left():
  window = read(five_steps(), [0, 2])
  # Ending at step 0: four padded transitions, their observations zero.
  # Ending at step 2: two padded ones. Returns still count the whole episode.
  assert window.observations[..., 0].tolist() == [
    [0, 0, 0, 0, 10, 11],
    [0, 0, 10, 11, 12, 13],
  ]
  assert window.actions.tolist() == [[0, 0, 0, 0, 4], [0, 0, 4, 4, 5]]
  expected = [[False] * 4 + [True], [False] * 2 + [True] * 3]
  assert window.valid.tolist() == expected
  assert window.is_labelled.tolist() == expected
  assert window.rewards.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
  assert window.discounts.tolist() == [[1] * 5, [1] * 5]
  assert window.returns_to_go.tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 0]]


def test_a_shorter_window_sees_the_last_transitions_only():
  window = read(five_steps(), [3], length=2)
  assert window.observations[..., 0].tolist() == [[12, 13, 14]]
  assert window.actions.tolist() == [[5, 3]]
  assert window.returns_to_go.tolist() == [[0, 0]]


def test_the_fields_have_the_types_of_the_contract():
  window = read(five_steps(), [0, 4])
  expected = {
    'observations': ('uint8', (2, 6, 1)),
    'actions': ('int32', (2, 5)),
    'is_labelled': ('bool', (2, 5)),
    'rewards': ('float32', (2, 5)),
    'discounts': ('float32', (2, 5)),
    'returns_to_go': ('float32', (2, 5)),
    'valid': ('bool', (2, 5)),
    'allowed': ('bool', (2, 6)),
    'environment': ('int32', (2,)),
  }
  found = {name: (str(a.dtype), a.shape) for name, a in window._asdict().items()}
  assert found == expected


def test_no_window_ever_crosses_an_episodes_end():
  lengths = (5, 3, 1, 7)
  pool = tiny.tiny_pool(lengths)
  window = read(pool, np.arange(16))
  step = 0
  for episode, length in enumerate(lengths):
    for last in range(length):
      # Observations name their episode (from 1) and step; padding is all zero.
      num_padded = max(0, 4 - last)
      seen = [[episode + 1, t, 7] for t in range(max(0, last - 4), last + 2)]
      expected = [[0, 0, 0]] * num_padded + seen
      assert window.observations[step].tolist() == expected
      assert window.valid[step].tolist() == [False] * num_padded + [True] * (
        5 - num_padded
      )
      step += 1


def test_behind_the_last_transition_stands_the_episodes_last_observation():
  pool = tiny.tiny_pool((5, 3))
  window = read(pool, [4, 7])
  assert window.observations[:, -1].tolist() == [[1, 5, 7], [2, 3, 7]]
  assert window.discounts[:, -1].tolist() == [0, 0]


def test_returns_do_not_leak_from_the_next_episode():
  # Both episodes end with a reward of 1: nowhere is 2 to go.
  assert tiny.tiny_pool((5, 3)).returns_to_go.tolist() == [1] * 8


def test_each_transition_ends_one_window():
  pool = tiny.tiny_pool((5, 3, 1))
  ends = read(pool, np.arange(9)).observations[:, -2]
  places = {tuple(row) for row in ends.tolist()}
  assert places == {
    (e + 1, t, 7) for e, length in enumerate((5, 3, 1)) for t in range(length)
  }


def test_reading_does_not_write_to_the_pool():
  pool = five_steps()
  before = pool.observations.copy()
  read(pool, [0])  # its padding is zeroed in a copy
  assert np.array_equal(pool.observations, before)


# Hidden means gone.


def labels(*segments, pool_hash=tiny.HASH):
  return Labels(pool_hash, 0, segments, ())


def test_hidden_actions_are_zero_and_unlabelled_in_pool_and_window():
  hidden = hide_actions(five_steps(), labels((0, 1, 2)))
  assert hidden.actions.tolist() == [0, 2, 3, 0, 0]
  assert hidden.is_labelled.tolist() == [False, True, True, False, False]
  window = read(hidden, [4])
  # 0 is 'NOOP' in the joint vocabulary, not the own action 0, 'down', which is 2.
  assert window.actions.tolist() == [[0, 4, 5, 0, 0]]
  assert window.is_labelled.tolist() == [[False, True, True, False, False]]
  # Only actions are masked.
  assert window.observations[..., 0].tolist() == [[10, 11, 12, 13, 14, 15]]
  assert window.rewards.tolist() == [[0, 1, 0, -1, 1]]


def test_hiding_leaves_the_recorded_pool_as_it_is():
  pool = five_steps()
  hide_actions(pool, labels((0, 1, 2)))
  assert pool.actions.tolist() == [2, 2, 3, 1, 0] and pool.is_labelled.all()


def test_what_was_hidden_stays_hidden():
  once = hide_actions(five_steps(), labels((0, 1, 2)))
  twice = hide_actions(once, labels((0, 0, 2)))
  assert twice.is_labelled.tolist() == [False, True, False, False, False]
  assert twice.actions.tolist() == [0, 2, 0, 0, 0]


@pytest.mark.parametrize('seed', [0, 1])
def test_other_hidden_actions_change_no_byte_of_any_batch(seed):
  pool = tiny.tiny_pool((5, 3, 6))
  kept = labels((0, 1, 2), (2, 0, 3))
  is_hidden = ~hide_actions(pool, kept).is_labelled
  rng = np.random.default_rng(seed)
  actions = pool.actions.copy()
  actions[is_hidden] = (actions[is_hidden] + rng.integers(1, 4, is_hidden.sum())) % 4
  assert (actions != pool.actions).sum() == 14 - 5  # all that are hidden

  def batches(recorded):
    stream = tiny.tiny_stream(hide_actions(recorded, kept))
    mixture = Mixture([stream], 4, seed)
    for step in range(7):
      batch = mixture.batch(step)
      yield [*batch.window, *batch[1:]]

  other = tiny.with_actions(pool, actions)
  assert other.manifest_hash == pool.manifest_hash
  for one, two in zip(batches(pool), batches(other), strict=True):
    assert [a.tobytes() for a in one] == [a.tobytes() for a in two]
  # The comparison can fail: a known action that differs does change batches.
  known = dataclasses.replace(pool, actions=(pool.actions + 1) % 4)
  found = [a.tobytes() for batch in batches(known) for a in batch]
  assert found != [a.tobytes() for batch in batches(pool) for a in batch]
