"""Windows out of a pool: pure index arithmetic, the same for training and tests."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from alpt_jax import specs
from alpt_jax.data.pool import Pool
from alpt_jax.types import Window


@dataclasses.dataclass(frozen=True)
class WindowReader:
  """Cuts windows, named by their last transition, out of one pool.

  Each transition is the last of exactly one window, so an epoch over the
  transitions is an epoch over the windows. B is the number of windows asked for.

  Attributes:
    pool: N transitions; hidden actions are already gone.
    vocabulary: the run's joint vocabulary, A names.
    environment: the number written into `Window.environment`.
    length: T.
  """

  pool: Pool
  vocabulary: Sequence[str]
  environment: int
  length: int = 5

  @functools.cached_property
  def _joint_index(self) -> np.ndarray:
    return specs.action_indices(self.pool.spec, self.vocabulary)

  @functools.cached_property
  def _allowed(self) -> np.ndarray:
    return specs.allowed_actions(self.pool.spec, self.vocabulary)

  def __call__(self, ends: np.ndarray) -> Window:
    """Returns the windows whose last transitions are `ends` (`[B]` int, below N)."""
    pool = self.pool
    offsets = np.arange(1 - self.length, 1)
    episodes = pool.episode_of[ends]
    valid = offsets >= (pool.starts[episodes] - ends)[:, None]
    transitions = np.where(valid, ends[:, None] + offsets, ends[:, None])
    is_labelled = valid & pool.is_labelled[transitions]
    actions = self._joint_index[pool.actions[transitions]]
    return Window(
      observations=self._observations(ends + episodes, valid),
      actions=np.where(is_labelled, actions, 0).astype(np.int32),
      is_labelled=is_labelled,
      rewards=np.where(valid, pool.clipped_rewards[transitions], 0),
      discounts=np.where(valid, pool.discounts[transitions], 1),
      returns_to_go=np.where(valid, pool.returns_to_go[transitions], 0),
      valid=valid,
      allowed=np.broadcast_to(self._allowed, (len(ends), len(self._allowed))),
      environment=np.full(len(ends), self.environment, np.int32),
    )

  def _observations(self, last_rows: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`[B, T + 1, ...]`; zero where the transition that starts there is padding."""
    rows = last_rows[:, None] + np.arange(1 - self.length, 2)
    seen = np.concatenate([valid, np.ones((len(valid), 1), bool)], axis=1)
    observations = self.pool.observations[np.where(seen, rows, last_rows[:, None])]
    observations[~seen] = 0
    return observations
