"""Mazes: what is seen, what an action does, what cannot be guessed."""

import itertools

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.envs import maze
from alpt_jax.errors import UserError

#    column 01234
ROOM = """  #####
            #..##
            #.#.#
            #...#
            #####"""
# The free cells, a winding corridor from (1, 2) to (2, 3), with what blocks them:
#   (1, 2) down, right, up   (1, 1) up, left     (2, 1) right, left
#   (3, 1) down, left        (3, 2) down, up     (3, 3) down, right
#   (2, 3) right, up, left
WALLS = np.array([[mark == '#' for mark in row] for row in ROOM.split()])
DOWN, RIGHT, UP, LEFT = range(4)


def hand_made(**arguments):
  return maze.Maze('by hand', walls=WALLS, **arguments)


# Observations.


def test_position_is_agent_then_goal():
  room = hand_made(observation='position')
  assert room.reset_to((3, 2), (2, 3)).observation.tolist() == [3, 2, 2, 3]
  assert room.step(LEFT).observation.tolist() == [3, 1, 2, 3]


def test_position_walls_adds_what_surrounds_the_agent():
  room = hand_made(observation='position_walls')
  # Around (3, 2), from the drawing: '.#.', '...', '###'.
  expected = [3, 2, 2, 3] + [0, 1, 0] + [0, 0, 0] + [1, 1, 1]
  assert room.reset_to((3, 2), (2, 3)).observation.tolist() == expected
  # Around (3, 1): '#.#', '#..', '###'.
  expected = [3, 1, 2, 3] + [1, 0, 1] + [1, 0, 0] + [1, 1, 1]
  assert room.step(LEFT).observation.tolist() == expected


def test_outside_the_grid_counts_as_wall():
  room = maze.Maze('open', 'position_walls', walls=np.zeros((2, 2), bool))
  # Around (0, 0) of an open 2 x 2 grid only right, below and the diagonal are free.
  observation = room.reset_to((0, 0), (1, 1)).observation
  assert observation[4:].tolist() == [1, 1, 1] + [1, 0, 0] + [1, 0, 0]
  assert room.step(UP).observation.tolist() == observation.tolist()


def test_an_image_shows_wall_goal_and_agent():
  room = hand_made(observation='image')
  first = room.reset_to((3, 2), (2, 3)).observation
  second = room.step(LEFT).observation
  assert (first[..., 0] == 255 * WALLS).all()
  for channel, cells in ((1, ((2, 3), (2, 3))), (2, ((3, 2), (3, 1)))):
    for picture, cell in zip((first, second), cells, strict=True):
      assert np.argwhere(picture[..., channel]).tolist() == [list(cell)]
      assert picture[(*cell, channel)] == 255


@pytest.mark.parametrize('form', maze.OBSERVATIONS)
def test_observations_are_of_the_announced_form(form):
  room = maze.Maze('maze/blocked:20/1', form, seed=4)
  spec = room.environment_spec.observation
  rng = np.random.default_rng(0)
  time_step = room.reset()
  for _ in range(300):
    observation = room.observation_spec().validate(time_step.observation)
    assert (observation.shape, observation.dtype) == (spec.shape, spec.dtype)
    if spec.kind == 'integers':
      assert (observation < np.array(spec.num_values)).all()
    time_step = room.step(rng.integers(4))
    if not time_step.first():
      room.reward_spec().validate(time_step.reward)
      room.discount_spec().validate(time_step.discount)


@pytest.mark.parametrize('form', ['position', 'position_walls'])
def test_an_observation_outlives_its_episode(form):
  room = hand_made(observation=form)
  first = room.reset_to((3, 2), (2, 3)).observation
  kept = first.tolist()
  room.step(LEFT)
  room.reset_to((1, 1), (3, 3))
  assert first.tolist() == kept
  with pytest.raises(ValueError, match='read-only'):
    first[0] = 0


def test_the_spec_describes_the_maze():
  room = maze.Maze('maze/blocked/7', 'position_walls', max_episode_steps=50)
  assert room.environment_spec == specs.EnvironmentSpec(
    name='maze/blocked:20/7',
    action_names=('down', 'right', 'up', 'left'),
    observation=specs.ObservationSpec('integers', (13,), 'uint8', (20,) * 4 + (2,) * 9),
    return_range=(0, 2),
    protocol=specs.Protocol(50),
  )
  image = maze.Maze('maze/tunneled/0', 'image').environment_spec.observation
  assert image == specs.ObservationSpec('image', (20, 20, 3), 'uint8')


