"""The models of every config can be built, and one step of them traces."""

import functools
import itertools
from operator import ne

import jax
import numpy as np
import pytest
from tiny_configs import get_config

from alpt_jax import methods, specs
from alpt_jax.envs import maze
from alpt_jax.experiment import config as config_lib
from alpt_jax.experiment.models import build, trainer
from alpt_jax.training.step import abstract_state
from alpt_jax.types import Batch, Window


def _abstract_batch(observation, num_actions, rows=1, length=5) -> Batch:
  def array(*shape, dtype=np.float32):
    return jax.ShapeDtypeStruct((rows, *shape), dtype)

  window = Window(
    observations=array(length + 1, *observation.shape, dtype=observation.dtype),
    actions=array(length, dtype=np.int32),
    is_labelled=array(length, dtype=bool),
    rewards=array(length),
    discounts=array(length),
    returns_to_go=array(length),
    valid=array(length, dtype=bool),
    allowed=array(num_actions, dtype=bool),
    environment=array(dtype=np.int32),
  )
  return Batch(window, array(), array(), array(dtype=bool))


def _traced_metrics(config, spec, num_actions):
  """Names of what a step measures; its state keeps all shapes and types."""
  steps = build(config, spec.observation, num_actions, spec.return_range)
  shape = num_actions, config.training.batch_size, config.model.num_transitions
  return _traced_once(steps, spec.observation, *shape)


@functools.cache  # Methods of one shape share their step.
def _traced_once(steps, observation, *shape):
  batch = _abstract_batch(observation, *shape)
  state = trainer(steps).abstract_state(steps, batch.window)
  after, metrics = jax.eval_shape(
    trainer(steps).make_step(steps), state, batch, jax.random.key(0)
  )
  assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
    lambda x: (x.shape, x.dtype), state
  )
  return frozenset(metrics)


def _combinations(*values, is_quick):
  """All of them; those that are not quick are slow tests."""
  return [
    pytest.param(*chosen, marks=() if is_quick(*chosen) else pytest.mark.slow)
    for chosen in itertools.product(*values)
  ]


_SIZES = ('small', 'paper')
_OBSERVATIONS = ('position', 'position_walls', 'image')


def _maze_config(observation, size, method):
  phase = 'joint' if 'joint' in methods.METHODS[method].phases else 'pretrain'
  text = f'method={method},size={size},observation={observation},phase={phase}'
  config = config_lib.from_mapping(get_config('maze', text))
  return config, maze.Maze(config.data.environments[0], observation).environment_spec


@pytest.mark.parametrize(
  ('observation', 'size', 'method'),
  _combinations(
    _OBSERVATIONS,
    _SIZES,
    methods.METHODS,
    # At most one of the three is not the plainest.
    is_quick=lambda *chosen: sum(map(ne, chosen, ('position', 'small', 'alpt'))) < 2,
  ),
)
def test_one_step_of_every_maze_config_traces(observation, size, method):
  config, spec = _maze_config(observation, size, method)
  metrics = _traced_metrics(config, spec, 4)
  assert ('idm_loss' in metrics) == methods.METHODS[method].has_idm
  assert ('policy_loss' in metrics) == bool(
    methods.taught(method, config.phase, methods.POLICY)
  )
  assert ('return_loss' in metrics) == (
    'policy_loss' in metrics and methods.METHODS[method].sees_returns
  )


@pytest.mark.parametrize('observation', _OBSERVATIONS)
@pytest.mark.parametrize('size', _SIZES)
def test_the_models_of_every_maze_config_can_be_built(observation, size):
  for method in methods.METHODS:
    config, spec = _maze_config(observation, size, method)
    assert (config.method, config.data.observation) == (method, observation)
    build(config, spec.observation, 4, spec.return_range)


