"""What more labels, or sources, would bring to recordings of your own.

  python -m alpt_jax.bin.reproduce --out=runs/curve --config=\\
      configs/own_curve.py:target=data/mygame,sources=data/other,labels=2000
  python -m alpt_jax.bin.label --run=DIR --data=data/mygame --out=DIR --curve=runs/curve

A quarter, a half and all of `labels`, each without sources (dt1-idm) and, where there
are some, with them (alpt); each with several draws of the labels. Every run is one of
configs/own.py. The label card compares the runs of one draw with each other.

Arguments behind the colon, those of configs/own.py and:
  labels    the largest number of recorded actions that is learnt from; no more than
            are left when those for the audit are set aside
  draws     seeds from 0 on (default 3, the fewest that give an interval)
  steps     of training; 0 (default) for the size's own
"""

import ml_collections

from configs import shared


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """The runs; the fields are explained in configs/quickstart.py."""
  a = shared.parse(
    text,
    {
      'target': '',
      'sources': '',
      'labels': 0,
      'draws': 3,
      'steps': 0,
      'observation': 'image',
      'size': 'small',
      'batch': 0,
    },
    ('small', 'paper', 'large'),
  )
  if not a['target']:
    raise ValueError('target: expected a dataset folder, target=DIR')
  if a['labels'] < 4:
    raise ValueError(f'labels: expected at least 4, found {a["labels"]}')
  methods = ['method=dt1-idm']
  if a['sources']:
    methods.append(f'method=alpt,sources={a["sources"]}')
  alike = ','.join(f'{name}={a[name]}' for name in ('target', 'observation', 'size'))
  config = ml_collections.ConfigDict()
  config.experiment = 'own_curve'
  config.run_config = 'configs/own.py'
  config.runs = tuple(
    f'{method},{alike},batch={a["batch"]},labels={labels},seed={seed}'
    for labels in (a['labels'], a['labels'] // 2, a['labels'] // 4)
    for method in methods
    for seed in range(a['draws'])
  )
  config.overrides = ml_collections.ConfigDict()
  if a['steps']:
    config.overrides.training = ml_collections.ConfigDict({'num_steps': a['steps']})
  # Nothing is recorded for it.
  config.record = ml_collections.ConfigDict()
  return config
