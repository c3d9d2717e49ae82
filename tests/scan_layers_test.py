"""Stacked layers and recomputed activations: the same model, in another layout."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny_models as tiny
from acting_prefix_test import from_prefix, history_of, inputs

from alpt_jax.errors import UserError
from alpt_jax.methods import IDM, POLICY
from alpt_jax.models.layers import stack_layers, unstack_layers
from alpt_jax.models.transformer import Transformer
from alpt_jax.training.optimizer import make_optimizer
from alpt_jax.training.step import abstract_state, joint_step

LAYERS = 3
KEY = jax.random.key(0)


def with_models(config, **fields):
  """The step config with other fields of both models."""
  models = {name: getattr(config, name) for name in ('idm', 'policy')}
  changed = {name: dataclasses.replace(m, **fields) for name, m in models.items()}
  return dataclasses.replace(config, **changed)


def step_config(dropout=0.0, **optimizer):
  fields = {'spec': tiny.IMAGE, 'num_layers': LAYERS, 'dropout': dropout}
  return tiny.tiny_step(
    idm=tiny.tiny_idm(**fields),
    policy=tiny.tiny_policy(**fields),
    optimizer=tiny.tiny_optimizer(**optimizer),
  )


PLAIN = step_config()
SCANNED = with_models(PLAIN, scan_layers=True)
WINDOW = tiny.random_window(tiny.IMAGE)


@functools.cache
def loud_state(config=PLAIN):
  return tiny.loud_state(config, WINDOW)


def take_step(config, state):
  """`(new state, metrics)` on the host; hidden actions in two rows of four."""
  window = WINDOW._replace(is_labelled=WINDOW.is_labelled & [[1], [1], [0], [0]])
  step = jax.jit(functools.partial(joint_step, config))
  return jax.device_get(step(state, tiny.batch_of(window, relabel=True), KEY))


TOKENS = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
MASK = np.tri(5, dtype=bool)[None]


def transformer(**fields):
  return Transformer(LAYERS, num_heads=2, **fields)


def fresh(**fields):
  """Initial parameters of a transformer."""
  model = transformer(**fields)
  return jax.jit(model.init, static_argnums=3)(KEY, TOKENS, MASK, True)['params']


def loud_params(**fields):
  return tiny.loud(jax.eval_shape(functools.partial(fresh, **fields)))


def value_and_gradient(params, **fields):
  """Of a sum that every output enters in its own way."""
  model, weights = transformer(**fields), np.cos(np.arange(TOKENS.size))

  def loss(params):
    keys = {'dropout': KEY}
    outputs = model.apply({'params': params}, TOKENS, MASK, False, rngs=keys)
    return (outputs * weights.reshape(TOKENS.shape)).sum()

  return jax.jit(jax.value_and_grad(loss))(params)


def assert_close(found, expected, tolerance=1e-6):
  """Every leaf of two trees within `tolerance` of the leaf's largest number."""
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for name, wanted in tiny.leaf_items(expected).items():
    got = tiny.leaf_items(found)[name]
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(
      got, wanted, rtol=0, atol=tolerance * scale, err_msg=name
    )


# The layout.


def test_without_scanning_every_layer_has_the_names_that_checkpoints_have():
  parts = ('ln_1', 'attn', 'ln_2', 'mlp_in', 'mlp_out')
  names = {f'h{layer}_{part}' for layer in range(LAYERS) for part in parts}
  for remat in (False, True):
    shapes = abstract_state(with_models(PLAIN, remat=remat), WINDOW)
    for model in (IDM, POLICY):
      assert set(shapes.params[model]['sequence']) == {'ln_f', *names}


def test_rematerialisation_draws_the_same_initial_parameters():
  tiny.assert_same_bits(fresh(remat=True), fresh())


