"""What each model may see, and what it may not."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.errors import UserError
from alpt_jax.models import embedding
from alpt_jax.models.decision_transformer import first_valid
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.models.vocabulary import grow
from alpt_jax.specs import ObservationSpec

CONTEXT = 3
# Everything a context of three transitions predicts, in the order of its tokens.
READ_OUT = [
  f'{head} {t}' for t in range(CONTEXT) for head in ('return', 'action', 'reward')
]
# (input, transition) -> the first prediction that it changes; all later ones change
# too, and none before.
FIRST_CHANGED = {
  ('observations', 0): 'return 0',
  ('observations', 1): 'return 1',
  ('observations', 2): 'return 2',
  ('return_tokens', 0): 'action 0',
  ('return_tokens', 1): None,  # single_return_token
  ('return_tokens', 2): None,
  ('actions', 0): 'reward 0',
  ('actions', 1): 'reward 1',
  ('actions', 2): 'reward 2',
  ('is_known', 0): 'reward 0',
  ('is_known', 1): 'reward 1',
  ('is_known', 2): 'reward 2',
  ('reward_tokens', 0): 'return 1',
  ('reward_tokens', 1): 'return 2',
  ('reward_tokens', 2): None,  # the last token of all
}


class Policy:
  """An image policy of two layers and one jitted call for all of its tests."""

  def __init__(self):
    self.model = tiny.tiny_policy(tiny.IMAGE, num_layers=2)
    self.params = tiny.loud_params(self.model, *inputs(rows=1).values())
    self.predict = jax.jit(
      lambda given: self.model.apply({'params': self.params}, **given)
    )


@pytest.fixture(scope='module')
def policy():
  return Policy()


def inputs(rows, valid=(True,) * CONTEXT):
  """The same context in every row."""
  rng = np.random.default_rng(3)
  context = {
    'observations': rng.integers(0, 256, (1, CONTEXT, 4, 4, 1)).astype(np.uint8),
    'return_tokens': np.array([[1, 2, 3]], np.int32),
    'actions': np.array([[0, 1, 2]], np.int32),
    'is_known': np.ones((1, CONTEXT), bool),
    'reward_tokens': np.array([[1, 0, 2]], np.int32),
    'valid': np.array([valid]),
  }
  return {name: np.repeat(array, rows, axis=0) for name, array in context.items()}


def perturbed(valid=(True,) * CONTEXT):
  """Row 0 as it was; row k with the k-th entry of FIRST_CHANGED altered."""
  given = inputs(1 + len(FIRST_CHANGED), valid)
  for row, (field, place) in enumerate(FIRST_CHANGED, start=1):
    if field == 'observations':
      given[field][row, place, 0, 0] += 128  # the first of the frame's patches
    elif field == 'is_known':
      given[field][row, place] = False
    else:
      given[field][row, place] = (given[field][row, place] + 1) % 4
  return given


def what_changed(predictions, row):
  """The predictions in which a row differs from row 0."""
  changed = []
  for head, logits in zip(('return', 'action', 'reward'), predictions, strict=True):
    difference = np.abs(logits[row] - logits[0]).max(-1)
    changed += [f'{head} {t}' for t in np.flatnonzero(difference > 1e-4)]
  return sorted(changed, key=READ_OUT.index)


# The decision transformer.


def test_a_prediction_changes_with_what_came_before_it_and_with_nothing_after(policy):
  predictions = policy.predict(perturbed())
  for row, (place, first) in enumerate(FIRST_CHANGED.items(), start=1):
    expected = [] if first is None else READ_OUT[READ_OUT.index(first) :]
    assert what_changed(predictions, row) == expected, place


def test_the_return_that_is_read_is_that_of_the_first_valid_transition(policy):
  predictions = policy.predict(perturbed(valid=(False, True, True)))
  changes = {
    place: [name for name in what_changed(predictions, row) if not name.endswith('0')]
    for row, place in enumerate(FIRST_CHANGED, start=1)
  }
  # Padding stands at transition 0, so the return of transition 1 is shown.
  assert changes['return_tokens', 1] == READ_OUT[READ_OUT.index('action 1') :]
  assert changes['return_tokens', 2] == []


def test_no_prediction_sees_what_stands_on_padding(policy):
  predictions = policy.predict(perturbed(valid=(False, True, True)))
  for row, (field, place) in enumerate(FIRST_CHANGED, start=1):
    if place == 0:
      seen = [name for name in what_changed(predictions, row) if name[-1] != '0']
      assert seen == [], field


def test_an_unknown_action_hides_which_one_it_was(policy):
  given = inputs(2)
  given['is_known'][:, 1] = False
  given['actions'][1, 1] = 3
  rows = jax.tree.map(lambda a: np.repeat(a, 8, axis=0), given)
  predictions = policy.predict(rows)
  for logits in predictions:
    np.testing.assert_allclose(logits[0], logits[8], atol=1e-6)


def test_all_patches_of_a_frame_see_each_other_and_no_later_frame(policy):
  given = inputs(3)
  given['observations'][1, 1, 3, 3] += 128  # the last patch of frame 1
  given['observations'][2, 2, 3, 3] += 128  # the last patch of frame 2
  _, kept = jax.jit(
    lambda given: policy.model.apply(
      {'params': policy.params},
      **given,
      capture_intermediates=lambda module, name: (
        module.name == 'sequence' and name == 'extend'
      ),
    )
  )(given)
  ((_, layers),) = kept['intermediates']['sequence']['extend']
  keys, _ = layers[-1]  # of all tokens, after the layers before
  difference = np.abs(keys - keys[0]).max((-1, -2))
  # A transition is 4 patches, return, action, reward: frame 1 is tokens 7 to 10. The
  # last reward is left out.
  assert np.flatnonzero(difference[1] > 1e-4).tolist() == list(range(7, 20))
  assert np.flatnonzero(difference[2] > 1e-4).tolist() == list(range(14, 20))


def test_first_valid_is_the_first_transition_that_is_not_padding():
  valid = np.array([[True, True, True], [False, True, True], [False, False, True]])
  assert first_valid(jnp.asarray(valid)).tolist() == [
    [True, False, False],
    [False, True, False],
    [False, False, True],
  ]


@pytest.fixture(scope='module')
def cloner():
  """An image policy that sees no returns, and its parameters' names."""
  model = tiny.tiny_policy(tiny.IMAGE, num_layers=2, sees_returns=False)
  params = tiny.loud_params(model, *inputs(rows=1).values())
  predict = jax.jit(lambda given: model.apply({'params': params}, **given))
  return predict, params


