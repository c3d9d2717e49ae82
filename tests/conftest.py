"""Settings of every test: the CPU, and a compile cache shared by one session."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