def test_scanned_layers_are_the_stack_of_all_but_the_last():
  plain, scanned = (abstract_state(c, WINDOW) for c in (PLAIN, SCANNED))
  stacked = jax.eval_shape(functools.partial(stack_layers, num_layers=LAYERS), plain)
  assert jax.tree.structure(stacked) == jax.tree.structure(scanned)
  jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), stacked, scanned)
  sequence = scanned.params[POLICY]['sequence']
  assert sequence['blocks']['mlp_in']['kernel'].shape == (LAYERS - 1, 8, 32)
  assert {name for name in sequence if name.startswith('h')} == {
    f'h{LAYERS - 1}_{part}' for part in ('ln_1', 'attn', 'ln_2', 'mlp_in', 'mlp_out')
  }


def test_scanned_layers_begin_as_differently_as_separate_ones():
  kernels = fresh(scan_layers=True)['blocks']['mlp_in']['kernel']
  assert not np.array_equal(*kernels)
  # Variance 2 / layers / inputs, of a normal that is cut off at two deviations.
  assert np.std(kernels) == pytest.approx((2 / LAYERS / 8) ** 0.5, rel=0.1)


def test_the_layouts_convert_into_each_other_bit_for_bit():
  state = loud_state(step_config(name='lamb'))
  stacked = stack_layers(state, LAYERS)
  tiny.assert_same_bits(unstack_layers(stacked, LAYERS), state)
  assert jax.tree.structure(unstack_layers(stacked, LAYERS)) == jax.tree.structure(
    state
  )
  moments = stacked.opt_state[POLICY][1][0].mu['sequence']['blocks']
  assert moments['attn']['query']['kernel'].shape == (LAYERS - 1, 8, 8)


def test_one_layer_has_one_layout():
  state = loud_state(with_models(PLAIN, num_layers=1))
  for convert in (stack_layers, unstack_layers):
    tiny.assert_same_bits(convert(state, 1), state)


def test_another_number_of_layers_is_refused_in_one_line():
  state = loud_state()
  with pytest.raises(
    UserError, match='expected 4 separate layers, found .* h0, h1, h2'
  ):
    stack_layers(state, LAYERS + 1)
  with pytest.raises(UserError, match='expected 2 separate layers'):
    stack_layers(state, LAYERS - 1)
  with pytest.raises(UserError, match='expected 2 stacked layers'):
    unstack_layers(state, LAYERS)
  with pytest.raises(UserError, match='expected 3 stacked layers'):
    unstack_layers(stack_layers(state, LAYERS), LAYERS + 1)


# The same numbers.


