"""Whether the rewards of a recording come before what the screen shows of them.

In the RL Unplugged files of Asterix that could be looked at, `rewards[t]` is one step
early: the score on the screen changes between observations t + 1 and t + 2, where
the emulator itself changes it between t and t + 1. Whether other games are the same
is not known; the recordings can be asked.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

# Ours: fewer rewards than these say nothing.
MIN_REWARDS = 20
# Ours: a digit of a score covers more pixels of an 84 x 84 screen.
_NUM_PIXELS = 16
# Ours: by how much one lag must fit better than any other. Real Asterix: .83 v .15.
_MARGIN = 0.15
_LAGS = (0, 1, 2)
# Games that themselves show a reward one step after it was given, found by random
# play in the emulator (ale-py 0.12.1, 32 games gave rewards enough). Of the others
# BeamRider, Krull, NameThisGame and TimePilot do not show it clearly at any lag.
SCREEN_LAGS = {'Breakout': 1, 'Pong': 1, 'UpNDown': 1}


@dataclasses.dataclass(frozen=True)
class LeadEvidence:
  """How well rewards fit what the screen shows 0, 1 and 2 steps later.

  Attributes:
    num_rewards: transitions with a reward that were looked at.
    fits: for each lag the correlation of rewards with changes of those pixels that
      they fit best.
    screen_lag: how much later the game itself shows a reward.
  """

  num_rewards: int
  fits: tuple[float, ...]
  screen_lag: int = 0

  @property
  def lead(self) -> int | None:
    """0 or 1; None where the recording does not tell."""
    second, first = sorted(self.fits)[-2:]
    lead = self.fits.index(first) - self.screen_lag
    if self.num_rewards < MIN_REWARDS or first - second < _MARGIN or lead not in (0, 1):
      return None
    return lead

  def __str__(self) -> str:
    fits = ', '.join(f'{fit:.2f}' for fit in self.fits)
    lead = 'not to be told' if self.lead is None else self.lead
    return (
      f'rewards are recorded early by: {lead} ({self.num_rewards} rewards, correlation '
      f'with the screen 0, 1 and 2 steps later {fits})'
    )


def reward_lead(
  episodes: Iterable[tuple[np.ndarray, np.ndarray]], screen_lag: int = 0
) -> LeadEvidence:
  """Compares when rewards come with when the score on the screen changes.

  Nothing is assumed of where a game shows its score: for each lag those few pixels
  are taken whose changes go together with rewards the most. Moving things change
  pixels too, but at a reward no more than at other times.

  Args:
    episodes: (frames `[L + 1, ...]` uint8, rewards `[L]` as recorded) each; read
      once.
    screen_lag: of the game, see `SCREEN_LAGS`.
  """
  sums = [np.zeros(4, object) for _ in _LAGS]
  num_rewards = 0
  for frames, rewards in episodes:
    changed = (frames[1:] != frames[:-1]).reshape(len(rewards), -1)
    is_rewarded = np.asarray(rewards) != 0
    num_rewards += int(is_rewarded.sum())
    for lag in _LAGS[: len(rewards)]:
      here, there = is_rewarded[: len(rewards) - lag], changed[lag:]
      counts = (len(here), here.sum(), there.sum(0), there[here].sum(0))
      sums[lag] += np.array(counts, object)
  return LeadEvidence(num_rewards, tuple(_fit(*row) for row in sums), screen_lag)


def _fit(count, num_rewarded, num_changed, num_both) -> float:
  """The mean of the largest correlations between rewards and a pixel's changes."""
  if not 0 < num_rewarded < count:
    return 0.0
  rewarded, changed = num_rewarded / count, num_changed / count
  spread = np.sqrt(rewarded * (1 - rewarded) * changed * (1 - changed))
  covariance = num_both / count - rewarded * changed
  correlation = np.divide(
    covariance, spread, out=np.zeros_like(spread), where=spread > 0
  )
  return float(np.sort(correlation)[-_NUM_PIXELS:].mean())
