"""Scripted maze players: shortest ways, exploration, and what they record."""

import numpy as np
import pytest

from alpt_jax.data import checks
from alpt_jax.envs import demonstrators, maze, maze_ceiling
from alpt_jax.errors import UserError

#    column 01234
ROOM = """  #####
            #..##
            #.#.#
            #...#
            #####"""
WALLS = np.array([[mark == '#' for mark in row] for row in ROOM.split()])
OPEN = np.zeros((3, 3), bool)
DOWN, RIGHT, UP, LEFT = range(4)


def test_distances_follow_the_corridor():
  # To (2, 3): (3, 3) 1, (3, 2) 2, (3, 1) 3, (2, 1) 4, (1, 1) 5, (1, 2) 6.
  found = demonstrators.distances(WALLS, (2, 3), maze.ORTHOGONAL)
  assert found.dtype == np.int32
  assert found.tolist() == [
    [-1, -1, -1, -1, -1],
    [-1, 5, 6, -1, -1],
    [-1, 4, -1, 0, -1],
    [-1, 3, 2, 1, -1],
    [-1, -1, -1, -1, -1],
  ]


def test_distances_are_minus_1_where_no_way_leads():
  walls = np.array([[False, True, False]])
  assert demonstrators.distances(walls, (0, 0), maze.ORTHOGONAL).tolist() == [
    [0, -1, -1]
  ]


def test_a_goal_on_a_wall_is_refused():
  with pytest.raises(UserError, match=r'found a wall at \(2, 2\)'):
    demonstrators.distances(WALLS, (2, 2), maze.ORTHOGONAL)


def test_in_an_open_room_both_ways_round_are_optimal():
  # Goal in the lower right corner of an open 3 x 3 room: down and right, each
  # while there is a row or column left.
  best = demonstrators.optimal_actions(OPEN, (2, 2), maze.ORTHOGONAL)
  assert best[0, 0].tolist() == [True, True, False, False]
  assert best[1, 2].tolist() == [True, False, False, False]
  assert best[2, 0].tolist() == [False, True, False, False]
  assert not best[2, 2].any()


def test_optimal_actions_are_none_on_walls_and_out_of_reach():
  walls = np.array([[False, False, True, False]])
  best = demonstrators.optimal_actions(walls, (0, 0), maze.ORTHOGONAL)
  assert best.any(-1).tolist() == [[False, True, False, False]]
  assert best[0, 1].tolist() == [False, False, False, True]


def test_diagonal_distances_stay_on_cells_of_one_parity():
  # To the lower right corner of an open 3 x 3 room: (1, 1) 1, the other corners 2.
  found = demonstrators.distances(OPEN, (2, 2), maze.DIAGONAL)
  assert found.tolist() == [[2, -1, 2], [-1, 1, -1], [2, -1, 0]]


def test_diagonal_ways_around_a_wall_are_as_long_as_on_paper():
  # '....'  To (0, 0): (1, 1) 1; (0, 2) 2, over (1, 1); (1, 3) 3, over (0, 2); (2, 0)
  # '....'  2. Without the wall (2, 2) is 2 away and (3, 3) 3; (3, 3) has no other
  # '..#.'  neighbour, and (3, 1) is 3 away, over (2, 0).
  # '....'
  walls = np.zeros((4, 4), bool)
  walls[2, 2] = True
  found = demonstrators.distances(walls, (0, 0), maze.DIAGONAL)
  assert found.tolist() == [
    [0, -1, 2, -1],
    [-1, 1, -1, 3],
    [2, -1, -1, -1],
    [-1, 3, -1, -1],
  ]


def test_diagonal_ways_round_are_optimal_on_either_side():
  # From (0, 1) to (2, 1): over (1, 2) or over (1, 0).
  best = demonstrators.optimal_actions(OPEN, (2, 1), maze.DIAGONAL)
  names = np.array(list(maze.DIAGONAL))
  assert names[best[0, 1]].tolist() == ['down_right', 'down_left']
  assert not best[1, 1].any()  # out of reach


