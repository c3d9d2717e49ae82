"""A trained run as the start of another, and scored on its own."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import tiny_configs
import tiny_models

from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import identity, models, trained_models
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, open_trained
from alpt_jax.methods import IDM, POLICY
from alpt_jax.models import layers
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.step import init_state


def _config(root, text=''):
  fields = tiny_configs.tiny_maze(root, text)
  fields.initial = str(root / 'run') if fields.phase == 'finetune' else ''
  return from_mapping(fields)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """The folder of two datasets, and of a run pretrained on them."""
  root = tmp_path_factory.mktemp('trained')
  tiny_configs.record_mazes(root)
  Run(_config(root, 'phase=pretrain')).train(root / 'run')
  return root


@pytest.fixture(scope='module')
def sources(trained):
  """The folder of a run pretrained without the target."""
  Run(_config(trained, 'phase=sources')).train(trained / 'base')
  return trained / 'base'


def _inherit(run, workdir, vocabulary=None, observation=None, steps=None, num_heads=2):
  """The parameters of a run that starts from `workdir`, and its fresh ones."""
  config = dataclasses.replace(
    run.config,
    initial=str(workdir),
    model=dataclasses.replace(run.config.model, num_heads=num_heads),
  )
  vocabulary = vocabulary or run.data.vocabulary
  steps = steps or run.step_config
  allowed = np.ones((1, len(vocabulary)), bool)
  example = run.example._replace(allowed=allowed)
  fresh = init_state(steps, example, seed=5)
  kept = jax.device_get(fresh.params)
  observation = observation or run.data.target.spec.observation
  base = models.read_origin(workdir)
  state = trained_models.inherit(fresh, config, base, vocabulary, observation, run.mesh)
  return jax.device_get(state.params), kept


def test_finetuning_starts_with_the_bits_that_pretraining_ended_with(trained):
  run = Run(_config(trained, 'phase=finetune'))
  state = run.fresh_state()
  assert int(state.step) == 0
  _, expected = open_trained(trained / 'run')
  tiny_models.assert_same_bits(
    jax.device_get(state.params), jax.device_get(expected.params)
  )


@pytest.mark.slow
@pytest.mark.parametrize('is_stacked', [False, True])
def test_a_base_may_have_its_layers_in_the_other_layout(trained, tmp_path, is_stacked):
  def config(phase, scan_layers):
    fields = tiny_configs.tiny_maze(trained, f'phase={phase}')
    fields.model.update({'num_layers': 3, 'scan_layers': scan_layers})
    fields.initial = str(tmp_path) if phase == 'finetune' else ''
    return from_mapping(fields)

  Run(config('pretrain', is_stacked)).train(tmp_path)
  state = Run(config('finetune', not is_stacked)).fresh_state()
  _, before = open_trained(tmp_path)
  change = layers.unstack_layers if is_stacked else layers.stack_layers
  tiny_models.assert_same_bits(
    jax.device_get(state.params), jax.device_get(change(before.params, 3))
  )


def test_new_action_names_get_fresh_rows_and_leave_the_old_ones_alone(trained, capsys):
  run = Run(_config(trained))
  vocabulary = (*run.data.vocabulary, 'dig', 'jump')
  observation = run.data.target.spec.observation
  steps = models.build(run.config, observation, len(vocabulary), (0, 2))
  params, fresh = _inherit(run, trained / 'run', vocabulary, steps=steps)
  assert 'new actions, with fresh rows: dig, jump' in capsys.readouterr().out
  _, before = open_trained(trained / 'run')
  old = before.params[POLICY]['action_emb']['table']['embedding']
  table = params[POLICY]['action_emb']['table']['embedding']
  np.testing.assert_array_equal(table[:4], old)
  np.testing.assert_array_equal(
    table[4:], fresh[POLICY]['action_emb']['table']['embedding'][4:]
  )
  head = params[IDM]['act_linear']['kernel']
  np.testing.assert_array_equal(head[:, :4], before.params[IDM]['act_linear']['kernel'])
  assert head.shape == (8, 6)


def test_a_pretraining_on_other_observations_is_refused(trained):
  other = ObservationSpec('integers', (4,), 'uint8', (30,) * 4)
  with pytest.raises(UserError, match='was trained on observations .*Record'):
    _inherit(Run(_config(trained)), trained / 'run', observation=other)


def test_another_number_of_heads_is_refused_though_every_shape_fits(trained):
  with pytest.raises(UserError, match='model.num_heads 2, found 4'):
    _inherit(Run(_config(trained)), trained / 'run', num_heads=4)


def test_a_start_that_knew_other_labels_of_the_target_is_refused(trained):
  config = _config(trained, 'phase=finetune')
  data = dataclasses.replace(config.data, labels=10)
  with pytest.raises(UserError, match='was trained with other labels of maze/'):
    Run(dataclasses.replace(config, data=data))


def test_a_base_of_sources_alone_serves_any_label_draw(trained, sources):
  for labels, seed in ((10, 0), (20, 0)):
    config = _config(trained, 'phase=finetune')
    data = dataclasses.replace(config.data, labels=labels)
    config = dataclasses.replace(config, initial=str(sources), data=data, seed=seed)
    assert Run(config).fresh_state().step == 0


def test_a_start_that_knew_all_labels_of_the_target_is_refused(trained):
  oracle = trained / 'oracle'
  Run(_config(trained, 'method=oracle')).train(oracle)
  config = dataclasses.replace(_config(trained, 'phase=finetune'), initial=str(oracle))
  with pytest.raises(UserError, match='with all labels of maze/'):
    Run(config)


def test_what_an_ancestor_knew_is_not_forgotten(trained, sources, tmp_path):
  """A base that saw this target as a source, finetuned elsewhere, and back."""
  elsewhere = _config(trained, 'phase=finetune')
  folder, name = str(trained / 'maze-blocked-20-2000-position'), 'maze/blocked:20/2000'
  # Of maze 2000.
  elsewhere = dataclasses.replace(elsewhere, initial=str(sources))
  Run(elsewhere).train(tmp_path / 'tuned')  # on maze 1000
  data = dataclasses.replace(elsewhere.data, target=folder, environments=(name,))
  back = dataclasses.replace(elsewhere, initial=str(tmp_path / 'tuned'), data=data)
  with pytest.raises(UserError, match='as a fully labelled source'):
    Run(back)


def test_a_finetuned_run_is_scored_without_the_run_that_it_started_from(
  trained, sources, tmp_path
):
  """Another label draw than the base's, and the base is gone."""
  base = shutil.copytree(sources, tmp_path / 'base')
  config = dataclasses.replace(
    _config(trained, 'phase=finetune'), initial=str(base), seed=3
  )
  Run(config).train(tmp_path / 'tuned')
  shutil.rmtree(base)
  run, state = open_trained(tmp_path / 'tuned')
  assert 'idm_accuracy' in run.evaluator(2, state)


