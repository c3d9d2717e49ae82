"""The programs, run as `python -m alpt_jax.bin.NAME`: flags in, rooms wired, go."""
