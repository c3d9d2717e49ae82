"""Groups of episodes that take turns on the device: the same play, nothing waits."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_models

from alpt_jax import specs
from alpt_jax.acting.policy import ActingConfig, make_decide
from alpt_jax.acting.rollout import Moment, OneByOne, Player, TimeSpent, play
from alpt_jax.envs import maze
from alpt_jax.experiment import atari_arena
from alpt_jax.experiment.maze_arena import MazeArena
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.specs import EnvironmentSpec, ObservationSpec
from alpt_jax.types import Decision

# So many actions stay that sampling matters.
ACTING = ActingConfig(kappa=0.0, num_return_samples=1, action_percentile=10.0)
COUNTER = EnvironmentSpec(
  name='counter',
  action_names=('stay',),
  observation=ObservationSpec('vector', (2,), 'float32'),
  return_range=(0, 1),
  protocol=specs.Protocol(max_episode_steps=9),
)


class Counters:
  """A `Stage` that shows (its name, steps made) and writes what is done with it."""

  def __init__(self, name, log):
    self._name, self._log, self._steps = name, log, 0

  def start(self, slot, episode):
    return np.array([self._name, 0], np.float32)

  def step(self, actions, running):
    self._log.append(('step', self._name))
    self._steps += 1
    rows = len(actions)
    shown = np.tile(np.float32([self._name, self._steps]), (rows, 1))
    nothing = np.zeros(rows, np.float32)
    return Moment(shown, nothing, nothing + 1, nothing > 0)


class Later:
  """Actions that are computed until somebody reads them."""

  def __init__(self, name, rows, log):
    self._name, self._rows, self._log = name, rows, log

  def __array__(self, dtype=None, copy=None):
    self._log.append(('read', self._name))
    return np.zeros(self._rows, np.int32)


def play_counters(num_stages, num_episodes, max_steps):
  """What was asked of the device, read from it, and stepped, in order."""
  log = []

  def decide(params, history, keys, greedy):
    name = int(history.observations[0, -1, 0])
    log.append(('ask', name))
    return Decision(Later(name, len(greedy), log))

  player = Player(decide, 2, None, ACTING, COUNTER.action_names, COUNTER)
  stages = [Counters(name, log) for name in range(num_stages)]
  play(
    player,
    stages,
    num_episodes,
    max_steps=max_steps,
    seed=0,
    greedy=[False] * num_episodes,
  )
  return log


def test_while_one_group_steps_the_device_has_the_other_ones_decision():
  assert play_counters(num_stages=2, num_episodes=4, max_steps=2) == [
    *[('ask', 0), ('ask', 1)],
    *[('read', 0), ('step', 0), ('ask', 0)],
    *[('read', 1), ('step', 1), ('ask', 1)],
    *[('read', 0), ('step', 0)],
    *[('read', 1), ('step', 1)],
  ]


def test_a_single_group_waits_for_each_decision():
  one = [('ask', 0), ('read', 0), ('step', 0)]
  assert play_counters(num_stages=1, num_episodes=4, max_steps=3) == 3 * one


def test_groups_without_an_episode_are_not_decided_for():
  log = play_counters(num_stages=3, num_episodes=2, max_steps=1)
  assert {name for _, name in log} == {0, 1}


def policy_for(spec, num_actions, patch_size=14):
  """`(model, parameters)` of a policy that knows nothing and so does anything."""
  model = DecisionTransformer(
    num_actions=num_actions,
    return_range=spec.return_range,
    observation_spec=spec.observation,
    width=8,
    num_layers=1,
    num_heads=2,
    patch_size=patch_size,
  )
  empty = np.zeros((1, 4), np.int32)
  shown = np.zeros((1, 4, *spec.observation.shape), np.uint8)
  # Fresh parameters are so small that all actions would be as likely as each other.
  return model, tiny_models.loud_params(
    model, shown, empty, empty, empty > 0, empty, empty == 0
  )


def player_for(spec, vocabulary, **fields):
  model, params = policy_for(spec, len(vocabulary), **fields)
  decide = make_decide(model, ACTING)
  return Player(decide, model.context, params, ACTING, vocabulary, spec)


def played(player, stages, num_episodes, **settings):
  """`(scores, {(episode, step): (action, return asked for)})`."""
  told = {}

  def note(episode, step, *what):
    assert (episode, step) not in told
    told[episode, step] = what

  scores = play(
    player,
    stages,
    num_episodes,
    seed=3,
    greedy=[episode % 3 == 2 for episode in range(num_episodes)],
    decision_fn=note,
    **settings,
  )
  assert len(told) == sum(score.num_steps for score in scores)
  return scores, told


@pytest.fixture(scope='module')
def maze_world():
  spec = maze.Maze('maze/blocked:20/3', max_episode_steps=25).environment_spec
  return player_for(spec, spec.action_names), MazeArena(spec, 11, 0).starts()


@pytest.mark.parametrize('num_stages', [2, 3, 11])
def test_every_decision_in_a_maze_is_the_one_without_turns(maze_world, num_stages):
  """Eleven episodes in seven slots, so that slots are used again and some rest."""
  player, starts = maze_world

  def play_in(count):
    stages = [OneByOne(starts) for _ in range(count)]
    return played(player, stages, 11, max_steps=25, num_slots=7)

  scores, told = play_in(1)
  assert play_in(num_stages) == (scores, told)
  assert len({action for action, _ in told.values()}) > 2


def test_the_scores_of_a_maze_are_those_without_turns(maze_world):
  player, _ = maze_world
  found = [MazeArena(player.spec, 6, 1, count).scores(player) for count in (1, 2)]
  assert found[0] == found[1]


@pytest.fixture(scope='module')
def atari_player():
  protocol = dataclasses.replace(
    specs.ATARI_EVALUATION_PROTOCOL, sticky_actions=0.25, max_episode_steps=40
  )
  spec = specs.atari_spec('SpaceInvaders', protocol)
  return player_for(spec, specs.ALE_ACTIONS, patch_size=42)


def test_every_decision_in_a_game_is_the_one_without_turns(atari_player):
  spec, seeds = atari_player.spec, [5, 6, 7, 8]

  def play_in(count):
    stages = atari_arena.stages(spec, seeds, count)
    assert len(stages) == count
    return played(atari_player, stages, 4, max_steps=40)

  scores, told = play_in(1)
  assert play_in(2) == (scores, told)
  assert len(told) == 4 * 40
  # Sticky actions and draws make each episode another one.
  rows = {tuple(told[episode, step] for step in range(40)) for episode in range(4)}
  assert len(rows) == 4


def test_the_scores_of_a_game_are_those_without_turns(atari_player):
  found = [
    atari_arena.AtariArena(atari_player.spec, 2, 0, count).scores(atari_player)
    for count in (1, 2)
  ]
  assert found[0] == found[1]


def test_episodes_that_cannot_be_shared_out_evenly_stay_together(atari_player):
  assert len(atari_arena.stages(atari_player.spec, [1, 2, 3], 2)) == 1


@pytest.mark.parametrize(('backend', 'expected'), [('cpu', 1), ('gpu', 2), ('tpu', 2)])
def test_episodes_take_turns_where_the_device_leaves_the_cpu_alone(
  monkeypatch, backend, expected
):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert atari_arena.default_stages() == expected


def test_all_groups_share_one_program(maze_world):
  player, starts = maze_world
  model, params = policy_for(player.spec, len(player.vocabulary))
  other = ActingConfig(kappa=1.0)  # of which nobody has made a program yet
  player = dataclasses.replace(
    player, decide_fn=make_decide(model, other), params=params, config=other
  )
  # Three slots in groups of two, of which one rests from the start.
  stages = [OneByOne(starts), OneByOne(starts)]
  played(player, stages, 3, max_steps=4)
  assert player.decide_fn._cache_size() == 1


def test_decisions_are_counted_where_an_episode_was_under_way(maze_world):
  player, starts = maze_world
  spent = TimeSpent()
  stages = [OneByOne(starts), OneByOne(starts)]
  scores, _ = played(player, stages, 5, max_steps=6, num_slots=4, spent=spent)
  assert spent.decisions == sum(score.num_steps for score in scores)
  # Two slots each: at most two decisions a call, and the fifth episode is alone.
  assert spent.decisions / 2 < spent.calls <= spent.decisions
  assert min(spent.asking, spent.waiting, spent.stepping) > 0


def test_what_stops_an_evaluation_leaves_the_next_one_as_it_was(maze_world):
  player, starts = maze_world

  def stages():
    return [OneByOne(starts), OneByOne(starts)]

  expected = played(player, stages(), 4, max_steps=6)

  def stop(episode, step, *_):
    if step == 3:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    play(
      player,
      stages(),
      4,
      max_steps=6,
      seed=3,
      greedy=[False] * 4,
      decision_fn=stop,
    )
  assert played(player, stages(), 4, max_steps=6) == expected
