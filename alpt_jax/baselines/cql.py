"""Conservative Q-learning, CQL(H), on quantiles (Kumar et al., 2020; Appendix C).

Offline Q-learning of the target's labelled transitions alone, the paper's standard
offline baseline. What Kumar et al. publish is a patch of Dopamine's QR-DQN, and that
is what is followed where their text is silent: the plain maximum in the target (no
double Q-learning), a target network copied whole, Adam, one-step returns.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from alpt_jax import losses
from alpt_jax.baselines.quantile_network import QuantileNetwork, quantile_huber
from alpt_jax.training import sharding
from alpt_jax.types import Batch, Decision, Window

Q_NETWORK = 'q_network'


class CQLState(NamedTuple):
  """Everything that a checkpoint must hold for training to go on bit for bit."""

  step: jax.Array  # [] int32, updates taken
  params: dict[str, Any]  # Q_NETWORK -> Flax parameters
  opt_state: dict[str, Any]  # Q_NETWORK -> Adam's moments
  target: dict[str, Any]  # Q_NETWORK -> the parameters that targets come from


@dataclasses.dataclass(frozen=True)
class CQLConfig:
  """What an update does; hashable, equal configs share compiled programs.

  The numbers behind are those of Kumar et al.'s Atari experiments.

  Attributes:
    network: the Q-network.
    alpha: weight of the conservative term (4 with 1 % of the data, 1 with 10 %).
    gamma: discount per agent step (0.99).
    huber: kappa of the quantile loss (1).
    learning_rate: of Adam, constant (5e-5).
    adam_epsilon: its epsilon (0.01 / 32 = 3.125e-4).
    target_period: updates after which the target network is a copy again (2,000: every
      8,000 steps of Dopamine's, which updates at each fourth).
  """

  network: QuantileNetwork
  alpha: float
  gamma: float
  huber: float
  learning_rate: float
  adam_epsilon: float
  target_period: int

  @property
  def policy(self) -> QuantileNetwork:
    """The model that plays, by the name that it has in every method."""
    return self.network

  @property
  def idm(self) -> None:
    """There is no labeller."""


def init_state(
  config: CQLConfig, window: Window, seed: int, mesh: Mesh | None = None
) -> CQLState:
  """Fresh parameters from a seed; of `window` only the shapes are read."""
  return sharding.jit_init(_init, mesh)(config, window, seed)


def abstract_state(config: CQLConfig, window: Window) -> CQLState:
  """The shapes of `init_state`'s result, without computing anything."""
  return jax.eval_shape(functools.partial(_init, config), window, 0)


def _init(config: CQLConfig, window: Window, seed) -> CQLState:
  observations, _ = frame_stacks(window, config.network.context)
  params = config.network.init(jax.random.key(seed), observations)['params']
  opt_state = _optimizer(config).init(params)
  return CQLState(
    jnp.zeros((), jnp.int32),
    {Q_NETWORK: params},
    {Q_NETWORK: opt_state},
    {Q_NETWORK: jax.tree.map(jnp.copy, params)},
  )


def _optimizer(config: CQLConfig) -> optax.GradientTransformation:
  return optax.adam(config.learning_rate, eps=config.adam_epsilon)


def frame_stacks(window: Window, context: int):
  """`[B, C, ...]` what was seen before, and after, a window's last transition."""
  observations = window.observations
  return observations[:, -1 - context : -1], observations[:, -context:]


@functools.cache
def make_cql_step(config: CQLConfig, mesh: Mesh | None = None):
  """Returns the jitted `step(state, batch, key) -> (state, metrics)`.

  The signature of the joint step, so that `training.loop.fit` runs both. Nothing is
  drawn at random, the key is not read. The given state's buffers are reused.
  """
  return sharding.jit_step(functools.partial(cql_step, config), mesh)


def cql_step(config: CQLConfig, state: CQLState, batch: Batch, key):
  """One update from the last transition of every window; see `cql_loss`.

  The target network becomes a copy of the updated one after every
  `config.target_period`-th update.
  """
  del key
  params, target = state.params[Q_NETWORK], state.target[Q_NETWORK]
  gradient, metrics = jax.grad(functools.partial(cql_loss, config), has_aux=True)(
    params, target, batch
  )
  updates, opt_state = _optimizer(config).update(
    gradient, state.opt_state[Q_NETWORK], params
  )
  params, step = optax.apply_updates(params, updates), state.step + 1
  is_due = step % config.target_period == 0
  target = jax.tree.map(lambda new, old: jnp.where(is_due, new, old), params, target)
  metrics[f'{Q_NETWORK}_gradient_norm'] = optax.tree.norm(gradient)
  state = CQLState(
    step, {Q_NETWORK: params}, {Q_NETWORK: opt_state}, {Q_NETWORK: target}
  )
  return state, metrics


def cql_loss(config: CQLConfig, params, target_params, batch: Batch):
  """Quantile regression towards the target, and alpha times how hopeful Q is.

  Equation 4 of Kumar et al. (2020), CQL(H): alpha * mean(logsumexp_a Q(s, a) -
  Q(s, a_recorded)) + the loss of QR-DQN. Both maxima, the soft one here and the hard
  one in the target, run over the actions that the environment accepts. Episodes that
  end by themselves (discount 0) have no future; those that were cut off have the one
  that the target network sees.

  A row whose last transition is not labelled, or whose `policy_weight` is 0, counts
  for nothing: no hidden action is ever read.

  Args:
    config: see there.
    params: of the network, differentiated.
    target_params: of the target network.
    batch: windows of at least `config.network.context` transitions, rewards clipped.

  Returns:
    The loss and scalar metrics.
  """
  network, window = config.network, batch.window
  now, after = frame_stacks(window, network.context)
  weights = window.is_labelled[:, -1] * batch.policy_weight
  quantiles = network.apply({'params': params}, now)
  taken = jnp.take_along_axis(quantiles, window.actions[:, -1, None, None], 1)[:, 0]
  target = _target(config, target_params, after, window)
  td_loss = losses.weighted_mean(quantile_huber(taken, target, config.huber), weights)
  hopeful = jax.nn.logsumexp(quantiles.mean(-1), axis=-1, where=window.allowed)
  conservative = losses.weighted_mean(hopeful - taken.mean(-1), weights)
  loss = td_loss + config.alpha * conservative
  return loss, {
    'policy_loss': loss,
    'td_loss': td_loss,
    'conservative_loss': conservative,
    'q_recorded': losses.weighted_mean(taken.mean(-1), weights),
  }


def _target(config: CQLConfig, params, observations, window: Window):
  """`[B, N]` what the quantiles of the taken actions are drawn to."""
  quantiles = config.network.apply({'params': params}, observations)
  best = _best_action(quantiles.mean(-1), window.allowed)
  future = jnp.take_along_axis(quantiles, best[:, None, None], 1)[:, 0]
  discount = config.gamma * window.discounts[:, -1]
  return jax.lax.stop_gradient(window.rewards[:, -1, None] + discount[:, None] * future)


def _best_action(values, allowed):
  """`[B, A]` values -> `[B]` the allowed action of the largest."""
  return jnp.where(allowed, values, -jnp.inf).argmax(-1)


@functools.cache
def make_decide(network: QuantileNetwork, epsilon: float):
  """Returns the jitted `decide(params, history, keys, greedy) -> Decision`.

  The best action, but a uniformly random allowed one with probability `epsilon`;
  rows that are `greedy` always take the best.

  Args:
    network: its `context` is how many observations the history shows.
    epsilon: 0.001 in Dopamine's evaluations.
  """
  return jax.jit(functools.partial(decide, network, epsilon))


def decide(network: QuantileNetwork, epsilon: float, params, history, keys, greedy):
  """One decision for every episode of a batch; see `make_decide`."""
  keys = jax.vmap(jax.random.split)(keys)
  values = network.apply({'params': params}, history.observations).mean(-1)
  equal = jnp.where(history.allowed, 0.0, -jnp.inf)
  random = jax.vmap(jax.random.categorical)(keys[:, 0], equal)
  explores = (jax.vmap(jax.random.uniform)(keys[:, 1]) < epsilon) & ~greedy
  action = jnp.where(explores, random, _best_action(values, history.allowed))
  return Decision(action.astype(jnp.int32))
