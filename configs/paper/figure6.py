"""Figure 6 (Appendix A): only the IDM is pretrained, the DT starts afresh.

  ./launch/reproduce.sh figure6/maze

maze   250 and 50 labels; 15 minutes on 2 cores
atari  four recorded games to Breakout, 300 labels; 20 minutes. size=paper: the five
       games, each once the target, 10,000 labels, 100,000 steps of finetuning

Both pretrained variants start from one base, whose IDM is the same in either.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
BUDGETS = {'maze': (250, 50), 'atari': (300,), ('atari', 'paper'): (10_000,)}
TARGETS = {
  'maze': ('own',),
  'atari': ('Breakout',),
  ('atari', 'paper'): shared.GAMES,
}
# Appendix A: "up to 100k steps".
PAPER = {'training': {'num_steps': 100_000, 'evaluate_every': 10_000}}
TITLE = 'ALPT (IDM pretrained)'


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS, TARGETS)
  changes = PAPER if a.size == 'paper' else {}
  runs = []
  for seed in a.seeds:
    for target in a.targets:
      name = f'base-{target}-{seed}'
      others = '+'.join(game for game in shared.GAMES if game != target)
      sources = {'sources': 'blocked' if a.part == 'maze' else others}
      same = {'seed': seed, 'target': target}
      runs.append(
        shared.run(
          a,
          'base',
          'alpt',
          max(a.budgets),
          phase='sources',
          name=name,
          **sources,
          **same,
        )
      )
      for labels in a.budgets:
        same['labels'], same['changes'] = labels, changes
        runs += [
          shared.run(a, 'DT1-IDM', 'dt1-idm', **same),
          shared.run(a, TITLE, 'alpt-idm', initial=name, **same),
          shared.run(a, 'ALPT', 'alpt', initial=name, **same),
        ]
  where = 'section 5.3, figure 6'
  claims = [
    shared.claim(
      'this variant maintains strong performance compared to DT1-IDM',
      where,
      a.metric,
      TITLE,
      'DT1-IDM',
    ),
    shared.claim(
      'suggesting that the main benefit of pretraining is the IDM',
      where,
      a.metric,
      TITLE,
      'ALPT',
      kind='not_lower',
    ),
  ]
  title = 'Only the IDM pretrained (figure 6)'
  return shared.experiment(a, 'figure6', title, runs, claims)
