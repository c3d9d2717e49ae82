"""CQL: quantile regression, conservative values on a world of three cells, acting.

The world: cells 0 and 1 in a row and the goal behind them. 'right' steps on, and from
cell 1 into the goal, which is rewarded with 1 and ends the episode; 'left' steps back,
from cell 0 it bumps. With gamma 1/2 the true values of (left, right) are
(1/4, 1/2) in cell 0 and (1/4, 1) in cell 1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models

from alpt_jax.baselines import cql
from alpt_jax.baselines.cql import Q_NETWORK, CQLConfig
from alpt_jax.baselines.quantile_network import QuantileNetwork, quantile_huber
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter
from alpt_jax.training.timing import StepTimes
from alpt_jax.types import Window

LEFT, RIGHT, JUMP = range(3)
GOAL = 2
GAMMA = 0.5
TRUE_VALUES = np.array([[1 / 4, 1 / 2], [1 / 4, 1.0]])
CELL = ObservationSpec('integers', (1,), 'uint8', (3,))


class Move(NamedTuple):
  """One transition of the world."""

  cell: int
  action: int
  next_cell: int
  reward: float = 0.0
  discount: float = 1.0


LEFT_OF_0, RIGHT_OF_0 = Move(0, LEFT, 0), Move(0, RIGHT, 1)
LEFT_OF_1, RIGHT_OF_1 = Move(1, LEFT, 0), Move(1, RIGHT, GOAL, 1.0, 0.0)
COMPLETE = (LEFT_OF_0, RIGHT_OF_0, LEFT_OF_1, RIGHT_OF_1)


def batch_of(moves, policy_weight=1.0, **fields):
  """A batch of windows that end on these moves; T is 2, JUMP is not allowed."""
  rows = len(moves)
  cells = np.array([[0, move.cell, move.next_cell] for move in moves], np.uint8)

  def last(values, dtype, before):
    return np.array([[before, value] for value in values], dtype)

  window = Window(
    observations=cells[..., None],
    actions=last([move.action for move in moves], np.int32, 0),
    is_labelled=np.ones((rows, 2), bool),
    rewards=last([move.reward for move in moves], np.float32, 0),
    discounts=last([move.discount for move in moves], np.float32, 1),
    returns_to_go=np.zeros((rows, 2), np.float32),
    valid=np.ones((rows, 2), bool),
    allowed=np.tile([True, True, False], (rows, 1)),
    environment=np.zeros(rows, np.int32),
  )
  return tiny_models.batch_of(window._replace(**fields), policy_weight=policy_weight)


def config_of(spec=CELL, network=None, **fields):
  network = {'context': 1, 'num_quantiles': 4, 'width': 16, 'num_layers': 1} | (
    network or {}
  )
  mine = {
    'alpha': 0.0,
    'gamma': GAMMA,
    'huber': 1.0,
    'learning_rate': 3e-3,
    'adam_epsilon': 0.01 / 32,
    'target_period': 20,
  }
  return CQLConfig(QuantileNetwork(spec, 3, **network), **{**mine, **fields})


def state_of(config, batch, bias=0.0, seed=0):
  """A fresh state whose quantiles of every action are raised by `bias`."""
  state = cql.init_state(config, batch.window, seed)
  for parameters in (state.params, state.target):
    layer = parameters[Q_NETWORK]['quantiles']
    layer['bias'] = layer['bias'] + bias
  return state


def trained(config, batch, num_steps, **start):
  """The state after so many updates with the same batch."""
  state = state_of(config, batch, **start)
  step_fn = cql.make_cql_step(config)
  for _ in range(num_steps):
    state, _ = step_fn(state, batch, jax.random.key(0))
  return state


cql_loss = jax.jit(cql.cql_loss, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def quantiles_of(network, params, observations):
  return network.apply({'params': params}, observations)


def values_of(config, state):
  """`[2, 2]` Q of left and right in cells 0 and 1."""
  cells = np.array([[[0]], [[1]]], np.uint8)
  quantiles = quantiles_of(config.network, state.params[Q_NETWORK], cells)
  return np.asarray(quantiles.mean(-1))[:, :2]


# The loss of quantile regression.


def test_the_quantile_loss_is_that_of_a_hand_calculation():
  # Levels 1/4 and 3/4. Target minus prediction, (predicted, target):
  #   (0, 1/2) = 1/2: huber 1/8, not negative: 1/4 * 1/8 = 1/32
  #   (0, -3) = -3: huber 3 - 1/2 = 5/2, negative: |1/4 - 1| * 5/2 = 15/8
  #   (1, 1/2) = -1/2: huber 1/8, negative: |3/4 - 1| * 1/8 = 1/32
  #   (1, -3) = -4: huber 4 - 1/2 = 7/2, negative: 1/4 * 7/2 = 7/8
  # Mean over the target's two, summed over the quantiles.
  loss = quantile_huber(jnp.array([[0.0, 1.0]]), jnp.array([[0.5, -3.0]]), 1.0)
  expected = (1 / 32 + 15 / 8) / 2 + (1 / 32 + 7 / 8) / 2
  np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_the_quantile_loss_is_least_at_the_quantiles():
  target = jnp.arange(8.0)[None] * 0.01
  # Of 0, .01 ... .07 a quarter and three quarters lie below these, for a small kappa.
  at_quantiles = quantile_huber(jnp.array([[0.015, 0.055]]), target, 1e-4)
  for moved in ([0.005, 0.055], [0.025, 0.055], [0.015, 0.045], [0.015, 0.065]):
    assert quantile_huber(jnp.array([moved]), target, 1e-4) > at_quantiles


def test_the_conservative_loss_is_that_of_a_hand_calculation():
  config = config_of(alpha=2.0)
  batch = batch_of([RIGHT_OF_1, LEFT_OF_0])
  state = state_of(config, batch)
  loss, metrics = cql_loss(
    config, state.params[Q_NETWORK], state.target[Q_NETWORK], batch
  )
  values = values_of(config, state)
  hopeful = np.log(np.exp(values).sum(1))
  expected = np.mean([hopeful[1] - values[1, RIGHT], hopeful[0] - values[0, LEFT]])
  np.testing.assert_allclose(metrics['conservative_loss'], expected, rtol=1e-5)
  np.testing.assert_allclose(loss, metrics['td_loss'] + 2 * expected, rtol=1e-5)


def test_the_future_is_the_target_networks():
  config, batch = config_of(), batch_of([RIGHT_OF_0])
  params = state_of(config, batch).params[Q_NETWORK]
  target_params = state_of(config, batch, bias=1.0, seed=1).params[Q_NETWORK]

  def quantiles(params, cell):
    cells = np.array([[[cell]]], np.uint8)
    return quantiles_of(config.network, params, cells)[0]

  future = quantiles(target_params, 1)[:2]  # what JUMP gives is never had
  future = GAMMA * future[future.mean(-1).argmax()]
  expected = quantile_huber(quantiles(params, 0)[RIGHT][None], future[None], 1.0)
  loss, _ = cql_loss(config, params, target_params, batch)
  np.testing.assert_allclose(loss, expected[0], rtol=1e-5)


# Values on a world whose true values are known.


@pytest.mark.parametrize('bias', [0.0, 3.0])
def test_without_the_penalty_and_with_all_data_the_values_are_right(bias):
  config = config_of()
  state = trained(config, batch_of(COMPLETE), 2_000, bias=bias)
  np.testing.assert_allclose(values_of(config, state), TRUE_VALUES, atol=0.02)


def test_the_values_are_below_the_true_ones_where_data_are_missing():
  moves = [move for move in COMPLETE if move is not LEFT_OF_1]
  hopeful, careful = config_of(), config_of(alpha=0.1)
  # Without the penalty nothing lowers what is never seen: it stays as it began.
  believed = values_of(hopeful, trained(hopeful, batch_of(moves), 2_000, bias=3.0))
  assert believed[1, LEFT] > TRUE_VALUES[1, LEFT] + 0.5
  values = values_of(careful, trained(careful, batch_of(moves), 2_000, bias=3.0))
  assert values[1, LEFT] < TRUE_VALUES[1, LEFT]
  # The best action of every cell is found, and its value nearly right.
  assert (values.argmax(1) == RIGHT).all()
  np.testing.assert_allclose(values[:, RIGHT], TRUE_VALUES[:, RIGHT], atol=0.1)


def test_the_penalty_lowers_missing_values_of_every_action():
  # Only right is recorded: both values of left are missing.
  config = config_of(alpha=0.1)
  state = trained(config, batch_of([RIGHT_OF_0, RIGHT_OF_1]), 2_000, bias=3.0)
  assert (values_of(config, state)[:, LEFT] < TRUE_VALUES[:, LEFT]).all()


def test_what_was_cut_off_goes_on_and_what_ended_does_not():
  config = config_of()
  # A reward of 1 for staying in cell 0: 1 + 1/2 + 1/4 ... = 2 if only cut off.
  for discount, value in ((1.0, 2.0), (0.0, 1.0)):
    moves = [Move(0, action, 0, 1.0, discount) for action in (LEFT, RIGHT)]
    state = trained(config, batch_of(moves), 2_000)
    np.testing.assert_allclose(values_of(config, state)[0], value, atol=0.05)


def test_actions_that_the_environment_does_not_accept_are_no_future():
  config = config_of()
  batch = batch_of(COMPLETE)
  fresh = state_of(config, batch)
  loss = cql_loss(config, fresh.params[Q_NETWORK], fresh.target[Q_NETWORK], batch)
  for parameters in (fresh.params, fresh.target):
    bias = parameters[Q_NETWORK]['quantiles']['bias'].reshape(3, -1)
    layer = parameters[Q_NETWORK]['quantiles']
    layer['bias'] = bias.at[JUMP].set(100.0).reshape(-1)
  raised = cql_loss(config, fresh.params[Q_NETWORK], fresh.target[Q_NETWORK], batch)
  jax.tree.map(np.testing.assert_array_equal, raised, loss)


# Which rows count.


def test_rows_without_a_label_count_for_nothing_whatever_their_action():
  config = config_of(alpha=1.0)
  alone = trained(config, batch_of([RIGHT_OF_0]), 3)
  for hidden in (LEFT, RIGHT, JUMP):
    batch = batch_of([RIGHT_OF_0, Move(1, hidden, 1, -1.0)])
    is_labelled = np.array([[False, True], [True, False]])
    batch = batch._replace(window=batch.window._replace(is_labelled=is_labelled))
    jax.tree.map(
      lambda here, there: np.testing.assert_allclose(here, there, atol=1e-6),
      trained(config, batch, 3).params,
      alone.params,
    )


def test_a_weight_of_0_counts_for_nothing_and_2_twice():
  config = config_of(alpha=1.0)
  moves = [LEFT_OF_1, RIGHT_OF_0, RIGHT_OF_1]
  weighed = trained(config, batch_of(moves, policy_weight=[0, 1, 2]), 3)
  repeated = trained(config, batch_of([RIGHT_OF_0, RIGHT_OF_1, RIGHT_OF_1]), 3)
  jax.tree.map(
    lambda here, there: np.testing.assert_allclose(here, there, atol=1e-6),
    weighed.params,
    repeated.params,
  )


def test_a_batch_without_a_label_changes_nothing():
  config = config_of(alpha=1.0)
  batch = batch_of(COMPLETE, is_labelled=np.zeros((4, 2), bool))
  before = jax.device_get(state_of(config, batch).params)
  tiny_models.assert_same_bits(jax.device_get(trained(config, batch, 1).params), before)


# The state.


def test_the_target_network_is_copied_after_every_nth_update():
  config = config_of(alpha=1.0, target_period=3)
  batch = batch_of(COMPLETE)
  state, step_fn = state_of(config, batch), cql.make_cql_step(config)
  targets, params = [jax.device_get(state.target)], [jax.device_get(state.params)]
  for _ in range(7):
    state, _ = step_fn(state, batch, jax.random.key(0))
    targets.append(jax.device_get(state.target))
    params.append(jax.device_get(state.params))
  # After update 3 it is the network of update 3, after update 6 that of update 6.
  for update, copied in enumerate([0, 0, 0, 3, 3, 3, 6, 6]):
    tiny_models.assert_same_bits(targets[update], params[copied])
  for earlier, later in zip(params[:-1], params[1:], strict=True):
    bias = (tree[Q_NETWORK]['quantiles']['bias'] for tree in (earlier, later))
    assert not np.array_equal(*bias)


def test_a_run_that_goes_on_has_the_same_bits(tmp_path):
  config = config_of(alpha=1.0, target_period=4)
  batches = [batch_of([COMPLETE[step % 4], COMPLETE[step % 3]]) for step in range(12)]

  def train(name, num_steps):
    checkpoints = Checkpoints(tmp_path / name, keep=1)
    writer = MetricWriter(tmp_path, 0)
    state = state_of(config, batches[0])
    if checkpoints.latest_step is not None:
      where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
      shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        cql.abstract_state(config, batches[0].window),
      )
      state = checkpoints.restore(shapes)
    state = fit(
      state,
      step_fn=cql.make_cql_step(config),
      batch_fn=batches.__getitem__,
      key=jax.random.key(0),
      schedule=Schedule(num_steps, 0, 0, 0),
      checkpoints=checkpoints,
      description={},
      writer=writer,
      evaluate_fn=lambda step, state: {},
      times=StepTimes(1),
    )
    writer.close()
    checkpoints.close()
    return jax.device_get(state)

  whole = train('whole', 12)
  train('halves', 6)  # between two copies of the target network
  halves = train('halves', 12)
  assert halves.step == 12
  tiny_models.assert_same_bits(halves, whole)


def test_another_seed_begins_elsewhere():
  config, window = config_of(), batch_of(COMPLETE).window
  kernels = [
    cql.init_state(config, window, seed).params[Q_NETWORK]['dense_0']['kernel']
    for seed in (0, 1)
  ]
  assert not np.array_equal(*kernels)


# What the network sees.


def test_a_stack_ends_on_what_the_action_was_chosen_by():
  observations = np.arange(6, dtype=np.uint8)[None, :, None]
  window = batch_of([RIGHT_OF_0]).window._replace(observations=observations)
  now, after = cql.frame_stacks(window, 4)
  assert now.ravel().tolist() == [1, 2, 3, 4]
  assert after.ravel().tolist() == [2, 3, 4, 5]


def test_images_of_any_size_are_stacked_as_channels():
  image = ObservationSpec('image', (20, 20, 3), 'uint8')
  network = QuantileNetwork(image, 3, 4, num_quantiles=5, width=8, num_layers=1)
  frames = np.zeros((2, 4, 20, 20, 3), np.uint8)
  params = network.init(jax.random.key(0), frames)['params']
  assert params['convolution_0']['kernel'].shape == (8, 8, 12, 32)
  # 20 pixels with strides 4, 2 and 1, padded: 5, 3 and 3 places of 64 channels.
  assert params['dense_0']['kernel'].shape == (3 * 3 * 64, 8)
  assert network.apply({'params': params}, frames).shape == (2, 3, 5)
