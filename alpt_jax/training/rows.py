"""Some rows of a batch for a part of the training step, and back.

What is computed for a row that no loss reads costs as much as for any other. The rows
are places of every group (`types.RowUse`): where each device has whole groups of every
microbatch none is sent about. Elsewhere some are, and a few may be computed twice; the
random draws, and so the losses, are the same on all devices.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from alpt_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class Rows:
  """The places `begin` up to `end` of every group of `group` rows.

  What is taken is spread over all devices of `mesh`. The first rows come again at its
  end where their number must be a multiple of something: appended ones leave the
  others' random draws as they are.
  """

  group: int
  begin: int
  end: int
  multiple: int = 1
  mesh: Mesh | None = None

  def take(self, tree):
    """`[B, ...]` -> `[n, ...]` leaves, padded with rows that come a second time."""
    return jax.tree.map(self._wrapped, tree)

  def take_weights(self, weights):
    """`[B]` -> `[n]`, 0 for padding."""
    taken = self._wrapped(weights)
    is_row = jnp.arange(len(taken)) < self._count(weights)
    return jnp.where(is_row, taken, 0)

  def put_back(self, part, like):
    """`[n, ...]` -> `[B, ...]`, 0 in the rows that were not taken; `like` has B."""
    part = part[: self._count(like)]
    groups = part.reshape(-1, self.end - self.begin, *part.shape[1:])
    around = [(0, 0)] * groups.ndim
    around[1] = (self.begin, self.group - self.end)
    return jnp.pad(groups, around).reshape(-1, *part.shape[1:])

  def _count(self, leaf) -> int:
    return len(leaf) // self.group * (self.end - self.begin)

  def _wrapped(self, leaf):
    count = self._count(leaf)
    missing = -count % self.multiple
    if count == len(leaf) and not missing:
      return leaf
    groups = leaf.reshape(-1, self.group, *leaf.shape[1:])
    rows = groups[:, self.begin : self.end].reshape(count, *leaf.shape[1:])
    if missing:
      rows = rows[jnp.arange(count + missing) % count]
    return sharding.spread_rows(rows, self.mesh)
