"""Slices of TPUs by name, described by the compiler without one being there."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.training import chips
from alpt_jax.training.chips import Chip

HERE = 'here'

_CUBES = (
  '2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16 16x16x16'.split()
)
_PLANES = '1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16'.split()
# The shapes in which Google Cloud rents them (its pages on each generation).
KNOWN = {
  f'{generation}:{shape}': shape
  for generation, shapes in (
    ('v4', _CUBES),
    ('v5e', _PLANES),
    ('v5p', _CUBES),
    ('v6e', _PLANES),
  )
  for shape in shapes
}
# Slices of v5e and v6e of this shape come as one machine, all others as machines of
# 2 x 2 chips.
_ONE_HOST = (2, 4)
# So long a side of a plane has links that close its rings; of a cube each multiple of
# four has them.
_FULL_SIDE = 16
_NO_TPU_HERE = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_STDERR_LOG_LEVEL': '3',
  'TPU_MIN_LOG_LEVEL': '3',
  'TPU_LOG_DIR': 'disabled',
  # Two programs may compile at once.
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


class Topology(NamedTuple):
  """Devices to compile for.

  Attributes:
    name: as it was asked for.
    devices: as JAX describes them; only those of HERE can compute.
    chip: what each can do; None where that is not known.
    num_hosts: processes that feed them.
    shape: chips along each axis of the network; () where there is none.
  """

  name: str
  devices: list[Any]
  chip: Chip | None
  num_hosts: int
  shape: tuple[int, ...]

  def links(self, group: tuple[int, ...], order: list[Any]) -> int:
    """Links over which a chip can send at once, to others of its group.

    Along each axis in which the group's chips differ a chip has two neighbours where
    the links close a ring, and one at the ends of a row, which then sets the pace.

    Args:
      group: places in `order`; () for all.
      order: the devices in the order of the mesh.
    """
    if not self.shape:
      return 1
    members = [order[place] for place in group] if group else order
    places = np.array([device.coords for device in members])
    axes = [axis for axis in range(len(self.shape)) if np.ptp(places[:, axis])]
    return sum(2 if self._is_ring(self.shape[axis]) else 1 for axis in axes)

  def _is_ring(self, side: int) -> bool:
    if len(self.shape) == 2:
      return side == _FULL_SIDE
    return all(length % 4 == 0 for length in self.shape) and side > 1


def open_topology(name: str) -> Topology:
  """Describes a slice, or with HERE the devices of this machine.

  Raises:
    UserError: no such slice is known, or the TPU compiler is not installed.
  """
  if name == HERE:
    devices = jax.devices()
    chip = chips.find(devices[0].device_kind)
    return Topology(name, devices, chip, jax.process_count(), ())
  if name not in KNOWN:
    raise UserError(f"--topology: unknown '{name}'{did_you_mean(name, (HERE, *KNOWN))}")
  shape = tuple(int(side) for side in KNOWN[name].split('x'))
  devices = _describe(name, shape)
  num_hosts = len({device.process_index for device in devices})
  return Topology(name, devices, chips.find(devices[0].device_kind), num_hosts, shape)


def _describe(name: str, shape: tuple[int, ...]) -> list[Any]:
  """The devices of a slice, as the TPU compiler has them."""
  # There is no TPU here: nothing must look for one, or ask the network about it.
  for variable, value in _NO_TPU_HERE.items():
    os.environ.setdefault(variable, value)
  jax.config.update('jax_platforms', 'cpu')
  host = shape if shape == _ONE_HOST else tuple(min(side, 2) for side in shape[:2])
  options = {'chips_per_host_bounds': [*host, 1]}
  if name.startswith('v4'):
    options['chip_config_name'] = 'megacore'  # as v4 is used: a chip is one device
  try:
    return topologies.get_topology_desc(name, 'tpu', **options).devices
  except RuntimeError as error:
    if 'not installed' not in str(error):
      raise
    raise UserError(
      f'--topology={name}: the TPU compiler is not installed. Install it with '
      "pip install 'alpt-jax[tpu]'."
    ) from error