@pytest.mark.parametrize(
  'scan_layers', [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_recomputed_activations_give_the_same_numbers(scan_layers):
  fields = {'scan_layers': scan_layers, 'dropout': 0.5}
  params = loud_params(scan_layers=scan_layers)
  found = value_and_gradient(params, remat=True, **fields)
  assert_close(found, value_and_gradient(params, **fields), tolerance=1e-5)


def test_outputs_and_gradients_are_those_of_separate_layers():
  params = loud_params()
  value, gradient = value_and_gradient(stack_layers(params, LAYERS), scan_layers=True)
  found = value, unstack_layers(gradient, LAYERS)
  assert_close(found, value_and_gradient(params))


@pytest.mark.slow
@pytest.mark.parametrize('remat', [False, True])
def test_a_joint_step_is_that_of_separate_layers(remat):
  config = with_models(PLAIN, scan_layers=True, remat=remat)
  expected, wanted = take_step(PLAIN, loud_state())
  found, metrics = take_step(config, stack_layers(loud_state(), LAYERS))
  assert_close(metrics, wanted)
  # Adam's first moment is a tenth of the gradient.
  for model in (IDM, POLICY):
    moment = unstack_layers(found.opt_state[model][1][0].mu, LAYERS)
    assert_close(moment, expected.opt_state[model][1][0].mu)


@pytest.mark.parametrize('form', ['frames', 'difference', 'pair'])
def test_every_form_of_the_labeller_says_the_same(form):
  plain = tiny.tiny_idm(tiny.IMAGE, num_layers=LAYERS, form=form)
  scanned = dataclasses.replace(plain, scan_layers=True)
  given = (WINDOW.observations, WINDOW.valid)
  params = tiny.loud_params(plain, *given)
  stacked = stack_layers(params, LAYERS)
  found = jax.jit(scanned.apply)({'params': stacked}, *given)
  assert_close(found, jax.jit(plain.apply)({'params': params}, *given), 2e-6)


def test_acting_with_a_kept_prefix_says_the_same():
  plain = tiny.tiny_policy(tiny.IMAGE, num_layers=LAYERS, context=4, num_actions=6)
  scanned = dataclasses.replace(plain, scan_layers=True)
  given = history_of(tiny.IMAGE)
  tokens = np.arange(len(given.valid), dtype=np.int32) % 5
  params = tiny.loud_params(plain, *inputs(given, tokens))
  act = jax.jit(from_prefix, static_argnums=0)
  expected = act(plain, params, given, tokens)
  assert_close(
    act(scanned, stack_layers(params, LAYERS), given, tokens), expected, 2e-6
  )


def test_scanned_layers_drop_differently_from_each_other():
  # Two scanned layers that do nothing but add a token of ones, half of it dropped:
  # 0, 2 or 4 is added in all, but 0 or 4 alone if both drop the same.
  model = Transformer(LAYERS, num_heads=2, dropout=0.5, scan_layers=True)
  given = (np.zeros((1, 4, 8), np.float32), np.ones((1, 1, 4), bool), False)
  keys = {'params': KEY, 'dropout': KEY}
  shapes = jax.eval_shape(lambda: model.init(keys, *given)['params'])
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  params['blocks']['mlp_out']['bias'] += 1
  params['ln_f']['scale'] += 1
  apply = jax.jit(model.apply, static_argnums=3)
  found = apply({'params': params}, *given, rngs={'dropout': KEY})
  assert max(len(np.unique(token.round(4))) for token in np.asarray(found[0])) == 3


# The optimiser.


@pytest.mark.parametrize(
  'name', [pytest.param('lamb', marks=pytest.mark.slow), 'adamw']
)
def test_two_steps_of_the_optimiser_are_those_of_separate_layers(name):
  rule = make_optimizer(tiny.tiny_optimizer(name=name, weight_decay=0.1, clip=1.0))
  params = loud_params()
  gradients = tiny.loud(params, seed=1)
  # Each layer of another size: one trust ratio for all would be wrong for each.
  for layer in range(LAYERS):
    params[f'h{layer}_mlp_in']['kernel'] *= 10.0**layer
    gradients[f'h{layer}_mlp_in']['kernel'] *= 10.0**-layer

  def two_steps(params, gradients):
    state = rule.init(params)
    for _ in range(2):
      updates, state = rule.update(gradients, state, params)
    return updates, state

  separate = jax.jit(two_steps)(params, gradients)
  stacked = jax.jit(two_steps)(*(stack_layers(t, LAYERS) for t in (params, gradients)))
  assert_close(unstack_layers(stacked, LAYERS), separate)


# What it is for.


def temporaries(model, *given) -> int:
  """Bytes that a gradient of the model needs beside its arguments and results."""
  params = jax.eval_shape(model.init, KEY, *given)['params']

  def loss(params, *given):
    return model.apply({'params': params}, *given).sum()

  compiled = jax.jit(jax.grad(loss)).lower(params, *given).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_rematerialisation_saves_memory():
  # Separate layers show nothing here: a CPU's compiler finds that it computes the same
  # twice and keeps the first. A TPU's does not (docs/preflight.md).
  fields = {'width': 32, 'num_layers': 8, 'scan_layers': True}
  window = tiny.random_window(tiny.IMAGE, num_windows=16)
  given = (window.observations, window.valid)
  kept = temporaries(tiny.tiny_idm(tiny.IMAGE, **fields), *given)
  again = temporaries(tiny.tiny_idm(tiny.IMAGE, remat=True, **fields), *given)
  assert again < kept / 2
