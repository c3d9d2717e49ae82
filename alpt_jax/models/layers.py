"""The two layouts of a transformer's parameters, and the way between them.

Unstacked, each block has parameters of its own, which is the layout of the notebook
and of every checkpoint written without `model.scan_layers`:

  h0_ln_1, h0_attn, h0_ln_2, h0_mlp_in, h0_mlp_out, h1_ln_1, ..., ln_f

Stacked, all blocks but the last (block L - 1) are one, whose leaves have a further
first axis of size L - 1:

  blocks/{ln_1, attn, ln_2, mlp_in, mlp_out}, h<L - 1>_ln_1, ..., ln_f
"""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax.errors import UserError
from alpt_jax.models.transformer import STACKED

_LAYER = re.compile(r'h(\d+)_(.+)')
# Both layouts have it, once per transformer.
_FINAL_NORM = 'ln_f'


def is_stacked(path) -> bool:
  """Whether a leaf's first axis runs over layers, by its path in a tree."""
  return any(getattr(key, 'key', None) == STACKED for key in path)


def stack_layers(tree, num_layers: int):
  """Parameters of separate blocks -> those of scanned ones.

  Args:
    tree: holds parameters of transformers at any depth: of a model, of several, or an
      optimiser's state of them. Everything else in it stays as it is.
    num_layers: L of each of them; with one layer the layouts are the same.

  Returns:
    A tree of the same kind; NumPy arrays stay such.

  Raises:
    UserError: a transformer in it has other layers than `num_layers` separate ones.
  """

  def convert(node):
    _check(node, range(num_layers), f'{num_layers} separate layers')
    layers, rest = [{} for _ in range(num_layers - 1)], {}
    for name, value in node.items():
      match = _LAYER.fullmatch(name)
      if match and int(match[1]) < num_layers - 1:
        layers[int(match[1])][match[2]] = value
      else:
        rest[name] = value
    return {STACKED: jax.tree.map(_stack, *layers), **rest} if layers else rest

  return _over_transformers(convert, tree)


def unstack_layers(tree, num_layers: int):
  """The inverse of `stack_layers`, bit for bit; see there.

  Raises:
    UserError: a transformer in it has no stack of `num_layers - 1` layers.
  """

  def convert(node):
    length = num_layers - 1
    expected = f'{length} stacked layers and h{length}'
    _check(node, range(length, num_layers), expected)
    rest = {name: value for name, value in node.items() if name != STACKED}
    stacked = node.get(STACKED, {})
    if any(len(leaf) != length for leaf in jax.tree.leaves(stacked)) or (
      length and not stacked
    ):
      raise UserError(f'parameters {STACKED}: expected {expected}, found others.')
    for layer in range(length):
      own = jax.tree.map(lambda leaf, at=layer: leaf[at], stacked)
      rest |= {f'h{layer}_{name}': value for name, value in own.items()}
    return rest

  return _over_transformers(convert, tree)


def _over_transformers(convert, tree):
  """The tree with every transformer's parameters converted."""

  def is_transformer(node):
    return isinstance(node, Mapping) and _FINAL_NORM in node

  return jax.tree.map(
    lambda node: convert(node) if is_transformer(node) else node,
    tree,
    is_leaf=is_transformer,
  )


def _check(node: Mapping, layers: range, expected: str) -> None:
  """Refuses a transformer whose separate layers are others than `layers`."""
  found = {int(match[1]) for name in node if (match := _LAYER.fullmatch(name))}
  if found != set(layers):
    named = ', '.join(f'h{layer}' for layer in sorted(found)) or 'none'
    raise UserError(
      f'parameters of a transformer: expected {expected}, found separate layers '
      f'{named}. Give the number of layers that the model has.'
    )


def _stack(*leaves):
  are_numpy = all(isinstance(leaf, np.ndarray) for leaf in leaves)
  return (np if are_numpy else jnp).stack(leaves)
