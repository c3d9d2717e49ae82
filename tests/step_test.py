"""The joint step: what teaches which model, and what nothing may learn from."""

import functools

import jax
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.methods import IDM, POLICY
from alpt_jax.training.checkpoint import describe_leaves
from alpt_jax.training.microbatches import summed_gradients
from alpt_jax.training.step import (
  abstract_state,
  init_state,
  joint_step,
  make_joint_step,
)

KEY = jax.random.key(0)
BOTH = tiny.tiny_step()
POLICY_ALONE = tiny.tiny_step(idm=None)


@functools.cache
def loud_state(config=BOTH):
  """Step 0 of loud parameters, on the host, so that no step can consume it."""
  shapes = abstract_state(config, tiny.random_window())
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  return zeros._replace(params=tiny.loud(shapes.params))


def take_step(batch, config=BOTH, state=None, key=KEY):
  """`(new state, metrics)` on the host."""
  state = loud_state(config) if state is None else state
  return jax.device_get(make_joint_step(config)(state, batch, key))


def gradient(state, model, suffix=''):
  """The gradient leaves of the first step: Adam's first moment is a tenth of it."""
  moments = tiny.leaf_items(state.opt_state[model])
  return {k: v for k, v in moments.items() if '/mu/' in k and k.endswith(suffix)}


def altered(window, field, rows, places):
  """The window with other numbers at some places of one field."""
  array = getattr(window, field).copy()
  places = np.ix_(rows, places)
  array[places] = (array[places] + 3) % 4  # a discount of 1 becomes 0
  return window._replace(**{field: array})


def assert_same_step(first, second):
  """Two results of `take_step` are equal bit for bit, optimiser and metrics too."""
  tiny.assert_same_bits(first, second)


def differs(tree, other) -> bool:
  """Whether any leaf of two trees differs."""
  same = jax.tree.map(np.array_equal, tree, other)
  return not all(jax.tree.leaves(same))


def hidden(window, rows, places=slice(None)):
  """The window with some actions hidden, as `data/` hides them."""
  actions, is_labelled = window.actions.copy(), window.is_labelled.copy()
  actions[rows, places], is_labelled[rows, places] = 0, False
  return window._replace(actions=actions, is_labelled=is_labelled)


def padded(window, rows, count):
  """The window with its first transitions turned into padding, as `data/` pads."""
  valid, observations = window.valid.copy(), window.observations.copy()
  valid[rows, :count], observations[rows, :count] = False, 0
  return hidden(window, rows, slice(count))._replace(
    valid=valid, observations=observations
  )


# Padding, hidden actions and the future are nobody's business.


@pytest.mark.parametrize(
  'field', ['observations', 'actions', 'rewards', 'discounts', 'returns_to_go']
)
def test_what_stands_on_padding_has_no_influence_on_any_gradient(field):
  window = padded(tiny.random_window(), [0, 1], 2)
  before = take_step(tiny.batch_of(window, relabel=[1, 0, 1, 0]))
  window = altered(window, field, [0, 1], [0, 1])
  assert_same_step(take_step(tiny.batch_of(window, relabel=[1, 0, 1, 0])), before)


def test_no_gradient_reaches_what_only_padding_uses():
  # The unknown row of the action embedding stands at padded places alone.
  window = padded(tiny.random_window(), [0, 1], 2)
  state, _ = take_step(tiny.batch_of(window))
  (unknown,) = gradient(state, POLICY, 'unknown').values()
  assert not unknown.any()


def test_what_is_written_where_an_action_is_hidden_is_never_read():
  window = hidden(tiny.random_window(), [0, 1, 2])
  relabel = [True, False, False, True]
  before = take_step(tiny.batch_of(window, relabel=relabel))
  window = altered(window, 'actions', [0, 1, 2], [0, 1, 2, 3])
  assert_same_step(take_step(tiny.batch_of(window, relabel=relabel)), before)


