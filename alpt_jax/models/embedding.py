"""Observations, returns, actions and rewards -> tokens of width D."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from alpt_jax.specs import ObservationSpec

# Standard deviation of embedding tables, positions and encodings (Lee et al.).
_STDDEV = 0.02
# How loud a change of a pixel is beside the pixel (ours). Few pixels change. On five
# Atari games pairs found the actions of Freeway, where guessing finds .34, with .33 at
# 2 (401 steps), .37 at 8 (244) and .66 at 32 (233), and 128 was no better.
CHANGE_SCALE = 32


def num_observation_tokens(spec: ObservationSpec, patch_size: int) -> int:
  """P: how many tokens one observation becomes.

  An image whose side is no multiple of the patch loses its remainder, as a
  'VALID' convolution does; an image smaller than the patch has no token.
  """
  if spec.kind == 'image':
    return (spec.shape[0] // patch_size) * (spec.shape[1] // patch_size)
  return 1


def with_changes(observations, valid, dtype):
  """Each transition's image and, in further channels, what it changed on the screen.

  Two frames that lie 36 tokens apart are the same but for a few pixels; side by
  side in one patch, their difference need not be learned first.

  Args:
    observations: `[B, T + 1, height, width, channels]` uint8.
    valid: `[B, T]` bool, False on padding.
    dtype: of the result.

  Returns:
    `[B, T, height, width, 2 * channels]`, o_t and CHANGE_SCALE * (o_{t+1} - o_t);
    0 on padding, so that no difference between it and a frame shows.

  Ours.
  """
  pixels = observations.astype(dtype)
  changes = CHANGE_SCALE * (pixels[:, 1:] - pixels[:, :-1])
  frames = jnp.concatenate([pixels[:, :-1], changes], axis=-1)
  return jnp.where(valid[:, :, None, None, None], frames, 0)


def standardised(spec: ObservationSpec, observations):
  """Numbers of an observation at one scale, `[..., C]` -> `[..., C]` float.

  Integers are centred, with the unit variance of a uniform entry: a wall that is 0 or
  1 must not be scaled like a coordinate up to 19. A vector stays as it is.
  """
  if spec.kind != 'integers':
    return observations
  values = np.array(spec.num_values)
  deviation = ((np.maximum(values, 2) ** 2 - 1) / 12) ** 0.5
  return (observations - (values - 1) / 2) / deviation


class ObservationEmbedding(nn.Module):
  """`[B, F, ...]` observations of F frames -> `[B, F, P, D]` tokens.

  An image becomes patches, each projected linearly, plus a learned encoding of
  its place; a vector one linear projection, and so do integers, each scaled by its
  own range. (With a learned row for each integer instead the maze IDM stood at .44
  after 500 steps, with numbers, which tell at once what moved where, at .98.)

  Attributes:
    spec: the form of the observations.
    width: D.
    patch_size: side of a square patch; read for images only.
    dtype: of the computation.
  """

  spec: ObservationSpec
  width: int
  patch_size: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, observations):
    if self.spec.kind == 'image':
      return self._image(observations)
    return self._vector(observations)

  def _image(self, observations):
    batch, frames, height, width, channels = observations.shape
    side = self.patch_size
    rows, columns = height // side, width // side
    pixels = observations[:, :, : rows * side, : columns * side].astype(self.dtype)
    pixels = (pixels / 255).reshape(batch, frames, rows, side, columns, side, channels)
    patches = pixels.transpose(0, 1, 2, 4, 3, 5, 6)
    patches = patches.reshape(batch, frames, rows * columns, -1)
    tokens = nn.Dense(self.width, dtype=self.dtype, name='image_emb')(patches)
    encoding = self.param(
      'image_pos_enc',
      nn.initializers.normal(_STDDEV),
      (1, 1, rows * columns, self.width),
    )
    return tokens + encoding

  def _vector(self, observations):
    observations = standardised(self.spec, observations)
    # As small as positions at first: which observation a number is from then counts
    # as much as the number. At unit variance the maze IDM needed twice the steps.
    project = nn.Dense(
      self.width,
      kernel_init=nn.initializers.normal(_STDDEV),
      dtype=self.dtype,
      name='vector',
    )
    return project(observations.astype(self.dtype))[:, :, None]


class ActionEmbedding(nn.Module):
  """Joint actions -> tokens, with one further row for an unknown action.

  The one place of the model that knows of missing actions. The row stands apart
  from the table, so a vocabulary grows at the table's end.

  Attributes:
    num_actions: A.
    width: D.
    dtype: of the computation.
  """

  num_actions: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, actions, is_known):
    """`actions [...]` int32, read only where `is_known [...]` -> `[..., D]`."""
    init = nn.initializers.truncated_normal(_STDDEV)
    table = nn.Embed(
      self.num_actions, self.width, embedding_init=init, dtype=self.dtype, name='table'
    )
    unknown = self.param('unknown', init, (self.width,))
    return jnp.where(is_known[..., None], table(actions), unknown.astype(self.dtype))


def token_embedding(num_values: int, width: int, dtype, name: str) -> nn.Embed:
  """The table of returns or rewards."""
  init = nn.initializers.truncated_normal(_STDDEV)
  return nn.Embed(num_values, width, embedding_init=init, dtype=dtype, name=name)


def position_embedding(module: nn.Module, num_tokens: int, width: int):
  """`[num_tokens, width]`: the learned embedding of a token's place."""
  init = nn.initializers.truncated_normal(_STDDEV)
  return module.param('positional_embeddings', init, (num_tokens, width))
