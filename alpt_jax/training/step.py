"""The one joint training step: the IDM learns, relabels, and the DT learns.

Pure: (state, batch, key) -> (state, metrics). Which rows teach what is data in
the batch, so all methods of one shape and one order of rows share one compiled
program; a method without an IDM is the same step without its first half, an IDM that
is pretrained alone the same without its second.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from alpt_jax import losses, relabel, returns
from alpt_jax.methods import IDM, POLICY
from alpt_jax.models.decision_transformer import DecisionTransformer, first_valid
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.training import sharding
from alpt_jax.training.augment import random_shift
from alpt_jax.training.microbatches import in_parts, summed_gradients
from alpt_jax.training.optimizer import OptimizerConfig, make_optimizer
from alpt_jax.training.rows import Rows
from alpt_jax.types import EVERY_ROW, Batch, PseudoLabels, RowUse, Window


class TrainState(NamedTuple):
  """Everything that a checkpoint must hold for training to go on bit for bit."""

  step: jax.Array  # [] int32, optimiser steps taken
  params: dict[str, Any]  # model name -> Flax parameters
  opt_state: dict[str, Any]  # model name -> optimiser state


@dataclasses.dataclass(frozen=True)
class StepConfig:
  """What a joint step does; hashable, equal configs share compiled programs.

  Attributes:
    idm: the labeller, or None for methods without one.
    policy: the decision transformer, or None where the IDM is trained alone.
    optimizer: of each model.
    relabelling: 'argmax', 'sample' or 'soft' (see relabel.py).
    confidence_weighting: weigh a relabelled transition's action loss by the
      IDM's confidence (ours; off as in the paper).
    confidence_threshold: guesses that the IDM is less sure of are no targets, and stay
      unknown as inputs (ours; 0, none, as in the paper).
    loss_normalisation: 'token' or 'notebook' (see losses.py).
    shift: pixels by which each window that the IDM learns from is shifted at random.
    microbatches: equal parts of a batch, computed one after the other.
    rows: which rows of a batch each half reads; those that it leaves out must have no
      weight there.
  """

  idm: InverseDynamics | None
  policy: DecisionTransformer | None
  optimizer: OptimizerConfig
  relabelling: str = 'argmax'
  confidence_weighting: bool = False
  confidence_threshold: float = 0.0
  loss_normalisation: str = 'token'
  shift: int = 0
  microbatches: int = 1
  rows: RowUse = EVERY_ROW

  @property
  def models(self) -> dict[str, Any]:
    """Model name -> module, those that exist."""
    models = {IDM: self.idm, POLICY: self.policy}
    return {name: model for name, model in models.items() if model is not None}


def init_state(
  config: StepConfig, window: Window, seed: int, mesh: Mesh | None = None
) -> TrainState:
  """Fresh parameters from a seed; each model's do not depend on the other's.

  Of `window` only the shapes are read. On a mesh no device ever holds more than its
  part of the state.
  """
  return sharding.jit_init(_init, mesh)(config, window, seed)


def abstract_state(config: StepConfig, window: Window) -> TrainState:
  """The shapes of `init_state`'s result, without computing anything."""
  return jax.eval_shape(functools.partial(_init, config), window, 0)


def _init(config: StepConfig, window: Window, seed) -> TrainState:
  keys = dict(zip((IDM, POLICY), jax.random.split(jax.random.key(seed)), strict=True))
  params = {}
  for name, model in config.models.items():
    inputs = _idm_inputs(window) if name == IDM else _policy_inputs(config, window)
    params[name] = model.init(keys[name], *inputs)['params']
  rule = make_optimizer(config.optimizer)
  opt_state = {name: rule.init(tree) for name, tree in params.items()}
  return TrainState(jnp.zeros((), jnp.int32), params, opt_state)


