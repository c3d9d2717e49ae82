"""A batch computed in equal parts, one after the other, to need less memory.

Losses divide by sums over the whole batch (`total` in losses.py), so that the parts'
losses and gradients add up to the batch's, whatever weights each part happens to hold.
"""

import jax
import jax.numpy as jnp


def summed_gradients(loss_fn, params, rows, key, count: int):
  """Gradients of a batch's loss.

  Args:
    loss_fn: `(params, rows, key) -> (loss, metrics)`, all of which add up over the
      parts of a batch.
    params: differentiated.
    rows: tree of `[B, ...]`.
    key: of the random draws; each part has one of its own.
    count: parts, a divisor of B; 1 for the whole at once.

  Returns:
    `(gradients, metrics)` of the whole batch.
  """
  gradient_fn = jax.grad(loss_fn, has_aux=True)
  if count == 1:
    return gradient_fn(params, rows, key)

  def add_part(sums, numbered):
    index, part = numbered
    found = gradient_fn(params, part, jax.random.fold_in(key, index))
    return jax.tree.map(jnp.add, sums, found), None

  parts = _split(rows, count)
  one = jax.tree.map(lambda leaf: leaf[0], parts)
  shapes = jax.eval_shape(gradient_fn, params, one, key)
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  sums, _ = jax.lax.scan(add_part, zeros, (jnp.arange(count), parts))
  return sums


def in_parts(function, rows, count: int):
  """`function(rows)` for a function of each row alone, part by part."""
  if count == 1:
    return function(rows)
  return _join(jax.lax.map(function, _split(rows, count)))


def _split(rows, count: int):
  """`[B, ...]` -> `[count, B / count, ...]`, every count-th row together.

  So that each part is spread over the devices as the batch is.
  """
  return jax.tree.map(
    lambda leaf: leaf.reshape(-1, count, *leaf.shape[1:]).swapaxes(0, 1), rows
  )


def _join(parts):
  """The inverse of `_split`."""
  return jax.tree.map(
    lambda leaf: leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:]), parts
  )
