"""Fingerprints: the definition, and what they notice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax.training.fingerprint import fingerprints


def by_the_book(bits):
  """The definition, number by number, in Python's own integers."""
  weights = (i * 2654435761 % 2**32 | 1 for i in range(len(bits)))
  return sum(int(b) * w for b, w in zip(bits, weights, strict=True)) % 2**32


def fingerprint(array):
  (number,) = fingerprints([array])
  return number


def test_a_fingerprint_can_be_computed_by_hand():
  # Weights 1, 2654435761 (odd already), and 2 * 2654435761 mod 2^32 = 1013904226 | 1.
  assert fingerprint(jnp.array([5, 0, 0], jnp.uint32)) == 5
  assert fingerprint(jnp.array([0, 1, 0], jnp.uint32)) == 2654435761
  assert fingerprint(jnp.array([0, 0, 1], jnp.uint32)) == 1013904227
  # 5 + 2654435761 + 1013904227 = 3668339993 < 2^32.
  assert fingerprint(jnp.array([5, 1, 1], jnp.uint32)) == 3668339993
  assert fingerprint(jnp.zeros((0, 3))) == 0


@pytest.mark.parametrize(
  'dtype, width',
  [
    *(('bool', 8), ('int8', 8), ('uint8', 8), ('float8_e4m3fn', 8)),
    *(('int16', 16), ('float16', 16), ('bfloat16', 16)),
    *(('int32', 32), ('uint32', 32), ('float32', 32)),
  ],
)
@pytest.mark.parametrize('shape', [(), (7,), (3, 4, 5)])
def test_the_bits_of_every_dtype_are_summed_as_they_lie(dtype, width, shape):
  rng = np.random.default_rng(0)
  bits = rng.integers(0, 2 if dtype == 'bool' else 2**width, shape, np.uint64)
  bits = bits.astype(f'uint{width}')
  array = np.asarray(bits).view(jnp.dtype(dtype)).reshape(shape)
  assert fingerprint(jnp.asarray(array)) == by_the_book(bits.ravel())


def test_elements_of_64_bits_are_two_words_each():
  words = np.random.default_rng(0).integers(0, 2**32, (3, 2, 2), np.uint32)
  with jax.enable_x64(True):
    found = fingerprint(words.view(np.float64)[..., 0])
  assert found == by_the_book(words.ravel())


def test_other_elements_are_refused_by_name():
  for array, name in [
    (jnp.zeros(2, jnp.complex64), 'complex64'),
    (jax.random.key(0), 'key'),
    (jnp.zeros(2, jnp.int4), 'int4'),
  ]:
    with pytest.raises(TypeError, match=name):
      fingerprints([array])


def test_every_single_flipped_bit_shows():
  array = np.random.default_rng(0).normal(size=6).astype(np.float32)
  expected = fingerprint(array)
  for place in range(6 * 32):
    flipped = array.view(np.uint32).copy()
    flipped[place // 32] ^= np.uint32(1) << np.uint32(place % 32)
    assert fingerprint(flipped.view(np.float32)) != expected, place


def test_what_compares_equal_or_not_at_all_is_told_apart_by_its_bits():
  assert fingerprint(jnp.float32(0.0)) != fingerprint(jnp.float32(-0.0))
  assert fingerprint(jnp.float32(jnp.nan)) == fingerprint(jnp.float32(jnp.nan))


def test_exchanged_elements_show():
  array = jnp.arange(100.0)
  assert fingerprint(array[::-1]) != fingerprint(array)
  assert fingerprint(jnp.roll(array, 1)) != fingerprint(array)


def test_a_leaf_has_its_own_number_in_the_order_of_the_tree():
  tree = {'b': jnp.array([2], jnp.int32), 'a': [jnp.array([1, 0], jnp.int32)]}
  assert fingerprints(tree) == [1, 2]