def test_mazes_of_both_kinds_of_moves_share_no_action():
  both = [
    maze.Maze(f'maze/{form}:20/7').environment_spec for form in ('blocked', 'diagonal')
  ]
  assert specs.joint_vocabulary(both) == (
    'down',
    'down_left',
    'down_right',
    'left',
    'right',
    'up',
    'up_left',
    'up_right',
  )
  allowed = [specs.allowed_actions(spec, specs.joint_vocabulary(both)) for spec in both]
  assert (allowed[0] != allowed[1]).all()


# Dynamics.


@pytest.mark.parametrize(
  ('moves', 'cells'),
  [
    (
      maze.ORTHOGONAL,
      {'down': (2, 1), 'right': (1, 2), 'up': (0, 1), 'left': (1, 0)},
    ),
    (
      maze.DIAGONAL,
      {
        'down_right': (2, 2),
        'up_right': (0, 2),
        'up_left': (0, 0),
        'down_left': (2, 0),
      },
    ),
  ],
)
def test_every_action_moves_as_its_name_says(moves, cells):
  room = maze.Maze('open', walls=np.zeros((5, 5), bool), moves=moves)
  names = room.environment_spec.action_names
  assert names == tuple(cells) and room.action_spec().num_values == 4
  for name, cell in cells.items():
    room.reset_to((1, 1), (3, 3))
    room.step(names.index(name))
    assert room.agent == cell


def test_a_diagonal_step_needs_only_its_own_cell():
  # From (2, 2) up_right is (1, 3), a wall; between the walls (1, 2) and (2, 1), which
  # touch at a corner, up_left leads to (1, 1).
  walls = np.zeros((4, 4), bool)
  walls[[1, 1, 2], [2, 3, 1]] = True
  room = maze.Maze('corners', walls=walls, moves=maze.DIAGONAL)
  room.reset_to((2, 2), (0, 0))
  assert room.step(list(maze.DIAGONAL).index('up_right')).mid()
  assert room.agent == (2, 2)
  room.step(list(maze.DIAGONAL).index('up_left'))
  assert room.agent == (1, 1)


def test_a_bump_leaves_the_agent_where_it_was():
  room = hand_made()
  room.reset_to((1, 2), (2, 3))
  for action in (DOWN, RIGHT, UP):
    time_step = room.step(action)
    assert time_step.mid() and time_step.reward == 0 and time_step.discount == 1
    assert room.agent == (1, 2)


def test_entering_the_goal_ends_the_episode_with_reward_1():
  room = hand_made()
  assert room.reset_to((3, 2), (2, 3)).first()
  assert room.step(RIGHT).reward == 0
  last = room.step(UP)
  assert (last.last(), last.reward, last.discount) == (True, 1.0, 0.0)
  assert room.step(UP).first()


def test_an_episode_is_cut_off_with_discount_1():
  room = hand_made(max_episode_steps=3)
  room.reset_to((3, 2), (2, 3))
  assert not room.step(UP).last() and not room.step(UP).last()
  last = room.step(UP)
  assert (last.last(), last.reward, last.discount) == (True, 0.0, 1.0)
  assert room.step(UP).first()


def test_the_goal_counts_on_the_very_last_step():
  room = hand_made(max_episode_steps=2)
  room.reset_to((3, 2), (2, 3))
  room.step(RIGHT)
  last = room.step(UP)
  assert (last.last(), last.reward, last.discount) == (True, 1.0, 0.0)


def test_the_first_step_of_a_fresh_maze_resets_it():
  assert hand_made().step(UP).first()


def test_resets_draw_every_pair_of_different_free_cells():
  room = hand_made(seed=1)
  pairs = set()
  for _ in range(800):
    room.reset()
    pairs.add((room.agent, room.goal))
  free = list(map(tuple, np.argwhere(~WALLS).tolist()))
  # 7 x 6 = 42; a given pair is missed with probability (41 / 42)^800 = 4e-9.
  assert pairs == set(itertools.permutations(free, 2))


def test_a_fixed_goal_stays_and_the_start_varies():
  room = hand_made(goal=(3, 2))
  starts = set()
  for _ in range(200):
    room.reset()
    assert room.goal == (3, 2)
    starts.add(room.agent)
  assert starts == set(map(tuple, np.argwhere(~WALLS).tolist())) - {(3, 2)}


