"""Episodes on disk -> hidden labels -> windows -> mixed batches, in plain numpy.

Never imports `envs/` or `training/`. Only `rlds.py` here imports TensorFlow, and
only when a dataset is written or converted: training reads pools.
"""
