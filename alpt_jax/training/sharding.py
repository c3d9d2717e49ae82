"""Where arrays live: a mesh of (data, fsdp), one rule for the whole train state.

Batches are split over both axes. Of the state, small leaves and tables of embeddings
are replicated and each other one is split along its largest divisible dimension over
`fsdp`; the models know nothing of it. With several processes each of them holds the
part that lives on its own devices, and all of them must call what is computed on the
mesh.
"""

import contextlib
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Below this many elements splitting a leaf costs more than it saves (ours).
_SMALL = 2**16
# What nn.Embed calls its table; ours have a row for each action, return or reward.
_TABLE = 'embedding'


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

  def rule(path, leaf):
    dimensions = [d for d in range(len(leaf.shape)) if leaf.shape[d] % size == 0]
    is_small = np.prod(leaf.shape) < _SMALL
    # What is looked up in a split table would have to be sent about.
    is_table = jax.tree_util.keystr(path[-1:], simple=True) == _TABLE
    if size == 1 or is_small or is_table or not dimensions:
      return NamedSharding(mesh, PartitionSpec())
    largest = max(dimensions, key=lambda d: leaf.shape[d])
    spec = [None] * len(leaf.shape)
    spec[largest] = 'fsdp'
    return NamedSharding(mesh, PartitionSpec(*spec))

  return jax.tree.map_with_path(rule, abstract_state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows over every device of the mesh."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def place_batch(batch, mesh: Mesh):
  """Host-local rows -> global arrays, split over every device of the mesh."""
  sharding = batch_sharding(mesh)
  if mesh.size == 1:
    return jax.device_put(batch, sharding)
  return jax.tree.map(
    lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)),
    batch,
  )


def spread_rows(rows, mesh: Mesh | None):
  """Splits computed rows (inside a jitted function) as a batch is split."""
  if mesh is None or mesh.size == 1:
    return rows
  return jax.lax.with_sharding_constraint(rows, batch_sharding(mesh))


def place_state(state, mesh: Mesh):
  """Puts a state, however it lies, where `state_shardings` wants it."""
  return jax.jit(_same, out_shardings=state_shardings(state, mesh))(state)


def make_key(seed: int, mesh: Mesh) -> jax.Array:
  """`jax.random.key(seed)`, the same on every device."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  return jax.jit(lambda: jax.random.key(seed), out_shardings=everywhere)()


def on_one_device(tree, mesh: Mesh):
  """The whole of every leaf, on the first device of each process."""
  if mesh.size == 1:
    return tree
  whole = jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)
  return jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)


def _same(tree):
  return tree


@functools.cache
def jit_init(init_fn: Callable, mesh: Mesh | None) -> Callable:
  """Jits `init_fn(config, window, seed)` so that its state is made where it lives.

  Args:
    init_fn: of a hashable config; what it draws must not depend on the devices.
    mesh: where; None for the default device.
  """

  def placed(config, window, seed):
    state = init_fn(config, window, seed)
    return state if mesh is None else _constrained(state, mesh)

  return jax.jit(placed, static_argnums=0)


def jit_step(step_fn: Callable, mesh: Mesh | None) -> Callable:
  """Jits `step(state, batch, key) -> (state, metrics)`; the state's buffers are reused.

  Args:
    step_fn: pure.
    mesh: where the state stays, as `state_shardings` has it, and on all of which the
      metrics are; None for wherever the arguments are.
  """

  def placed(state, batch, key):
    with _rows_stay(mesh):
      state, metrics = step_fn(state, batch, key)
    if mesh is None or mesh.size == 1:
      return state, metrics
    everywhere = NamedSharding(mesh, PartitionSpec())
    return (
      _constrained(state, mesh),
      jax.lax.with_sharding_constraint(metrics, everywhere),
    )

  return jax.jit(placed, donate_argnums=0)


def _rows_stay(mesh: Mesh | None):
  """While a step is traced: what dense layers read and give stays with its rows.

  And so do the gradients of both. A compiler that is left alone may find it cheaper to
  gather a few rows than a large kernel, and then passes activations about.
  """
  if mesh is None or mesh.shape['fsdp'] == 1:
    return contextlib.nullcontext()
  rows = batch_sharding(mesh)

  def keep(next_function, arguments, keywords, context):
    if not isinstance(context.module, nn.Dense):
      return next_function(*arguments, **keywords)
    inputs = jax.lax.with_sharding_constraint(arguments[0], rows)
    outputs = next_function(inputs, *arguments[1:], **keywords)
    return jax.lax.with_sharding_constraint(outputs, rows)

  return nn.intercept_methods(keep)


def _constrained(state, mesh: Mesh):
  return jax.lax.with_sharding_constraint(state, state_shardings(state, mesh))
