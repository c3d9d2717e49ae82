"""CQL at play: epsilon-greedy among what is allowed, and a maze that it solves."""

import dataclasses
from fractions import Fraction

import jax
import numpy as np
import pytest
from tiny_configs import get_config

from alpt_jax.acting.policy import History
from alpt_jax.acting.rollout import Player
from alpt_jax.baselines import cql
from alpt_jax.baselines.quantile_network import QuantileNetwork
from alpt_jax.data.mixture import Mixture, PoolWindows, Stream
from alpt_jax.data.pool import write_pool
from alpt_jax.data.windows import WindowReader
from alpt_jax.envs import demonstrators, maze
from alpt_jax.experiment import models
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.maze_arena import MazeArena
from alpt_jax.specs import ObservationSpec

NUMBERS = ObservationSpec('vector', (2,), 'float32')
NETWORK = QuantileNetwork(NUMBERS, 4, 1, num_quantiles=3, width=8, num_layers=1)
ALLOWED = np.array([True, True, False, True])


def decided(epsilon, rows=1, greedy=False, keys=None):
  """`(actions [rows], values [rows, 4])` of random parameters and observations."""
  rng = np.random.default_rng(0)
  observations = rng.normal(size=(rows, 1, 2)).astype(np.float32)
  params = NETWORK.init(jax.random.key(1), observations)['params']
  empty = np.zeros((rows, 1), np.int32)
  history = History(
    observations=observations,
    actions=empty,
    is_known=empty.astype(bool),
    reward_tokens=empty,
    returns_to_go=empty.astype(np.float32),
    valid=np.ones((rows, 1), bool),
    allowed=np.tile(ALLOWED, (rows, 1)),
  )
  keys = jax.random.split(jax.random.key(2), rows) if keys is None else keys
  decide = cql.make_decide(NETWORK, epsilon)
  decision = decide(params, history, keys, np.full(rows, greedy))
  values = NETWORK.apply({'params': params}, observations).mean(-1)
  return np.asarray(decision.action), np.asarray(values)


def test_the_best_of_the_allowed_actions_is_taken():
  actions, values = decided(epsilon=0.0, rows=50)
  assert (values.argmax(1) == 2).any()  # which is not allowed
  np.testing.assert_array_equal(actions, np.where(ALLOWED, values, -9).argmax(1))


def test_a_greedy_row_never_explores():
  greedy, _ = decided(epsilon=1.0, rows=50, greedy=True)
  np.testing.assert_array_equal(greedy, decided(epsilon=0.0, rows=50)[0])


def test_exploring_is_uniform_over_the_allowed_actions():
  actions, _ = decided(epsilon=1.0, rows=3_000)
  shares = np.bincount(actions, minlength=4) / 3_000
  # Three actions, a third each; the deviation of a share is .009.
  np.testing.assert_allclose(shares, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.04)


def test_epsilon_is_the_share_of_rows_that_explore():
  best, _ = decided(epsilon=0.0, rows=3_000)
  actions, _ = decided(epsilon=0.3, rows=3_000)
  # Of those that explore a third draw the best action all the same: .3 * 2/3.
  assert (actions != best).mean() == pytest.approx(0.2, abs=0.03)


def test_a_choice_depends_on_the_key_of_its_own_row_alone():
  keys = jax.random.split(jax.random.key(5), 40)
  together, _ = decided(epsilon=1.0, rows=40, keys=keys)
  changed = jax.random.split(jax.random.key(6), 40)
  changed = jax.random.wrap_key_data(
    jax.random.key_data(changed).at[7].set(jax.random.key_data(keys[7]))
  )
  assert decided(epsilon=1.0, rows=40, keys=changed)[0][7] == together[7]


@pytest.mark.slow
def test_cql_solves_a_recorded_maze_with_all_labels(tmp_path):
  """By configs/maze.py: section 5.1's behaviour, 2,000 episodes, 5,000 updates: .938.

  More than the behaviour's .887, which takes the best action and a random one half of
  the time each: what is played is no copy of what was recorded.
  """
  config = from_mapping(get_config('maze', 'method=cql,observation=position_walls'))
  environment = maze.Maze(config.data.environments[0], config.data.observation)
  behaviour = demonstrators.EpsilonOptimal(environment.walls, 0.5, 1, environment.moves)
  spec = environment.environment_spec
  episodes = demonstrators.record_episodes(environment, behaviour, 2_000)
  pool = write_pool(tmp_path / 'pool', spec, episodes)
  windows = PoolWindows(
    WindowReader(pool, spec.action_names, 0), np.arange(pool.num_transitions)
  )
  stream = Stream('labelled', windows, Fraction(1), 0.0, 1.0, relabel=False)
  mixture = Mixture([stream], config.training.batch_size, seed=0)
  steps = models.build(config, spec.observation, 4, spec.return_range)
  trainer = models.trainer(steps)
  state = trainer.init_state(steps, mixture.batch(0).window, 0)
  step_fn = trainer.make_step(steps)
  for step in range(5_000):
    state, metrics = step_fn(state, mixture.batch(step), jax.random.key(0))
  assert float(metrics['q_recorded']) < 1.2  # no return is above 1
  player = Player(
    decide_fn=trainer.make_decide(steps, config),
    context=config.cql.num_frames,
    params=state.params[trainer.policy_name],
    config=config.acting,
    vocabulary=spec.action_names,
    spec=spec,
  )
  played = config.evaluation.protocol_of(spec.protocol)
  arena = MazeArena(
    dataclasses.replace(spec, protocol=played), config.evaluation.num_episodes, seed=0
  )
  references, scores = arena.references(), arena.scores(player)
  assert references['random_walk'] < 0.1
  assert scores['success_sampled'] > references['behaviour'] + 0.03
