"""Scoring in a maze: the same episodes for everyone, and pictures of them."""

import dataclasses

import jax
import numpy as np
from PIL import Image

from alpt_jax.acting.policy import ActingConfig
from alpt_jax.acting.rollout import OneByOne, Player, play
from alpt_jax.envs import maze
from alpt_jax.experiment import playing
from alpt_jax.experiment.config import EvaluationConfig
from alpt_jax.experiment.maze_arena import MazeArena
from alpt_jax.models.decision_transformer import DecisionTransformer

CONFIG = EvaluationConfig(
  num_transitions=8, num_episodes=10, max_steps=5, sticky_actions=0.0, max_noops=0
)


def _spec(name='maze/blocked:20/3', **changes):
  return maze.Maze(name, **changes).environment_spec


def _first_observations(spec, seed):
  starts = MazeArena(spec, CONFIG, seed).starts()
  return np.stack([start()[1].observation for start in starts])


def test_every_method_of_a_seed_plays_the_same_pairs_and_seeds_differ():
  first = _first_observations(_spec(), 0)
  np.testing.assert_array_equal(first, _first_observations(_spec(), 0))
  assert (first != _first_observations(_spec(), 1)).any()


def test_episodes_of_one_layout_do_not_disturb_each_other():
  starts = MazeArena(_spec(), CONFIG, 0).starts()
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


def test_reference_policies_are_ordered_and_the_optimal_one_never_fails():
  config = dataclasses.replace(CONFIG, num_episodes=100, max_steps=50)
  scores = MazeArena(_spec(), config, 0).references()
  assert scores['random_walk'] < 0.3 < scores['behaviour'] < scores['optimal'] == 1.0


def test_an_environment_that_cannot_be_played_has_no_arena():
  spec = dataclasses.replace(_spec(), name='doom/e1m1')
  assert playing.find_arena(spec, CONFIG, 0) is None
  assert isinstance(playing.find_arena(_spec(), CONFIG, 0), MazeArena)


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
  params = policy.init(
    jax.random.key(0), observations, empty, empty, empty > 0, empty, empty == 0
  )['params']
  player = Player(policy, params, ActingConfig(), spec.action_names, spec)
  arena = MazeArena(spec, CONFIG, 0)
  arena.film(player, tmp_path / 'film.gif')
  stage = OneByOne(arena.starts()[:3])
  played = play(player, stage, 3, max_steps=5, seed=0, greedy=[False] * 3)
  with Image.open(tmp_path / 'film.gif') as image:
    # Pictures that do not change are merged, their times added.
    durations = []
    for frame in range(image.n_frames):
      image.seek(frame)
      durations.append(image.info['duration'])
  # One picture before the first step, and the last one held for six more.
  assert sum(durations) == 120 * sum(score.num_steps + 1 + 6 for score in played)
