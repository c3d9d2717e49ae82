"""Why greedy play fails on the mazes, and what mends it: docs/mazes.md's first table.

  python -m alpt_jax.bin.reproduce --config=configs/greedy.py --out=runs/greedy

About 10 minutes on 2 cores. Every run is one of configs/maze.py, with the settings
that stand behind its title; the seeds are none that the results report.
"""

import ml_collections

# (title, arguments of configs/maze.py, optimiser steps, width)
VARIANTS = (
  ('position', 'method=alpt,observation=position', 1_000, 64),
  ('position, 128 wide', 'method=alpt,observation=position', 1_500, 128),
  ('position, 4,000 steps', 'method=alpt,observation=position', 4_000, 64),
  ('position, all labels', 'method=oracle,observation=position', 1_000, 64),
  ('walls', 'method=alpt,observation=position_walls', 1_000, 64),
  ('walls, 3,000 steps', 'method=alpt,observation=position_walls', 3_000, 64),
)
SEEDS = (100, 101)


def get_config() -> ml_collections.ConfigDict:
  """The experiment; the fields are explained in configs/quickstart.py."""
  config = ml_collections.ConfigDict()
  config.experiment = 'greedy'
  config.run_config = 'configs/maze.py'
  # Longest first, so that no worker is left alone with a long one.
  ordered = sorted(VARIANTS, key=lambda variant: -variant[2] * variant[3])
  config.runs = tuple(
    (
      f'{text},labels=250,seed={seed}',
      {
        'title': title,
        'training': {'num_steps': num_steps, 'evaluate_every': num_steps // 4},
        'model': {'width': width},
      },
    )
    for title, text, num_steps, width in ordered
    for seed in SEEDS
  )
  config.overrides = ml_collections.ConfigDict()
  config.record = ml_collections.ConfigDict()
  config.record.episodes = 500
  config.record.epsilon = 0.5
  return config
