"""How runs are scored: the arithmetic, and the same episodes for everyone."""

import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax.experiment import idm_scores
from alpt_jax.types import EvaluationWindows, Window

NAMES = ('NOOP', 'RIGHT', 'RIGHTFIRE')


def _truth(true_actions, counted, allowed) -> EvaluationWindows:
  """Windows of two transitions; the observation is the window's number."""
  num_windows, length = np.shape(true_actions)
  window = Window(
    observations=np.tile(np.arange(num_windows)[:, None], (1, length + 1)),
    actions=np.zeros((num_windows, length), np.int32),
    is_labelled=np.zeros((num_windows, length), bool),
    rewards=np.zeros((num_windows, length), np.float32),
    discounts=np.ones((num_windows, length), np.float32),
    returns_to_go=np.zeros((num_windows, length), np.float32),
    valid=np.ones((num_windows, length), bool),
    allowed=np.array(allowed, bool),
    environment=np.zeros(num_windows, np.int32),
  )
  return EvaluationWindows(window, np.array(true_actions), np.array(counted, bool))


class _KnownIdm:
  """An IDM that answers window i with row i of `logits`, whatever its parameters."""

  def __init__(self, logits):
    self._logits = jnp.asarray(logits)

  def apply(self, variables, observations, valid):
    del variables, valid
    return self._logits[observations[:, 0]]


def _scores(logits, truth):
  guesses = idm_scores.guesses_of(_KnownIdm(logits), {}, truth)
  return idm_scores.summary(*guesses, NAMES)


def test_idm_accuracy_counts_only_the_counted_and_guesses_only_the_allowed():
  # Window 0 guesses action 1 twice, window 1 would guess action 2, not allowed
  # there, and so guesses 0. Counted: right, wrong, right = 2 of 3.
  logits = np.log([[[0.2, 0.7, 0.1]] * 2, [[0.4, 0.1, 0.5]] * 2])
  truth = _truth(
    true_actions=[[1, 0], [0, 1]],
    counted=[[True, True], [True, False]],
    allowed=[[True, True, True], [True, True, False]],
  )
  scores = _scores(logits, truth)
  assert scores['accuracy'] == pytest.approx(2 / 3)
  # Counted true actions are 1, 0, 0: always saying 0 is right in 2 of 3.
  assert scores['majority'] == pytest.approx(2 / 3)
  # Confidences .7 (right), .7 (wrong), .4 / .5 = .8 (right). Bins of 1/15: .7 is in
  # the eleventh, .8 in the thirteenth: |1.4 - 1| / 3 + |.8 - 1| / 3 = .6 / 3.
  assert scores['calibration_error'] == pytest.approx(0.2, abs=1e-6)


def test_more_windows_than_one_chunk_are_all_scored_once():
  num_windows = idm_scores._CHUNK + 3
  logits = np.zeros((num_windows, 2, 2))
  logits[:, :, 1] = 1.0
  actions = np.ones((num_windows, 2), int)
  actions[-1] = 0  # the last two transitions are missed
  counted = np.ones((num_windows, 2), bool)
  truth = _truth(actions, counted, np.ones((num_windows, 2), bool))
  scores = _scores(logits, truth)
  assert scores['accuracy'] == pytest.approx(1 - 2 / (2 * num_windows))


def _arrays(guessed, actual):
  return np.array(guessed), np.array(actual)


def test_balanced_accuracy_counts_every_action_that_occurs_alike():
  # NOOP: 3 of 4 guessed; RIGHT: 0 of 1; RIGHTFIRE never occurs: (3/4 + 0) / 2.
  guessed, actual = _arrays([0, 0, 0, 1, 2], [0, 0, 0, 0, 1])
  found = idm_scores.summary(guessed, actual, np.ones(5), NAMES)
  assert found['accuracy'] == pytest.approx(3 / 5)
  assert found['accuracy_balanced'] == pytest.approx(3 / 8)
  # RIGHTFIRE looks like RIGHT: the last guess counts as right.
  assert found['accuracy_merged'] == pytest.approx(4 / 5)
  assert found['majority'] == found['majority_merged'] == pytest.approx(4 / 5)


def test_nothing_is_merged_where_no_action_fires():
  guessed, actual = _arrays([0, 1], [0, 0])
  found = idm_scores.summary(guessed, actual, np.ones(2), ('down', 'up'))
  assert not [name for name in found if 'merged' in name]


def test_each_action_has_its_own_recall_and_precision():
  guessed, actual = _arrays([0, 0, 1, 1], [0, 1, 1, 1])
  assert idm_scores.per_action(guessed, actual, NAMES) == {
    'NOOP': {'count': 1, 'guessed': 2, 'recall': 1.0, 'precision': 0.5},
    'RIGHT': {'count': 3, 'guessed': 2, 'recall': 2 / 3, 'precision': 1.0},
  }
  only = idm_scores.per_action(*_arrays([0], [1]), NAMES)
  assert only['NOOP'] == {'count': 0, 'guessed': 1, 'recall': None, 'precision': 0.0}
  assert only['RIGHT'] == {'count': 1, 'guessed': 0, 'recall': 0.0, 'precision': None}
