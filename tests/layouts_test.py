"""Layouts: what a name says, and which walls it stands for."""

import itertools

import numpy as np
import pytest

from alpt_jax.envs import layouts
from alpt_jax.envs.moves import DIAGONAL, ORTHOGONAL
from alpt_jax.errors import UserError

# Names.


def test_a_name_says_form_blocks_and_seed():
  assert layouts.parse_name('maze/blocked:10/7') == layouts.MazeName('blocked', 10, 7)
  assert layouts.parse_name('maze/blocked/7') == layouts.MazeName('blocked', 20, 7)
  assert layouts.parse_name('maze/tunneled/3') == layouts.MazeName('tunneled', 0, 3)
  assert layouts.parse_name('maze/diagonal:5/7') == layouts.MazeName('diagonal', 5, 7)


def test_a_name_says_how_the_agent_moves():
  moves = [layouts.parse_name(f'maze/{form}/0').moves for form in layouts.FORMS]
  # blocked, tunneled, diagonal
  assert moves == [ORTHOGONAL, ORTHOGONAL, DIAGONAL]


def test_a_parsed_name_is_written_in_full():
  assert str(layouts.parse_name('maze/blocked/7')) == 'maze/blocked:20/7'
  assert str(layouts.parse_name('maze/tunneled/3')) == 'maze/tunneled/3'
  assert str(layouts.parse_name('maze/diagonal/7')) == 'maze/diagonal:20/7'


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('maze/blocked', 'expected maze/FORM.*found .maze/blocked.'),
    ('atari/blocked/7', 'expected maze/FORM'),
    ('maze/blocked/7/8', 'expected maze/FORM'),
    ('maze/bloked/7', "unknown form 'bloked'; did you mean 'blocked'"),
    ('maze/blocked/seven', "layout seed: expected a whole number.*'seven'"),
    ('maze/blocked/-1', "layout seed: expected a whole number.*'-1'"),
    ('maze/blocked/', "layout seed: expected a whole number.*''"),
    ('maze/blocked:1.5/7', "number of blocks: expected a whole number.*'1.5'"),
    ('maze/blocked:/7', "number of blocks: expected a whole number.*''"),
    ('maze/tunneled:5/7', 'a tunneled maze has no number of blocks'),
    # (20 - 2)^2 / 3 = 108
    ('maze/blocked:109/7', 'at most 108 in a 20x20 grid, found 109'),
  ],
)
def test_a_bad_name_is_refused(name, message):
  with pytest.raises(UserError, match=message):
    layouts.parse_name(name)


# Layouts.


def reached_from_first(walls):
  """How many free cells a flood by repeated dilation reaches."""
  reached = np.zeros_like(walls)
  reached[tuple(np.argwhere(~walls)[0])] = True
  for _ in range(walls.size):
    spread = reached.copy()
    for axis, shift in itertools.product((0, 1), (1, -1)):
      spread |= np.roll(reached, shift, axis)
    spread &= ~walls
    if (spread == reached).all():
      break
    reached = spread
  return reached.sum()


@pytest.mark.parametrize(
  'form', ['blocked:10', 'blocked:20', 'blocked:80', 'tunneled', 'diagonal:80']
)
def test_every_free_cell_is_reached_inside_a_closed_border(form):
  for seed in range(15):
    walls = layouts.layout(f'maze/{form}/{seed}')
    assert walls.shape == (20, 20) and walls.dtype == bool
    assert walls[[0, -1]].all() and walls[:, [0, -1]].all()
    assert reached_from_first(walls) == (~walls).sum()


def test_a_blocked_maze_has_as_many_blocks_as_its_name_says():
  # 18 x 18 cells inside the border.
  assert (~layouts.layout('maze/blocked:20/0')).sum() == 18 * 18 - 20
  assert (~layouts.layout('maze/blocked:80/0')).sum() == 18 * 18 - 80
  assert (~layouts.layout('maze/blocked:0/0', size=6)).sum() == 4 * 4
  assert (~layouts.layout('maze/diagonal:20/0')).sum() == 18 * 18 - 20


def test_a_tunneled_maze_opens_every_corridor_of_its_lattice():
  rooms = [np.ix_([row, row + 1], range(20)) for row in range(1, 17, 3)]
  for seed in range(15):
    walls = layouts.layout(f'maze/tunneled/{seed}')
    # 6 x 6 rooms of 2 x 2 cells; a spanning tree needs 35 openings of 2 cells.
    columns = np.isin(np.arange(20) % 3, (1, 2)) & (np.arange(20) < 18)
    assert all(not walls[room][:, columns].any() for room in rooms)
    num_openings = ((~walls).sum() - 36 * 4) / 2
    assert 35 <= num_openings <= 50
    assert walls[18].all() and walls[:, 18].all()  # 18 is too narrow for a corridor


@pytest.mark.parametrize('form', ['blocked:20', 'tunneled', 'diagonal:20'])
def test_the_name_alone_determines_the_walls(form):
  drawn = [layouts.layout(f'maze/{form}/{seed}') for seed in range(4)]
  for seed, walls in enumerate(drawn):
    assert (walls == layouts.layout(layouts.parse_name(f'maze/{form}/{seed}'))).all()
  for one, other in itertools.combinations(drawn, 2):
    assert (one != other).any()


def test_names_keep_their_walls_between_versions():
  # Data and checkpoints carry the name and not the walls: a change here makes
  # every recorded maze another one.
  blocks = np.argwhere(layouts.layout('maze/blocked:3/7')[1:-1, 1:-1]) + 1
  assert blocks.tolist() == [[1, 6], [2, 5], [18, 5]]
  blocks = np.argwhere(layouts.layout('maze/diagonal:3/7')[1:-1, 1:-1]) + 1
  assert blocks.tolist() == [[3, 8], [17, 17], [18, 2]]
  tunnels = layouts.layout('maze/tunneled/3', size=10)
  assert [''.join('.#'[int(wall)] for wall in row) for row in tunnels[3:7]] == [
    '#..####..#',
    '#.....#..#',
    '#.....#..#',
    '####..#..#',
  ]


def test_some_tunneled_mazes_have_loops():
  # A spanning tree is 36 * 4 + 35 * 2 = 214 cells. Each of the 60 - 35 = 25 lattice
  # edges off the tree is tried from both ends and opens with 1 - .9^2 = .19, two
  # cells each: 214 + 25 * .19 * 2 = 223.5 expected.
  num_free = [(~layouts.layout(f'maze/tunneled/{seed}')).sum() for seed in range(20)]
  assert 218 < np.mean(num_free) < 230


def test_a_form_too_dense_to_connect_is_named():
  # A third of 28 x 28: some free cell is walled in practically always.
  for form in ('blocked', 'diagonal'):
    message = f'no connected layout.*form {form}.*261 blocks'
    with pytest.raises(UserError, match=message):
      layouts.layout(f'maze/{form}:261/0', size=30)


def test_a_layout_must_fit_its_grid():
  with pytest.raises(UserError, match='size: expected 4 to 256.*found 3'):
    layouts.layout('maze/tunneled/0', size=3)
  with pytest.raises(UserError, match='at most 3 in a 5x5 grid, found 20'):
    layouts.layout('maze/blocked/0', size=5)
