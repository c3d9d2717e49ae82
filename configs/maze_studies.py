"""Questions about the mazes whose answers stand in docs/mazes.md.

  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:greedy \
      --out=runs/greedy
  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:few_labels \
      --out=runs/few_labels
  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:sources \
      --out=runs/sources

greedy      why greedy play fails, and what mends it (about 10 minutes on 2 cores)
few_labels  what a labelled source maze adds to 250 labels, on five mazes (5 minutes)
sources     what a tunneled source adds to a blocked one with next to no labels
            (10 minutes)

Every run is one of configs/maze.py, with the settings that stand behind its title;
the seeds are none that the quickstart reports.
"""

import ml_collections

# (title, arguments of configs/maze.py, optimiser steps, width)
STUDIES = {
  'greedy': (
    ('position', 'method=alpt,observation=position', 1_000, 64),
    ('position, 128 wide', 'method=alpt,observation=position', 1_500, 128),
    ('position, 4,000 steps', 'method=alpt,observation=position', 4_000, 64),
    ('position, all labels', 'method=oracle,observation=position', 1_000, 64),
    ('walls', 'method=alpt,observation=position_walls', 1_000, 64),
    ('walls, 3,000 steps', 'method=alpt,observation=position_walls', 3_000, 64),
  ),
  'few_labels': (
    ('ALPT-Blocked', 'method=alpt', 1_500, 64),
    ('DT1-IDM', 'method=dt1-idm', 1_500, 64),
  ),
  'sources': tuple(
    (title, f'method=alpt,sources={sources},labels={labels}', 1_500, 64)
    for labels in (10, 20)
    for title, sources in (
      ('ALPT-Blocked', 'blocked'),
      ('ALPT-Blocked+Tunneled', 'blocked+tunneled'),
    )
  ),
}
_FIVE = (100, 101, 102, 103, 104)
SEEDS = {'greedy': (100, 101), 'few_labels': _FIVE, 'sources': _FIVE}


def get_config(study: str = 'greedy') -> ml_collections.ConfigDict:
  """One study; the fields are explained in configs/quickstart.py."""
  if study not in STUDIES:
    raise ValueError(f"study '{study}' is not known. Known: {', '.join(STUDIES)}")
  config = ml_collections.ConfigDict()
  config.experiment = study
  config.run_config = 'configs/maze.py'
  # Longest first, so that no worker is left alone with a long one.
  ordered = sorted(STUDIES[study], key=lambda variant: -variant[2] * variant[3])
  config.runs = tuple(
    (
      f'{text},seed={seed}',
      {
        'title': title,
        'training': {'num_steps': num_steps, 'evaluate_every': num_steps // 4},
        'model': {'width': width},
      },
      '',
    )
    for title, text, num_steps, width in ordered
    for seed in SEEDS[study]
  )
  config.overrides = ml_collections.ConfigDict()
  config.record = ml_collections.ConfigDict()
  config.record.episodes = 500
  config.record.epsilon = 0.5
  return config