def test_the_paper_size_models_have_the_papers_size():
  """19.26M parameters on Atari (facts of Lee et al.); on a maze's four numbers,
  without patches, the six layers alone are 6 * (12 * 512^2 + 13 * 512) = 18.9M."""
  config = config_lib.from_mapping(get_config('maze', 'size=paper'))
  assert (config.model.width, config.model.num_layers) == (512, 6)
  assert config.model.num_heads == 8
  spec = maze.Maze('maze/blocked:20/0').environment_spec
  steps = build(config, spec.observation, 4, spec.return_range)
  batch = _abstract_batch(spec.observation, 4)
  policy = abstract_state(steps, batch.window).params['decision_transformer']
  layers = sum(leaf.size for leaf in jax.tree.leaves(policy['sequence']))
  assert layers == 6 * (12 * 512**2 + 13 * 512) + 2 * 512  # and the last norm


_ATARI_SIZES = ('small', 'paper', 'large')
# (method, phase).
_ATARI_RUNS = {
  'alpt-pretrain': ('alpt', 'pretrain'),
  'alpt-sources': ('alpt', 'sources'),
  'dt5-pretrain': ('dt5', 'pretrain'),
  'dt5-ret-pretrain': ('dt5-ret', 'pretrain'),
  'dt1-finetune': ('dt1', 'finetune'),
  'bc-finetune': ('bc', 'finetune'),
  'cql-finetune': ('cql', 'finetune'),
  'alpt-finetune': ('alpt', 'finetune'),
  'alpt-idm-finetune': ('alpt-idm', 'finetune'),
}


def _atari_config(size, run):
  method, phase = _ATARI_RUNS[run]
  fields = get_config('atari', f'method={method},phase={phase},size={size}')
  is_started = phase == 'finetune' and methods.METHODS[method].is_pretrained
  fields.initial = 'runs/base' if is_started else ''
  spec = specs.atari_spec('SpaceInvaders', specs.RL_UNPLUGGED_PROTOCOL)
  return config_lib.from_mapping(fields), spec


@pytest.mark.parametrize(
  ('size', 'run'),
  _combinations(
    _ATARI_SIZES,
    _ATARI_RUNS,
    is_quick=lambda size, run: size == 'small' or run == 'alpt-pretrain',
  ),
)
def test_one_step_of_every_atari_config_traces(size, run):
  config, spec = _atari_config(size, run)
  metrics = _traced_metrics(config, spec, 18)
  assert 'policy_loss' in metrics
  assert ('idm_loss' in metrics) == methods.METHODS[config.method].has_idm


@pytest.mark.parametrize('size', _ATARI_SIZES)
def test_the_models_of_every_atari_config_can_be_built(size):
  for run in _ATARI_RUNS:
    config, spec = _atari_config(size, run)
    assert (config.method, config.phase) == _ATARI_RUNS[run]
    build(config, spec.observation, 18, spec.return_range)


def test_the_policy_of_the_papers_size_is_the_multi_game_dts():
  config = config_lib.from_mapping(get_config('atari', 'size=paper'))
  spec = specs.atari_spec('SpaceInvaders', specs.RL_UNPLUGGED_PROTOCOL)
  steps = build(config, spec.observation, 18, spec.return_range)
  batch = _abstract_batch(spec.observation, 18)
  policy = abstract_state(steps, batch.window).params['decision_transformer']
  width, layers = 512, 6
  blocks = layers * (12 * width**2 + 13 * width) + 2 * width
  # Patches (and their bias), their encoding, positions, three tables, three heads.
  tokens = (14 * 14 + 1) * width + 36 * width + 156 * width + (120 + 18 + 4) * width
  heads = (width + 1) * (120 + 18 + 4)
  # One row more than the notebook's: the unknown action. 19.3M in all.
  total = sum(leaf.size for leaf in jax.tree.leaves(policy))
  assert total == blocks + tokens + heads + width
  assert round(total / 1e6, 1) == 19.3


def test_the_large_models_have_1_2_billion_parameters_together():
  config = config_lib.from_mapping(get_config('atari', 'size=large'))
  spec = specs.atari_spec('SpaceInvaders', specs.RL_UNPLUGGED_PROTOCOL)
  steps = build(config, spec.observation, 18, spec.return_range)
  batch = _abstract_batch(spec.observation, 18)
  params = abstract_state(steps, batch.window).params
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert round(total / 1e9, 1) == 1.2