@functools.cache
def make_joint_step(config: StepConfig, mesh: Mesh | None = None):
  """Returns the jitted `step(state, batch, key) -> (state, metrics)`.

  Built once per config, mesh and process, so that every run of one shape shares its
  compiled program. The key stays the same all run long: the step number is folded
  in. The given state's buffers are reused for the result.
  """
  return sharding.jit_step(functools.partial(joint_step, config, mesh=mesh), mesh)


def joint_step(
  config: StepConfig, state: TrainState, batch: Batch, key, mesh: Mesh | None = None
):
  """One update of every model of `config` (Table 1 of the paper).

  Each half computes its own rows alone (`config.rows`). On a mesh they are spread over
  all devices again.

  Returns the new state and scalar float32 metrics.
  """
  keys = jax.random.split(jax.random.fold_in(key, state.step), 4)
  metrics, gradients = {}, {}
  rows = functools.partial(_rows, config, mesh)
  if config.idm is not None:
    part = _taken(rows(config.rows.idm), batch)
    gradients[IDM], metrics = _idm_half(config, state, part, keys)
  if config.policy is not None:
    labels = _labels(config, state, batch.window, rows, keys[1])
    mine = rows(config.rows.policy)
    gradients[POLICY], policy_metrics = _policy_half(
      config, state, _taken(mine, batch), mine.take(labels), keys[2]
    )
    metrics |= policy_metrics
  params, opt_state = {}, {}
  rule = make_optimizer(config.optimizer)
  for name, gradient in gradients.items():
    updates, opt_state[name] = rule.update(
      gradient, state.opt_state[name], state.params[name]
    )
    params[name] = optax.apply_updates(state.params[name], updates)
    metrics[f'{name}_gradient_norm'] = optax.tree.norm(gradient)
  return TrainState(state.step + 1, params, opt_state), metrics


class _Target(NamedTuple):
  """What a head's logits at some positions are drawn to."""

  classes: jax.Array  # [...] int, or [..., C] probabilities
  weights: jax.Array  # [...] float32


def _rows(config: StepConfig, mesh: Mesh | None, places: tuple[int, int]) -> Rows:
  """Places of a batch's groups; every device has as many rows in every microbatch."""
  multiple = (mesh.size if mesh else 1) * config.microbatches
  return Rows(config.rows.group, *places, multiple, mesh)


def _taken(rows: Rows, batch: Batch) -> Batch:
  """Some rows of a batch; padding has no weight."""
  return Batch(
    rows.take(batch.window),
    rows.take_weights(batch.idm_weight),
    rows.take_weights(batch.policy_weight),
    rows.take(batch.relabel),
  )


def _idm_half(config: StepConfig, state: TrainState, batch: Batch, keys):
  """`(gradients, metrics)` of the labeller.

  Equation 4 over the recorded transitions of rows that teach the IDM.
  """
  window = batch.window
  if config.shift:
    # For the labeller alone, which meets its few labels over and over; the policy
    # has plenty of windows, and acts on screens that nobody shifts.
    shifted = random_shift(window.observations, keys[3], config.shift)
    window = window._replace(observations=shifted)
  target = _Target(window.actions, window.is_labelled * batch.idm_weight[:, None])
  total = target.weights.sum()

  def loss_fn(params, part, key):
    inputs, target, allowed = part
    logits = config.idm.apply({'params': params}, *inputs, False, rngs={'dropout': key})
    loss = losses.cross_entropy(logits, *target, total=total)
    guesses = jnp.where(allowed[:, None], logits, -jnp.inf).argmax(-1)
    accuracy = losses.accuracy(guesses, *target, total=total)
    return loss, {'idm_loss': loss, 'idm_train_accuracy': accuracy}

  rows = (_idm_inputs(window), target, window.allowed)
  return summed_gradients(
    loss_fn, state.params[IDM], rows, keys[0], config.microbatches
  )


