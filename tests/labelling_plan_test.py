"""Which windows label which transitions, and who labels which episodes."""

import numpy as np
import pytest

from alpt_jax.errors import UserError
from alpt_jax.labelling import plan as planning


def labelled_at(plan):
  """Transition -> the first transition of its window, each exactly once."""
  found = [
    (first + place, start)
    for start, first, count in zip(*map(np.ndarray.tolist, plan), strict=True)
    for place in range(count)
  ]
  assert [transition for transition, _ in found] == list(range(len(found)))
  return [start for _, start in found]


def test_once_windows_lie_side_by_side_and_the_last_one_inside():
  # 0..4 | 5..9, 10 and 11 by the window 7..11.
  assert labelled_at(planning.plan(12, 5, 5)) == [0] * 5 + [5] * 5 + [7] * 2
  assert labelled_at(planning.plan(10, 5, 5)) == [0] * 5 + [5] * 5


def test_the_centre_of_overlapping_windows_labels_where_there_is_one():
  # Transition 2 is the first, 5 the last that stands in the middle of five.
  assert labelled_at(planning.plan(8, 5, 1)) == [0, 0, 0, 1, 2, 3, 3, 3]
  assert planning.plan(8, 5, 1).counts.tolist() == [3, 1, 1, 3]


def test_a_stride_between_labels_the_transitions_in_the_middle():
  # The picture in plan.py: blocks 01 23 45 67, windows -1 -> 0, 1, 3 and 5 -> 3.
  assert labelled_at(planning.plan(8, 5, 2)) == [0, 0, 1, 1, 3, 3, 3, 3]
  # Stride 3: blocks 012 345 6, windows -1 -> 0, 2, 5 -> 2.
  assert labelled_at(planning.plan(7, 5, 3)) == [0, 0, 0, 2, 2, 2, 2]


@pytest.mark.parametrize('stride', [1, 2, 5])
def test_an_episode_shorter_than_a_window_has_a_padded_one(stride):
  assert labelled_at(planning.plan(3, 5, stride)) == [-2, -2, -2]
  assert labelled_at(planning.plan(5, 5, stride)) == [0] * 5
  assert labelled_at(planning.plan(0, 5, stride)) == []


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('length', [1, 4, 5, 6, 9, 14])
def test_an_episode_that_is_read_in_pieces_is_planned_as_a_whole(length, stride):
  for size in (1, 2, 3, 7):
    parts, begin = [], 0
    for known in range(size, length, size):
      parts.append(planning.plan(known, 5, stride, begin, is_whole=False))
      begin += int(parts[-1].counts.sum())
      needed = planning.needed_from(known, 5, stride, begin)
      rest = planning.plan(length, 5, stride, begin)
      assert (np.maximum(rest.starts, 0) >= needed).all()
    parts.append(planning.plan(length, 5, stride, begin))
    joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    for found, expected in zip(joined, planning.plan(length, 5, stride), strict=True):
      assert found.tolist() == expected.tolist()


def test_shares_are_all_episodes_in_order_and_alike_in_work():
  # Middles 1, 3, 8.5, 15, 16.5 of 18; bounds 0, 6, 12, 18.
  lengths = [2, 2, 9, 4, 1]
  shares = [list(planning.share_of(lengths, index, 3)) for index in range(3)]
  assert shares == [[0, 1], [2], [3, 4]]
  assert [list(planning.share_of([], i, 2)) for i in range(2)] == [[], []]
  with pytest.raises(UserError, match='shard 3/3: expected 0 to 2'):
    planning.share_of(lengths, 3, 3)
