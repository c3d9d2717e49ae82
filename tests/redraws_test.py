"""Audits drawn anew: what each would have estimated, beside what it should have."""

import numpy as np
import pytest

from alpt_jax.experiment.label_check import stretches
from alpt_jax.labelling.redraws import Unseen, redraws

_RECORDINGS, _LENGTH = 12, 100


def unseen(right) -> Unseen:
  """Of 12 recordings of one episode; action 0 is always guessed, .7 sure."""
  num = _RECORDINGS * _LENGTH
  episodes = np.repeat(np.arange(_RECORDINGS), _LENGTH)
  steps = np.tile(np.arange(_LENGTH), _RECORDINGS)
  actions = np.where(right, 0, 1)
  probabilities = np.tile([0.7, 0.3], (num, 1))
  counts = (_RECORDINGS, _RECORDINGS)
  return Unseen(probabilities, actions, episodes, episodes, steps, *counts)


def test_the_truth_is_that_of_all_that_was_not_drawn():
  # 24 stretches of 50; the guesses of one of them are wrong. It is drawn, or it is
  # among the 19 others.
  right = np.arange(_RECORDINGS * _LENGTH) >= 50
  draws = redraws(unseen(right), 5, 50, num_draws=30, seed=0)
  assert {draw.estimate.num for draw in draws} == {250}
  truths = {round(draw.truth, 6) for draw in draws}
  assert truths == {1.0, round(18 / 19, 6)}


def test_intervals_cover_the_truth_about_as_often_as_they_say():
  random = np.random.default_rng(3)
  # Moments of a stretch share their luck.
  chance = np.repeat(random.uniform(0.4, 0.9, 24), 50)
  right = random.random(len(chance)) < chance
  draws = redraws(unseen(right), 8, 50, num_draws=40, seed=0)
  assert sum(draw.covers for draw in draws) >= 34
  assert np.mean([draw.estimate.high - draw.estimate.low for draw in draws]) < 0.5


def test_an_audit_leaves_something_to_be_judged():
  with pytest.raises(ValueError, match='fewer than 24 stretches'):
    redraws(unseen(np.ones(1200, bool)), 24, 50, 1, 0)


def test_stretches_that_adjoin_are_counted_apart():
  episode = np.array([0] * 100 + [1] * 46)
  step = np.concatenate([np.arange(150, 250), np.arange(46)])
  assert stretches(episode, step, 50) == (50, 3)
