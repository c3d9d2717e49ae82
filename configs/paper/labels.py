"""Label efficiency, the curve that the paper lacks: how many labels are enough?

  ./launch/reproduce.sh labels/maze

maze   50 to 10,000 labels; 25 minutes on 2 cores
atari  recorded Breakout (`targets=` another game), 100 to 10,000 labels; 30 minutes

Cloning of the labels (BC), DT1-IDM, ALPT from one base for all budgets, and the oracle.
The labels of a smaller budget are among those of a larger one.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
GAMES = ('Asterix', 'Breakout', 'Freeway', 'Seaquest', 'SpaceInvaders')
BUDGETS = {'maze': (50, 100, 250, 1_000, 10_000), 'atari': (100, 1_000, 10_000)}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS)
  (target,) = a.targets or ({'maze': 'own', 'atari': 'Breakout'}[a.part],)
  budgets = (20,) if a.size == 'smoke' else BUDGETS[a.part]
  others = '+'.join(game for game in GAMES if game != target)
  sources = 'blocked' if a.part == 'maze' else others
  runs = []
  for seed in a.seeds:
    name = f'base-{seed}'
    same = {'seed': seed, 'target': target}
    base = {**same, 'phase': 'sources', 'name': name, 'sources': sources}
    runs.append(shared.run(a, 'base', 'alpt', max(budgets), **base))
    for labels in budgets:
      runs += [
        shared.run(a, 'BC', 'bc', labels, **same),
        shared.run(a, 'DT1-IDM', 'dt1-idm', labels, **same),
        shared.run(a, 'ALPT', 'alpt', labels, initial=name, **same),
      ]
    runs.append(shared.run(a, 'Oracle', 'oracle', max(budgets), **same))
  metric = 'success_sampled' if a.part == 'maze' else 'score'
  where = 'the introduction'
  claims = [
    shared.claim(
      'substantial improvements in generating action labels',
      where,
      'idm_accuracy',
      'ALPT',
      'DT1-IDM',
    ),
    shared.claim(
      'as little as 10k labelled samples required', where, metric, 'ALPT', 'BC'
    ),
  ]
  title = 'How many labels are enough (not in the paper)'
  return shared.experiment(a, 'labels', title, runs, claims)
