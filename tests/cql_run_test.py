"""CQL as a run like any other: its config, its rows, its checkpoints, its scores."""

import shutil

import jax
import numpy as np
import pytest
import tiny_models
from PIL import Image
from tiny_configs import get_config

from alpt_jax import specs
from alpt_jax.baselines.cql import Q_NETWORK
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets, models
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.evaluation import Evaluator
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, open_trained


def _fields(root='runs/data', phase='joint'):
  fields = get_config('maze', f'root={root},labels=30,method=cql,phase={phase}')
  fields.training.update({'num_steps': 6, 'batch_size': 8, 'checkpoint_every': 3})
  fields.cql.update({'width': 8, 'num_quantiles': 4, 'target_period': 4})
  fields.evaluation.update({'num_episodes': 3, 'max_steps': 5})
  return fields


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """The folder of a recorded maze."""
  folder = tmp_path_factory.mktemp('cql')
  name = folder / 'maze-blocked-20-1000-position'
  record(Recording('maze/blocked:20/1000', episodes=6), name, rlds=False)
  return folder


@pytest.fixture(scope='module')
def trained(root):
  """The folder of a run of six updates."""
  Run(from_mapping(_fields(root))).train(root / 'run')
  return root / 'run'


@pytest.mark.parametrize('phase', ['joint', 'finetune'])
def test_every_row_ends_on_a_label_and_no_other_row_is_read(root, phase):
  config = from_mapping(_fields(root, phase))
  mixture = datasets.make_mixture(config, datasets.load(config))
  seen = [mixture.batch(step) for step in range(8)]
  assert all(batch.window.is_labelled[:, -1].all() for batch in seen)
  assert all((batch.policy_weight == 1).all() for batch in seen)
  # 30 labels, 64 rows: two epochs and a bit, in which each is the last of its window.
  rows = {row.tobytes() for batch in seen for row in batch.window.observations[:, -2:]}
  assert 20 < len(rows) <= 30


def test_a_run_that_was_stopped_goes_on_with_the_same_bits(root, trained):
  again = root / 'again'
  shutil.copytree(trained, again)
  shutil.rmtree(again / 'checkpoints' / '6')
  state = Run(from_mapping(_fields(root))).train(again)
  assert state.step == 6
  _, whole = open_trained(trained)
  tiny_models.assert_same_bits(jax.device_get(state), jax.device_get(whole))
  # Copied after update 4, so the target network is another one than the trained one.
  kernels = [
    tree[Q_NETWORK]['dense_0']['kernel'] for tree in (whole.params, whole.target)
  ]
  assert not np.array_equal(*kernels)


def test_a_run_is_scored_and_filmed_like_any_other(trained, tmp_path):
  run, state = open_trained(trained)
  scores = run.evaluator(6, state)
  assert 0 <= scores['success_sampled'] <= 1
  assert {'success_greedy', 'random_walk', 'behaviour'} <= set(scores)
  assert not any(name.startswith('idm') for name in scores)
  assert run.evaluator.per_action(state) == {}
  run.evaluator.save_animation(tmp_path / 'episode.gif', state)
  assert Image.open(tmp_path / 'episode.gif').n_frames > 1


def test_the_papers_score_stands_beside_ours_for_cql_alone():
  spec = specs.atari_spec('Breakout', specs.RL_UNPLUGGED_PROTOCOL)

  class Data:
    vocabulary = specs.ALE_ACTIONS
    target = type('Target', (), {'spec': spec})

  for method, expected in (('cql', 12.3), ('bc', None)):
    text = f'target=Breakout,method={method},phase=finetune'
    config = from_mapping(get_config('atari', text))
    steps = models.build(config, spec.observation, 18, spec.return_range)
    found = Evaluator(config, Data, steps)._references
    assert found.get('score_paper_cql') == expected


def test_the_papers_size_is_the_source_codes():
  text = 'target=Breakout,method=cql,phase=finetune,size=paper'
  config = from_mapping(get_config('atari', text))
  assert config.training.num_steps == 100 * 62_500
  assert config.training.batch_size == 32
  spec = specs.atari_spec('Breakout', specs.RL_UNPLUGGED_PROTOCOL)
  steps = models.build(config, spec.observation, 4, spec.return_range)
  window = tiny_models.random_window(spec.observation, 1, length=5)
  params = models.trainer(steps).abstract_state(steps, window).params[Q_NETWORK]
  # 84 pixels with strides 4, 2 and 1, padded: 21, 11 and 11 places.
  convolutions = 32 * (8 * 8 * 4 + 1) + 64 * (4 * 4 * 32 + 1) + 64 * (3 * 3 * 64 + 1)
  dense = 512 * (11 * 11 * 64 + 1) + 4 * 200 * (512 + 1)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == convolutions + dense


@pytest.mark.parametrize(
  ('place', 'value', 'reason'),
  [
    ('cql.num_frames', 6, 'at most model.num_transitions 5'),
    ('cql.num_frames', 0, 'at least 1'),
    ('cql.alpha', -1.0, '0 or more'),
    ('cql.gamma', 1.0, '0 to below 1'),
    ('cql.huber', 0.0, 'more than 0'),
    ('acting.target_return', 1.0, 'method cql sees no returns'),
  ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(place, value, reason):
  fields = _fields()
  section, name = place.split('.')
  fields[section][name] = value
  with pytest.raises(UserError, match=f'{place}: .*{reason}'):
    from_mapping(fields)
