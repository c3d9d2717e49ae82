"""Recording a maze whose agent moves diagonally, from its name to its card."""

import json

import numpy as np
import pytest

from alpt_jax.envs import demonstrators, maze
from alpt_jax.experiment.recording import Recording, record

NAME = 'maze/diagonal:20/4000'
STEPS = {
  'down_right': (1, 1),
  'up_right': (-1, 1),
  'up_left': (-1, -1),
  'down_left': (1, -1),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('recordings') / 'diagonal'


@pytest.fixture(scope='module')
def pool(folder):
  return record(Recording(NAME, episodes=8, seed=1), folder, rlds=False)


def test_recorded_actions_move_as_their_names_say(pool):
  walls = maze.layout(NAME)
  assert pool.spec.action_names == tuple(STEPS)
  num_bumps = 0
  for index in range(pool.num_episodes):
    episode = pool.episode(index)
    cells = episode.observations[:, :2].astype(int)
    for cell, after, action in zip(cells[:-1], cells[1:], episode.actions, strict=True):
      aimed = cell + STEPS[pool.spec.action_names[action]]
      is_bump = walls[tuple(aimed)]
      assert (after == (cell if is_bump else aimed)).all()
      num_bumps += is_bump
    # It starts where the goal can be reached, and reaches it.
    goal = episode.observations[0, 2:]
    assert cells[0].sum() % 2 == goal.sum() % 2
    assert (cells[-1] == goal).all() and episode.discounts[-1] == 0
  assert num_bumps > 0


def test_the_card_counts_the_mazes_own_actions_and_bumps(pool, folder):
  card = json.loads((folder / 'card.json').read_text())
  assert list(card['action_histogram']) == list(STEPS)
  # Each bump is one of the walls around its cell, which are equally likely.
  walls = maze.layout(NAME)
  chances = []
  for index in range(pool.num_episodes):
    cells = pool.episode(index).observations[:, :2].astype(int)
    for cell, after in zip(cells[:-1], cells[1:], strict=True):
      around = [walls[tuple(cell + step)] for step in STEPS.values()]
      chances.append(1 / sum(around) if (cell == after).all() else 1)
  assert card['best_possible_idm_accuracy'] == pytest.approx(np.mean(chances))
  assert 0.9 < np.mean(chances) < 1


def test_a_policy_finds_the_maze_again_by_the_datasets_description(pool):
  found = maze.from_spec(pool.spec)
  assert found.environment_spec == pool.spec
  assert found.moves == STEPS


def test_the_optimal_player_records_shortest_ways(tmp_path):
  recording = Recording(NAME, episodes=6, epsilon=0, seed=2)
  shortest = record(recording, tmp_path / 'optimal', rlds=False)
  walls = maze.layout(NAME)
  for index in range(6):
    first = shortest.episode(index).observations[0].astype(int)
    steps = demonstrators.distances(walls, first[2:], maze.DIAGONAL)
    assert shortest.lengths[index] == steps[tuple(first[:2])]
