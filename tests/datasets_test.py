"""A run's data: what each method is shown, and what is refused."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import tiny_configs

from alpt_jax.data.labels import hide_actions
from alpt_jax.data.pool import write_pool
from alpt_jax.envs import demonstrators, maze
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets, mixing
from alpt_jax.experiment.config import RunConfig, from_mapping


def _record(folder, name, observation='position', num_episodes=6):
  environment = maze.Maze(name, observation, seed=1)
  player = demonstrators.EpsilonOptimal(environment.walls, 0.5, 2, environment.moves)
  episodes = demonstrators.record_episodes(environment, player, num_episodes)
  return write_pool(folder / 'pool', environment.environment_spec, episodes)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  _record(folder / 'maze-blocked-20-1000-position', 'maze/blocked:20/1000')
  _record(folder / 'maze-blocked-20-2000-position', 'maze/blocked:20/2000')
  _record(folder / 'maze-tunneled-3000-position', 'maze/tunneled/3000')
  return folder


def _config(root, text='', **data) -> RunConfig:
  fields = tiny_configs.get_config('maze', f'root={root},labels=20,{text}')
  fields.data.update(data)
  return from_mapping(fields)


def _rows(config, num_steps=40):
  """All rows of the first steps, field by field."""
  mixture = datasets.make_mixture(config, datasets.load(config))
  batches = [mixture.batch(step) for step in range(num_steps)]
  window = [np.concatenate(f) for f in zip(*(b.window for b in batches), strict=True)]
  rest = [np.concatenate(f) for f in zip(*(b[1:] for b in batches), strict=True)]
  return dict(zip(batches[0].window._fields, window, strict=True)) | dict(
    zip(batches[0]._fields[1:], rest, strict=True)
  )


def test_alpt_shares_its_rows_as_the_design_says(root):
  """Two sources and the target a third each; a quarter of the target's labelled."""
  rows = _rows(_config(root, 'sources=blocked+tunneled'), num_steps=48)
  num_rows = len(rows['environment'])
  counts = np.bincount(rows['environment'])
  assert counts.tolist() == [num_rows // 3] * 3
  target = rows['environment'] == 0
  assert (rows['idm_weight'][target] == 1).sum() * 4 == target.sum()
  assert (rows['relabel'] == (target & (rows['idm_weight'] == 0))).all()
  assert rows['is_labelled'][~target].sum() == rows['valid'][~target].sum()


@pytest.mark.parametrize(
  'text',
  [
    'sources=blocked+tunneled',
    'method=alpt,phase=sources',
    'method=dt1',
    'method=dt1-idm',
    'method=dt1-idm,phase=finetune',
    'method=alpt-idm,phase=pretrain',
    'method=dt5-ret',
    'method=oracle',
  ],
)
def test_the_step_computes_every_row_that_a_method_gives_a_weight(root, text):
  config = _config(root, text)
  use, rows = mixing.row_use(config), _rows(config, num_steps=16)
  place = np.arange(len(rows['relabel'])) % use.group
  needed = {'idm_weight': use.idm, 'policy_weight': use.policy}
  for name, (begin, end) in {**needed, 'relabel': use.relabelled}.items():
    inside = (begin <= place) & (place < end)
    assert not rows[name][~inside].any()
    assert rows[name].any() or begin == end


def test_weights_share_out_the_batch(root):
  """Weights 1 : 2 : 5 of 8 windows a step; the target's quarter is within its 1."""
  rows = _rows(
    _config(root, 'sources=blocked+tunneled', weights=(1, 2, 5)), num_steps=32
  )
  num_rows = len(rows['environment'])
  assert (np.bincount(rows['environment']) * 8 == num_rows * np.array([1, 2, 5])).all()
  target = rows['environment'] == 0
  assert (rows['idm_weight'][target] == 1).sum() * 4 == target.sum()


def test_small_weights_count_as_they_are(root):
  """2,500 to 1, and 5 to 3."""
  config = _config(root, 'sources=tunneled', weights=(1.0, 0.0004))
  labelled, source, target = mixing.parts(config)
  assert source.share / (labelled.share + source.share + target.share) == (
    Fraction(1, 2501)
  )
  thirds = mixing.parts(_config(root, 'sources=tunneled', weights=(5.0, 3.0)))
  assert thirds[1].share / sum(part.share for part in thirds) == Fraction(3, 8)


def test_labelled_rows_do_not_count_twice_for_a_policy_that_relabels(root):
  """The target stream holds D+ and D- alike; a setting makes the pool count too.

  A quarter of the rows is the pool's: for a mean weight of 1 the others weigh
  1 / .75 = 4/3, or (1 - .25 * .5) / .75 = 7/6 when the pool's weigh a half.
  """
  for pool_weight, target_weight in ((0.0, 4 / 3), (0.5, 7 / 6)):
    config = _config(root, 'method=dt1-idm', pool_policy_weight=pool_weight)
    rows = _rows(config)
    labelled = rows['idm_weight'] == 1
    assert (rows['policy_weight'][labelled] == pool_weight).all()
    np.testing.assert_allclose(rows['policy_weight'][~labelled], target_weight)
    assert rows['policy_weight'].mean() == pytest.approx(1)


def test_dt1_sees_only_windows_whose_context_holds_a_labelled_transition(root):
  rows = _rows(_config(root, 'method=dt1'))
  assert rows['is_labelled'][:, -4:].any(1).all()
  assert not rows['is_labelled'][:, -1].all()
  assert not rows['relabel'].any()
  assert (rows['policy_weight'] == 1).all()
  assert (rows['idm_weight'] == 0).all()


def test_the_oracle_sees_every_action_of_the_target(root):
  rows = _rows(_config(root, 'method=oracle'))
  assert (rows['is_labelled'] == rows['valid']).all()
  assert not rows['relabel'].any()


def test_dt5_shares_its_rows_among_environments_and_has_all_labels(root):
  """The source and the target's labelled part a half each; nothing unlabelled."""
  rows = _rows(_config(root, 'method=dt5'))
  target = rows['environment'] == 0
  assert target.mean() == 0.5
  assert rows['is_labelled'][:, -4:].any(1).all()
  assert rows['is_labelled'][~target].sum() == rows['valid'][~target].sum()
  assert (rows['policy_weight'] == 1).all()
  assert not rows['idm_weight'].any()
  assert not rows['relabel'].any()


def test_dt5_ret_learns_actions_from_labelled_rows_and_guesses_none(root):
  """A quarter of the target's rows is the labelled part's, which count in full.

  Its other three quarters run over all of the target, nearly all of it unlabelled.
  """
  rows = _rows(_config(root, 'method=dt5-ret'), num_steps=48)
  target = rows['environment'] == 0
  assert target.mean() == 0.5
  shows_action = rows['is_labelled'][:, -4:].any(1)
  assert 0.25 <= shows_action[target].mean() < 0.5
  assert (rows['policy_weight'] == 1).all()
  assert not rows['relabel'].any()
  assert not rows['idm_weight'].any()


def test_an_idm_alone_sees_labels_in_the_proportion_that_alpt_shows_it(root):
  """A quarter of a target's share to a source's: 1 row in 5, of 4 in alpt's 5."""
  alpt = _rows(_config(root, 'method=alpt'), num_steps=48)
  alone = _rows(_config(root, 'method=alpt-idm,phase=pretrain'), num_steps=48)
  assert (alone['idm_weight'] == 1).all()
  assert (alone['policy_weight'] == 0).all()
  for rows in (alpt, alone):
    seen = rows['idm_weight'] == 1
    assert (rows['environment'][seen] == 0).mean() == pytest.approx(1 / 5, abs=0.001)


@pytest.mark.parametrize('method', ['dt1', 'dt1-idm', 'dt5', 'dt5-ret', 'alpt', 'bc'])
def test_changing_every_hidden_action_changes_no_training_batch(
  root, method, monkeypatch
):
  """The true actions behind the label file are replaced by others, at random."""
  config = _config(root, f'method={method}')
  data = datasets.load(config)
  pool = data.target.index
  known = hide_actions(pool, data.labels).is_labelled
  other = np.random.default_rng(0).integers(0, 4, len(known)).astype(np.int32)
  swapped = dataclasses.replace(pool, actions=np.where(known, pool.actions, other))
  assert (swapped.actions != pool.actions).mean() > 0.5
  expected = _rows(config)
  opened = datasets.open_dataset
  monkeypatch.setattr(
    datasets,
    'open_dataset',
    lambda folder: swapped if folder == config.data.target else opened(folder),
  )
  for name, values in _rows(config).items():
    np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_held_out_episodes_are_in_no_batch(root):
  config = _config(root, heldout_share=0.5)
  data = datasets.load(config)
  assert len(data.labels.heldout_episodes) == 3
  rows = _rows(config)
  held = {
    data.target.index.episode(index).observations[-1].tobytes()
    for index in data.labels.heldout_episodes
  }
  target = rows['observations'][rows['environment'] == 0]
  assert not held & {row[-1].tobytes() for row in target}


def test_every_slot_of_the_idm_gets_as_many_labels(root):
  """But for the ends of episodes, a label is shown at each place of a window."""
  rows = _rows(_config(root, 'method=dt1-idm'), num_steps=200)
  per_slot = rows['is_labelled'][rows['idm_weight'] == 1].sum(0)
  assert per_slot.min() > 0.6 * per_slot.max()


def test_a_target_that_is_also_a_source_is_refused(root):
  target = str(root / 'maze-blocked-20-1000-position')
  with pytest.raises(UserError, match='the same dataset is named twice'):
    datasets.load(_config(root, sources=(target,), environments=()))


def test_a_missing_dataset_is_named(root):
  with pytest.raises(UserError, match='no such dataset folder. Record it'):
    datasets.load(_config(root, target=str(root / 'nowhere')))


def test_an_empty_folder_and_one_that_is_no_dataset_are_named(tmp_path):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='found an empty folder'):
    datasets.open_dataset(tmp_path / 'empty')
  notes = tmp_path / 'notes' / 'a.txt'
  notes.parent.mkdir()
  notes.write_text('hello')
  with pytest.raises(UserError, match='notes: expected manifest.json.* none of these'):
    datasets.open_dataset(notes.parent)
  with pytest.raises(UserError, match='a.txt: expected a dataset folder, found a file'):
    datasets.open_dataset(notes)