def test_the_last_observation_reaches_the_inverse_dynamics_alone():
  window = tiny.random_window()
  before, _ = take_step(tiny.batch_of(window))
  after, _ = take_step(tiny.batch_of(altered(window, 'observations', [0], [4])))
  tiny.assert_same_bits(after.params[POLICY], before.params[POLICY])
  assert differs(after.params[IDM], before.params[IDM])


def test_the_policy_sees_only_the_last_transitions_of_a_window():
  # A window of 4 transitions, a context of 3: the first is the IDM's alone.
  window = tiny.random_window()
  before, _ = take_step(tiny.batch_of(window))
  for field in ('observations', 'actions', 'rewards', 'returns_to_go'):
    after, _ = take_step(tiny.batch_of(altered(window, field, [0], [0])))
    tiny.assert_same_bits(after.params[POLICY], before.params[POLICY])


def test_the_number_of_the_environment_is_no_input():
  window = tiny.random_window()
  before = take_step(tiny.batch_of(window))
  window = window._replace(environment=np.arange(4, dtype=np.int32))
  assert_same_step(take_step(tiny.batch_of(window)), before)


# Which rows teach which model.


def test_a_row_without_weight_teaches_its_model_nothing():
  window = tiny.random_window()
  batch = {'idm_weight': [0, 1, 1, 1], 'policy_weight': [1, 1, 1, 0]}
  before, _ = take_step(tiny.batch_of(window, **batch))
  first, _ = take_step(tiny.batch_of(altered(window, 'actions', [0], [3]), **batch))
  last, _ = take_step(tiny.batch_of(altered(window, 'actions', [3], [3]), **batch))
  tiny.assert_same_bits(first.params[IDM], before.params[IDM])
  assert differs(first.params[POLICY], before.params[POLICY])
  tiny.assert_same_bits(last.params[POLICY], before.params[POLICY])
  assert differs(last.params[IDM], before.params[IDM])


def test_the_policy_does_not_train_the_labeller():
  window = hidden(tiny.random_window(), [0, 1])
  before, _ = take_step(tiny.batch_of(window, policy_weight=1, relabel=True))
  after, _ = take_step(tiny.batch_of(window, policy_weight=[3, 1, 0, 2], relabel=True))
  tiny.assert_same_bits(after.params[IDM], before.params[IDM])
  assert differs(after.params[POLICY], before.params[POLICY])


def test_recorded_actions_change_no_pseudo_label():
  # Rows 0 and 1 teach the IDM alone, rows 2 and 3 the policy alone, by its guesses.
  window = hidden(tiny.random_window(), [2, 3])
  batch = {
    'idm_weight': [1, 1, 0, 0],
    'policy_weight': [0, 0, 1, 1],
    'relabel': [False, False, True, True],
  }
  before, metrics = take_step(tiny.batch_of(window, **batch))
  window = altered(window, 'actions', [0, 1], [0, 1, 2, 3])
  after, changed = take_step(tiny.batch_of(window, **batch))
  tiny.assert_same_bits(after.params[POLICY], before.params[POLICY])
  assert changed['idm_loss'] != metrics['idm_loss']


def test_a_hidden_action_is_no_target_and_an_unknown_input_unless_relabelled():
  window = hidden(tiny.random_window(), [0, 1, 2, 3])
  plain, metrics = take_step(tiny.batch_of(window))
  assert metrics['action_loss'] == 0
  assert metrics['idm_loss'] == 0
  (unknown,) = gradient(plain, POLICY, 'unknown').values()
  assert unknown.any()
  relabelled, metrics = take_step(tiny.batch_of(window, relabel=True))
  assert metrics['action_loss'] > 0
  (unknown,) = gradient(relabelled, POLICY, 'unknown').values()
  assert not unknown.any()


def test_the_unknown_row_learns_only_when_an_action_is_missing():
  known, _ = take_step(tiny.batch_of(tiny.random_window()))
  (unknown,) = gradient(known, POLICY, 'unknown').values()
  assert not unknown.any()
  # One hidden action, at the first transition that the policy sees.
  one, _ = take_step(tiny.batch_of(hidden(tiny.random_window(), [2], 1)))
  (unknown,) = gradient(one, POLICY, 'unknown').values()
  assert unknown.any()


