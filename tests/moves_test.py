"""Moves: what blocks them, which cells they join, whom a pair may consist of."""

import itertools

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.envs import moves
from alpt_jax.errors import UserError


def drawn(text):
  return np.array([[mark == '#' for mark in row] for row in text.split()])


#    column 01234
WALLS = drawn("""#####
                 #..##
                 #.#.#
                 #...#
                 #####""")
OPEN = np.zeros((3, 3), bool)
# Two cells touch at a corner only, between two walls.
CORNERS = drawn("""....
                   ..#.
                   .#..
                   ....""")
# Diagonal moves join (0, 0), (0, 2), (1, 1), (2, 0) and (2, 2) and leave (0, 1) and
# (2, 1) alone.
CROSS = drawn("""...
                 #.#
                 ...""")


def test_no_two_kinds_of_moves_share_a_name_with_each_other_or_atari():
  names = [*moves.ORTHOGONAL, *moves.DIAGONAL, *specs.ALE_ACTIONS]
  assert len(set(names)) == len(names) == 4 + 4 + 18


@pytest.mark.parametrize('kind', [moves.ORTHOGONAL, moves.DIAGONAL])
def test_every_move_has_its_opposite(kind):
  steps = set(kind.values())
  assert len(steps) == 4
  assert {(-down, -right) for down, right in steps} == steps


def test_blocked_moves_are_those_into_walls_or_out_of_the_grid():
  blocked = moves.blocked_moves(WALLS, moves.ORTHOGONAL)
  assert blocked[1, 2].tolist() == [True, True, True, False]
  assert blocked[3, 2].tolist() == [True, False, True, False]
  # An open 1 x 2 grid: only right from the left cell and left from the right one.
  assert moves.blocked_moves(np.zeros((1, 2), bool), moves.ORTHOGONAL).tolist() == [
    [[True, False, True, True], [True, True, True, False]]
  ]


def test_a_diagonal_move_is_blocked_by_the_cell_it_leads_to():
  blocked = moves.blocked_moves(WALLS, moves.DIAGONAL)
  # down_right, up_right, up_left, down_left.
  assert blocked[1, 2].tolist() == [False, True, True, False]  # to (2, 3), (2, 1)
  assert blocked[3, 1].tolist() == [True, True, True, True]  # (2, 2) is a wall
  assert blocked[2, 3].tolist() == [True, True, False, False]  # to (1, 2), (3, 2)


def test_two_walls_that_touch_at_a_corner_let_a_diagonal_move_pass():
  assert CORNERS[1, 2] and CORNERS[2, 1]
  assert not moves.blocked_moves(CORNERS, moves.DIAGONAL)[1, 1, 0]
  assert not moves.blocked_moves(CORNERS, moves.DIAGONAL)[2, 2, 2]


def partition(walls, kind):
  """The sets of cells of one number, walls left out."""
  numbers = moves.components(walls, kind)
  assert ((numbers < 0) == walls).all()
  return {
    frozenset(map(tuple, np.argwhere(numbers == number).tolist()))
    for number in range(numbers.max() + 1)
  }


def test_diagonal_moves_split_an_open_room_like_a_chess_board():
  cells = set(itertools.product(range(3), repeat=2))
  even = frozenset(cell for cell in cells if sum(cell) % 2 == 0)
  assert partition(OPEN, moves.DIAGONAL) == {even, frozenset(cells - even)}
  assert partition(OPEN, moves.ORTHOGONAL) == {frozenset(cells)}


def test_walls_split_further():
  cross = frozenset({(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)})
  alone = {frozenset({(0, 1)}), frozenset({(2, 1)})}
  assert partition(CROSS, moves.DIAGONAL) == {cross, *alone}
  # (1, 2) reaches (2, 1) and (2, 3), both of which reach (3, 2).
  ring = frozenset({(1, 2), (2, 1), (2, 3), (3, 2)})
  rest = {frozenset({cell}) for cell in ((1, 1), (3, 1), (3, 3))}
  assert partition(WALLS, moves.DIAGONAL) == {ring, *rest}
  assert len(partition(WALLS, moves.ORTHOGONAL)) == 1


def test_a_grid_of_walls_has_no_component():
  assert (moves.components(np.ones((2, 3), bool), moves.ORTHOGONAL) == -1).all()


def test_pairs_are_different_free_cells():
  pairs = moves.start_goal_pairs(WALLS, 800, 2, moves.ORTHOGONAL)
  assert pairs.shape == (800, 2, 2)
  assert not WALLS[pairs[..., 0], pairs[..., 1]].any()
  assert (pairs[:, 0] != pairs[:, 1]).any(-1).all()
  # All 42 ordered pairs: one is missed with probability (41 / 42)^800 = 4e-9.
  assert len(np.unique(pairs.reshape(800, 4), axis=0)) == 42
  assert (pairs == moves.start_goal_pairs(WALLS, 800, 2, moves.ORTHOGONAL)).all()
  assert (pairs != moves.start_goal_pairs(WALLS, 800, 3, moves.ORTHOGONAL)).any()


def test_pairs_are_uniform_over_all_that_can_be_walked():
  # 5 x 4 pairs of even cells and 4 x 3 of odd ones: 20 / 32 = .625 are even. The
  # standard deviation is sqrt(.625 * .375 / 8000) = .0054; the bound is 5 of them.
  pairs = moves.start_goal_pairs(OPEN, 8000, seed=0, moves=moves.DIAGONAL)
  assert pairs.shape == (8000, 2, 2)
  is_even = pairs.sum(-1) % 2 == 0
  assert (is_even[:, 0] == is_even[:, 1]).all()
  assert abs(is_even[:, 0].mean() - 0.625) < 0.027
  kinds, counts = np.unique(pairs.reshape(-1, 4), axis=0, return_counts=True)
  assert len(kinds) == 32
  # 250 of each; 6 standard deviations of sqrt(8000 / 32) = 15.8.
  assert abs(counts - 250).max() < 95


def test_with_a_goal_all_starts_that_reach_it_are_drawn():
  pairs = moves.start_goal_pairs(CROSS, 300, 0, moves.DIAGONAL, goal=(1, 1))
  assert pairs.shape == (300, 2, 2)
  assert (pairs[:, 1] == (1, 1)).all()
  starts, counts = np.unique(pairs[:, 0], axis=0, return_counts=True)
  assert starts.tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]
  # 75 of each; 5 standard deviations of sqrt(300 * 3 / 16) = 7.5.
  assert abs(counts - 75).max() < 38


def test_pairs_need_two_cells_that_a_move_joins():
  row = drawn('.. ##')
  assert len(moves.start_goal_pairs(row, 3, 0, moves.ORTHOGONAL)) == 3
  with pytest.raises(UserError, match=r'a move \(down_right, .* found none'):
    moves.start_goal_pairs(row, 3, 0, moves.DIAGONAL)