def _labels(config: StepConfig, state: TrainState, window: Window, rows, key):
  """What the policy learns of every transition: its recorded action or the IDM's guess.

  Guesses are those of the whole model, without dropout and before its update, for the
  window as it was recorded. Of rows that are not relabelled they mean nothing.
  """
  begin, end = config.rows.relabelled
  if config.idm is None or begin == end:
    known = window.is_labelled.astype(jnp.float32)
    return PseudoLabels(window.actions, known, None)
  mine = rows((begin, end))
  apply_fn = functools.partial(config.idm.apply, {'params': state.params[IDM]})
  inputs = mine.take(_idm_inputs(window))
  logits = in_parts(lambda part: apply_fn(*part), inputs, config.microbatches)
  return relabel.pseudo_label(
    mine.put_back(logits, window.valid),
    window.actions,
    window.is_labelled,
    window.allowed,
    config.relabelling,
    key,
  )


def _idm_inputs(window: Window):
  return window.observations, window.valid


def _policy_inputs(config: StepConfig, window: Window, actions=None, is_known=None):
  """The last C transitions of a window as the policy's arguments."""
  last = slice(-config.policy.context, None)
  low, high = config.policy.return_range
  observations = window.observations[:, :-1]
  actions = window.actions if actions is None else actions
  is_known = window.is_labelled if is_known is None else is_known
  return (
    observations[:, last],
    returns.quantise(window.returns_to_go, low, high)[:, last],
    actions[:, last],
    is_known[:, last],
    returns.reward_tokens(window.rewards, window.discounts)[:, last],
    window.valid[:, last],
  )


def _policy_targets(config: StepConfig, batch: Batch, labels: PseudoLabels, inputs):
  """What each head of the policy learns from `inputs`: head -> target.

  A policy that sees no returns has no return loss.
  """
  _, return_tokens, actions, known, reward_tokens, valid = inputs
  last = slice(-config.policy.context, None)
  if labels.probabilities is not None:
    actions = labels.probabilities[:, last]
  row_weight = batch.policy_weight[:, None]
  action_weight = known * row_weight
  if config.confidence_weighting:
    action_weight = action_weight * labels.confidence[:, last]
  targets = {'actions': _Target(actions, action_weight)}
  if config.policy.sees_returns:
    targets['returns'] = _Target(return_tokens, first_valid(valid) * row_weight)
  targets['rewards'] = _Target(reward_tokens, valid * row_weight)
  return targets


# Head -> what its loss is called.
_LOSSES = {
  'actions': 'action_loss',
  'returns': 'return_loss',
  'rewards': 'reward_loss',
}


def _policy_half(
  config: StepConfig, state: TrainState, batch: Batch, labels: PseudoLabels, key
):
  """`(gradients, metrics)` of the policy.

  Equation 3 and Lee et al.'s reward head: mean of the three cross-entropies. A hidden
  action is a target only in rows that are relabelled, where the IDM is sure enough of
  it; elsewhere it is an unknown token and no target.
  """
  window = batch.window
  is_guessed = batch.relabel[:, None] & window.valid
  if config.confidence_threshold:
    is_guessed &= labels.confidence >= config.confidence_threshold
  is_known = window.is_labelled | is_guessed
  inputs = _policy_inputs(config, window, labels.action, is_known)
  targets = _policy_targets(config, batch, labels, inputs)
  totals = {head: target.weights.sum() for head, target in targets.items()}

  def loss_fn(params, part, key):
    inputs, targets = part
    predictions = config.policy.apply(
      {'params': params}, *inputs, False, rngs={'dropout': key}
    )
    parts = {
      _LOSSES[head]: losses.cross_entropy(
        getattr(predictions, head), *target, config.loss_normalisation, totals[head]
      )
      for head, target in targets.items()
    }
    loss = sum(parts.values()) / len(parts)
    return loss, {'policy_loss': loss, **parts}

  return summed_gradients(
    loss_fn, state.params[POLICY], (inputs, targets), key, config.microbatches
  )
