"""Models small enough for a test, and windows of meaningless content for them."""

import jax
import numpy as np

from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.optimizer import OptimizerConfig
from alpt_jax.training.step import StepConfig, TrainState, abstract_state
from alpt_jax.types import Batch, Window

VECTOR = ObservationSpec('vector', (3,), 'float32')
# With patches of 2 x 2: four tokens.
IMAGE = ObservationSpec('image', (4, 4, 1), 'uint8')
NUM_ACTIONS = 4
RETURN_RANGE = (-2, 3)

_SIZE = {'width': 8, 'num_layers': 1, 'num_heads': 2, 'dropout': 0.0, 'patch_size': 2}


def tiny_policy(spec=VECTOR, **fields) -> DecisionTransformer:
  """A decision transformer with a context of 3 transitions."""
  mine = {'num_actions': NUM_ACTIONS, 'return_range': RETURN_RANGE, 'context': 3}
  return DecisionTransformer(observation_spec=spec, **{**mine, **_SIZE, **fields})


def tiny_idm(spec=VECTOR, **fields) -> InverseDynamics:
  """An inverse dynamics model for windows of 4 transitions."""
  mine = {'num_actions': NUM_ACTIONS, 'num_transitions': 4}
  return InverseDynamics(observation_spec=spec, **{**mine, **_SIZE, **fields})


def tiny_optimizer(**fields) -> OptimizerConfig:
  """AdamW at a constant rate from the first step, unless told otherwise."""
  mine = {
    'name': 'adamw',
    'learning_rate': 1e-2,
    'warmup_steps': 0,
    'schedule': 'constant',
    'num_steps': 0,
    'weight_decay': 0.0,
    'clip': 1e6,
    'b1': 0.9,
    'b2': 0.999,
  }
  return OptimizerConfig(**{**mine, **fields})


def tiny_step(**fields) -> StepConfig:
  """Both models, argmax relabelling, no dropout."""
  mine = {'idm': tiny_idm(), 'policy': tiny_policy(), 'optimizer': tiny_optimizer()}
  return StepConfig(**{**mine, **fields})


def random_window(spec=VECTOR, num_windows=4, length=4, seed=0) -> Window:
  """Unpadded windows, all of them labelled and every action allowed."""
  rng = np.random.default_rng(seed)
  shape = (num_windows, length)
  pixels = rng.integers(0, 256, (num_windows, length + 1, *spec.shape))
  return Window(
    observations=(pixels / 128 - 1 if spec.dtype == 'float32' else pixels).astype(
      spec.dtype
    ),
    actions=rng.integers(0, NUM_ACTIONS, shape).astype(np.int32),
    is_labelled=np.ones(shape, bool),
    rewards=rng.integers(-1, 2, shape).astype(np.float32),
    discounts=np.ones(shape, np.float32),
    returns_to_go=rng.integers(*RETURN_RANGE, shape).astype(np.float32),
    valid=np.ones(shape, bool),
    allowed=np.ones((num_windows, NUM_ACTIONS), bool),
    environment=np.zeros(num_windows, np.int32),
  )


def batch_of(window: Window, idm_weight=1.0, policy_weight=1.0, relabel=False) -> Batch:
  """A batch whose rows all teach the same, or as lists say row by row."""
  rows = len(window.valid)
  return Batch(
    window,
    np.broadcast_to(np.asarray(idm_weight, np.float32), rows),
    np.broadcast_to(np.asarray(policy_weight, np.float32), rows),
    np.broadcast_to(np.asarray(relabel, bool), rows),
  )


def loud(shapes, seed=0):
  """A tree of shapes filled with normal numbers of deviation 1/2.

  Fresh embeddings have deviation 0.02, so that their influence drowns in rounding.
  """
  leaves, tree = jax.tree.flatten(shapes)
  rng = np.random.default_rng(seed)
  numbers = [rng.normal(0, 0.5, leaf.shape).astype(np.float32) for leaf in leaves]
  return jax.tree.unflatten(tree, numbers)


def loud_params(model, *inputs, seed=0):
  """Loud parameters of a model."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)['params']
  return loud(shapes, seed)


def loud_state(config: StepConfig, window: Window, seed=0) -> TrainState:
  """A train state of loud parameters; unlike `init_state` it compiles nothing."""
  shapes = abstract_state(config, window)
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  return zeros._replace(params=loud(shapes.params, seed))


def leaf_items(tree) -> dict[str, np.ndarray]:
  """Path -> array of every leaf."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in leaves
  }


def assert_same_bits(tree, other) -> None:
  """Every leaf of two trees is equal, bit for bit."""
  jax.tree.map(np.testing.assert_array_equal, tree, other)
