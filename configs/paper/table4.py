"""Table 4 (Appendix C): conservative Q-learning on the labelled transitions alone.

  ./launch/reproduce.sh table4/maze

maze   250 and 10,000 labels, beside DT1; 15 minutes on 2 cores
atari  recorded Breakout and Freeway, 10,000 labels; 30 minutes. size=paper: the five
       games

"100 iterations": the number of updates is `cql.num_updates` in the configs of the runs.
"""

from configs.paper import experiment as shared

PARTS = ('maze', 'atari')
GAMES = ('Asterix', 'Breakout', 'Freeway', 'Seaquest', 'SpaceInvaders')


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS)
  if a.part == 'maze':
    targets, budgets = a.targets or ('own',), (250, 10_000)
  else:
    default = GAMES if a.size == 'paper' else ('Breakout', 'Freeway')
    targets, budgets = a.targets or default, (10_000,)
  if a.size == 'smoke':
    targets, budgets = targets[:1], (20,)
  methods = {'CQL': 'cql', 'DT1': 'dt1'}
  runs = [
    shared.run(a, title, method, labels, seed, target=target)
    for seed in a.seeds
    for target in targets
    for labels in budgets
    for title, method in methods.items()
  ]
  title = 'Conservative Q-learning on few labels (table 4)'
  return shared.experiment(a, 'table4', title, runs)
