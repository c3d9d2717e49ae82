"""Figure 4 (section 5.5): sources that share no action with the target.

  ./launch/reproduce.sh figure4/maze

maze   a source whose four moves are diagonal, beside one that shares the target's
       moves; 250 and 50 labels; 15 minutes on 2 cores
atari  Freeway to Breakout, recorded, 300 labels; 15 minutes. size=paper: to Breakout,
       SpaceInvaders, Pong and DemonAttack, 10,000 labels

Freeway's actions are NOOP, UP and DOWN: those targets lack UP and DOWN, but every game
has NOOP, so the action sets are disjoint but for it. The mazes' share nothing.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
TARGETS = ('Breakout', 'SpaceInvaders', 'Pong', 'DemonAttack')


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS)
  if a.part == 'maze':
    targets, budgets = a.targets or ('own',), (250, 50)
    sources = {'ALPT (no shared action)': 'diagonal', 'ALPT (shared)': 'blocked'}
  else:
    is_paper = a.size == 'paper'
    targets = a.targets or (TARGETS if is_paper else ('Breakout',))
    budgets = (10_000,) if is_paper else (300,)
    sources = {'ALPT (no shared action)': 'Freeway'}
  budgets = (20,) if a.size == 'smoke' else budgets
  runs = []
  for seed in a.seeds:
    for title, source in sources.items():
      name = f'base-{source}-{seed}'
      runs.append(
        shared.run(
          a,
          f'base, {source}',
          'alpt',
          max(budgets),
          seed,
          phase='sources',
          name=name,
          target=targets[0],
          sources=source,
        )
      )
      runs += [
        shared.run(a, title, 'alpt', labels, seed, initial=name, target=target)
        for target in targets
        for labels in budgets
      ]
    runs += [
      shared.run(a, 'DT1-IDM', 'dt1-idm', labels, seed, target=target)
      for target in targets
      for labels in budgets
    ]
  where = 'section 5.5, figure 4'
  sentence = 'despite the disjoint action space, we still see benefits of pretraining'
  metric = 'success_sampled' if a.part == 'maze' else 'score'
  claims = [
    shared.claim(sentence, where, name, 'ALPT (no shared action)', 'DT1-IDM')
    for name in (metric, 'idm_accuracy')
  ]
  title = 'Sources that share no action with the target (figure 4)'
  return shared.experiment(a, 'figure4', title, runs, claims)