@pytest.mark.parametrize('form', ['blocked:20', 'tunneled', 'diagonal:80'])
def test_the_optimal_player_takes_exactly_the_shortest_way(form):
  room = maze.Maze(f'maze/{form}/5', seed=2)
  player = demonstrators.EpsilonOptimal(room.walls, 0, 0, room.moves)
  for episode in demonstrators.record_episodes(room, player, 30):
    goal = episode.observations[0, 2:]
    steps = demonstrators.distances(room.walls, goal, room.moves)
    assert len(episode.actions) == steps[tuple(episode.observations[0, :2])]


def test_a_player_explores_as_often_as_it_is_told():
  # In the corridor only left leads on from (1, 2); with epsilon .5 it is chosen
  # with probability .5 + .5 / 4 = .625, each other action with .125. The standard
  # deviation of a share is below sqrt(.25 / 8000) = .0056; bounds are 5 of them.
  player = demonstrators.EpsilonOptimal(WALLS, 0.5, 3, maze.ORTHOGONAL)
  chosen = [player.action((1, 2), (2, 3)) for _ in range(8000)]
  shares = np.bincount(chosen, minlength=4) / 8000
  assert np.abs(shares - [0.125, 0.125, 0.125, 0.625]).max() < 0.028


def test_the_random_walk_ignores_the_goal():
  player = demonstrators.EpsilonOptimal(WALLS, 1, 3, maze.ORTHOGONAL)
  chosen = [player.action((1, 2), (2, 3)) for _ in range(8000)]
  assert np.abs(np.bincount(chosen, minlength=4) / 8000 - 0.25).max() < 0.028


def test_equally_short_ways_are_equally_likely():
  player = demonstrators.EpsilonOptimal(OPEN, 0, 1, maze.ORTHOGONAL)
  chosen = [player.action((0, 0), (2, 2)) for _ in range(8000)]
  shares = np.bincount(chosen, minlength=4) / 8000
  assert np.abs(shares - [0.5, 0.5, 0, 0]).max() < 0.028


def test_the_seed_determines_a_player():
  def choices(seed):
    player = demonstrators.EpsilonOptimal(OPEN, 0.5, seed, maze.ORTHOGONAL)
    return [player.action((0, 0), (2, 2)) for _ in range(50)]

  assert choices(1) == choices(1)
  assert choices(1) != choices(2)


@pytest.mark.parametrize('epsilon', [-0.1, 1.5])
def test_epsilon_must_be_a_probability(epsilon):
  with pytest.raises(UserError, match=f'epsilon: expected 0 to 1, found {epsilon}'):
    demonstrators.EpsilonOptimal(WALLS, epsilon, 0, maze.ORTHOGONAL)


def test_a_player_at_the_goal_has_nothing_to_do():
  player = demonstrators.EpsilonOptimal(WALLS, 0, 0, maze.ORTHOGONAL)
  with pytest.raises(UserError, match=r'on the way to the goal \(2, 3\)'):
    player.action((2, 3), (2, 3))


def replay(walls, episode):
  """The cells that an episode's actions lead to, by the rules alone."""
  row, column = (int(place) for place in episode.observations[0, :2])
  cells = [[row, column]]
  for action in episode.actions:
    down, right = {DOWN: (1, 0), RIGHT: (0, 1), UP: (-1, 0), LEFT: (0, -1)}[int(action)]
    if not walls[row + down, column + right]:
      row, column = row + down, column + right
    cells.append([row, column])
  return cells


@pytest.mark.parametrize('form', maze.OBSERVATIONS[:2])
def test_recorded_episodes_obey_the_rules(form):
  room = maze.Maze('maze/blocked:20/2', form, seed=6)
  player = demonstrators.EpsilonOptimal(room.walls, 0.5, 7, room.moves)
  episodes = list(demonstrators.record_episodes(room, player, 20))
  assert len(episodes) == 20
  for episode in episodes:
    assert episode.observations[:, :2].tolist() == replay(room.walls, episode)
    goals = episode.observations[:, 2:4]
    assert (goals == goals[0]).all()
    at_goal = (episode.observations[1:, :2] == goals[1:]).all(-1)
    # Every one ends at its goal, and is there at no step before.
    assert at_goal.tolist() == [False] * (len(at_goal) - 1) + [True]
    assert (episode.rewards == at_goal).all()
    assert (episode.discounts == 1 - at_goal).all()


