"""What accelerators can do at best, from their makers' public specifications.

Peaks are of dense bfloat16 matrix products. Nothing is guessed: an accelerator that is
not in the table has no known peak, and whoever asks must say so.
"""

from typing import NamedTuple

_GIB = 2**30
_TPU = 'https://docs.cloud.google.com/tpu/docs'
_NVIDIA = 'https://www.nvidia.com/en-us/data-center'


class Chip(NamedTuple):
  """One accelerator, as JAX counts devices.

  Attributes:
    name: as people say it.
    device_kinds: what JAX calls it, of any version.
    peak_flops: bfloat16 FLOP/s, sparsity not counted.
    memory: bytes of high-bandwidth memory.
    link_bandwidth: bytes/s one way over one link to a neighbour; of a GPU over all of
      its NVLinks together.
    source: where these figures stand.
  """

  name: str
  device_kinds: tuple[str, ...]
  peak_flops: float
  memory: float
  link_bandwidth: float
  source: str


# The links: of v5e, v6e (4 ports) and v5p (6) half of "bidirectional ICI bandwidth per
# chip", shared by its ports; of v4, whose page lacks it, the "all-reduce bandwidth per
# pod", shared by 4,096 chips of 6 ports, which gives the same for the others.
CHIPS = (
  Chip('TPU v4', ('TPU v4',), 275e12, 32 * _GIB, 45e9, f'{_TPU}/v4'),
  Chip('TPU v5e', ('TPU v5 lite', 'TPU v5e'), 197e12, 16e9, 50e9, f'{_TPU}/v5e'),
  Chip('TPU v5p', ('TPU v5', 'TPU v5p'), 459e12, 95e9, 100e9, f'{_TPU}/v5p'),
  Chip('TPU v6e', ('TPU v6 lite', 'TPU v6e'), 918e12, 32e9, 100e9, f'{_TPU}/v6e'),
  Chip('A100 40GB', ('NVIDIA A100-SXM4-40GB',), 312e12, 40e9, 300e9, f'{_NVIDIA}/a100'),
  Chip('A100 80GB', ('NVIDIA A100-SXM4-80GB',), 312e12, 80e9, 300e9, f'{_NVIDIA}/a100'),
  Chip('H100', ('NVIDIA H100 80GB HBM3',), 989e12, 80e9, 450e9, f'{_NVIDIA}/h100'),
  Chip('H200', ('NVIDIA H200',), 989e12, 141e9, 450e9, f'{_NVIDIA}/h200'),
)


def find(device_kind: str) -> Chip | None:
  """The chip that JAX calls so (`jax.devices()[0].device_kind`), None if unknown."""
  for chip in CHIPS:
    if device_kind in chip.device_kinds:
      return chip
  return None
