"""A decision that reuses the first frame is the one of two whole passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.acting.policy import (
  ActingConfig,
  History,
  choose_action,
  make_decide,
  optimistic_return,
)
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.specs import ObservationSpec
from alpt_jax.types import Decision

CONTEXT = 4
NUM_ACTIONS = 6
# P = 1, 4 and, as on Atari, 36 tokens an observation.
SPECS = {
  1: tiny.VECTOR,
  4: tiny.IMAGE,
  36: ObservationSpec('image', (12, 12, 1), 'uint8'),
}
# So many actions stay that sampling matters.
CONFIG = ActingConfig(
  kappa=0.0,
  inverse_temperature=0.2,
  num_return_samples=2,
  action_percentile=10.0,
  action_temperature=5.0,
)


def history_of(spec, context=CONTEXT, rows_each=8, seed=0) -> History:
  """Rows with every number of padded transitions; padding holds nonsense as well."""
  rng = np.random.default_rng(seed)
  num_padded = np.repeat(np.arange(context), rows_each)
  rows = len(num_padded)
  shape = (rows, context)
  pixels = rng.integers(0, 256, (*shape, *spec.shape))
  return History(
    observations=(pixels / 128 - 1 if spec.dtype == 'float32' else pixels).astype(
      spec.dtype
    ),
    actions=rng.integers(0, NUM_ACTIONS, shape).astype(np.int32),
    is_known=rng.random(shape) < 0.7,
    reward_tokens=rng.integers(0, 4, shape).astype(np.int32),
    returns_to_go=rng.integers(-2, 3, shape).astype(np.float32),
    valid=np.arange(context) >= num_padded[:, None],
    allowed=np.ones((rows, NUM_ACTIONS), bool),
  )


def inputs(given: History, tokens):
  """What the whole model is called with."""
  return (
    given.observations,
    jnp.broadcast_to(tokens[:, None], given.valid.shape),
    given.actions,
    given.is_known,
    given.reward_tokens,
    given.valid,
  )


class Whole:
  """A model that is only ever run as a whole, twice for a decision."""

  def __init__(self, spec, context=CONTEXT):
    self.given = history_of(spec, context)
    self.rows = np.arange(len(self.given.valid))
    self.model = tiny.tiny_policy(
      spec, context=context, num_layers=2, num_actions=NUM_ACTIONS
    )
    quiet = tiny.loud_params(self.model, *inputs(self.given, self.rows))
    self.params = jax.tree.map(lambda array: 2 * array, quiet)
    self._predict = jax.jit(
      lambda params, *inputs: self.model.apply({'params': params}, *inputs)
    )

  def logits(self, tokens):
    """(`[B, R]` of the first valid transition, `[B, A]` of the last)."""
    found = self._predict(self.params, *inputs(self.given, tokens))
    first = self.given.valid.argmax(1)
    return found.returns[self.rows, first], found.actions[:, -1]

  def decide(self, keys, greedy):
    """As the notebook does it."""
    keys = jax.vmap(jax.random.split)(keys)
    return_logits, _ = self.logits(jnp.zeros(len(keys), jnp.int32))
    tokens = draw_return(return_logits, keys[:, 0], CONFIG)
    _, logits = self.logits(tokens)
    action = choose(logits, self.given.allowed, keys[:, 1], greedy, CONFIG)
    return Decision(action, tokens + self.model.return_range[0])


draw_return = jax.jit(optimistic_return, static_argnums=2)
choose = jax.jit(choose_action, static_argnums=4)


@pytest.fixture(scope='module', params=SPECS, ids=lambda p: f'P={p}')
def whole(request):
  return Whole(SPECS[request.param])


def from_prefix(model, params, given, tokens):
  """(return logits, action logits) by the way of acting."""
  prefix = model.apply(
    {'params': params}, given.observations, given.valid, method=model.prefix
  )
  logits = model.apply(
    {'params': params},
    prefix,
    given.observations,
    tokens,
    given.actions,
    given.is_known,
    given.reward_tokens,
    given.valid,
    method=model.action_logits,
  )
  return prefix.return_logits, logits


def assert_equal_logits(whole):
  tokens = (whole.rows % 5).astype(np.int32)
  found = jax.jit(from_prefix, static_argnums=0)(
    whole.model, whole.params, whole.given, tokens
  )
  for mine, theirs in zip(found, whole.logits(tokens), strict=True):
    assert np.ptp(theirs, axis=0).max() > 0.1  # the rows differ
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_logits_are_those_of_the_whole_pass_however_much_is_padding(whole):
  assert_equal_logits(whole)


def test_a_context_of_one_transition_is_all_prefix():
  assert_equal_logits(Whole(tiny.IMAGE, context=1))


def test_the_same_keys_give_the_decisions_of_two_whole_passes(whole):
  keys = jax.random.split(jax.random.key(0), len(whole.rows))
  greedy = whole.rows % 4 == 3
  two_passes = whole.decide(keys, greedy)
  found = make_decide(whole.model, CONFIG)(whole.params, whole.given, keys, greedy)
  assert found.action.tolist() == two_passes.action.tolist()
  assert found.return_to_go.tolist() == two_passes.return_to_go.tolist()
  assert len(set(found.action.tolist())) > 2
  assert len(set(found.return_to_go.tolist())) > 1


def test_a_decision_takes_less_than_half_the_arithmetic_of_two_passes():
  # Tokens that pass a layer, of 156 in each of two whole passes: 36 for the return,
  # and then 3 * 36 patches, 3 actions, 3 rewards, the first return and the last one's
  # place, 116. The last of six layers computes little more than keys and values, and
  # so it does in whole passes, but for the 12 of 155 tokens that are read:
  # 152 * (5 + 1/6) / (310 * (5 + 1/6 + 12/155 * 5/6)) = .48.
  spec = ObservationSpec('image', (84, 84, 1), 'uint8')
  model = DecisionTransformer(18, (-20, 100), spec)
  given = history_of(spec, rows_each=4)
  tokens = np.zeros(16, np.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), *inputs(given, tokens))

  def whole(params, given, tokens):
    return model.apply(params, *inputs(given, tokens))

  def parts(params, given, tokens):
    return from_prefix(model, params['params'], given, tokens)

  def arithmetic(function):
    return jax.jit(function).lower(params, given, tokens).cost_analysis()['flops']

  assert arithmetic(parts) / (2 * arithmetic(whole)) == pytest.approx(0.48, abs=0.01)
