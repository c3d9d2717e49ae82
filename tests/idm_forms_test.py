"""What each form of the inverse dynamics model may see, and that each one learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_configs
import tiny_models as tiny

from alpt_jax import losses
from alpt_jax.errors import UserError
from alpt_jax.experiment import config as config_lib
from alpt_jax.experiment.models import build
from alpt_jax.models import embedding
from alpt_jax.models.inverse_dynamics import FORMS, InverseDynamics
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.optimizer import make_optimizer

NUM_TRANSITIONS = 4
ALL = np.ones((NUM_TRANSITIONS, NUM_TRANSITIONS + 1), bool)
# Row t: the observations that the logits of transition t depend on.
PAIRS = np.eye(NUM_TRANSITIONS, NUM_TRANSITIONS + 1, dtype=bool)
PAIRS |= np.eye(NUM_TRANSITIONS, NUM_TRANSITIONS + 1, 1, dtype=bool)
SEES = {'frames': ALL, 'difference': ALL, 'pair': PAIRS}


@pytest.fixture
def quiet(monkeypatch):
  """Changes so loud as they are saturate the attention of random parameters."""
  monkeypatch.setattr(embedding, 'CHANGE_SCALE', 1)


def image_idm(form):
  """Two layers: the slots of 'difference' see other transitions in the second."""
  return tiny.tiny_idm(tiny.IMAGE, form=form, num_layers=2)


def dependence(form, valid):
  """`[4 logits, 5 observations]` bool: which logits change with which observation."""
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  observations = np.repeat(window.observations, 6, axis=0)
  for place in range(5):
    observations[place + 1, place, 1, 2] += 128
  model = image_idm(form)
  params = tiny.loud_params(model, window.observations, window.valid)
  valid = np.repeat([valid], 6, axis=0)
  # A function of its own: equal models share programs, whatever `quiet` says.
  predict = jax.jit(lambda *given: model.apply({'params': params}, *given))
  logits = np.asarray(predict(observations, valid))
  # Another frame's influence is small, 5e-5 and more; rounding is about 1e-7.
  return np.abs(logits[1:] - logits[0]).max(-1).T > 1e-5


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.usefixtures('quiet')
def test_a_logit_depends_on_the_observations_its_form_shows_it_and_on_no_other(form):
  np.testing.assert_array_equal(dependence(form, [True] * 4), SEES[form])


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.usefixtures('quiet')
def test_no_valid_transition_sees_padding_nor_a_difference_from_it(form):
  expected = SEES[form].copy()
  # Observations 0 and 1 start padded transitions.
  expected[:, :2] = False
  found = dependence(form, [False, False, True, True])
  np.testing.assert_array_equal(found[2:], expected[2:])


def test_a_padded_pair_sees_nothing_at_all():
  # Not even observation 2, the first that is real, of which it is the end.
  assert not dependence('pair', [False, False, True, True])[:2].any()


@pytest.mark.parametrize(
  ('form', 'pixels', 'tokens'),
  [
    ('frames', 4, 5 * 4 + 4),  # five frames of four patches and four slots
    ('difference', 8, 4 * 4 + 4),  # a patch holds two pictures of 2 x 2 pixels
    ('pair', 8, 4 + 1),
  ],
)
def test_the_parameters_of_a_form_keep_their_names_and_shapes(form, pixels, tokens):
  model = tiny.tiny_idm(tiny.IMAGE, form=form)
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  params = tiny.leaf_items(tiny.loud_params(model, window.observations, window.valid))
  shapes = {
    name: array.shape for name, array in params.items() if 'sequence' not in name
  }
  assert shapes == {
    'act_linear/bias': (4,),
    'act_linear/kernel': (8, 4),
    'observation/image_emb/bias': (8,),
    'observation/image_emb/kernel': (pixels, 8),
    'observation/image_pos_enc': (1, 1, 4, 8),
    'positional_embeddings': (tokens, 8),
  }


def test_the_papers_form_is_the_default():
  assert InverseDynamics(4, tiny.IMAGE).form == 'frames'


def test_a_pair_is_read_the_same_wherever_it_stands_in_a_window():
  model = image_idm('pair')
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  params = tiny.loud_params(model, window.observations, window.valid)
  predict = jax.jit(lambda *given: model.apply({'params': params}, *given))
  whole = predict(window.observations, window.valid)
  part = predict(window.observations[:, 1:3], window.valid[:, 1:2])
  np.testing.assert_allclose(part[0, 0], whole[0, 1], rtol=1e-5, atol=1e-5)


def test_a_change_stands_behind_the_frame_that_it_starts_from():
  frames = np.array([10, 13, 5], np.uint8).reshape(1, 3, 1, 1, 1)
  found = embedding.with_changes(frames, np.ones((1, 2), bool), jnp.float32)
  scale = embedding.CHANGE_SCALE
  # 13 - 10 = 3 and 5 - 13 = -8, which uint8 has no number for.
  np.testing.assert_array_equal(found[0, :, 0, 0], [[10, 3 * scale], [13, -8 * scale]])


def test_the_change_from_padding_to_the_first_frame_is_no_change():
  frames = np.array([0, 13, 5], np.uint8).reshape(1, 3, 1, 1, 1)
  found = embedding.with_changes(frames, np.array([[False, True]]), jnp.float32)
  assert found[0, 0].tolist() == [[[0, 0]]]


def test_bfloat16_computes_with_float32_parameters_and_logits():
  window = tiny.random_window(tiny.IMAGE, num_windows=1)
  for form in FORMS:
    model = tiny.tiny_idm(tiny.IMAGE, form=form, dtype=jnp.bfloat16)
    logits, fresh = jax.eval_shape(
      model.init_with_output, jax.random.key(0), window.observations, window.valid
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {np.dtype('float32')}
    assert logits.dtype == np.dtype('float32')


# What is refused.


@pytest.mark.parametrize('form', ['difference', 'pair'])
@pytest.mark.parametrize(
  'spec', [tiny.VECTOR, ObservationSpec('integers', (1,), 'uint8', (3,))]
)
def test_only_images_have_differences(form, spec):
  with pytest.raises(UserError, match=f"model.idm_form: .*'{spec.kind}'.*'{form}'"):
    tiny.tiny_idm(spec, form=form)


def test_an_unknown_form_is_refused_with_the_known_ones():
  with pytest.raises(UserError, match='model.idm_form: expected frames or difference'):
    tiny.tiny_idm(tiny.IMAGE, form='pairs')


def maze_config(**fields):
  """configs/maze.py with other `section__field`s."""
  config = tiny_configs.get_config('maze').to_dict()
  for name, value in fields.items():
    section, field = name.split('__')
    config[section][field] = value
  return config_lib.from_mapping(config)


def test_a_config_names_the_form_of_its_labeller():
  with pytest.raises(UserError, match="model.idm_form: 'pairs'.*did you mean 'pair'"):
    maze_config(model__idm_form='pairs')
  config = maze_config(model__idm_form='pair', model__patch_size=2)
  steps = build(config, tiny.IMAGE, 4, (-1, 2))
  assert steps.idm.form == 'pair'
  with pytest.raises(UserError, match="model.idm_form: .*'vector'"):
    build(config, tiny.VECTOR, 4, (-1, 2))


def test_observations_without_pixels_cannot_be_shifted():
  config = maze_config(training__shift=2, model__patch_size=2)
  with pytest.raises(UserError, match="training.shift: .*'vector'.*found 2"):
    build(config, tiny.VECTOR, 4, (-1, 2))
  assert build(config, tiny.IMAGE, 4, (-1, 2)).shift == 2
  with pytest.raises(UserError, match='training.shift: expected 0 or more, found -1'):
    maze_config(training__shift=-1)


def test_images_that_are_smaller_than_a_patch_are_refused():
  assert build(maze_config(model__patch_size=4), tiny.IMAGE, 4, (-1, 2)).idm
  with pytest.raises(UserError, match='patch_size: .* images of 4 x 4 pixels, found 5'):
    build(maze_config(model__patch_size=5), tiny.IMAGE, 4, (-1, 2))


# Learning. That 'frames' does, on a smaller screen, is tests/resume_test.py's to show:
# on this one it stood at .82 after four times as many steps.

SCREEN = ObservationSpec('image', (28, 28, 1), 'uint8')
MOVES = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])  # rows and columns


def moving_dots(num_windows, seed):
  """`(observations [B, 4, 28, 28, 1], actions [B, 3])`: a dot of 4 x 4 pixels.

  Each of the four actions moves it by 3 pixels; it starts far enough from the edge
  to stay on the screen for three of them: 9 - 9 = 0 and 15 + 9 + 4 = 28.
  """
  rng = np.random.default_rng(seed)
  actions = rng.integers(0, 4, (num_windows, 3)).astype(np.int32)
  start = rng.integers(9, 16, (num_windows, 1, 2))
  places = np.concatenate([start, start + 3 * MOVES[actions].cumsum(1)], axis=1)
  distance = np.arange(28)[:, None] - places[:, :, None, :]
  inside = (distance >= 0) & (distance < 4)
  dots = inside[:, :, :, None, 0] & inside[:, :, None, :, 1]
  return (255 * dots).astype(np.uint8)[..., None], actions


def learnt_accuracy(form, shuffled, num_steps=200):
  """Share of actions that a trained labeller finds in windows it never saw."""
  model = InverseDynamics(
    4,
    SCREEN,
    3,
    form,
    width=32,
    num_layers=2,
    num_heads=2,
    dropout=0.0,
    patch_size=7,
  )
  seen, actions = moving_dots(16 * num_steps, 0)
  if shuffled:
    actions = np.random.default_rng(1).permutation(actions)
  valid = np.ones((16, 3), bool)
  rule = make_optimizer(
    tiny.tiny_optimizer(learning_rate=3e-3, warmup_steps=20, clip=1.0)
  )

  def loss_fn(params, seen, actions):
    logits = model.apply({'params': params}, seen, valid)
    return losses.cross_entropy(logits, actions, jnp.ones(actions.shape))

  @jax.jit
  def step(params, state, seen, actions):
    gradient = jax.grad(loss_fn)(params, seen, actions)
    updates, state = rule.update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  params = model.init(jax.random.key(0), seen[:16], valid)['params']
  state = rule.init(params)
  for row in range(0, len(seen), 16):
    params, state = step(params, state, seen[row : row + 16], actions[row : row + 16])
  seen, actions = moving_dots(500, 2)
  logits = model.apply({'params': params}, seen, np.ones((500, 3), bool))
  return float((logits.argmax(-1) == actions).mean())


@pytest.mark.slow
@pytest.mark.parametrize('form', ['difference', 'pair'])
def test_a_form_with_changes_soon_finds_the_actions_that_can_be_seen(form):
  assert learnt_accuracy(form, shuffled=False) >= 0.99


@pytest.mark.slow
def test_actions_that_were_shuffled_are_not_found():
  # Guessing finds 1/4.
  assert learnt_accuracy('difference', shuffled=True) < 0.4
