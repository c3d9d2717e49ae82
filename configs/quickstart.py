"""The quickstart: figure 5 of the paper and its label gap, on a laptop's CPU.

  ./launch/quickstart.sh            all of it, about 10 minutes on 2 cores
  ./launch/quickstart.sh --smoke    the same way in under a minute; learns nothing

Every run is one of configs/maze.py with the arguments listed in `runs`.
"""

import ml_collections

METHODS = (
  'method=dt1',
  'method=dt1-idm',
  'method=alpt,sources=blocked',
  'method=alpt,sources=blocked+tunneled',
)


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """`text` is '' or 'smoke'."""
  if text not in ('', 'smoke'):
    raise ValueError(f"argument '{text}' is not known. Known: smoke")
  is_smoke = text == 'smoke'
  config = ml_collections.ConfigDict()
  config.experiment = 'quickstart-smoke' if is_smoke else 'quickstart'
  # The file that makes a run's config out of one of `runs`.
  config.run_config = 'configs/maze.py'
  # 250 labels as in section 5.6; 50, where the gap is widest; the oracle has all.
  budgets = (50,) if is_smoke else (50, 250)
  seeds = (0,) if is_smoke else (0, 1)
  # Budgets inside: runs of one method share their programs.
  runs = [f'{method},labels={labels}' for method in METHODS for labels in budgets]
  runs.append(f'method=oracle,labels={budgets[-1]}')
  config.runs = tuple(f'{run},seed={seed}' for run in runs for seed in seeds)
  # Fields of every run's config that differ from configs/maze.py.
  config.overrides = overrides = ml_collections.ConfigDict()
  overrides.training = training = ml_collections.ConfigDict()
  training.num_steps = 8 if is_smoke else 1_500
  training.evaluate_every = 4 if is_smoke else 250
  overrides.evaluation = evaluation = ml_collections.ConfigDict()
  evaluation.num_transitions = 64 if is_smoke else 4_096
  evaluation.num_episodes = 8 if is_smoke else 256
  config.record = ml_collections.ConfigDict()
  # Episodes of each maze (section 5.1: 500).
  config.record.episodes = 40 if is_smoke else 500
  # Share of uniformly random actions (section 5.1: 0.5).
  config.record.epsilon = 0.5
  return config
