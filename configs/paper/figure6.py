"""Figure 6 (Appendix A): only the IDM is pretrained, the DT starts afresh.

  ./launch/reproduce.sh figure6/maze

maze   250 and 50 labels; 15 minutes on 2 cores
atari  four recorded games to Breakout, 300 labels; 20 minutes. size=paper: the five
       games, each once the target, 10,000 labels, 100,000 steps of finetuning

Both pretrained variants start from one base, whose IDM is the same in either.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
GAMES = ('Asterix', 'Breakout', 'Freeway', 'Seaquest', 'SpaceInvaders')
# Appendix A: "up to 100k steps".
PAPER = {'training': {'num_steps': 100_000, 'evaluate_every': 10_000}}
TITLE = 'ALPT (IDM pretrained)'


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS)
  if a.part == 'maze':
    targets, budgets = a.targets or ('own',), (250, 50)
  else:
    targets = a.targets or (GAMES if a.size == 'paper' else ('Breakout',))
    budgets = (10_000,) if a.size == 'paper' else (300,)
  budgets = (20,) if a.size == 'smoke' else budgets
  changes = PAPER if a.size == 'paper' else {}
  runs = []
  for seed in a.seeds:
    for target in targets:
      name = f'base-{target}-{seed}'
      others = '+'.join(game for game in GAMES if game != target)
      sources = {'sources': 'blocked' if a.part == 'maze' else others}
      same = {'seed': seed, 'target': target}
      runs.append(
        shared.run(
          a,
          'base',
          'alpt',
          max(budgets),
          phase='sources',
          name=name,
          **sources,
          **same,
        )
      )
      for labels in budgets:
        same['labels'], same['changes'] = labels, changes
        runs += [
          shared.run(a, 'DT1-IDM', 'dt1-idm', **same),
          shared.run(a, TITLE, 'alpt-idm', initial=name, **same),
          shared.run(a, 'ALPT', 'alpt', initial=name, **same),
        ]
  where = 'section 5.3 and Appendix A, figure 6'
  metric = 'success_sampled' if a.part == 'maze' else 'score'
  claims = [
    shared.claim(
      'this variant maintains strong performance compared to DT1-IDM',
      where,
      metric,
      TITLE,
      'DT1-IDM',
    ),
    shared.claim(
      'suggesting that the main benefit of pretraining is the IDM',
      where,
      metric,
      TITLE,
      'ALPT',
      kind='not_lower',
    ),
  ]
  title = 'Only the IDM pretrained (figure 6)'
  return shared.experiment(a, 'figure6', title, runs, claims)
