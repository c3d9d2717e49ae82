"""Table 4 (Appendix C): conservative Q-learning on the labelled transitions alone.

  ./launch/reproduce.sh table4/maze

maze   250 and 10,000 labels, beside DT1; 5 minutes on 2 cores
atari  recorded Breakout and Freeway, 10,000 labels; 15 minutes. size=paper: the five
       games

"100 iterations" are of 62,500 updates in the code of Kumar et al. (2020), so at the
paper's size; of 25 in a twin's game and of 50 in its mazes, where CQL has settled. The
mazes show their walls: without them a Q-network keeps bumping into what it cannot see.
"""

from configs.paper import experiment as shared

# Updates of CQL.
UPDATES = {
  ('maze', 'twin'): 5_000,
  ('maze', 'paper'): 6_250_000,
  ('atari', 'twin'): 2_500,
  ('atari', 'paper'): 6_250_000,
}
PARTS = ('maze', 'atari')
BUDGETS = {'maze': (250, 10_000), 'atari': (10_000,)}
TARGETS = {
  'maze': ('own',),
  'atari': ('Breakout', 'Freeway'),
  ('atari', 'paper'): shared.GAMES,
}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS, TARGETS)
  same = {'observation': 'position_walls'} if a.part == 'maze' else {}
  updates = {'training': {'num_steps': UPDATES.get((a.part, a.size), 4)}}
  runs = []
  for seed in a.seeds:
    for target in a.targets:
      for labels in a.budgets:
        task = {'labels': labels, 'seed': seed, 'target': target, **same}
        runs.append(shared.run(a, 'CQL', 'cql', changes=updates, **task))
        runs.append(shared.run(a, 'DT1', 'dt1', **task))
  title = 'Conservative Q-learning on few labels (table 4)'
  return shared.experiment(a, 'table4', title, runs)
