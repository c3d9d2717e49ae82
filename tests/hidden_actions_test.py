"""No method learns from an action that is hidden: permuted ones give the same bits."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_configs
import tiny_models

from alpt_jax import methods
from alpt_jax.data.labels import hide_actions
from alpt_jax.experiment import datasets
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.models import trainer
from alpt_jax.experiment.run import Run

_NUM_STEPS = 3
_CASES = [
  (name, phase) for name, method in methods.METHODS.items() for phase in method.phases
]


def _config(root, method, phase):
  text = f'method={method},phase={phase}'
  fields = tiny_configs.tiny_maze(root, text, num_steps=_NUM_STEPS)
  # So that every step changes every parameter that has a gradient.
  fields.optimizer.update({'warmup_steps': 0, 'schedule': 'constant'})
  if phase == 'finetune' and methods.get(method).is_pretrained:
    # Of the sources alone: the same base for all that are pretrained.
    fields.initial = str(root / 'base')
  return from_mapping(fields)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """The folder of two datasets, and of a base of `alpt` in phase sources."""
  folder = tmp_path_factory.mktemp('hidden')
  tiny_configs.record_mazes(folder)
  Run(_config(folder, 'alpt', 'sources')).train(folder / 'base')
  return folder


def _swap_actions(config, monkeypatch, are_hidden):
  """Makes the target's dataset one of other actions, of the hidden or shown ones."""
  pool = datasets.open_dataset(config.data.target)
  shown = hide_actions(pool, datasets.load(config).labels).is_labelled
  assert shown.sum() == config.data.labels
  chosen = ~shown if are_hidden else shown
  actions = np.array(pool.actions)
  actions[chosen] = np.random.default_rng(0).permutation(actions[chosen])
  # Of four actions, about 3 in 4 places hold another one now.
  assert (actions != pool.actions)[chosen].mean() > 0.5
  swapped = dataclasses.replace(pool, actions=actions)
  opened = datasets.open_dataset

  def open_swapped(folder):
    return swapped if folder == config.data.target else opened(folder)

  monkeypatch.setattr(datasets, 'open_dataset', open_swapped)


def _trained(config):
  """`(parameters at the start, at the end)` of a few steps on what the config names."""
  run = Run(config)
  state = run.fresh_state()
  start = jax.device_get(state.params)
  mixture = datasets.make_mixture(config, run.data)
  step_fn = trainer(run.step_config).make_step(run.step_config)
  for step in range(_NUM_STEPS):
    state, _ = step_fn(state, mixture.batch(step), jax.random.key(config.seed))
  return start, jax.device_get(state.params)


def _moved(params, other) -> bool:
  changes = jax.tree.map(lambda a, b: (a != b).any(), params, other)
  return any(jax.tree.leaves(changes))


@pytest.mark.parametrize(('method', 'phase'), _CASES)
def test_permuting_the_hidden_actions_gives_the_same_parameters(
  root, monkeypatch, method, phase
):
  """But for the oracle, from whom none is hidden: so the test would see a leak."""
  config = _config(root, method, phase)
  start, expected = _trained(config)
  assert all(_moved(start[name], tree) for name, tree in expected.items())
  _swap_actions(config, monkeypatch, are_hidden=True)
  _, found = _trained(config)
  if methods.get(method).all_labelled:
    assert all(_moved(found[name], tree) for name, tree in expected.items())
  else:
    tiny_models.assert_same_bits(found, expected)


@pytest.mark.parametrize('method', ['dt1', 'dt5', 'dt5-ret', 'bc', 'cql'])
def test_permuting_the_shown_actions_gives_others_without_any_guess_too(
  root, monkeypatch, method
):
  config = _config(root, method, 'joint')
  _, expected = _trained(config)
  _swap_actions(config, monkeypatch, are_hidden=False)
  _, found = _trained(config)
  assert all(_moved(found[name], tree) for name, tree in expected.items())