@pytest.mark.parametrize('valid', [(True,) * CONTEXT, (False, True, True)])
def test_without_returns_none_is_read_and_all_else_is_seen_as_before(cloner, valid):
  predict, _ = cloner
  predictions = predict(perturbed(valid))
  assert predictions.returns is None
  # Where returns would be read nothing is: the next thing in line changes first.
  read_out = [name for name in READ_OUT if not name.startswith('return')]
  empty = jnp.zeros((len(predictions.actions), CONTEXT, 1))
  predictions = predictions._replace(returns=empty)
  for row, (place, first) in enumerate(FIRST_CHANGED.items(), start=1):
    is_read = first is not None and place[0] != 'return_tokens' and valid[place[1]]
    expected = []
    if is_read:
      expected = read_out[read_out.index(first.replace('return', 'action')) :]
    # What is predicted on padding means nothing.
    changed = [n for n in what_changed(predictions, row) if valid[int(n[-1])]]
    assert changed == expected, place


def test_without_returns_there_is_neither_a_table_nor_a_head_for_them(policy, cloner):
  _, params = cloner
  assert set(policy.params) - set(params) == {'return_emb', 'ret_linear'}
  for name, tree in params.items():
    assert jax.tree.map(np.shape, tree) == jax.tree.map(np.shape, policy.params[name])


def test_bfloat16_computes_with_float32_parameters_and_logits(policy):
  model = policy.model.clone(dtype=jnp.bfloat16)
  logits, fresh = jax.eval_shape(
    model.init_with_output, jax.random.key(0), *inputs(1).values()
  )
  assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {np.dtype('float32')}
  assert {head.dtype for head in logits} == {np.dtype('float32')}


# The inverse dynamics model.


@pytest.fixture(scope='module')
def idm_logits():
  """`(observations, valid) -> logits` of an image IDM over 4 transitions."""
  model = tiny.tiny_idm(tiny.IMAGE)
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  params = tiny.loud_params(model, window.observations, window.valid)
  return jax.jit(lambda seen, valid: model.apply({'params': params}, seen, valid))


def idm_changes(idm_logits, valid):
  """`[5 altered observations, 4 logits]` bool: which changes which."""
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  observations = np.repeat(window.observations, 6, axis=0)
  for place in range(5):
    observations[place + 1, place, 1, 2] += 128
  logits = idm_logits(observations, np.repeat([valid], 6, axis=0))
  return np.abs(logits[1:] - logits[0]).max(-1) > 1e-4


def test_every_inverse_dynamics_logit_depends_on_every_observation(idm_logits):
  # In particular logits[t] on observation[t + 1], without which no action shows.
  assert idm_changes(idm_logits, [True] * 4).all()


def test_inverse_dynamics_does_not_see_padding(idm_logits):
  changes = idm_changes(idm_logits, [False, False, True, True])
  # Observations 0 and 1 start padded transitions; 2, 3 and the last one do not.
  assert not changes[:2, 2:].any()
  assert changes[2:, 2:].all()


def test_inverse_dynamics_has_no_input_but_observations():
  names = list(inspect.signature(InverseDynamics.__call__).parameters)
  assert names == ['self', 'observations', 'valid', 'deterministic']


# Embeddings.


