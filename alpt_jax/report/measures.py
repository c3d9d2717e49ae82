"""What the figures of an evaluation are called, compared with and rounded to.

The one place that knows the keys of an evaluation row; a key that is not here
still stands in results.csv.
"""

import math

# Sampled success first: a greedy maze policy that bumps once bumps forever, so
# the greedy figure measures luck with bumps beside skill. A score of games counts
# raw rewards; 'FIRE merged' counts actions that differ by FIRE alone as one.
METRICS = {
  'success_sampled': 'success, sampled',
  'success_greedy': 'success, greedy',
  'score': 'score',
  'score_human_normalised': 'human-normalised',
  'idm_accuracy': 'IDM accuracy',
  'idm_accuracy_merged': 'IDM, FIRE merged',
  'idm_accuracy_balanced': 'IDM, balanced',
  'idm_accuracy_heldout': 'IDM accuracy, held out',
}

# Evaluation key -> what readers call it, and the column it is comparable with.
# Keys of one name share a line of the table.
REFERENCES = {
  'random_walk': ('random walk', 'success_sampled'),
  'behaviour': ('behaviour policy', 'success_sampled'),
  'optimal': ('optimal policy', 'success_sampled'),
  'score_random': ('random play (published)', 'score'),
  'score_human': ('human (published)', 'score'),
  'score_paper_cql': ("CQL, the paper's table 4", 'score'),
  'idm_majority': ('most common action', 'idm_accuracy'),
  'idm_majority_merged': ('most common action', 'idm_accuracy_merged'),
  'idm_majority_heldout': ('most common action', 'idm_accuracy_heldout'),
  'idm_ceiling': ('best possible IDM', 'idm_accuracy'),
  'idm_visible': ('what the screen shows', 'idm_accuracy'),
  'idm_visible_merged': ('what the screen shows', 'idm_accuracy_merged'),
}

# Constants of a game: no seed measured them, so they have no spread over seeds.
PUBLISHED = ('score_random', 'score_human', 'score_paper_cql')


def is_share(metric: str) -> bool:
  """Whether a metric lies between 0 and 1, so that its axis does as well."""
  return metric in METRICS and not metric.startswith('score')


def column_names(measured: set[str]) -> list[str]:
  """The metrics that get a column, of those that were measured, in order.

  The mean accuracy over actions says how an IDM fares on rare ones, which matters
  among 18 actions and little among a maze's 4: no column where success is measured
  (ours). So a table has at most seven figures.
  """
  skipped = {'idm_accuracy_balanced'} if 'success_sampled' in measured else set()
  return [name for name in METRICS if name in measured - skipped]


def compared_with(metric: str) -> str:
  """The metric whose references a metric's picture shows."""
  return 'success_sampled' if metric == 'success_greedy' else metric


def number_text(metric: str, value: float, beside: float = 0.0, sign='') -> str:
  """A value with three decimals; a score with four significant digits.

  Args:
    metric: key of the evaluation rows.
    value: what is written.
    beside: a number in the same cell; the larger one sets a score's decimals.
    sign: '+' writes the sign of positive values as well.
  """
  decimals = _score_decimals(max(abs(value), abs(beside)))
  return f'{value:{sign},.{decimals if metric == "score" else 3}f}'


def percent(share: float | None) -> str:
  """'97.3 %', with three significant digits; 'not known' for None."""
  return 'not known' if share is None else f'{100 * share:.3g} %'


def _score_decimals(size: float) -> int:
  """363.5, 21.00 and 12,346; a score of 0 is written '0'."""
  if size == 0:
    return 0
  return min(3, max(0, 3 - math.floor(math.log10(size))))
