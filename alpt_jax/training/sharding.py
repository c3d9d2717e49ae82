"""Where arrays live: a mesh of (data, fsdp), one rule for the whole train state.

Batches are split over both axes. Of the state, small leaves are replicated and
each large one is split along its largest divisible dimension over `fsdp`; the
models know nothing of it.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Below this many elements splitting a leaf costs more than it saves (ours).
_SMALL = 2**16


def make_mesh(fsdp: int = 1, devices=None) -> Mesh:
  """A mesh over all devices, or those given, `fsdp` of them sharing the state."""
  devices = jax.devices() if devices is None else devices
  # Auto explicitly: the default of newer JAX, Explicit, breaks nn.Embed.
  return jax.make_mesh(
    (len(devices) // fsdp, fsdp),
    ('data', 'fsdp'),
    axis_types=(AxisType.Auto, AxisType.Auto),
    devices=devices,
  )


def state_shardings(abstract_state, mesh: Mesh):
  """A sharding per leaf of a tree of shapes."""
  size = mesh.shape['fsdp']

  def rule(leaf):
    dimensions = [d for d in range(len(leaf.shape)) if leaf.shape[d] % size == 0]
    if size == 1 or np.prod(leaf.shape) < _SMALL or not dimensions:
      return NamedSharding(mesh, PartitionSpec())
    largest = max(dimensions, key=lambda d: leaf.shape[d])
    spec = [None] * len(leaf.shape)
    spec[largest] = 'fsdp'
    return NamedSharding(mesh, PartitionSpec(*spec))

  return jax.tree.map(rule, abstract_state)


def place_batch(batch, mesh: Mesh):
  """Host-local rows -> global arrays, split over every device of the mesh."""
  sharding = NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))
  if mesh.size == 1:
    return jax.device_put(batch, sharding)
  return jax.tree.map(
    lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)),
    batch,
  )
