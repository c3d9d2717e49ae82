"""Random shifts: all frames of a window alike, for the labeller alone."""

import functools

import jax
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.training import step as step_lib
from alpt_jax.training.augment import random_shift

KEY = jax.random.key(0)
SHIFT = 2


def windows(num_windows=200, seed=0):
  """`[B, 3, 5, 6, 1]` uint8 of random pixels: no two offsets give the same picture."""
  shape = (num_windows, 3, 5, 6, 1)
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def crop(frames, down, right):
  """The frames moved by some pixels, padded with their edges, the slow way."""
  border = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
  padded = np.pad(frames, border, mode='edge')
  top, left = SHIFT - down, SHIFT - right
  return padded[:, top : top + 5, left : left + 6]


def offsets_of(given, shifted):
  """The offset of each window; fails where no single one explains all its frames."""
  every = range(-SHIFT, SHIFT + 1)
  found = []
  for before, after in zip(given, np.asarray(shifted), strict=True):
    (offset,) = [
      (down, right)
      for down in every
      for right in every
      if np.array_equal(crop(before, down, right), after)
    ]
    found.append(offset)
  return found


def test_a_window_is_moved_by_one_offset_and_its_edges_are_repeated():
  given = windows()
  shifted = random_shift(given, KEY, SHIFT)
  assert shifted.dtype == np.uint8
  found = offsets_of(given, shifted)
  # All (2 * 2 + 1)^2 = 25 offsets; 200 windows miss a given one with p = .0003.
  assert len(set(found)) == 25


def test_the_same_key_moves_the_same_way_and_another_one_does_not():
  given = windows()
  first = random_shift(given, KEY, SHIFT)
  np.testing.assert_array_equal(first, random_shift(given, KEY, SHIFT))
  assert (first != random_shift(given, jax.random.key(1), SHIFT)).any()


def test_padding_stays_zero():
  given = windows(4)
  given[:, 0] = 0
  assert not np.asarray(random_shift(given, KEY, SHIFT))[:, 0].any()


# In the joint step.


def image_step(**fields):
  """Both models on images of 4 x 4; soft labels, so that the IDM's numbers show."""
  models = {'idm': tiny.tiny_idm(tiny.IMAGE), 'policy': tiny.tiny_policy(tiny.IMAGE)}
  return tiny.tiny_step(**{**models, 'relabelling': 'soft', **fields})


def metrics_of(config, *cases):
  """What one program of the joint step says of `(window, step)` cases.

  Compiled afresh, since tests replace a function of it. Every other action is hidden.
  """
  step_fn = jax.jit(functools.partial(step_lib.joint_step, config))
  shapes = step_lib.abstract_state(config, cases[0][0])
  state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  found = []
  for window, step in cases:
    given = state._replace(params=tiny.loud(shapes.params), step=np.int32(step))
    known = window._replace(is_labelled=window.is_labelled & (np.arange(4) % 2 == 0))
    metrics = step_fn(given, tiny.batch_of(known, relabel=True), KEY)[1]
    found.append(jax.device_get(metrics))
  return found


def test_only_the_labeller_sees_shifted_windows_and_labels_those_as_recorded(
  monkeypatch,
):
  # A "shift" that leaves nothing to be seen.
  monkeypatch.setattr(step_lib, 'random_shift', lambda seen, key, shift: 0 * seen)
  window = tiny.random_window(tiny.IMAGE)
  black = window._replace(observations=0 * window.observations)
  plain, dark = metrics_of(image_step(), (window, 0), (black, 0))
  (shifted,) = metrics_of(image_step(shift=1), (window, 0))
  # The policy sees and is told the same, the labeller has learned from darkness.
  for name in ('action_loss', 'return_loss', 'reward_loss'):
    assert shifted[name] == pytest.approx(plain[name], rel=1e-6), name
  assert shifted['idm_loss'] == pytest.approx(dark['idm_loss'], rel=1e-6)
  assert abs(plain['idm_loss'] - dark['idm_loss']) > 0.01
  assert abs(plain['action_loss'] - dark['action_loss']) > 0.01


@pytest.mark.slow
def test_every_step_shifts_anew_and_the_same_step_alike():
  window = tiny.random_window(tiny.IMAGE, num_windows=16)
  cases = [(window, step) for step in (0, 0, 1)]
  losses = [found['idm_loss'] for found in metrics_of(image_step(shift=1), *cases)]
  assert losses[0] == losses[1] != losses[2]


def test_without_shift_nothing_is_drawn(monkeypatch):
  def fail(*_):
    raise AssertionError('drawn')

  monkeypatch.setattr(step_lib, 'random_shift', fail)
  window = tiny.random_window(tiny.IMAGE)
  config = image_step()
  jax.eval_shape(
    functools.partial(step_lib.joint_step, config),
    step_lib.abstract_state(config, window),
    tiny.batch_of(window),
    KEY,
  )
