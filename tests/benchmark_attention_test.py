"""The kernels that the section `attention` compares compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny
from benchmark_models_test import tiny_subject

from alpt_jax.benchmark import attention, ceilings

MODELS = {
  'policy': tiny.tiny_policy(tiny.IMAGE),
  'idm': tiny.tiny_idm(tiny.IMAGE),
  'idm of pairs': tiny.tiny_idm(tiny.IMAGE, form='pair'),
}


@pytest.mark.parametrize(
  ('model', 'sequences', 'tokens'),
  # 4 patches a frame. 3 transitions of 3 more tokens, without the last; 5 frames and 4
  # slots; a sequence of patches and a slot for each of 4 transitions.
  [('policy', 2, 20), ('idm', 2, 24), ('idm of pairs', 8, 5)],
)
def test_shapes_are_those_of_the_models(model, sequences, tokens):
  layer = attention.layer_of(MODELS[model], rows=2)
  assert layer.query.shape == (sequences, tokens, 2, 4)


@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 2e-2)]
)
@pytest.mark.parametrize('model', ['policy', 'idm'])
def test_every_kernel_gives_the_same(model, dtype, tolerance):
  layer = attention.layer_of(MODELS[model].clone(dtype=jnp.dtype(dtype)), rows=2)
  found = attention.kernels()
  expected = attention.both_ways(found.pop(attention.OURS))(layer)
  assert found
  for kernel in found.values():
    for mine, theirs in zip(
      jax.tree.leaves(expected),
      jax.tree.leaves(attention.both_ways(kernel)(layer)),
      strict=True,
    ):
      mine, theirs = (np.asarray(each, np.float32) for each in (mine, theirs))
      np.testing.assert_allclose(
        theirs, mine, rtol=0, atol=tolerance * np.abs(mine).max()
      )


def test_the_section_compares_them_for_both_models():
  limits = ceilings.programs('float32', side=16, num_bytes=1_024)
  record = attention.measure_attention(tiny_subject(), limits, 2).record()
  assert list(record['ratios']) == [
    'DT: jax.nn, XLA / products',
    'IDM: jax.nn, XLA / products',
  ]
  assert record['programs']['DT, products']['flops'] > 0
