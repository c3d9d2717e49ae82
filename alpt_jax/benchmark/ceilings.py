"""What the device does at best, measured beside what is compared with it."""

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax.benchmark.programs import Program
from alpt_jax.benchmark.timing import take_turns

MATMUL, COPY = 'matmul', 'copy'

# Platform -> side of the square matrices, bytes that are copied: as large as makes no
# difference any more, on a CPU a tenth of a second or so.
_LARGE = {'cpu': (2_048, 2**28), 'other': (8_192, 2**30)}


def programs(dtype: str, side: int = 0, num_bytes: int = 0) -> dict[str, Program]:
  """The two ceilings as programs: a large square matrix product, and a large copy.

  The product is of the models' dtype and precision. The copy reads `num_bytes` and
  writes as many, with another sign: of a plain copy a compiler would leave nothing.

  Args:
    dtype: 'float32' or 'bfloat16'.
    side: of the matrices; 0: as fits the default device.
    num_bytes: copied; 0: as fits it.
  """
  platform = jax.default_backend()
  large = _LARGE.get(platform, _LARGE['other'])
  side, num_bytes = side or large[0], num_bytes or large[1]
  matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
  array = jnp.ones(num_bytes // 4, jnp.float32)
  multiply = jax.jit(jnp.matmul)
  # In place: a fresh array's pages would cost a CPU more than what is written there.
  negate = jax.jit(jnp.negative, donate_argnums=0)

  def copy():
    nonlocal array
    array = negate(array)
    return array

  return {
    MATMUL: Program(
      lambda: multiply(matrix, matrix),
      flops=2.0 * side**3,
      moved=3 * matrix.nbytes,
      memory=3 * matrix.nbytes,
    ),
    COPY: Program(copy, moved=2 * num_bytes, memory=num_bytes),
  }


def host_copy_rate(num_bytes: int = 2**28, repeats: int = 5) -> float:
  """Bytes per second that one thread of the host reads and writes, copying an array.

  That is what input does at best that has to be put together from a pool.
  """
  source = np.ones(num_bytes, np.uint8)
  goal = np.empty_like(source)
  times = take_turns({COPY: lambda: np.copyto(goal, source)}, repeats)
  return 2 * num_bytes / times[COPY].seconds
