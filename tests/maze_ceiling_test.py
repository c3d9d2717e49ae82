"""What of a maze's actions can be told from what is seen."""

import numpy as np
import pytest

from alpt_jax.envs import maze_ceiling
from alpt_jax.envs.moves import DIAGONAL, ORTHOGONAL
from alpt_jax.errors import UserError

#    column 01234
ROOM = """  #####
            #..##
            #.#.#
            #...#
            #####"""
# What blocks the cells used here:
#   (1, 2) down, right, up   (1, 1) up, left
WALLS = np.array([[mark == '#' for mark in row] for row in ROOM.split()])


def test_the_ceiling_is_one_over_the_blocked_directions_at_a_bump():
  # A move 1; a bump at (1, 2), three ways blocked, 1/3; at (1, 1), two ways, 1/2;
  # a move 1: (1 + 1/3 + 1/2 + 1) / 4 = 17/24.
  before = np.array([[1, 1], [1, 2], [1, 1], [1, 1]], np.uint8)
  after = np.array([[1, 2], [1, 2], [1, 1], [2, 1]], np.uint8)
  found = maze_ceiling.ceiling(WALLS, before, after, ORTHOGONAL)
  assert found == pytest.approx(17 / 24)
  assert maze_ceiling.ceiling(WALLS, before[:1], after[:1], ORTHOGONAL) == 1


@pytest.mark.parametrize(
  ('before', 'after'),
  [
    ((3, 3), (1, 2)),  # a jump
    ((3, 2), (2, 2)),  # into a wall
  ],
)
def test_the_ceiling_refuses_transitions_of_another_layout(before, after):
  cells = np.array([[[3, 2], [3, 1]], [before, after]])
  with pytest.raises(UserError, match='transition 1: expected one step or a bump'):
    maze_ceiling.ceiling(WALLS, cells[:, 0], cells[:, 1], ORTHOGONAL)


def test_the_ceiling_refuses_staying_where_nothing_is_blocked():
  cells = np.array([[1, 1]])
  with pytest.raises(UserError, match=r'found \(1, 1\) to \(1, 1\)'):
    maze_ceiling.ceiling(np.zeros((3, 3), bool), cells, cells, ORTHOGONAL)


def test_the_ceiling_counts_what_blocks_the_agents_own_moves():
  # An open 3 x 3 room: at (0, 1) both ways up leave the grid, 1/2; at (0, 0) all but
  # down_right, 1/3; a move 1: (1/2 + 1/3 + 1) / 3 = 11/18.
  room = np.zeros((3, 3), bool)
  before = np.array([[0, 1], [0, 0], [0, 0]])
  after = np.array([[0, 1], [0, 0], [1, 1]])
  found = maze_ceiling.ceiling(room, before, after, DIAGONAL)
  assert found == pytest.approx(11 / 18)


def test_a_straight_step_is_no_diagonal_one():
  room = np.zeros((3, 3), bool)
  cells = np.array([[0, 0], [0, 1]])
  assert maze_ceiling.ceiling(room, cells[:1], cells[1:], ORTHOGONAL) == 1
  with pytest.raises(UserError, match=r'found \(0, 0\) to \(0, 1\)'):
    maze_ceiling.ceiling(room, cells[:1], cells[1:], DIAGONAL)