# The numbers, by hand. All parameters are 0 but the bias of the action heads, so
# every position predicts the same: returns and rewards uniformly, actions thus.

IDM_SAYS = [0.2, 0.3, 0.1, 0.4]
POLICY_SAYS = [1 / 2, 1 / 4, 1 / 8, 1 / 8]
BIT = np.log(2)


def losses(config, batch):
  """The losses of a step, whose gradients are not compiled."""
  state = loud_state()
  params = jax.tree.map(np.zeros_like, state.params)
  for name, says in ((IDM, IDM_SAYS), (POLICY, POLICY_SAYS)):
    params[name]['act_linear']['bias'] = np.log(says).astype(np.float32)

  @jax.jit
  def compute(state, batch):
    _, metrics = joint_step(config, state, batch, KEY)
    return {k: v for k, v in metrics.items() if not k.endswith('norm')}

  return compute(state._replace(params=params), batch)


def by_hand():
  """Action 2 recorded in row 0; hidden in the others, row 1 is relabelled.

  Row 1 does not accept action 3. Row 2 has no action target, row 3 does not count.
  """
  window = hidden(tiny.random_window(), [1, 2, 3])
  window.actions[0], window.allowed[1, 3] = 2, False
  return tiny.batch_of(
    window,
    idm_weight=[1, 0, 0, 0],
    policy_weight=[1, 1, 1, 0],
    relabel=[False, True, False, True],
  )


def test_losses_by_hand():
  metrics = losses(BOTH, by_hand())
  # Row 0: -log 1/8. Row 1: the guess is action 1, as 3 is not allowed: -log 1/4.
  assert metrics['action_loss'] == pytest.approx((3 + 2) / 2 * BIT)
  assert metrics['return_loss'] == pytest.approx(np.log(5))
  assert metrics['reward_loss'] == pytest.approx(np.log(4))
  assert metrics['policy_loss'] == pytest.approx((2.5 * BIT + np.log(5 * 4)) / 3)
  assert metrics['idm_loss'] == pytest.approx(-np.log(0.1))
  assert metrics['idm_train_accuracy'] == 0  # it says 3


def test_a_guess_weighs_as_much_as_the_labeller_is_sure():
  metrics = losses(tiny.tiny_step(confidence_weighting=True), by_hand())
  # Row 1: 0.3 of the 0.2 + 0.3 + 0.1 that are allowed, 1/2. Recorded: 1.
  assert metrics['action_loss'] == pytest.approx((3 * 1 + 2 * 0.5) / 1.5 * BIT)


@pytest.mark.parametrize(
  ('threshold', 'expected'),
  # Row 1's guess has confidence 1/2; below the threshold row 0 alone is left.
  [(0.49, (3 + 2) / 2), (0.5, (3 + 2) / 2), (0.51, 3)],
)
def test_a_guess_below_the_threshold_is_no_target(threshold, expected):
  metrics = losses(tiny.tiny_step(confidence_threshold=threshold), by_hand())
  assert metrics['action_loss'] == pytest.approx(expected * BIT)


def test_a_guess_below_the_threshold_is_no_input_either():
  """No guess reaches .99: the step is that of rows which are not relabelled."""
  window = hidden(tiny.random_window(), [1, 2])
  config = tiny.tiny_step(confidence_threshold=0.99)
  batches = [tiny.batch_of(window, relabel=[0, on, on, 0]) for on in (1, 0)]
  doubting, unlabelled = (take_step(batch, config) for batch in batches)
  assert_same_step(doubting, unlabelled)
  # Those guesses do matter where they count.
  believing, _ = take_step(batches[0])
  assert differs(believing.params[POLICY], doubting[0].params[POLICY])


