"""TensorFlow, which only moves bytes here: silent, off the GPUs, in little memory.

The files that need it take it from here, and are imported only where such data
are really read or written.
"""

import contextlib
import os
import time

from alpt_jax import heap
from alpt_jax.errors import UserError

# Read once, when TensorFlow is imported: no greeting from oneDNN, no notices, and none
# of what is raised as well (a damaged file). Restored for what reads it later.
_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'
_level = os.environ.get(_LEVEL)
os.environ[_LEVEL] = '3'
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

try:
  import tensorflow as tf
except ImportError as error:
  is_missing = isinstance(error, ModuleNotFoundError)
  reason = f'{error}'.strip().splitlines()[-1]
  raise UserError(
    f'RLDS files and shards of RL Unplugged need TensorFlow ({reason}). '
    + ('Run' if is_missing else 'Install it anew')
    + ': pip install tensorflow-cpu tensorflow-datasets; or convert them where it is '
    'installed.'
  ) from error
finally:
  if _level is None:
    del os.environ[_LEVEL]
  else:
    os.environ[_LEVEL] = _level

# Too late, and harmless, if someone has already used TensorFlow.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], 'GPU')

__all__ = ['give_back', 'tf']

# Ours: seconds between two calls, of 20 ms each.
_SECONDS_PER_TRIM = 1.0
_trimmed = time.monotonic()


def give_back() -> None:
  """Returns freed memory to the system now and then; to be called often.

  TensorFlow's threads allocate what others free: 500 MB more after 4,000 batches of a
  stream.
  """
  global _trimmed
  if time.monotonic() - _trimmed < _SECONDS_PER_TRIM:
    return
  _trimmed = time.monotonic()
  heap.give_back()
