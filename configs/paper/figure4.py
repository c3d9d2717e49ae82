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
BUDGETS = {'maze': (250, 50), 'atari': (300,), ('atari', 'paper'): (10_000,)}
TARGETS = {
  'maze': ('own',),
  'atari': ('Breakout',),
  ('atari', 'paper'): ('Breakout', 'SpaceInvaders', 'Pong', 'DemonAttack'),
}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS, TARGETS)
  sources = {'ALPT (no shared action)': 'Freeway'}
  if a.part == 'maze':
    sources = {'ALPT (no shared action)': 'diagonal', 'ALPT (shared)': 'blocked'}
  runs = []
  for seed in a.seeds:
    for title, source in sources.items():
      name = f'base-{source}-{seed}'
      runs.append(
        shared.run(
          a,
          f'base, {source}',
          'alpt',
          max(a.budgets),
          seed,
          phase='sources',
          name=name,
          # Whichever targets are asked for: it serves all.
          target=a.first_target,
          sources=source,
        )
      )
      runs += [
        shared.run(a, title, 'alpt', labels, seed, initial=name, target=target)
        for target in a.targets
        for labels in a.budgets
      ]
    runs += [
      shared.run(a, 'DT1-IDM', 'dt1-idm', labels, seed, target=target)
      for target in a.targets
      for labels in a.budgets
    ]
  where = 'section 5.5, figure 4'
  sentence = 'Despite the disjoint action space, we still see benefits of pretraining'
  claims = [
    shared.claim(sentence, where, name, 'ALPT (no shared action)', 'DT1-IDM')
    for name in (a.metric, 'idm_accuracy')
  ]
  title = 'Sources that share no action with the target (figure 4)'
  return shared.experiment(a, 'figure4', title, runs, claims)