def test_a_folder_of_datasets_is_none_and_one_of_them_is_named(root):
  there = root / 'maze-blocked-20-1000-position'
  with pytest.raises(UserError, match=f'Did you mean {there}'):
    datasets.open_dataset(root)


def test_a_source_of_another_observation_form_is_refused(root, tmp_path):
  _record(tmp_path, 'maze/blocked:20/2000', 'position_walls')
  with pytest.raises(UserError, match=r'expected the form .*\[4\].*found .*\[13\]'):
    datasets.load(_config(root, sources=(str(tmp_path),)))


def test_a_dataset_of_another_maze_than_the_config_says_is_refused(root):
  wrong = str(root / 'maze-tunneled-3000-position')
  with pytest.raises(UserError, match='expected maze/blocked:20/1000'):
    datasets.load(_config(root, target=wrong))


def test_more_labels_than_transitions_is_refused_with_both_numbers(root):
  with pytest.raises(UserError, match=r'99999 labels asked for: expected 1 to \d+'):
    datasets.load(_config(root, labels=99999))


def test_a_pool_that_was_changed_after_it_was_written_is_refused(tmp_path):
  pool = _record(tmp_path, 'maze/tunneled/5')
  np.save(tmp_path / 'pool' / 'actions.npy', 3 - pool.actions)
  with pytest.raises(UserError, match='actions.npy: changed since it was written'):
    datasets.open_dataset(tmp_path)
