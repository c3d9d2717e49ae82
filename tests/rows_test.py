"""A part of the step computes its own rows alone, and no loss or gradient changes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.training.rows import Rows
from alpt_jax.training.step import make_joint_step
from alpt_jax.types import RowUse

KEY = jax.random.key(0)
# Two groups of four: labelled, source, source, target; the second has two targets.
USE = RowUse(4, idm=(0, 3), relabelled=(2, 4), policy=(1, 4))
_TARGET = [False, False, False, True, False, False, True, True]


def test_places_of_every_group_are_taken_and_put_back():
  rows = Rows(group=4, begin=1, end=3)
  taken = rows.take({'a': jnp.arange(8), 'b': jnp.arange(16).reshape(8, 2)})
  assert taken['a'].tolist() == [1, 2, 5, 6]
  assert taken['b'].tolist() == [[2, 3], [4, 5], [10, 11], [12, 13]]
  assert rows.put_back(taken['a'], jnp.zeros(8)).tolist() == [0, 1, 2, 0, 0, 5, 6, 0]


def test_rows_come_again_to_make_a_multiple_and_weigh_nothing():
  rows = Rows(group=4, begin=1, end=4, multiple=8)
  assert rows.take(jnp.arange(8)).tolist() == [1, 2, 3, 5, 6, 7, 1, 2]
  assert rows.take_weights(jnp.ones(8)).tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
  assert rows.put_back(jnp.arange(1, 9), jnp.zeros(8)).tolist() == [
    *(0, 1, 2, 3),
    *(0, 4, 5, 6),
  ]


def test_padding_may_be_more_than_there_are_rows():
  rows = Rows(group=8, begin=2, end=3, multiple=4)
  assert rows.take(jnp.arange(8)).tolist() == [2, 2, 2, 2]
  assert rows.take_weights(jnp.ones(8)).tolist() == [1, 0, 0, 0]


def _batch():
  """Eight windows; the target's hide their actions."""
  target = np.array(_TARGET)
  window = tiny.random_window(num_windows=8)
  window = window._replace(
    is_labelled=window.is_labelled & ~target[:, None],
    actions=np.where(target[:, None], 0, window.actions),
  )
  labelled = np.arange(8) % 4 == 0
  return tiny.batch_of(window, ~target, np.where(labelled, 0, 1.5), target)


@functools.cache
def _after_a_step(config):
  batch = _batch()
  return jax.device_get(
    make_joint_step(config)(tiny.loud_state(config, batch.window), batch, KEY)
  )


@pytest.mark.parametrize(
  ('relabelling', 'microbatches'),
  [
    ('sample', 4),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in (
        ('argmax', 1),
        ('soft', 1),
        ('argmax', 4),
        ('soft', 4),
        ('sample', 1),
      )
    ),
  ],
)
def test_a_step_over_its_own_rows_is_the_step_over_all(relabelling, microbatches):
  """6 of 8 rows teach the labeller, 4 want labels, 6 teach the policy.

  In parts of a quarter each, two rows come a second time.
  """
  whole = tiny.tiny_step(relabelling=relabelling, confidence_weighting=True)
  part = dataclasses.replace(whole, rows=USE, microbatches=microbatches)
  results = [_after_a_step(config) for config in (whole, part)]
  (one, metrics), (two, again) = results
  for name, value in metrics.items():
    np.testing.assert_allclose(again[name], value, rtol=1e-5, err_msg=name)
  # Adam's first moment is a tenth of the gradient.
  first, second = tiny.leaf_items(one.opt_state), tiny.leaf_items(two.opt_state)
  for name in (name for name in first if '/mu/' in name):
    np.testing.assert_allclose(second[name], first[name], atol=1e-6, err_msg=name)
