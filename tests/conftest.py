"""Settings of every test: the CPU, and programs that compile twice as fast.

Compiling dominates these tests. Real processes (tests/binaries_test.py) compile
with all optimisations, as users do.
"""

import gc
import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')


def pytest_collection_finish():
  """What was imported stays: no collection needs to go through it again."""
  gc.collect()
  gc.freeze()
