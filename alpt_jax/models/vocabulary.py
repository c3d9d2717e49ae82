"""Growing a trained model to action names that it has never seen."""

import jax
import jax.numpy as jnp


def grow(trained, fresh, num_known: int):
  """The trained parameters, with fresh rows for actions beyond `num_known`.

  New names stand at the end of the vocabulary, so only the action table's rows
  and the action head's columns grow; every old number stays, bit for bit.

  Args:
    trained: a model's parameters with `num_known` actions.
    fresh: the same model's, newly initialised, with at least as many.
    num_known: A of `trained`.

  Returns:
    Parameters of `fresh`'s shapes.
  """

  def merge(old, new):
    if old.shape == new.shape:
      return old
    # The one axis that differs is the actions': rows of the table, last of the head.
    axis = next(i for i in range(old.ndim) if old.shape[i] != new.shape[i])
    added = jax.lax.slice_in_dim(new, num_known, new.shape[axis], axis=axis)
    return jnp.concatenate([old, added], axis)

  return jax.tree.map(merge, trained, fresh)
