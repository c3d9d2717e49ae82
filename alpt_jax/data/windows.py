"""Windows out of a pool: pure index arithmetic, the same for training and tests.

What a window says beside its frames is small, and read for many windows at once. Its
frames are written where they shall lie, once: first a window holds their places.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from alpt_jax import specs
from alpt_jax.data.packed_rows import PackedRows
from alpt_jax.data.pool import Pool
from alpt_jax.types import Window


class Frames(Protocol):
  """What windows' frames are read from. Places that it gave are its own to read."""

  shape: tuple[int, ...]  # of a frame
  dtype: np.dtype

  def read(self, places: np.ndarray, into: np.ndarray, rows: np.ndarray) -> None:
    """Writes the frames of windows into rows of a batch.

    Args:
      places: `[n, ...]` where those of each window are.
      into: `[B, T + 1, ...]`.
      rows: `[n]`, the window's in `into`.
    """


def with_frames(window: Window, frames: Frames) -> Window:
  """Windows that hold places of frames, with the frames."""
  num_windows, length = window.valid.shape
  into = np.empty((num_windows, length + 1, *frames.shape), frames.dtype)
  frames.read(window.observations, into, np.arange(num_windows))
  return window._replace(observations=into)


class _Rows(NamedTuple):
  """An array that is read as packed rows are."""

  rows: np.ndarray

  def read_into(self, found: np.ndarray, first: int) -> None:
    found[:] = self.rows[first : first + len(found)]


class PoolFrames:
  """A pool's `Frames`. A window's place: its last row, and how many are padding."""

  def __init__(self, observations):
    """Takes `[rows, ...]`: an array, or what writes rows into one (`PackedRows`)."""
    self.shape = observations.shape[1:]
    self.dtype = observations.dtype
    if not isinstance(observations, PackedRows):
      # Slices of a memmap take four times as long as those of its view.
      observations = _Rows(np.asarray(observations))
    self._observations = observations

  def read(self, places: np.ndarray, into: np.ndarray, rows: np.ndarray) -> None:
    length = into.shape[1]
    for row, (last, padded) in zip(rows.tolist(), places.tolist(), strict=True):
      first = last + 1 - length
      self._observations.read_into(into[row, padded:], first + padded)
      if padded:
        into[row, :padded] = 0


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

  @functools.cached_property
  def frames(self) -> PoolFrames:
    return PoolFrames(self.pool.observations)

  def __call__(self, ends: np.ndarray) -> Window:
    """Returns the windows whose last transitions are `ends` (`[B]` int, below N)."""
    return with_frames(self.places(ends), self.frames)

  def places(self, ends: np.ndarray) -> Window:
    """The same windows with `[B, 2]` places of `frames` as their observations."""
    pool = self.pool
    offsets = np.arange(1 - self.length, 1)
    episodes = pool.episode_of[ends]
    valid = offsets >= (pool.starts[episodes] - ends)[:, None]
    transitions = np.where(valid, ends[:, None] + offsets, ends[:, None])
    is_labelled = valid & pool.is_labelled[transitions]
    actions = self._joint_index[pool.actions[transitions]]
    last_rows = ends.astype(np.int64) + episodes + 1
    return Window(
      observations=np.stack([last_rows, self.length - valid.sum(1)], axis=1),
      actions=np.where(is_labelled, actions, 0).astype(np.int32),
      is_labelled=is_labelled,
      rewards=np.where(valid, pool.clipped_rewards[transitions], 0),
      discounts=np.where(valid, pool.discounts[transitions], 1),
      returns_to_go=np.where(valid, pool.returns_to_go[transitions], 0),
      valid=valid,
      allowed=np.broadcast_to(self._allowed, (len(ends), len(self._allowed))),
      environment=np.full(len(ends), self.environment, np.int32),
    )
