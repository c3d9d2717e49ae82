"""Settings of every test: the CPU, and programs that compile fast, and once.

Compiling dominates these tests. Some real processes (tests/binaries_test.py) compile
with all optimisations, as users do. Programs are kept in .pytest_cache for the other
worker and the next run; removing it costs time only.
"""

import contextlib
import gc
import os
import pathlib
import subprocess
import sys
import time

_COMPILED = pathlib.Path(__file__).parents[1] / '.pytest_cache' / 'compiled'
_KEPT = 14 * 24 * 3600  # seconds since it was compiled

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(_COMPILED))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES', 'none')


def _is_known(flag):
  """Whether this XLA has a flag; it ends a process that has one it does not know."""
  done = subprocess.run(
    [sys.executable, '-c', 'import jax; jax.devices()'],
    env={**os.environ, 'XLA_FLAGS': flag},
    capture_output=True,
  )
  return done.returncode == 0


# The emitters of before, whose code compiles in less than half the time. Workers
# inherit the answer.
_EMITTERS = '--xla_cpu_use_fusion_emitters=false'
if 'XLA_FLAGS' not in os.environ:
  os.environ['XLA_FLAGS'] = _EMITTERS if _is_known(_EMITTERS) else ''


def pytest_sessionstart():
  for path in _COMPILED.glob('*'):
    with contextlib.suppress(FileNotFoundError):  # another worker was faster
      if time.time() - path.stat().st_mtime > _KEPT:
        path.unlink()


def pytest_collection_finish():
  """What was imported stays: no collection needs to go through it again."""
  gc.collect()
  gc.freeze()
