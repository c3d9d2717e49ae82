"""Should the policy know how sure the IDM is of its labels? (Section 4.2, and ours.)

  python -m alpt_jax.bin.reproduce --config=configs/confidence.py:maze \
      --out=runs/confidence-maze
  python -m alpt_jax.bin.reproduce --config=configs/confidence.py:atari \
      --out=runs/confidence-atari

maze   DT1-IDM and ALPT with 50 and 250 labels, five mazes each: 120 runs
atari  Breakout, finetuned from one base on five draws of 300 labels: 26 runs

Arms, each otherwise the run beside it:
  plain           the likeliest action counts in full, as in the paper
  weighted        it counts by the IDM's confidence
  surest          it counts in full from that confidence on, and stays unknown below
  soft            the IDM's probabilities are the target
  soft, weighted  both

When the paper's way would give way was settled before the first run: if, for one arm,
Student's interval of the paired difference at 1 - .05 / 4 is above 0 for success in the
mazes, and not below 0 for the score in Breakout.
"""

import ml_collections

from configs import atari_demo

# Arm -> fields of `training`.
ARMS = {
  'plain': {},
  'weighted': {'confidence_weighting': True},
  'surest .9': {'confidence_threshold': 0.9},
  'soft': {'relabelling': 'soft'},
  'soft, weighted': {'relabelling': 'soft', 'confidence_weighting': True},
}
# Mazes are cheap enough for a second threshold.
MAZE_ARMS = {**ARMS, 'surest .5': {'confidence_threshold': 0.5}}
TITLES = {'dt1-idm': 'DT1-IDM', 'alpt': 'ALPT'}
# None that the quickstart reports.
MAZE_SEEDS = (100, 101, 102, 103, 104)


def get_config(text: str = 'maze') -> ml_collections.ConfigDict:
  """One part; the fields are explained in configs/quickstart.py."""
  parts = {'maze': _maze, 'atari': _atari}
  if text not in parts:
    raise ValueError(f"part '{text}' is not known. Known: {', '.join(parts)}")
  config = parts[text]()
  config.experiment = f'confidence-{text}'
  return config


def _maze() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.run_config = 'configs/maze.py'
  config.runs = tuple(
    (
      f'method={method},labels={labels},seed={seed}',
      {'title': f'{TITLES[method]}, {arm}', 'training': fields},
      '',
    )
    for seed in MAZE_SEEDS
    for labels in (50, 250)
    for method in TITLES
    for arm, fields in MAZE_ARMS.items()
  )
  config.overrides = ml_collections.ConfigDict()
  config.record = ml_collections.ConfigDict()
  config.record.episodes = 500
  config.record.epsilon = 0.5
  return config


def _atari() -> ml_collections.ConfigDict:
  """The laptop's demo, its ALPT runs once for each arm."""
  config = atari_demo.get_config('Breakout')
  base, *others = config.runs
  demo = [entry for entry in others if 'method=alpt,' in f'{entry[0]},']
  config.runs = (
    base,
    *(
      (
        text,
        {
          **changes,
          'title': f'{changes["title"]}, {arm}',
          'training': {**changes['training'], **fields},
        },
        '',
      )
      for text, changes, _ in demo
      for arm, fields in ARMS.items()
    ),
  )
  return config
