"""Would the card have told the truth with another audit? Audits drawn anew.

Where all actions are known in the end, as many stretches as the audit has are drawn,
again and again, out of everything that the model was not trained on. Each draw gets a
temperature and an estimate as a card does, of the accuracy among all that it did not
draw, which can be counted. The model stays the same.
"""

from typing import NamedTuple

import numpy as np

from alpt_jax.labelling import calibration, intervals
from alpt_jax.labelling.intervals import Share


class Unseen(NamedTuple):
  """What a model says of n transitions that it was not trained on, and the truth."""

  probabilities: np.ndarray  # [n, A], as the model says them
  actions: np.ndarray  # [n] int, the true ones
  recordings: np.ndarray  # [n] int, the file that each is of
  episodes: np.ndarray  # [n] int, ascending
  steps: np.ndarray  # [n] int, ascending within an episode
  num_recordings: int  # of the whole dataset
  num_episodes: int  # of the whole dataset


class Redraw(NamedTuple):
  """What a card would have estimated, and what was true."""

  estimate: Share
  truth: float

  @property
  def covers(self) -> bool:
    """Whether the truth lies in the estimate's interval."""
    return self.estimate.low <= self.truth <= self.estimate.high


def redraws(
  unseen: Unseen, num_stretches: int, stretch: int, num_draws: int, seed: int
) -> list[Redraw]:
  """Draws audits and estimates from each.

  Args:
    unseen: all of it.
    num_stretches: of an audit.
    stretch: transitions in a row that a stretch has at most.
    num_draws: audits.
    seed: draws them.

  Raises:
    ValueError: there are no more stretches than an audit takes.
  """
  stretch_of = intervals.stretches_of(unseen.episodes, unseen.steps, stretch)
  num_all = int(stretch_of[-1]) + 1
  if num_stretches >= num_all:
    raise ValueError(f'expected fewer than {num_all} stretches, found {num_stretches}')
  rng = np.random.default_rng(seed)
  draws = []
  for number in range(num_draws):
    drawn = rng.permutation(num_all)[:num_stretches]
    draws.append(_redraw(unseen, np.isin(stretch_of, drawn), stretch, seed + number))
  return draws


def _redraw(unseen: Unseen, is_drawn: np.ndarray, stretch: int, seed: int) -> Redraw:
  """As `bin/label` does with the audit, and its card with what is unlabelled."""
  probabilities, actions = unseen.probabilities, unseen.actions
  right = probabilities.argmax(1) == actions
  units = intervals.units_of(
    unseen.recordings[is_drawn],
    unseen.episodes[is_drawn],
    unseen.steps[is_drawn],
    unseen.num_recordings,
    unseen.num_episodes,
    stretch,
  ).units
  temperatures = calibration.crosswise(
    probabilities[is_drawn], actions[is_drawn], units, seed
  )
  confidence = calibration.tempered(
    probabilities[is_drawn], temperatures.crosswise
  ).max(1)
  others = calibration.tempered(probabilities[~is_drawn], temperatures.value).max(1)
  estimate = intervals.estimated_accuracy(
    intervals.Audit(right[is_drawn], confidence, units), others.mean(), len(others)
  )
  return Redraw(estimate, float(right[~is_drawn].mean()))
