"""Figure 2 (section 5.3): each environment once the target, the others its sources.

  ./launch/reproduce.sh figure2            both parts, at the size of a CPU
  ./launch/reproduce.sh figure2/maze --seeds 5

maze   five mazes of two forms, 250 labels; about 25 minutes on 2 cores
atari  recorded Breakout (`targets=Breakout+Freeway` for two), 300 labels; 25 minutes.
       size=paper: the five games, 10,000 labels

The twins pretrain once for each target and seed, on the sources alone, and all
pretrained methods start from that: its DT has seen recorded actions only, so it is
DT5's as well. The paper's size pretrains each method on its own data (section 4.2).
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
MAZES = ('blocked', 'blocked2', 'blocked3', 'tunneled', 'tunneled2')
BUDGETS = {'maze': (250,), 'atari': (300,), ('atari', 'paper'): (10_000,)}
TARGETS = {'maze': MAZES, 'atari': ('Breakout',), ('atari', 'paper'): shared.GAMES}
PRETRAINED = {'DT5': 'dt5', 'DT5-RET': 'dt5-ret', 'ALPT': 'alpt'}
ALONE = {'DT1': 'dt1', 'DT1-IDM': 'dt1-idm'}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS, TARGETS)
  environments = MAZES if a.part == 'maze' else shared.GAMES
  (labels,) = a.budgets
  runs = []
  for seed in a.seeds:
    for target in a.targets:
      sources = '+'.join(name for name in environments if name != target)
      same = {'labels': labels, 'seed': seed, 'target': target}
      runs += _pretraining(a, same, sources)
      for title, method in PRETRAINED.items():
        base = title if a.size == 'paper' else 'base'
        initial = _name(base, target, seed)
        runs.append(shared.run(a, title, method, initial=initial, **same))
      runs += [shared.run(a, title, method, **same) for title, method in ALONE.items()]
  # (sentence, where it stands, metric, compared with)
  sentences = (
    (
      'pretraining ALPT on the source games results in substantial downstream '
      'performance improvements',
      'section 5.3, figure 2',
      a.metric,
      'DT1-IDM',
    ),
    (shared.LABELLING, 'the abstract', 'idm_accuracy', 'DT1-IDM'),
    (
      'performance is not recovered under pretraining only the sequence model (DT5) on '
      'the action rich environments',
      'section 5.3, figure 2',
      a.metric,
      'DT5',
    ),
    (
      'performance using DT1 and DT5-RET is poor',
      'section 5.3, figure 2',
      a.metric,
      'DT5-RET',
    ),
  )
  claims = [
    shared.claim(sentence, where, metric, 'ALPT', over)
    for sentence, where, metric, over in sentences
  ]
  title = 'Five environments, each once the target (figure 2)'
  return shared.experiment(a, 'figure2', title, runs, claims)


def _name(base: str, target: str, seed: int) -> str:
  return f'{base}-{target}-{seed}'


def _pretraining(a, same: dict, sources: str) -> list:
  """One run that serves all methods, or at the paper's size one for each."""
  target, seed = same['target'], same['seed']
  same = {**same, 'sources': sources}
  if a.size != 'paper':
    name = _name('base', target, seed)
    return [shared.run(a, 'base', 'alpt', phase='sources', name=name, **same)]
  return [
    shared.run(
      a,
      f'{title} (pretraining)',
      method,
      phase='pretrain',
      name=_name(title, target, seed),
      **same,
    )
    for title, method in PRETRAINED.items()
  ]
