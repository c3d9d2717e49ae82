"""The decision transformer that saves work predicts what the plain one does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny
from plain_decision_transformer import acting_programs, plain_of, step_programs

from alpt_jax.specs import ObservationSpec

# P = 4 and, as on Atari, 36 patches a frame.
SPECS = {4: tiny.IMAGE, 36: ObservationSpec('image', (12, 12, 1), 'uint8')}


def inputs_of(spec, context, rows=8, seed=0):
  """A context with every number of padded transitions, and unknown actions."""
  rng = np.random.default_rng(seed)
  shape = (rows, context)
  num_padded = np.arange(rows) % context
  return (
    rng.integers(0, 256, (*shape, *spec.shape)).astype(np.uint8),
    rng.integers(0, 5, shape).astype(np.int32),
    rng.integers(0, tiny.NUM_ACTIONS, shape).astype(np.int32),
    rng.random(shape) < 0.7,
    rng.integers(0, 4, shape).astype(np.int32),
    np.arange(context) >= num_padded[:, None],
  )


def read_out(predictions, valid):
  """What a loss can depend on: logits where there is no padding."""
  return [jnp.where(valid[..., None], logits, 0) for logits in predictions]


def assert_close(found, expected, tolerance):
  """Every leaf differs by no more than `tolerance` of its largest number.

  Or, where that is the rounding of a sum that is 0, as the gradient of the keys' biases
  is, of a hundredth of the largest number of all.
  """
  found, expected = tiny.leaf_items(found), tiny.leaf_items(expected)
  assert found.keys() == expected.keys()
  largest = {name: np.abs(theirs).max() for name, theirs in expected.items()}
  for name, theirs in expected.items():
    scale = max(largest[name], max(largest.values()) / 100)
    assert np.abs(found[name] - theirs).max() <= tolerance * scale, name


@pytest.mark.parametrize('num_patches', SPECS)
@pytest.mark.parametrize(
  ('dtype', 'tolerance'),
  [
    ('float32', 1e-5),
    pytest.param('bfloat16', 2e-2, marks=pytest.mark.slow),
  ],
)
def test_logits_and_gradients_are_those_of_the_plain_model(
  num_patches, dtype, tolerance
):
  spec = SPECS[num_patches]
  model = tiny.tiny_policy(spec, num_layers=2, width=16, dtype=jnp.dtype(dtype))
  inputs = jax.device_put(inputs_of(spec, model.context))
  valid = inputs[-1]
  params = tiny.loud_params(model, *inputs)
  rng = np.random.default_rng(1)
  directions = [rng.normal(size=(*valid.shape, classes)) for classes in (5, 4, 4)]

  def run(model):
    def loss(params):
      found = read_out(model.apply({'params': params}, *inputs), valid)
      terms = zip(found, directions, strict=True)
      return sum((logits * direction).sum() for logits, direction in terms), found

    (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return logits, gradients

  (mine, my_gradients), (theirs, their_gradients) = run(model), run(plain_of(model))
  assert np.ptp(np.asarray(theirs[1]), axis=0).max() > 0.1  # the rows differ
  assert_close(mine, theirs, tolerance)
  if dtype == 'float32':
    assert_close(my_gradients, their_gradients, tolerance)
  else:
    assert_close_together(my_gradients, their_gradients, tolerance)


def assert_close_together(found, expected, tolerance):
  """The difference of two trees is a small part of the other's length."""
  difference = jax.tree.map(jnp.subtract, found, expected)
  lengths = [
    np.sqrt(sum(np.square(leaf).sum() for leaf in tiny.leaf_items(tree).values()))
    for tree in (difference, expected)
  ]
  assert lengths[0] <= tolerance * lengths[1]


@pytest.mark.slow
def test_a_step_and_a_decision_are_measured_beside_their_plain_form():
  model = tiny.tiny_policy(
    ObservationSpec('image', (84, 84, 1), 'uint8'), patch_size=42
  )
  steps = step_programs(model, 2)
  metrics = [program.run() for program in steps.values()]
  assert list(steps) == ['DT step', 'plain DT step']
  for name, mine in metrics[0].items():
    np.testing.assert_allclose(mine, metrics[1][name], rtol=1e-4, err_msg=name)
  decisions = [program.run().tolist() for program in acting_programs(model).values()]
  assert decisions[0] == decisions[1]
  assert len(set(decisions[0])) > 1
