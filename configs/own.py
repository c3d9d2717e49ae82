"""Recordings of your own, of which only some actions are known: one training run.

  python -m alpt_jax.bin.pretrain --workdir=runs/own \\
      --config=configs/own.py:target=data/mygame,sources=data/other+data/third

  python -m alpt_jax.bin.pretrain --workdir=runs/base \\
      --config=configs/own.py:target=data/mygame,sources=data/other,phase=sources
  python -m alpt_jax.bin.finetune --from=runs/base --workdir=runs/tuned \\
      --config=configs/own.py:target=data/mygame,phase=finetune

Datasets are folders that bin/convert or bin/record made, or RL Unplugged shards. All
must have observations of one form. Of the target's recorded actions a fifth judges the
guesses (`data.audit_share`), the others are learnt from; sources show all that they
have. Play is scored where the target is a game of the emulator (atari/...) or a maze
(maze/...); of any other only the IDM is.

Arguments behind the colon, all but the first optional:
  target    dataset folder of the game that shall be learnt
  sources   dataset folders to pretrain on, joined by '+'; read by, and needed for,
            alpt, alpt-idm, dt5 and dt5-ret in every phase but finetune
  method    dt1, dt1-idm, dt5, dt5-ret, alpt, alpt-idm, bc or cql, or oracle where all
            actions are recorded (default alpt)
  phase     joint (IDM and DT, sources and target at once, default), pretrain, sources
            (pretraining without the target) or finetune
  labels    recorded actions that are learnt from; 0 (default): all that are not set
            aside. Needed where all actions are recorded, of which it forgets the others
  observation  image (default), or vector where observations are a few numbers
  size      small (a CPU, default), paper (Table 3; a GPU or TPU) or large (many TPUs)
  batch     windows per step; 0 for the size's own
  seed      of everything that is drawn (default 0)
  root      folder for what is cut out of RL Unplugged shards (default runs/own)
"""

import pathlib

import ml_collections

from configs import atari, shared


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """The configuration of one run; see the top of this file for `text`.

  What is not set here is as in configs/atari.py, where every field is explained.
  """
  a = shared.parse(
    text,
    {
      'target': '',
      'sources': '',
      'method': 'alpt',
      'phase': 'joint',
      'labels': 0,
      'observation': 'image',
      'size': 'small',
      'batch': 0,
      'seed': 0,
      'root': 'runs/own',
    },
    ('small', 'paper', 'large'),
  )
  if not a['target']:
    raise ValueError(
      'target: expected a dataset folder: --config=configs/own.py:target=DIR'
    )
  if a['observation'] not in ('image', 'vector'):
    raise ValueError(
      f"observation: expected one of image, vector, found '{a['observation']}'"
    )
  is_image, is_small = a['observation'] == 'image', a['size'] == 'small'
  takes_sources = a['method'] in shared.WITH_SOURCES and a['phase'] != 'finetune'
  sources = a['sources'].split('+') if takes_sources and a['sources'] else []

  alike = ('method', 'phase', 'labels', 'size', 'batch', 'seed', 'root')
  config = atari.get_config(','.join(f'{name}={a[name]}' for name in alike))
  config.experiment = 'own'
  config.title = shared.title(a['method'], a['phase'])
  config.target = pathlib.PurePath(a['target']).name

  data = config.data
  data.target = a['target']
  data.sources = tuple(sources)
  # Nobody here can record them; each dataset says which environment it holds.
  data.environments = ()

  if not is_image:
    # Two frames in one patch need pixels.
    config.model.idm_form = 'frames'
    # As in the mazes, where an observation is one token: more, and more of them.
    if is_small and a['method'] != 'cql':
      config.training.num_steps = 1_500
      config.training.batch_size = a['batch'] or 64
    # Only mazes can be played; 500 steps would not tell a random walk apart.
    config.evaluation.num_episodes = 256
    config.evaluation.max_steps = 50
  # A row a step at least for the labelled quarter of the target's share.
  if not a['batch']:
    needed = round((1 + len(sources)) / data.labelled_share)
    config.training.batch_size = max(config.training.batch_size, needed)
  return config
