"""Parameters of the public Multi-Game Decision Transformer notebook -> ours.

Lee et al. (2022) published inference code and one parameter tree, of Haiku modules
`{module: {name: array}}`. Whoever has such a tree, of any size, plays with it here.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from alpt_jax import returns
from alpt_jax.errors import UserError
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.specs import ALE_ACTIONS, ATARI_RETURN_RANGE, ObservationSpec

# What the notebook fixes, whatever the size.
_CONTEXT = 4
_PATCH = 14
_OBSERVATION = ObservationSpec('image', (84, 84, 1), 'uint8')
_NUM_PATCHES = 36  # 6 x 6
_HEAD = 64
_DROPOUT = 0.1

_ROOT = 'decision_transformer'
_INPUTS = f'{_ROOT}/~_embed_inputs'
_SEQUENCE = f'{_ROOT}/~/sequence'
_LAYER = re.compile(re.escape(_SEQUENCE) + r'/h(\d+)_')


def convert(
  tree: Mapping[str, Mapping[str, Any]],
) -> tuple[DecisionTransformer, dict[str, Any]]:
  """The model that a parameter tree of the notebook belongs to, and its parameters.

  Width and depth are read off the tree. Nothing is computed: every number of the
  result is one of the tree. The notebook has no row for an unknown action, it shows
  action 0 (NOOP) in place of one that is not known yet; so the unknown row is a copy
  of action 0's, and the logits are the notebook's.

  The notebook also shows what stands before an episode's first step, frames of zeros
  with action 0: act with `padding='notebook'`, everything valid. Its return token of
  100 is out of its own range; ours ends at 99.

  Args:
    tree: `{module: {name: array}}` of float arrays, as the notebook's checkpoint has
      it; read at once, never changed.

  Returns:
    A `DecisionTransformer` over the 18 ALE actions in ALE order and float32 numpy
    parameters that it applies.

  Raises:
    UserError: a leaf is missing, has another shape, or is none of the model's.
  """
  width, num_layers = _size(tree)
  table = _layout(width, num_layers)
  _check(tree, table)
  params: dict[str, Any] = {}
  for (module, name), (_, path) in table.items():
    array = np.asarray(tree[module][name], np.float32)
    if path == 'observation/image_emb/kernel':
      # A convolution whose stride is its size is a product with flattened patches.
      array = array.reshape(-1, width)
    _put(params, path, array)
  actions = params['action_emb']['table']['embedding']
  params['action_emb']['unknown'] = actions[0].copy()
  model = DecisionTransformer(
    num_actions=len(ALE_ACTIONS),
    return_range=ATARI_RETURN_RANGE,
    observation_spec=_OBSERVATION,
    context=_CONTEXT,
    width=width,
    num_layers=num_layers,
    num_heads=width // _HEAD,
    dropout=_DROPOUT,
    patch_size=_PATCH,
  )
  return model, params


def _size(tree) -> tuple[int, int]:
  """(width, number of layers) that the tree is of."""
  module, name = f'{_INPUTS}/image_emb', 'b'
  found = _shape(tree, module, name)
  if found is None or len(found) != 1 or found[0] == 0 or found[0] % _HEAD:
    _refuse(module, name, f'shape [width], a multiple of {_HEAD}', found)
  layers = [int(match[1]) for name in tree if (match := _LAYER.match(name))]
  return found[0], 1 + max(layers, default=0)


def _layout(width: int, num_layers: int) -> dict:
  """(module, name) there -> (shape there, path here) of every leaf."""
  table: dict = {}

  def leaf(module, name, shape, path):
    table[module, name] = (shape, path)

  def linear(module, inputs, outputs, path):
    leaf(module, 'w', (inputs, outputs), f'{path}/kernel')
    leaf(module, 'b', (outputs,), f'{path}/bias')

  def norm(module, path):
    leaf(module, 'scale', (width,), f'{path}/scale')
    leaf(module, 'offset', (width,), f'{path}/bias')

  low, high = ATARI_RETURN_RANGE
  image = f'{_INPUTS}/image_emb'
  leaf(image, 'w', (_PATCH, _PATCH, 1, width), 'observation/image_emb/kernel')
  leaf(image, 'b', (width,), 'observation/image_emb/bias')
  encoding = (1, 1, _NUM_PATCHES, width)
  leaf(_ROOT, 'image_pos_enc', encoding, 'observation/image_pos_enc')
  positions = (_CONTEXT * (_NUM_PATCHES + 3), width)
  leaf(_ROOT, 'positional_embeddings', positions, 'positional_embeddings')
  for module, size, path, head in (
    ('embed', high - low, 'return_emb', 'ret_linear'),
    ('embed_1', len(ALE_ACTIONS), 'action_emb/table', 'act_linear'),
    ('embed_2', returns.NUM_REWARD_TOKENS, 'reward_emb', 'rew_linear'),
  ):
    leaf(f'{_INPUTS}/{module}', 'embeddings', (size, width), f'{path}/embedding')
    linear(f'{_ROOT}/{head}', width, size, head)
  for layer in range(num_layers):
    there, here = f'{_SEQUENCE}/h{layer}', f'sequence/h{layer}'
    norm(f'{there}_ln_1', f'{here}_ln_1')
    for part in ('query', 'key', 'value', 'linear'):
      linear(f'{there}_attn/{part}', width, width, f'{here}_attn/{part}')
    norm(f'{there}_ln_2', f'{here}_ln_2')
    linear(f'{there}_mlp/linear', width, 4 * width, f'{here}_mlp_in')
    linear(f'{there}_mlp/linear_1', 4 * width, width, f'{here}_mlp_out')
  norm(f'{_SEQUENCE}/ln_f', 'sequence/ln_f')
  return table


def _check(tree, table) -> None:
  """Refuses a tree whose leaves are not exactly those of the table."""
  for (module, name), (expected, _) in table.items():
    found = _shape(tree, module, name)
    if found != expected:
      _refuse(module, name, f'shape {list(expected)}', found)
  for module, leaves in tree.items():
    for name in leaves:
      if (module, name) not in table:
        _refuse(module, name, 'no such leaf', _shape(tree, module, name))


def _shape(tree, module: str, name: str) -> tuple[int, ...] | None:
  """The shape of a leaf; None if there is none."""
  return np.shape(tree[module][name]) if name in tree.get(module, {}) else None


def _refuse(module: str, name: str, expected: str, found) -> NoReturn:
  there = 'no such leaf' if found is None else f'shape {list(found)}'
  raise UserError(
    f'parameters {module}, {name}: expected {expected}, found {there}. Give a '
    'parameter tree of the Multi-Game DT notebook.'
  )


def _put(params: dict, path: str, array) -> None:
  *parents, last = path.split('/')
  for parent in parents:
    params = params.setdefault(parent, {})
  params[last] = array
