"""Label efficiency, the curve that the paper lacks: how many labels are enough?

  ./launch/reproduce.sh labels/maze

maze   50 to 10,000 labels; 25 minutes on 2 cores
atari  recorded Breakout (`targets=` other games), 100 to 10,000 labels; 30 minutes

Cloning of the labels (BC), DT1-IDM, ALPT from one base for all budgets, and the oracle.
The labels of a smaller budget are among those of a larger one.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
BUDGETS = {'maze': (50, 100, 250, 1_000, 10_000), 'atari': (100, 1_000, 10_000)}
TARGETS = {'maze': ('own',), 'atari': ('Breakout',)}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS, TARGETS)
  most = max(a.budgets)
  runs = []
  for seed in a.seeds:
    for target in a.targets:
      name = f'base-{target}-{seed}'
      others = '+'.join(game for game in shared.GAMES if game != target)
      sources = 'blocked' if a.part == 'maze' else others
      same = {'seed': seed, 'target': target}
      base = {**same, 'phase': 'sources', 'name': name, 'sources': sources}
      runs.append(shared.run(a, 'base', 'alpt', most, **base))
      for labels in a.budgets:
        runs += [
          shared.run(a, 'BC', 'bc', labels, **same),
          shared.run(a, 'DT1-IDM', 'dt1-idm', labels, **same),
          shared.run(a, 'ALPT', 'alpt', labels, initial=name, **same),
        ]
      runs.append(shared.run(a, 'Oracle', 'oracle', most, **same))
  claims = [
    shared.claim(shared.LABELLING, 'the abstract', 'idm_accuracy', 'ALPT', 'DT1-IDM'),
    # The introduction has "as little as 10k labelled samples required", of a gain over
    # training on the target alone. That a budget is enough is more than it says.
    shared.claim(
      f'{most:,} labels are enough: with them ALPT plays no worse than with all',
      'after the introduction',
      a.metric,
      'ALPT',
      'Oracle',
      labels=most,
      kind='not_lower',
      quoted=False,
    ),
  ]
  title = 'How many labels are enough (not in the paper)'
  return shared.experiment(a, 'labels', title, runs, claims)
