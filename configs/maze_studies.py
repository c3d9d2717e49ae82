"""Questions about the mazes whose answers stand in docs/mazes.md.

  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:greedy \
      --out=runs/greedy
  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:few_labels \
      --out=runs/few_labels
  python -m alpt_jax.bin.reproduce --config=configs/maze_studies.py:sources \
      --out=runs/sources

greedy      why greedy play fails, and what mends it (about 10 minutes on 2 cores)
few_labels  what a labelled source maze adds to 250 labels, on five mazes (5 minutes)
sources     what a tunneled source adds to a blocked one, with 10 and 50 labels and with
            an unchanged share for the target (15 minutes)

Every run is one of configs/maze.py, with the settings that stand behind its title;
the seeds are none that the quickstart reports.
"""

import ml_collections

# Optimiser steps, evaluations, width, and the shares of target and sources in a batch;
# () for equal ones.
USUAL = {'num_steps': 1_500, 'evaluations': 4, 'width': 64, 'weights': ()}
# (title, arguments of configs/maze.py, what is not as usual)
STUDIES = {
  'greedy': (
    ('position', 'method=alpt,observation=position', {'num_steps': 1_000}),
    ('position, 128 wide', 'method=alpt,observation=position', {'width': 128}),
    ('position, 4,000 steps', 'method=alpt,observation=position', {'num_steps': 4_000}),
    (
      'position, all labels',
      'method=oracle,observation=position',
      {'num_steps': 1_000},
    ),
    ('walls', 'method=alpt,observation=position_walls', {'num_steps': 1_000}),
    (
      'walls, 3,000 steps',
      'method=alpt,observation=position_walls',
      {'num_steps': 3_000},
    ),
  ),
  'few_labels': (
    ('ALPT-Blocked', 'method=alpt', {}),
    ('DT1-IDM', 'method=dt1-idm', {}),
  ),
  'sources': tuple(
    (
      title,
      f'method=alpt,sources={sources},labels={labels}',
      {'weights': weights, 'evaluations': 12},
    )
    for labels in (10, 50)
    for title, sources, weights in (
      ('ALPT-Blocked', 'blocked', ()),
      ('ALPT-Blocked+Tunneled', 'blocked+tunneled', ()),
      # A second source in equal shares leaves the target a third of the rows.
      ('ALPT-Blocked+Tunneled, half target', 'blocked+tunneled', (2.0, 1.0, 1.0)),
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
  variants = [
    (title, text, {**USUAL, **others}) for title, text, others in STUDIES[study]
  ]
  # Longest first, so that no worker is left alone with a long one.
  variants.sort(key=lambda variant: -variant[2]['num_steps'] * variant[2]['width'])
  config.runs = tuple(
    (
      f'{text},seed={seed}',
      {
        'title': title,
        'training': {
          'num_steps': its['num_steps'],
          'evaluate_every': its['num_steps'] // its['evaluations'],
        },
        'model': {'width': its['width']},
        'data': {'weights': its['weights']},
      },
      '',
    )
    for title, text, its in variants
    for seed in SEEDS[study]
  )
  config.overrides = ml_collections.ConfigDict()
  config.record = ml_collections.ConfigDict()
  config.record.episodes = 500
  config.record.epsilon = 0.5
  return config