#   column 012
CROSS = """...
           #.#
           ..."""
# Diagonal moves join the four corners and the middle; (0, 1) and (2, 1) are alone.


def crossed(**arguments):
  walls = np.array([[mark == '#' for mark in row] for row in CROSS.split()])
  return maze.Maze('cross', walls=walls, moves=maze.DIAGONAL, **arguments)


def test_resets_draw_every_pair_that_the_agents_own_moves_join():
  room = crossed(seed=1)
  pairs = set()
  for _ in range(400):
    room.reset()
    pairs.add((room.agent, room.goal))
  joined = [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)]
  # 5 x 4 = 20; a given pair is missed with probability (19 / 20)^400 = 1e-9.
  assert pairs == set(itertools.permutations(joined, 2))


def test_every_component_takes_part_by_its_number_of_pairs():
  # An open 3 x 3 room: 5 x 4 pairs of even cells, 4 x 3 of odd ones; 20 / 32 = .625,
  # with a standard deviation of sqrt(.625 * .375 / 2000) = .011; the bound is 5.
  room = maze.Maze('open', walls=np.zeros((3, 3), bool), moves=maze.DIAGONAL, seed=3)
  observed = np.array([room.reset().observation for _ in range(2000)]).astype(int)
  is_even = observed.reshape(-1, 2, 2).sum(-1) % 2 == 0
  assert (is_even[:, 0] == is_even[:, 1]).all()
  assert abs(is_even[:, 0].mean() - 0.625) < 0.055


def test_a_fixed_goal_is_started_from_where_it_can_be_reached():
  room = crossed(goal=(2, 2))
  starts = set()
  for _ in range(200):
    room.reset()
    assert room.goal == (2, 2)
    starts.add(room.agent)
  assert starts == {(0, 0), (0, 2), (1, 1), (2, 0)}


def test_a_goal_that_no_other_cell_reaches_is_refused():
  with pytest.raises(UserError, match=r'goal: .*reaches by down_right.*\(0, 1\)'):
    crossed(goal=(0, 1))
  for start, goal in (((0, 1), (1, 1)), ((0, 0), (2, 1))):
    with pytest.raises(UserError, match='expected a start that reaches the goal'):
      crossed().reset_to(start, goal)


def test_the_seed_determines_starts_and_goals():
  def starts(seed):
    room = maze.Maze('maze/blocked:20/1', seed=seed)
    return [room.reset().observation.tolist() for _ in range(5)]

  assert starts(3) == starts(3)
  assert starts(3) != starts(4)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'observation': 'pixels'}, "unknown form 'pixels'"),
    ({'goal': (2, 2)}, r'goal: expected a free cell, found \(2, 2\), a wall'),
    ({'goal': (-1, 2)}, r'found \(-1, 2\), outside the grid'),
    ({'max_episode_steps': 0}, 'max_episode_steps: expected 1 or more, found 0'),
  ],
)
def test_bad_arguments_are_refused(arguments, message):
  with pytest.raises(UserError, match=message):
    hand_made(**arguments)


def test_hand_drawn_walls_must_make_a_playable_maze():
  split = np.array([[False, True, False]] * 3)
  for walls in (split, np.ones((4, 4), bool), np.zeros((2, 3), bool)):
    with pytest.raises(UserError, match='walls: expected a square grid'):
      maze.Maze('bad', walls=walls)
  row = np.array([[False, False], [True, True]])
  maze.Maze('row', walls=row)
  with pytest.raises(UserError, match=r'that a move \(down_right, .* found none'):
    maze.Maze('row', walls=row, moves=maze.DIAGONAL)


def test_a_chosen_pair_must_be_two_free_cells():
  room = hand_made()
  with pytest.raises(UserError, match=r'start: expected a free cell.*\(2, 2\), a wall'):
    room.reset_to((2, 2), (3, 3))
  with pytest.raises(UserError, match=r'goal: .*\(5, 1\), outside the grid'):
    room.reset_to((1, 1), (5, 1))
  with pytest.raises(UserError, match=r'start and goal both at \(1, 1\)'):
    room.reset_to((1, 1), (1, 1))


@pytest.mark.parametrize('action', [-1, 4])
def test_an_unknown_action_is_refused(action):
  room = hand_made()
  room.reset()
  with pytest.raises(UserError, match=f'field action: expected 0 to 3.*found {action}'):
    room.step(action)