def test_a_cut_off_episode_is_recorded_without_an_end():
  room = maze.Maze('by hand', walls=WALLS, max_episode_steps=4, goal=(2, 3), seed=0)
  player = demonstrators.EpsilonOptimal(WALLS, 0, 0, maze.ORTHOGONAL)
  # From (1, 1) and (1, 2) the goal is 5 and 6 steps away, from the others at most 4.
  for episode in demonstrators.record_episodes(room, player, 40):
    is_far = episode.observations[0, 0] == 1
    assert episode.discounts[-1] == is_far
    assert episode.rewards.sum() == 1 - is_far
    assert len(episode.actions) <= 4


@pytest.mark.parametrize('form', maze.OBSERVATIONS)
def test_recorded_episodes_fit_their_spec_and_dtypes(form):
  room = maze.Maze('maze/tunneled/1', form)
  player = demonstrators.EpsilonOptimal(room.walls, 0.5, 0, room.moves)
  for episode in demonstrators.record_episodes(room, player, 3):
    checks.check_episode(episode, room.environment_spec, 'test')
    assert episode.actions.dtype == np.int32
    assert episode.rewards.dtype == episode.discounts.dtype == np.float32
    assert len(episode.observations) == len(episode.actions) + 1


@pytest.mark.parametrize(
  ('walls', 'moves'), [(WALLS, maze.ORTHOGONAL), (OPEN, maze.DIAGONAL)]
)
def test_the_ceiling_is_what_the_best_table_reaches(walls, moves):
  # Per cell pair, the action that a table fitted to these very episodes would
  # guess: never below the ceiling's expectation by more than chance, and above it
  # only as far as so many samples can be fitted by accident.
  player = demonstrators.EpsilonOptimal(walls, 0.5, 5, moves)
  room = maze.Maze('by hand', walls=walls, moves=moves, seed=5)
  episodes = list(demonstrators.record_episodes(room, player, 1500))
  before = np.concatenate([episode.observations[:-1, :2] for episode in episodes])
  after = np.concatenate([episode.observations[1:, :2] for episode in episodes])
  actions = np.concatenate([episode.actions for episode in episodes])
  counts = {}
  for one, other, action in zip(before.tolist(), after.tolist(), actions, strict=True):
    counts.setdefault((*one, *other), np.zeros(4))[action] += 1
  best = sum(count.max() for count in counts.values()) / len(actions)
  ceiling = maze_ceiling.ceiling(walls, before, after, moves)
  assert ceiling < 0.9  # so narrow that bumps matter
  assert best == pytest.approx(ceiling, abs=0.02)


def test_the_optimal_player_solves_what_is_near_enough():
  # To (2, 3) from (3, 3), (3, 1), (1, 1) and (1, 2): 1, 3, 5 and 6 steps.
  pairs = [((3, 3), (2, 3)), ((3, 1), (2, 3)), ((1, 1), (2, 3)), ((1, 2), (2, 3))]
  shares = [
    demonstrators.scripted_success(WALLS, pairs, 0, within, 0, maze.ORTHOGONAL)
    for within in (1, 3, 4, 5, 6)
  ]
  assert shares == [0.25, 0.5, 0.5, 0.75, 1.0]


def test_the_random_walk_solves_a_neighbour_in_one_step_a_quarter_of_the_time():
  pairs = np.array([[[3, 3], [2, 3]]] * 2000)
  share = demonstrators.scripted_success(WALLS, pairs, 1, 1, 0, maze.ORTHOGONAL)
  assert abs(share - 0.25) < 0.05  # 5 standard deviations: sqrt(.1875 / 2000) = .0097


def test_more_exploration_solves_less():
  walls = maze.layout('maze/blocked:20/0')
  pairs = maze.start_goal_pairs(walls, 100, 0, maze.ORTHOGONAL)
  walk, behaviour, optimal = (
    demonstrators.scripted_success(walls, pairs, epsilon, 50, 0, maze.ORTHOGONAL)
    for epsilon in (1, 0.5, 0)
  )
  assert walk < 0.3 < behaviour <= optimal == 1
