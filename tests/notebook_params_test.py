"""Parity with the public notebook: its equations, restated here in plain numpy."""

import jax
import numpy as np
import pytest

from alpt_jax import returns
from alpt_jax.errors import UserError
from alpt_jax.models import notebook_params

ROOT = 'decision_transformer'
INPUTS, SEQUENCE = f'{ROOT}/~_embed_inputs', f'{ROOT}/~/sequence'


def notebook_tree(width, num_layers, seed=0):
  """Random parameters in the notebook's layout, each with an influence."""
  rng = np.random.default_rng(seed)
  tree = {}

  def leaf(module, name, shape, deviation, mean=0.0):
    array = mean + deviation * rng.standard_normal(shape)
    tree.setdefault(module, {})[name] = array.astype(np.float32)

  def linear(module, inputs, outputs):
    leaf(module, 'w', (inputs, outputs), inputs**-0.5)
    leaf(module, 'b', (outputs,), 0.3)

  leaf(f'{INPUTS}/image_emb', 'w', (14, 14, 1, width), 0.2)
  leaf(f'{INPUTS}/image_emb', 'b', (width,), 0.3)
  leaf(ROOT, 'image_pos_enc', (1, 1, 36, width), 0.5)
  leaf(ROOT, 'positional_embeddings', (156, width), 0.5)
  for module, size in (('embed', 120), ('embed_1', 18), ('embed_2', 4)):
    leaf(f'{INPUTS}/{module}', 'embeddings', (size, width), 0.5)
  for head, size in (('ret_linear', 120), ('act_linear', 18), ('rew_linear', 4)):
    linear(f'{ROOT}/{head}', width, size)
  for layer in range(num_layers):
    block = f'{SEQUENCE}/h{layer}'
    for part in ('query', 'key', 'value', 'linear'):
      linear(f'{block}_attn/{part}', width, width)
    linear(f'{block}_mlp/linear', width, 4 * width)
    linear(f'{block}_mlp/linear_1', 4 * width, width)
  norms = [f'h{layer}_ln_{i}' for layer in range(num_layers) for i in (1, 2)]
  for norm in (*norms, 'ln_f'):
    leaf(f'{SEQUENCE}/{norm}', 'scale', (width,), 0.3, mean=1.0)
    leaf(f'{SEQUENCE}/{norm}', 'offset', (width,), 0.3)
  return tree


# The notebook's equations, in float64.


def linear(tree, module, x):
  return x @ tree[module]['w'] + tree[module]['b']


def layer_norm(tree, module, x):
  centred = x - x.mean(-1, keepdims=True)
  deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
  return centred / deviation * tree[module]['scale'] + tree[module]['offset']


