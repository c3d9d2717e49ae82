"""What windows say of transitions -> an action for each transition of an episode."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from alpt_jax.labelling.reading import Recording, Rows


class EpisodeLabels(NamedTuple):
  """An action for each of L transitions."""

  action: np.ndarray  # [L] int32, the environment's OWN numbering
  # [L] float32: the guess's probability among the actions that the environment
  # accepts, exactly 1 where the action was recorded.
  confidence: np.ndarray
  is_recorded: np.ndarray  # [L] bool
  # [L, own actions] float32: what the model says, also where the action was recorded.
  probabilities: np.ndarray


class Gathered:
  """Puts what successive batches say of each transition together into episodes."""

  def __init__(self, indices: np.ndarray):
    """`indices` `[own actions]`: the joint index of each of the environment's."""
    self._indices = indices
    # Of transitions whose episode is not done, and of the first of them its place.
    self._sums = np.zeros((0, len(indices)), np.float32)
    self._counts = np.zeros(0, np.float32)
    self._begin = 0

  def add(self, rows: Rows, probabilities: np.ndarray) -> Iterator[EpisodeLabels]:
    """Takes `[B, T, A]` probabilities; gives the episodes that are done."""
    self._make_room(int(rows.places.max()) + 1 - self._begin)
    own = probabilities[..., self._indices]
    for slot, places in enumerate(rows.places.T):
      # No transition stands at one slot of two windows.
      read = np.flatnonzero(places >= 0)
      places = places[read] - self._begin
      self._sums[places] += own[read, slot]
      self._counts[places] += 1
    done = 0
    for recording, length in rows.ended:
      part = slice(done, done + length)
      means = self._sums[part] / self._counts[part, None]
      yield _with_recorded(recording, means)
      done += length
    self._sums, self._counts = self._sums[done:], self._counts[done:]
    self._begin += done

  def _make_room(self, size: int) -> None:
    missing = size - len(self._counts)
    if missing > 0:
      # Twice as much at least, so that a long episode is seldom copied.
      more = max(missing, len(self._counts))
      self._sums = np.pad(self._sums, ((0, more), (0, 0)))
      self._counts = np.pad(self._counts, (0, more))


def _with_recorded(recording: Recording, probabilities: np.ndarray) -> EpisodeLabels:
  """The labels of one episode, recorded actions in the place of guesses.

  Args:
    recording: of L transitions.
    probabilities: `[L, own actions]`.
  """
  action = probabilities.argmax(1).astype(np.int32)
  confidence = probabilities.max(1)
  known = np.zeros(len(action), bool)
  if recording.is_labelled is not None:
    known = np.array(recording.is_labelled)
    action[known] = np.asarray(recording.actions)[known]
    confidence[known] = 1
  return EpisodeLabels(action, confidence, known, probabilities)