def test_a_start_that_had_the_target_as_a_source_is_refused(trained):
  config = _config(trained, 'phase=finetune')
  folder, name = str(trained / 'maze-blocked-20-2000-position'), 'maze/blocked:20/2000'
  data = dataclasses.replace(config.data, target=folder, environments=(name,))
  with pytest.raises(UserError, match='as a fully labelled source'):
    Run(dataclasses.replace(config, data=data))


def test_scoring_a_run_needs_its_target_alone(trained, tmp_path):
  expected = open_trained(trained / 'run')
  moved = tmp_path / 'elsewhere'
  source = trained / 'maze-blocked-20-2000-position'
  shutil.move(source, moved)
  try:
    run, state = open_trained(trained / 'run')
    assert run.evaluator(2, state) == expected[0].evaluator(2, expected[1])
    with pytest.raises(UserError, match='no such dataset folder'):
      Run(run.config)  # to train, it is needed
  finally:
    shutil.move(moved, source)


def test_scoring_can_play_more_episodes_than_training_did(trained):
  run, _ = open_trained(trained / 'run', num_episodes=5)
  assert run.config.evaluation.num_episodes == 5
  assert run.config.evaluation.max_steps == 5


def test_a_run_does_not_go_on_with_a_dataset_that_was_recorded_anew(trained, tmp_path):
  root = tmp_path / 'data'
  for layout in (1000, 2000):
    shutil.copytree(
      trained / f'maze-blocked-20-{layout}-position',
      root / f'maze-blocked-20-{layout}-position',
    )
  config = _config(root)
  Run(config).train(tmp_path / 'run')
  target = pathlib.Path(config.data.target)
  shutil.rmtree(target)
  record(Recording('maze/blocked:20/1000', episodes=7, seed=9), target, rlds=False)
  with pytest.raises(UserError, match='identity.json, field data_hash: this run was'):
    Run(config).train(tmp_path / 'run')


def test_a_run_that_goes_on_under_other_code_says_so(trained, tmp_path, monkeypatch):
  config = _config(trained)
  Run(config).train(tmp_path / 'run')
  path = tmp_path / 'run' / 'identity.json'
  first = json.loads(path.read_text())
  Run(config).train(tmp_path / 'run')
  assert json.loads(path.read_text()) == first  # nothing changed, nothing is noted
  for commit in ('abc', 'abc', first['git_commit']):
    monkeypatch.setattr(identity, '_git_commit', lambda commit=commit: commit)
    Run(config).train(tmp_path / 'run')
  *_, there, back = (resumed := json.loads(path.read_text())['resumed'])
  assert len(resumed) == 2
  assert there['git_commit'] == 'abc'
  assert back['git_commit'] == first['git_commit']
  assert 'versions' not in there  # those are as they were


def test_a_folder_that_is_no_run_is_named(tmp_path):
  with pytest.raises(UserError, match='not a run folder, config.json is missing'):
    open_trained(tmp_path)


def test_an_environment_that_nobody_here_can_play_is_trained_on_all_the_same(
  trained, tmp_path
):
  """Its IDM is scored; play is not."""
  config = _config(trained, 'method=dt1-idm')
  pool = open_pool(pathlib.Path(config.data.target) / 'pool')
  spec = dataclasses.replace(pool.spec, name='mygame/1')
  write_pool(tmp_path / 'data', spec, map(pool.episode, range(pool.num_episodes)))
  data = dataclasses.replace(
    config.data, target=str(tmp_path / 'data'), environments=()
  )
  Run(dataclasses.replace(config, data=data)).train(tmp_path / 'run')
  run, state = open_trained(tmp_path / 'run')
  scores = run.evaluator(2, state)
  assert 0 <= scores['idm_accuracy'] <= 1
  assert 'success_sampled' not in scores
