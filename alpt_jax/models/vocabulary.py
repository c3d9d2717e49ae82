"""Growing a trained model to action names that it has never seen."""

import jax
import jax.numpy as jnp

from alpt_jax.errors import UserError


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

  Raises:
    UserError: the two are not of one architecture; the first differing leaf and
      both shapes are named.
  """
  known, wanted = _leaves(trained), _leaves(fresh)
  for name in [*wanted, *known]:
    old, new = known.get(name), wanted.get(name)
    if old is None or new is None or not _fits(old.shape, new.shape, num_known):
      raise UserError(
        f'parameter {name}: expected {_shape(new)}, found {_shape(old)} in the run to '
        'start from. Give both the same model settings.'
      )

  def merge(old, new):
    if old.shape == new.shape:
      return old
    # The one axis that differs is the actions': rows of the table, last of the head.
    axis = _differing(old.shape, new.shape)[0]
    added = jax.lax.slice_in_dim(new, num_known, new.shape[axis], axis=axis)
    return jnp.concatenate([old, added], axis)

  return jax.tree.map(merge, trained, fresh)


def _leaves(tree) -> dict:
  """Path -> array."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(p, simple=True, separator='/'): leaf for p, leaf in leaves
  }


def _fits(old: tuple, new: tuple, num_known: int) -> bool:
  """Whether two shapes are equal but for actions added behind the known ones."""
  if len(old) != len(new):
    return False
  axes = _differing(old, new)
  return not axes or (len(axes) == 1 and old[axes[0]] == num_known < new[axes[0]])


def _differing(old: tuple, new: tuple) -> list[int]:
  return [axis for axis in range(len(old)) if old[axis] != new[axis]]


def _shape(leaf) -> str:
  return 'nothing' if leaf is None else str(list(leaf.shape))