def test_soft_targets_are_the_labellers_probabilities():
  metrics = losses(tiny.tiny_step(relabelling='soft'), by_hand())
  # Row 1: 1/3, 1/2, 1/6 of actions 0, 1, 2, which cost 1, 2, 3 bits.
  guess = 1 / 3 * 1 + 1 / 2 * 2 + 1 / 6 * 3
  assert metrics['action_loss'] == pytest.approx((3 + guess) / 2 * BIT)


@pytest.fixture(scope='module')
def forgetful():
  """`(key, step) -> (IDM loss, policy loss)` of a labeller with dropout.

  Weighing by confidence makes the policy's loss feel the least change of a label.
  """
  idm = tiny.tiny_idm(dropout=0.5)
  config = tiny.tiny_step(idm=idm, confidence_weighting=True)
  batch = tiny.batch_of(hidden(tiny.random_window(), [2, 3]), relabel=True)

  @jax.jit
  def compute(batch, key, step):
    state = loud_state()._replace(step=step)
    metrics = joint_step(config, state, batch, key)[1]
    return metrics['idm_loss'], metrics['policy_loss']

  return functools.partial(compute, batch)


def test_labels_come_from_the_labeller_without_dropout(forgetful):
  first, second = forgetful(KEY, 0), forgetful(jax.random.key(1), 0)
  assert first[0] != second[0]
  assert first[1] == second[1]


def test_every_step_draws_anew_and_the_same_step_the_same(forgetful):
  assert forgetful(KEY, 0)[0] != forgetful(KEY, 1)[0]
  assert forgetful(KEY, 1)[0] == forgetful(KEY, 1)[0]


# Methods without a labeller, and fresh states.


def test_a_method_without_labeller_has_none_and_never_reads_a_hidden_action():
  window = hidden(tiny.random_window(), [0, 1])
  state, metrics = before = take_step(tiny.batch_of(window), POLICY_ALONE)
  assert list(state.params) == list(state.opt_state) == [POLICY]
  assert not [name for name in metrics if 'idm' in name or IDM in name]
  window = altered(window, 'actions', [0, 1], [0, 1, 2, 3])
  assert_same_step(take_step(tiny.batch_of(window), POLICY_ALONE), before)


