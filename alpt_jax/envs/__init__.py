"""Environments as `dm_env.Environment`s, and scripted players that record them.

Imports lower floors only, never `data/` or `training/`, and neither JAX nor
TensorFlow: a box that only records needs none of them.
"""