def test_patches_are_cut_row_by_row_and_scaled_to_one():
  spec = ObservationSpec('image', (5, 4, 1), 'uint8')  # the fifth row is no patch
  module = embedding.ObservationEmbedding(spec, width=4, patch_size=2)
  frame = np.arange(20, dtype=np.uint8).reshape(1, 1, 5, 4, 1)
  params = {
    'image_emb': {'kernel': 255 * np.eye(4), 'bias': np.zeros(4)},
    'image_pos_enc': np.array([0, 100, 200, 300]).reshape(1, 1, 4, 1) * np.ones(4),
  }
  tokens = module.apply({'params': params}, frame)
  #  0  1 |  2  3
  #  4  5 |  6  7
  #  8  9 | 10 11
  # 12 13 | 14 15
  np.testing.assert_allclose(
    tokens[0, 0],
    [
      [0, 1, 4, 5],
      [102, 103, 106, 107],
      [208, 209, 212, 213],
      [310, 311, 314, 315],
    ],
    rtol=1e-6,
  )
  assert embedding.num_observation_tokens(spec, 2) == 4


def test_integers_are_numbers_centred_and_scaled_by_their_own_range():
  spec = ObservationSpec('integers', (2,), 'uint8', (3, 2))
  module = embedding.ObservationEmbedding(spec, width=1, patch_size=1)
  params = {'vector': {'kernel': np.array([[100], [1000]]), 'bias': np.array([7])}}
  token = module.apply({'params': params}, np.array([[[2, 0]]], np.uint8))
  # Entry 0 is 2 of 0..2: (2 - 1) / sqrt(8 / 12) = 1.2247.
  # Entry 1 is 0 of 0..1: (0 - 1/2) / sqrt(3 / 12) = -1.
  assert float(token[0, 0, 0, 0]) == pytest.approx(122.474487 - 1000 + 7)


def test_an_entry_that_can_take_only_one_value_gives_a_number():
  spec = ObservationSpec('integers', (2,), 'uint8', (1, 2))
  module = embedding.ObservationEmbedding(spec, width=2, patch_size=1)
  tokens, _ = module.init_with_output(jax.random.key(0), np.zeros((1, 1, 2), np.uint8))
  assert np.isfinite(tokens).all()


def test_a_missing_action_is_the_one_extra_row():
  module = embedding.ActionEmbedding(num_actions=2, width=1)
  params = {
    'table': {'embedding': np.array([[1.0], [2.0]])},
    'unknown': np.array([9.0]),
  }
  tokens = module.apply(
    {'params': params}, np.array([0, 1, 1]), np.array([True, True, False])
  )
  assert tokens[:, 0].tolist() == [1, 2, 9]


# Growing the vocabulary.


class Grown:
  """A policy of 4 actions, grown to 6."""

  def __init__(self, policy):
    self.trained = policy.params
    self.model = policy.model.clone(num_actions=6)
    self.fresh = tiny.loud_params(self.model, *inputs(rows=1).values(), seed=1)
    self.params = grow(self.trained, self.fresh, num_known=4)


@pytest.fixture(scope='module')
def grown(policy):
  return Grown(policy)


def test_growing_keeps_every_trained_number(grown):
  old, new = tiny.leaf_items(grown.trained), tiny.leaf_items(grown.params)
  for name, array in old.items():
    kept = new[name]
    if name == 'action_emb/table/embedding':
      kept = kept[:4]
    elif name.startswith('act_linear'):
      kept = kept[..., :4]
    np.testing.assert_array_equal(kept, array, err_msg=name)


def test_growing_gives_new_actions_fresh_rows(grown):
  fresh, new = tiny.leaf_items(grown.fresh), tiny.leaf_items(grown.params)
  assert new['action_emb/table/embedding'].shape == (6, 8)
  for name in ('act_linear/kernel', 'act_linear/bias'):
    np.testing.assert_array_equal(new[name][..., 4:], fresh[name][..., 4:])
  name = 'action_emb/table/embedding'
  np.testing.assert_array_equal(new[name][4:], fresh[name][4:])


def test_growing_changes_no_logit_of_a_known_action(policy, grown):
  given = inputs(16)
  before = policy.predict(given)
  after = jax.jit(grown.model.apply)({'params': grown.params}, **given)
  np.testing.assert_allclose(
    after.actions[..., :4], before.actions, rtol=1e-5, atol=1e-5
  )
  np.testing.assert_allclose(after.returns, before.returns, rtol=1e-5, atol=1e-5)


def test_growing_by_no_name_changes_nothing(grown):
  tiny.assert_same_bits(grow(grown.trained, grown.trained, 4), grown.trained)


def test_growing_another_architecture_names_the_leaf_and_both_shapes(grown):
  wider = dict(grown.fresh, positional_embeddings=np.zeros((28, 8), np.float32))
  with pytest.raises(UserError, match=r'positional_embeddings.*\[28, 8\].*\[21, 8\]'):
    grow(grown.trained, wider, 4)


def test_growing_a_model_with_fewer_layers_names_the_leaf_that_is_missing(grown):
  shallow = {k: v for k, v in grown.trained.items() if k != 'sequence'}
  with pytest.raises(UserError, match='sequence/'):
    grow(shallow, grown.fresh, 4)
