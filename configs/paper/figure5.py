"""Figure 5 (section 5.6): mazes, from a blocked source, or that and a tunneled one.

  ./launch/reproduce.sh figure5 --seeds 5

250 labels as in the paper, then 50, where a second source has room to help. IDM and DT
learn at once, no finetuning stage. About 15 minutes on 2 cores for each budget.
"""

from configs.paper import experiment as shared

PARTS = ('maze',)
METHODS = {
  'DT1': {'method': 'dt1'},
  'DT1-IDM': {'method': 'dt1-idm'},
  'ALPT-Blocked': {'method': 'alpt', 'sources': 'blocked'},
  'ALPT-Blocked+Tunneled': {'method': 'alpt', 'sources': 'blocked+tunneled'},
}
BUDGETS = {'maze': (250, 50)}
# Ours: until the IDM of every seed tried has settled (docs/mazes.md).
TWIN = {'training': {'num_steps': 1_500, 'evaluate_every': 125}}


def get_config(text: str = ''):
  """See the top of configs/paper/experiment.py for `text`."""
  a = shared.read(text, PARTS, BUDGETS)
  runs = [
    shared.run(
      a,
      title,
      labels=labels,
      seed=seed,
      phase='joint',
      changes=TWIN if a.size == 'twin' else {},
      **method,
    )
    for labels in a.budgets
    for seed in a.seeds
    for title, method in METHODS.items()
  ]
  where = 'section 5.6, figure 5'
  one, two = 'ALPT-Blocked', 'ALPT-Blocked+Tunneled'
  claims = [
    shared.claim(
      'allows us to solve the target task twice as fast compared to only training on '
      'the target maze',
      where,
      a.metric,
      one,
      'DT1-IDM',
      kind='faster',
      factor=2.0,
    ),
    shared.claim(shared.LABELLING, 'the abstract', 'idm_accuracy', one, 'DT1-IDM'),
    shared.claim(
      'Training on both tunneled and blocked mazes enables greater dataset diversity, '
      'which further improves generalization',
      where,
      a.metric,
      two,
      one,
    ),
    shared.claim(
      'leading to even faster convergence on the target task',
      where,
      a.metric,
      two,
      one,
      kind='faster',
    ),
  ]
  title = 'Mazes from one source and from two (figure 5)'
  return shared.experiment(a, 'figure5', title, runs, claims)
