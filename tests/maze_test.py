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


def test_no_action_shares_its_name_with_an_atari_action():
  assert not set(maze.ACTION_NAMES) & set(specs.ALE_ACTIONS)


# Dynamics.


def test_every_action_moves_as_its_name_says():
  open_room = np.zeros((3, 3), bool)
  room = maze.Maze('open', walls=open_room)
  for name, cell in {
    'down': (2, 1),
    'right': (1, 2),
    'up': (0, 1),
    'left': (1, 0),
  }.items():
    room.reset_to((1, 1), (0, 0))
    room.step(maze.ACTION_NAMES.index(name))
    assert room.agent == cell


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


# Ceiling and picture.


def test_the_ceiling_is_one_over_the_blocked_directions_at_a_bump():
  # A move 1; a bump at (1, 2), three ways blocked, 1/3; at (1, 1), two ways, 1/2;
  # a move 1: (1 + 1/3 + 1/2 + 1) / 4 = 17/24.
  before = np.array([[1, 1], [1, 2], [1, 1], [1, 1]], np.uint8)
  after = np.array([[1, 2], [1, 2], [1, 1], [2, 1]], np.uint8)
  assert maze.idm_ceiling(WALLS, before, after) == pytest.approx(17 / 24)
  assert maze.idm_ceiling(WALLS, before[:1], after[:1]) == 1


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
    maze.idm_ceiling(WALLS, cells[:, 0], cells[:, 1])


def test_the_ceiling_refuses_staying_where_nothing_is_blocked():
  cells = np.array([[1, 1]])
  with pytest.raises(UserError, match=r'found \(1, 1\) to \(1, 1\)'):
    maze.idm_ceiling(np.zeros((3, 3), bool), cells, cells)


def test_a_picture_shows_walls_goal_agent_and_a_fading_path():
  def colour(picture, cell):
    return picture[12 * cell[0] + 6, 12 * cell[1] + 6].tolist()

  bare = maze.render(WALLS)
  assert bare.shape == (60, 60, 3) and bare.dtype == np.uint8
  wall, floor = colour(bare, (2, 2)), colour(bare, (3, 2))
  assert max(wall) < 100 and min(floor) > 200  # dark walls, light floor
  path = [(1, 2), (1, 1), (2, 1), (3, 1), (3, 2)]
  full = maze.render(WALLS, agent=(3, 2), goal=(2, 3), path=path)
  red, green, blue = colour(full, (2, 3))
  assert green > red and green > blue
  assert colour(full, (3, 2)) not in (floor, wall, colour(full, (2, 3)))
  # Blue over a light floor: the less red is left, the stronger the trace.
  assert floor[0] > colour(full, (1, 2))[0] > colour(full, (2, 1))[0]
  assert colour(full, (3, 3)) == floor
  assert (full[WALLS.repeat(12, 0).repeat(12, 1)] == wall).all()
