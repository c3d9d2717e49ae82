"""One number per leaf of a train state, by which damage on a disk is noticed.

Bytes that flip in a stored file come back from Orbax as wrong numbers, without a word.
The fingerprint of a leaf with elements x_0, x_1, ... is

  sum_i  bits(x_i) * (i * 2654435761 | 1)   modulo 2^32

Every weight is odd, so that one wrong element always shows, and differs from its
neighbours', so that two exchanged ones almost always do. A sum in integers has no
order: the number is the same however a leaf is cut over devices and processes.
The construction is ours; 2654435761 is Knuth's multiplier, 2^32 over the golden ratio.
"""

import jax
import jax.numpy as jnp
import numpy as np

_MULTIPLIER = 2654435761
# Bits of an element -> what it is read as.
_KINDS = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint32}


def fingerprints(tree) -> list[int]:
  """A fingerprint in [0, 2^32) for each leaf, in the order of the tree.

  Computed where the leaves lie: no device sees more than its part. With several
  processes all of them must call it, and get the same.

  Args:
    tree: arrays of bools, or of integers or floats of 8, 16, 32 or 64 bits.

  Raises:
    TypeError: a leaf of another dtype.
  """
  leaves = dict(enumerate(jax.tree.leaves(tree)))
  split = {place: leaf for place, leaf in leaves.items() if _is_split(leaf)}
  # Whole leaves one by one: leaves of one shape share a program, so that a third of the
  # time goes into compiling (600 leaves of 12 shapes). Split ones together: of many
  # programs in flight that each add up over devices, CPU devices deadlock.
  numbers = _together(split)
  for place, leaf in leaves.items():
    if place not in split:
      numbers[place] = _alone(leaf)
  return [int(number) for _, number in sorted(jax.device_get(numbers).items())]


def _is_split(leaf) -> bool:
  return isinstance(leaf, jax.Array) and not leaf.is_fully_replicated


@jax.jit
def _together(leaves: dict[int, jax.Array]) -> dict[int, jax.Array]:
  return jax.tree.map(_fingerprint, leaves)


@jax.jit
def _alone(leaf: jax.Array) -> jax.Array:
  return _fingerprint(leaf)


def _fingerprint(leaf: jax.Array) -> jax.Array:
  """`[]` uint32."""
  bits = _bits(leaf)
  # Indices from iotas, which are cut as the leaf is; a flat view would gather it.
  index = jnp.zeros((), jnp.uint32)
  stride = 1
  for axis in reversed(range(bits.ndim)):
    place = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    index += place * np.uint32(stride % 2**32)
    stride *= bits.shape[axis]
  weights = index * np.uint32(_MULTIPLIER) | np.uint32(1)
  return jnp.sum(bits * weights, dtype=jnp.uint32)


def _bits(leaf: jax.Array) -> jax.Array:
  """The leaf's bits as uint32, of its shape; 64-bit elements have two at the end."""
  if leaf.dtype == bool:
    return leaf.astype(jnp.uint32)
  kind = _KINDS.get(_width(leaf.dtype))
  if kind is None:
    raise TypeError(f'no fingerprint for elements of {leaf.dtype}')
  return jax.lax.bitcast_convert_type(leaf, kind).astype(jnp.uint32)


def _width(dtype) -> int:
  """Bits of a number; 0 of anything else."""
  if jnp.issubdtype(dtype, jnp.integer):
    return jnp.iinfo(dtype).bits
  return jnp.finfo(dtype).bits if jnp.issubdtype(dtype, jnp.floating) else 0