def test_without_relabelling_the_policy_learns_the_same_beside_a_labeller():
  batch = tiny.batch_of(hidden(tiny.random_window(), [0, 1]))
  alone, beside = loud_state(POLICY_ALONE), loud_state()
  beside = beside._replace(params={**beside.params, POLICY: alone.params[POLICY]})
  first, _ = take_step(batch, POLICY_ALONE, alone)
  second, _ = take_step(batch, BOTH, beside)
  for name, array in tiny.leaf_items(first.params[POLICY]).items():
    other = tiny.leaf_items(second.params[POLICY])[name]
    np.testing.assert_allclose(other, array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_labeller_that_is_trained_alone_learns_as_it_does_beside_a_policy():
  alone = tiny.tiny_step(policy=None)
  window = hidden(tiny.random_window(), [0, 1])
  batch = tiny.batch_of(window, idm_weight=[1, 0, 1, 1], relabel=True)
  beside, expected = take_step(batch)
  state = loud_state(alone)
  state = state._replace(params={IDM: loud_state().params[IDM]})
  found, metrics = take_step(batch, alone, state)
  assert list(found.params) == list(found.opt_state) == [IDM]
  assert not [name for name in metrics if 'policy' in name or POLICY in name]
  assert metrics['idm_loss'] == pytest.approx(expected['idm_loss'], rel=1e-5)
  for name, array in tiny.leaf_items(found.params[IDM]).items():
    other = tiny.leaf_items(beside.params[IDM])[name]
    np.testing.assert_allclose(array, other, rtol=1e-4, atol=1e-6, err_msg=name)


CLONING = tiny.tiny_step(idm=None, policy=tiny.tiny_policy(sees_returns=False))


def test_cloning_reads_no_return_and_has_no_loss_of_it():
  window = hidden(tiny.random_window(), [0])
  state, metrics = before = take_step(tiny.batch_of(window), CLONING)
  assert not any('ret' in name for name in state.params[POLICY])
  assert 'return_loss' not in metrics
  mean = (metrics['action_loss'] + metrics['reward_loss']) / 2
  assert metrics['policy_loss'] == pytest.approx(mean)
  window = altered(window, 'returns_to_go', [0, 1, 2, 3], [0, 1, 2, 3])
  assert_same_step(take_step(tiny.batch_of(window), CLONING), before)


@pytest.fixture(scope='module')
def fresh():
  """`seed -> state`."""
  return functools.cache(lambda seed: init_state(BOTH, tiny.random_window(), seed))


def test_fresh_parameters_of_one_model_do_not_depend_on_the_other(fresh):
  alone = init_state(POLICY_ALONE, tiny.random_window(), 0)
  tiny.assert_same_bits(fresh(0).params[POLICY], alone.params[POLICY])


def test_a_seed_gives_the_same_fresh_state_and_another_seed_another(fresh):
  other = tiny.random_window(seed=1)
  tiny.assert_same_bits(init_state(BOTH, other, 0), fresh(0))  # only shapes are read
  assert differs(fresh(1).params, fresh(0).params)


def test_the_abstract_state_is_that_of_a_fresh_one(fresh):
  shapes = abstract_state(BOTH, tiny.random_window())
  assert describe_leaves(shapes) == describe_leaves(fresh(0))


def test_a_step_counts_itself():
  state, _ = take_step(tiny.batch_of(tiny.random_window()))
  assert int(state.step) == 1


# A batch in parts.


@pytest.mark.parametrize(
  ('count', 'fields'),
  [
    (4, {}),
    *(
      pytest.param(2, fields, marks=pytest.mark.slow)
      for fields in (
        {'relabelling': 'soft', 'confidence_weighting': True},
        {'relabelling': 'sample', 'loss_normalisation': 'notebook'},
        {'idm': None},
      )
    ),
  ],
)
def test_a_batch_in_parts_gives_the_whole_batchs_step(count, fields):
  """Parts hold labels and weights in unequal numbers; one of them holds none."""
  window = hidden(padded(tiny.random_window(), [1], 2), [0, 3])
  weights = {'idm_weight': [1, 1, 0.5, 0], 'policy_weight': [2, 0, 1, 1]}
  batch = tiny.batch_of(window, relabel=[1, 0, 0, 1], **weights)
  whole_config = tiny.tiny_step(**fields)
  whole, whole_metrics = take_step(batch, whole_config, loud_state(whole_config))
  config = tiny.tiny_step(**fields, microbatches=count)
  state, metrics = take_step(batch, config, loud_state(config))
  assert metrics.keys() == whole_metrics.keys()
  for name, value in whole_metrics.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
  for model in whole.params:
    parts, wholes = gradient(state, model), gradient(whole, model)
    for name, leaf in wholes.items():
      np.testing.assert_allclose(parts[name], leaf, rtol=1e-4, atol=1e-7, err_msg=name)


def test_each_part_of_a_batch_drops_other_units_out():
  """Two parts of equal rows, one of them negative: with one key they would cancel."""
  window = jax.tree.map(lambda rows: np.repeat(rows[:1], 2, 0), tiny.random_window())
  config = tiny.tiny_step(idm=tiny.tiny_idm(dropout=0.5), policy=None)

  def loss_fn(params, part, key):
    inputs, sign = part
    found = config.idm.apply({'params': params}, *inputs, False, rngs={'dropout': key})
    loss = (sign[:, None, None] * found).sum()
    return loss, {'loss': loss}

  params = loud_state(config).params[IDM]
  rows = ((window.observations, window.valid), np.array([1.0, -1.0], np.float32))
  gradients, metrics = summed_gradients(loss_fn, params, rows, KEY, 2)
  assert abs(metrics['loss']) > 1e-3
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > 1e-3