def gelu(x):
  return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(tree, module, x, mask):
  rows, length, width = x.shape

  def heads(part):
    split = linear(tree, f'{module}/{part}', x).reshape(rows, length, width // 64, 64)
    return split.transpose(0, 2, 1, 3)

  scores = heads('query') @ heads('key').transpose(0, 1, 3, 2) / 8  # sqrt(64)
  scores = np.where(mask, scores, -1e30)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  mixed = (weights @ heads('value')).transpose(0, 2, 1, 3).reshape(x.shape)
  return linear(tree, f'{module}/linear', mixed)


def transformer(tree, x, shown, may_see):
  x = x * shown[:, None]
  layer = 0
  while f'{SEQUENCE}/h{layer}_ln_1' in tree:
    block = f'{SEQUENCE}/h{layer}'
    normed = layer_norm(tree, f'{block}_ln_1', x)
    x = x + attention(tree, f'{block}_attn', normed, may_see * shown > 0)
    hidden = linear(tree, f'{block}_mlp/linear', layer_norm(tree, f'{block}_ln_2', x))
    x = x + linear(tree, f'{block}_mlp/linear_1', gelu(hidden))
    layer += 1
  return layer_norm(tree, f'{SEQUENCE}/ln_f', x)


def patches(tree, frames):
  """A 14 x 14 convolution of stride 14, without padding, patch by patch."""
  image = tree[f'{INPUTS}/image_emb']
  kernel = image['w'].reshape(196, -1)
  tokens = [
    frames[:, :, y : y + 14, x : x + 14].reshape(*frames.shape[:2], 196) @ kernel
    for y in range(0, 84, 14)
    for x in range(0, 84, 14)
  ]
  return np.stack(tokens, axis=2) + image['b'] + tree[ROOT]['image_pos_enc']


def notebook_logits(tree, observations, returns_to_go, actions, rewards):
  """(return, action, reward) logits of raw returns and rewards."""
  tree = jax.tree.map(lambda array: array.astype(np.float64), tree)
  rows, steps = actions.shape
  return_tokens = np.clip(returns_to_go, -20, 100) + 20
  reward_tokens = (rewards > 0) * 1 + (rewards < 0) * 3
  extra = [
    tree[f'{INPUTS}/{module}']['embeddings'][tokens][:, :, None]
    for module, tokens in (
      ('embed', return_tokens),
      ('embed_1', actions),
      ('embed_2', reward_tokens),
    )
  ]
  tokens = np.concatenate([patches(tree, observations / 255), *extra], axis=2)
  tokens = tokens.reshape(rows, steps * 39, -1) + tree[ROOT]['positional_embeddings']
  shown = np.ones((steps, 39))
  shown[1:, 36] = 0  # all returns but the first
  may_see = np.tril(np.ones((steps * 39, steps * 39)))
  for first in range(0, steps * 39, 39):
    may_see[first : first + 36, first : first + 36] = 1
  tokens = transformer(tree, tokens, shown.reshape(-1), may_see)
  return tuple(
    linear(tree, f'{ROOT}/{head}', tokens[:, place::39])
    for head, place in (('ret_linear', 35), ('act_linear', 36), ('rew_linear', 37))
  )


@pytest.mark.parametrize(('width', 'num_layers'), [(64, 1), (128, 2), (128, 3)])
def test_all_logits_are_those_of_the_notebook(width, num_layers):
  tree = notebook_tree(width, num_layers)
  rng = np.random.default_rng(1)
  observations = rng.integers(0, 256, (2, 4, 84, 84, 1)).astype(np.uint8)
  returns_to_go = rng.integers(-25, 100, (2, 4))
  rewards = rng.integers(-1, 2, (2, 4))
  actions = rng.integers(1, 18, (2, 4)).astype(np.int32)
  is_known = np.array([[True, True, True, False]] * 2)  # the one to be decided
  expected = notebook_logits(
    tree,
    observations,
    returns_to_go,
    np.where(is_known, actions, 0),  # as the notebook shows it
    rewards,
  )

  model, params = notebook_params.convert(tree)
  found = jax.jit(model.apply)(
    {'params': params},
    observations,
    returns.quantise(returns_to_go, *model.return_range),
    actions,
    is_known,
    returns.reward_tokens(rewards, np.ones((2, 4))),
    np.ones((2, 4), bool),
  )
  for name, mine, theirs in zip(found._fields, found, expected, strict=True):
    assert mine.shape == theirs.shape, name
    assert np.abs(theirs).max() > 1, name  # loud enough to differ
    assert np.abs(mine - theirs).max() < 1e-4, name  # 2e-6 where this was written


# What the conversion says and refuses.


def test_the_models_fields_follow_the_tree():
  model, _ = notebook_params.convert(notebook_tree(128, 3))
  assert (model.width, model.num_layers, model.num_heads) == (128, 3, 2)
  assert (model.num_actions, model.return_range, model.context) == (18, (-20, 100), 4)
  assert (model.patch_size, model.dropout) == (14, 0.1)
  assert model.observation_spec.shape == (84, 84, 1)


def test_the_parameters_are_those_of_a_fresh_model_and_no_others():
  model, params = notebook_params.convert(notebook_tree(128, 2))
  tokens = np.zeros((1, 4), np.int32)
  fresh = jax.eval_shape(
    model.init,
    jax.random.key(0),
    np.zeros((1, 4, 84, 84, 1), np.uint8),
    *(tokens, tokens, tokens > 0, tokens, tokens == 0),
  )['params']
  assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
    lambda x: (x.shape, x.dtype), fresh
  )


def test_an_unknown_action_is_what_the_notebook_shows_for_it_action_0():
  tree = notebook_tree(64, 1)
  _, params = notebook_params.convert(tree)
  row = tree[f'{INPUTS}/embed_1']['embeddings'][0]
  np.testing.assert_array_equal(params['action_emb']['unknown'], row)


LINEAR = f'{SEQUENCE}/h1_mlp/linear'
IMAGE = f'{INPUTS}/image_emb'


@pytest.mark.parametrize(
  ('module', 'name', 'shape', 'message'),
  [
    (LINEAR, 'w', (64, 128), 'expected shape [64, 256], found shape [64, 128]'),
    (LINEAR, 'w', None, 'expected shape [64, 256], found no such leaf'),
    (LINEAR, 'gain', (64,), 'expected no such leaf, found shape [64]'),
    (ROOT, 'image_pos_enc', (1, 1, 49, 64), 'expected shape [1, 1, 36, 64], found'),
    (f'{INPUTS}/embed', 'embeddings', (121, 64), 'expected shape [120, 64], found'),
    (IMAGE, 'b', (96,), 'expected shape [width], a multiple of 64, found shape [96]'),
    (IMAGE, 'b', None, 'a multiple of 64, found no such leaf'),
  ],
)
def test_a_leaf_that_does_not_fit_is_named_with_both_shapes(
  module, name, shape, message
):
  tree = notebook_tree(64, 2)
  if shape is None:
    del tree[module][name]
  else:
    tree[module][name] = np.zeros(shape, np.float32)
  with pytest.raises(UserError) as error:
    notebook_params.convert(tree)
  assert f'parameters {module}, {name}: ' in str(error.value)
  assert message in str(error.value)
  assert '\n' not in str(error.value)


def test_a_layer_that_is_missing_between_two_others_is_named():
  tree = {k: v for k, v in notebook_tree(64, 3).items() if '/h1_' not in k}
  with pytest.raises(UserError, match='h1_ln_1, scale: expected shape .64., found no'):
    notebook_params.convert(tree)


def test_a_tree_of_something_else_is_refused_by_the_first_leaf_it_lacks():
  with pytest.raises(UserError, match='image_emb, b: .* found no such leaf'):
    notebook_params.convert({})
