"""Section `act`: a decision for sixteen environments, beside two whole passes."""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax import returns
from alpt_jax.acting.policy import (
  ActingConfig,
  History,
  choose_action,
  make_decide,
  optimistic_return,
)
from alpt_jax.benchmark.measured import Section, measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.models import flops
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.types import Decision, Window

# Episodes side by side (Lee et al.).
NUM_ENVIRONMENTS = 16
DECISION, TWO_PASSES = 'decision', 'two whole passes'
# Random keys for which the actions are compared, each drawn and each greedy.
_NUM_DRAWS = 8


def measure_acting(
  subject: Subject, limits: Mapping[str, Program], repeats: int
) -> Section:
  """Both ways with the same parameters; whoever steps the games waits for each.

  Args:
    subject: whose policy.
    limits: `ceilings.programs`.
    repeats: turns.
  """
  policy, acting = subject.steps.policy, subject.config.acting
  history = history_of(subject.batch(NUM_ENVIRONMENTS).window, policy.context)
  params = jax.jit(policy.init)(jax.random.key(0), *model_inputs(history))['params']
  keys = jax.random.split(jax.random.key(1), NUM_ENVIRONMENTS)
  is_greedy = np.zeros(NUM_ENVIRONMENTS, bool)
  decide = compiled_for(make_decide(policy, acting), params, history, keys, is_greedy)
  plain = TwoPasses(policy, acting, params, history, keys, is_greedy)
  counts = {'decisions': NUM_ENVIRONMENTS}
  programs = {
    DECISION: Program(
      lambda: np.asarray(decide(params, history, keys, is_greedy).action),
      flops=NUM_ENVIRONMENTS * flops.decision_flops(policy),
      counts=counts,
      **account_of(decide),
    ),
    TWO_PASSES: Program(
      lambda: np.asarray(plain(params, history, keys, is_greedy).action),
      flops=NUM_ENVIRONMENTS * 2 * flops.forward_flops(policy),
      counts=counts,
      **account_of(*plain.compiled),
    ),
  }
  compared = {f'{DECISION} / {TWO_PASSES}': ([DECISION], [TWO_PASSES])}
  section = measure(programs, limits, repeats, compared)
  same, of = _same_actions(decide, plain, params, history)
  return dataclasses.replace(section, facts={'same actions': f'{same} of {of}'})


def history_of(window: Window, context: int) -> History:
  """The last C transitions of windows as if the last were still to be decided."""
  last = slice(-context, None)
  is_decided = np.arange(context) < context - 1
  rewards = returns.reward_tokens(window.rewards, window.discounts)[:, last]
  return jax.device_put(
    History(
      observations=window.observations[:, :-1][:, last],
      actions=window.actions[:, last],
      is_known=jnp.broadcast_to(is_decided, rewards.shape),
      reward_tokens=rewards * is_decided,
      returns_to_go=window.returns_to_go[:, last],
      valid=window.valid[:, last],
      allowed=window.allowed,
    )
  )


class TwoPasses:
  """Decides as the notebook does: the whole model for the return, then again.

  For a model that sees returns, and optimistic ones.
  """

  def __init__(self, model: DecisionTransformer, config: ActingConfig, *example):
    """Compiles for `example`, which are the arguments of a call."""
    params, history, keys, greedy = example
    self._low = model.return_range[0]
    # A program of its own gives all predictions: none of them is left out unread.
    whole = jax.jit(lambda params, inputs: model.apply({'params': params}, *inputs))
    inputs = model_inputs(history)
    self._whole = compiled_for(whole, params, inputs)
    found = jax.eval_shape(whole, params, inputs)
    draw = jax.jit(functools.partial(_draw_return, config))
    self._draw = compiled_for(draw, found.returns, history.valid, keys)
    choose = jax.jit(functools.partial(_choose, config))
    self._choose = compiled_for(choose, found.actions, history.allowed, keys, greedy)
    self.compiled = [self._whole, self._draw, self._whole, self._choose]

  def __call__(self, params, history: History, keys, greedy) -> Decision:
    """As `policy.decide`."""
    logits = self._whole(params, model_inputs(history)).returns
    tokens = self._draw(logits, history.valid, keys)
    logits = self._whole(params, model_inputs(history, tokens)).actions
    action = self._choose(logits, history.allowed, keys, greedy)
    return Decision(action, tokens + self._low)


def _draw_return(config: ActingConfig, logits, valid, keys):
  first = valid.argmax(1)[:, None, None]
  logits = jnp.take_along_axis(logits, first, 1)[:, 0]
  return optimistic_return(logits, jax.vmap(jax.random.split)(keys)[:, 0], config)


def _choose(config: ActingConfig, logits, allowed, keys, greedy):
  keys = jax.vmap(jax.random.split)(keys)[:, 1]
  return choose_action(logits[:, -1], allowed, keys, greedy, config)


def model_inputs(history: History, tokens=None):
  """What the whole model is called with; `tokens [B]` int32 are its returns."""
  shape = history.valid.shape
  tokens = np.zeros(shape[:1], np.int32) if tokens is None else tokens
  return (
    history.observations,
    jnp.broadcast_to(tokens[:, None], shape),
    history.actions,
    history.is_known,
    history.reward_tokens,
    history.valid,
  )


def _same_actions(decide, plain, params, history: History) -> tuple[int, int]:
  """How many actions of both ways are equal, and how many were compared."""
  same = compared = 0
  for seed in range(_NUM_DRAWS):
    keys = jax.random.split(jax.random.key(seed), len(history.valid))
    for is_greedy in (False, True):
      greedy = np.full(len(keys), is_greedy)
      found = [way(params, history, keys, greedy).action for way in (decide, plain)]
      same += int((found[0] == found[1]).sum())
      compared += len(keys)
  return same, compared
