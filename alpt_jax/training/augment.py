"""Random changes of what a model sees, drawn anew at every step, on the device."""

import jax
import jax.numpy as jnp


def random_shift(observations, key, max_shift: int):
  """Shifts each window's images by a few pixels, all frames of a window alike.

  Whatever moves from one frame to the next moves as before: within a window only the
  place on the screen changes, never the motion that tells the action. What is pushed
  out on one side is lost, the other side repeats the edge. The offset of a row is
  drawn from its place in the whole batch, so it does not depend on the number of
  devices.

  `B` is windows, `F` frames per window.

  Args:
    observations: `[B, F, height, width, channels]`, any dtype; uint8 stays uint8.
    key: random key.
    max_shift: the largest shift in pixels, up, down, left and right.

  Returns:
    The same shape and dtype.

  Kostrikov et al. (2021, "DrQ") pad by the edge and crop at random, 4 pixels of 84;
  that the frames of a window move together is ours.
  """
  batch, _, height, width, _ = observations.shape
  offsets = jax.random.randint(key, (batch, 2), -max_shift, max_shift + 1)

  def shift(frames, offset):
    # An index beyond the edge reads the edge: the same as padding by it.
    rows = jnp.clip(jnp.arange(height) - offset[0], 0, height - 1)
    columns = jnp.clip(jnp.arange(width) - offset[1], 0, width - 1)
    return frames[:, rows][:, :, columns]

  return jax.vmap(shift)(observations, offsets)
