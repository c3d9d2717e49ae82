"""Scoring in a maze: the same episodes for everyone, and pictures of them."""

import dataclasses

import numpy as np
import pytest
import tiny_models
from PIL import Image

from alpt_jax.acting.policy import ActingConfig, make_decide
from alpt_jax.acting.rollout import OneByOne, Player, play
from alpt_jax.envs import demonstrators, maze
from alpt_jax.errors import UserError
from alpt_jax.experiment import playing
from alpt_jax.experiment.maze_arena import MazeArena
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.specs import Protocol


def _spec(name='maze/blocked:20/3', **changes):
  return maze.Maze(name, max_episode_steps=5, **changes).environment_spec


def _first_observations(spec, seed):
  starts = MazeArena(spec, 10, seed).starts()
  return np.stack([start()[1].observation for start in starts])


def test_every_method_of_a_seed_plays_the_same_pairs_and_seeds_differ():
  first = _first_observations(_spec(), 0)
  np.testing.assert_array_equal(first, _first_observations(_spec(), 0))
  assert (first != _first_observations(_spec(), 1)).any()


def test_episodes_of_one_layout_do_not_disturb_each_other():
  starts = MazeArena(_spec(), 10, 0).starts()
  one, first = starts[0]()
  kept = np.array(first.observation)
  other, _ = starts[1]()
  for action in range(4):
    other.step(action)
  assert one.agent == tuple(kept[:2])
  assert one.goal == tuple(kept[2:])


def test_a_fixed_goal_is_the_goal_of_every_scored_episode():
  cells = np.argwhere(~maze.layout('maze/tunneled/3'))
  goal = tuple(cells[40].tolist())
  goals = _first_observations(_spec('maze/tunneled/3', goal=goal), 0)[:, 2:]
  assert {tuple(each) for each in goals.tolist()} == {goal}


def test_a_diagonal_mazes_fixed_goal_can_be_reached_from_every_scored_start():
  name = 'maze/diagonal:20/3'
  goal = tuple(np.argwhere(~maze.layout(name))[40].tolist())
  spec = dataclasses.replace(_spec(name, goal=goal), protocol=Protocol(50))
  arena = MazeArena(spec, 60, 0)
  # Starts in another component, or on the goal, are drawn again, not left out.
  assert len(arena.starts()) == 60
  assert arena.references()['optimal'] == 1


def test_the_optimal_reference_needs_as_many_diagonal_steps_as_the_way_is_long():
  name = 'maze/diagonal:20/3'
  walls = maze.layout(name)
  cells = _first_observations(_spec(name), 0).astype(int)
  lengths = [
    demonstrators.distances(walls, cell[2:], maze.DIAGONAL)[tuple(cell[:2])]
    for cell in cells
  ]
  for within in (5, int(np.median(lengths)), max(lengths)):
    spec = dataclasses.replace(_spec(name), protocol=Protocol(int(within)))
    found = MazeArena(spec, 10, 0).references()['optimal']
    assert found == np.mean([length <= within for length in lengths])
  assert found == 1


@pytest.mark.parametrize('name', ['maze/blocked:20/3', 'maze/diagonal:20/3'])
def test_reference_policies_are_ordered_and_the_optimal_one_never_fails(name):
  spec = dataclasses.replace(_spec(name), protocol=Protocol(50))
  scores = MazeArena(spec, 100, 0).references()
  assert scores['random_walk'] < 0.3 < scores['behaviour'] < scores['optimal'] == 1.0


def test_an_environment_that_cannot_be_played_has_no_arena():
  spec = dataclasses.replace(_spec(), name='doom/e1m1')
  assert playing.find_arena(spec, Protocol(5), 10, 0) is None
  assert isinstance(playing.find_arena(_spec(), Protocol(5), 10, 0), MazeArena)


def test_a_maze_knows_no_sticky_actions():
  with pytest.raises(UserError, match='sticky_actions'):
    playing.find_arena(_spec(), Protocol(5, sticky_actions=0.25), 10, 0)


def test_a_protocol_is_changed_field_by_field():
  known = Protocol(5)
  wanted = playing.parse_protocol('sticky_actions=0.5,life_loss_ends=True', known)
  assert wanted == Protocol(5, sticky_actions=0.5, life_loss_ends=True)
  for text, message in (
    ('sticky=1', "'sticky' is not known; did you mean 'sticky_actions'"),
    ('max_noops=x', "max_noops: expected int like 0, found 'x'"),
    ('max_pool=1', "max_pool: expected bool like False, found '1'"),
  ):
    with pytest.raises(UserError, match=message):
      playing.parse_protocol(text, known)


def test_a_film_holds_every_step_of_every_filmed_episode(tmp_path):
  spec = _spec()
  policy = DecisionTransformer(
    num_actions=4,
    return_range=spec.return_range,
    observation_spec=spec.observation,
    width=8,
    num_layers=1,
    num_heads=2,
  )
  empty = np.zeros((1, 4), np.int32)
  observations = np.zeros((1, 4, *spec.observation.shape), np.uint8)
  params = tiny_models.loud_params(
    policy, observations, empty, empty, empty > 0, empty, empty == 0
  )
  player = Player(
    decide_fn=make_decide(policy, ActingConfig()),
    context=policy.context,
    params=params,
    config=ActingConfig(),
    vocabulary=spec.action_names,
    spec=spec,
  )
  arena = MazeArena(spec, 10, 0)
  arena.film(player, tmp_path / 'film.gif')
  stage = OneByOne(arena.starts()[:3])
  played = play(player, [stage], 3, max_steps=5, seed=0, greedy=[False] * 3)
  with Image.open(tmp_path / 'film.gif') as image:
    # Pictures that do not change are merged, their times added.
    durations = []
    for frame in range(image.n_frames):
      image.seek(frame)
      durations.append(image.info['duration'])
  # One picture before the first step, and the last one held for six more.
  assert sum(durations) == 120 * sum(score.num_steps + 1 + 6 for score in played)
