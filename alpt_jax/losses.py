"""What is minimised and what is reported: masked means over transitions.

Floor 1. Every function takes weights, 0 on whatever must not count; a sum of
weights of 0 gives 0, not NaN.
"""

import jax
import jax.numpy as jnp


def weighted_mean(values, weights, total=None):
  """`sum(weights * values) / sum(weights)`; 0 where all weights are 0.

  Positions of weight 0 may hold anything, infinities and NaN included: they are
  dropped before they are multiplied, and get a gradient of 0.

  Args:
    values: `[...]`.
    weights: `[...]`.
    total: divides instead of `sum(weights)`: the sum of a whole batch, of which this
      is a part, so that the parts' results add up to the batch's.
  """
  weights = weights.astype(jnp.float32)
  weighted = (jnp.where(weights > 0, values, 0.0) * weights).sum()
  return weighted / _positive(weights.sum() if total is None else total)


def _positive(total):
  """A sum of weights to divide by: 1 for 0, so that gradients stay finite."""
  return jnp.where(total > 0, total, 1.0)


def cross_entropy(logits, targets, weights, normalisation: str = 'token', total=None):
  """Mean cross-entropy over the weighted positions, in nats.

  Positions of weight 0 may hold anything and get a gradient of 0.

  Args:
    logits: `[..., C]`, any float dtype; computed in float32.
    targets: `[...]` int class indices, or `[..., C]` probabilities.
    weights: `[...]`, 0 where a position must not count.
    normalisation: 'token' for the plain cross-entropy, 'notebook' for Lee et
      al.'s public notebook, which divides it by the number of classes C.
    total: see `weighted_mean`.
  """
  counts = (weights > 0)[..., None]
  # Before the softmax: behind it a gradient of 0 would meet NaN and become NaN.
  logits = jnp.where(counts, logits.astype(jnp.float32), 0.0)
  log_probabilities = jax.nn.log_softmax(logits)
  if targets.ndim == logits.ndim:
    values = -(targets * log_probabilities).sum(-1)
  else:
    values = -jnp.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0]
  if normalisation == 'notebook':
    values = values / logits.shape[-1]
  return weighted_mean(values, weights, total)


def accuracy(guesses, targets, weights, total=None):
  """Share of weighted positions where `guesses == targets`; `total` as above."""
  return weighted_mean((guesses == targets).astype(jnp.float32), weights, total)


def expected_calibration_error(confidence, correct, weights, num_bins: int = 15):
  """Mean gap between confidence and accuracy over equal-width confidence bins.

  Args:
    confidence: `[...]` in [0, 1].
    correct: `[...]` bool.
    weights: `[...]`, 0 where a position must not count.
    num_bins: Guo et al. (2017) use 15.
  """
  bins = jnp.clip((confidence * num_bins).astype(jnp.int32), 0, num_bins - 1)
  inside = jax.nn.one_hot(bins, num_bins) * weights[..., None]
  axes = tuple(range(inside.ndim - 1))
  # Like the above, whatever has no weight may hold NaN.
  gap = jnp.where(weights > 0, correct - confidence, 0.0)
  gap = (inside * gap[..., None]).sum(axes)
  return jnp.abs(gap).sum() / _positive(weights.sum())
