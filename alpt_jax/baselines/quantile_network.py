"""The network of QR-DQN (Dabney et al., 2018): every action's return as N quantiles."""

import flax.linen as nn
import jax.numpy as jnp

from alpt_jax.models.embedding import standardised
from alpt_jax.specs import ObservationSpec

# (channels, side of the kernel, stride): Mnih et al. (2015).
_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
# Uniform with this share of the inverse fan-in, as Dopamine's QR-DQN and so Kumar et
# al.'s CQL begin.
_INIT = nn.initializers.variance_scaling(3**-0.5, 'fan_in', 'uniform')


class QuantileNetwork(nn.Module):
  """`[B, C, ...]` the last C observations -> `[B, A, N]` quantiles of the return.

  Their mean over N is Q. Images are stacked as channels and go through DQN's
  convolution, padded to whole strides as in Kumar et al.'s code; numbers go to the
  dense layers as they are, each scaled by its own range like everywhere else.

  Attributes:
    observation_spec: the form of one observation.
    num_actions: A.
    context: C, the frames of a stack; older ones than the episode's first are zero.
    num_quantiles: N.
    width: of the dense layers (512 in DQN).
    num_layers: of dense layers (1 in DQN).
  """

  observation_spec: ObservationSpec
  num_actions: int
  context: int
  num_quantiles: int
  width: int
  num_layers: int

  @nn.compact
  def __call__(self, observations):
    if self.observation_spec.kind == 'image':
      x = self._convolved(observations)
    else:
      x = standardised(self.observation_spec, observations).astype(jnp.float32)
    x = x.reshape(len(x), -1)
    for index in range(self.num_layers):
      x = nn.relu(nn.Dense(self.width, kernel_init=_INIT, name=f'dense_{index}')(x))
    size = self.num_actions * self.num_quantiles
    x = nn.Dense(size, kernel_init=_INIT, name='quantiles')(x)
    return x.reshape(len(x), self.num_actions, self.num_quantiles)

  def _convolved(self, observations):
    batch, frames, height, width, channels = observations.shape
    x = observations.transpose(0, 2, 3, 1, 4).astype(jnp.float32) / 255
    x = x.reshape(batch, height, width, frames * channels)
    for index, (features, side, stride) in enumerate(_CONVOLUTIONS):
      x = nn.Conv(
        features,
        (side, side),
        (stride, stride),
        kernel_init=_INIT,
        name=f'convolution_{index}',
      )(x)
      x = nn.relu(x)
    return x


def quantile_huber(predicted, target, cutoff: float):
  """How far N quantiles are from those of a target, row by row.

  Args:
    predicted: `[B, N]` quantiles at the levels (i + 1/2) / N, in any order of size.
    target: `[B, M]` samples of the target, each as likely as any other.
    cutoff: kappa, up to which an error counts squared; above 0.

  Returns:
    `[B]`: the mean over the target's samples, summed over the quantiles; equations 9
    and 10 of Dabney et al. (2018), without the division by kappa, as Dopamine and
    Kumar et al. have it (all take kappa 1).
  """
  num_quantiles = predicted.shape[-1]
  levels = (jnp.arange(num_quantiles) + 0.5) / num_quantiles
  errors = target[:, None, :] - predicted[:, :, None]
  size = jnp.abs(errors)
  inside = jnp.minimum(size, cutoff)
  huber = inside * (size - inside / 2)
  asymmetry = jnp.abs(levels[:, None] - (errors < 0))
  return (asymmetry * huber).mean(2).sum(1)
