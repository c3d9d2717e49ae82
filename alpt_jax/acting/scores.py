"""Scores of many episodes as the numbers that tables show."""

from collections.abc import Sequence

from alpt_jax.acting.rollout import EpisodeScore


def success_share(scores: Sequence[EpisodeScore], within: int) -> float:
  """Share of episodes that reached a positive return within so many steps.

  The paper's maze score (figure 5b) with a limit: its 500 steps do not tell a
  policy from a random walk, 50 do.
  """
  return sum(s.raw_return > 0 and s.num_steps <= within for s in scores) / len(scores)
