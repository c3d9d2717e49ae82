"""Runs on recordings of one's own: configs/own.py, and targets labelled in part."""

import dataclasses
import json

import ml_collections
import numpy as np
import pytest
import tiny
from tiny_configs import CONFIGS, get_config
from tiny_runs import success, write_run

from alpt_jax import methods
from alpt_jax.data.labels import Labels, hide_actions, load_labels
from alpt_jax.data.packed import write_packed
from alpt_jax.data.pool import write_pool
from alpt_jax.data.recorded_labels import draw_recorded
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets, identity, lineage
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.run import Run, open_trained
from alpt_jax.launching import sweep
from alpt_jax.report import page, report
from alpt_jax.report.runs import load_runs

# 12 of 40 episodes with 40 recorded actions in a row each: 480 of 1,240.
STREWN = ('.' * 5 + '#' * 40 + '.' * 5,) * 12 + ('.' * 20 + '...',) * 27 + ('.' * 19,)
WORKING = [
  (method, phase)
  for method, known in methods.METHODS.items()
  for phase in known.phases
  if method != 'oracle'
]


def known_in(*marks):
  """A `tiny_episode` for each string, '#' where its action is recorded."""
  for number, each in enumerate(marks):
    is_labelled = np.array([mark == '#' for mark in each])
    episode = tiny.tiny_episode(len(each), number)
    yield episode._replace(
      actions=np.where(is_labelled, episode.actions, 0).astype(np.int32),
      is_labelled=is_labelled,
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """Datasets that all know the same four actions, but for 'strange'."""
  folder = tmp_path_factory.mktemp('own')
  target = tiny.tiny_spec('own/target')
  write_pool(folder / 'target' / 'pool', target, known_in(*STREWN))
  write_packed(folder / 'packed' / 'packed', target, known_in(*STREWN))
  write_pool(folder / 'none' / 'pool', target, known_in(*['.' * 20] * 5))
  write_pool(folder / 'few' / 'pool', target, known_in('#' * 30, *['.' * 20] * 5))
  write_pool(folder / 'all' / 'pool', target, tiny.tiny_episodes([30] * 4))
  for name, marks in (('source', '#' * 9), ('partial', '#.##..#'), ('mute', '....')):
    spec = tiny.tiny_spec(f'own/{name}')
    write_pool(folder / name / 'pool', spec, known_in(*[marks] * 6))
  spec = tiny.tiny_spec('own/strange', ('down', 'left', 'jump', 'rest'))
  write_pool(folder / 'strange' / 'pool', spec, known_in(*['#' * 9] * 6))
  return folder


def fields_of(root, target='target', sources='source', text='', **data):
  """configs/own.py on the datasets of `root`, small in every way."""
  folders = '+'.join(str(root / name) for name in sources.split('+'))
  words = f'target={root / target},sources={folders},observation=vector,{text}'
  fields = get_config('own', words)
  fields.data.update(data)
  fields.model.update({'width': 8, 'num_heads': 2, 'num_layers': 1})
  fields.training.update({'num_steps': 2, 'batch_size': 24, 'checkpoint_every': 1})
  fields.evaluation.num_transitions = 64
  return fields


def config_of(*arguments, **data):
  fields = fields_of(*arguments, **data)
  if fields.phase == 'finetune' and methods.get(fields.method).is_pretrained:
    fields.initial = 'base'
  return from_mapping(fields)


def rows_of(config, data=None, num_steps=20):
  """All rows of the first steps, a field of the batch or of its windows each."""
  mixture = datasets.make_mixture(config, data or datasets.load(config))
  batches = [mixture.batch(step) for step in range(num_steps)]
  found = {}
  for batch in batches:
    for name, value in (*batch.window._asdict().items(), *batch._asdict().items()):
      if name != 'window':
        found.setdefault(name, []).append(value)
  return {name: np.concatenate(values) for name, values in found.items()}


# The config.


@pytest.mark.parametrize('size', ['small', 'paper', 'large'])
def test_every_method_in_every_phase_is_a_valid_config(size):
  titles = set()
  for method, known in methods.METHODS.items():
    for phase in known.phases:
      fields = get_config(
        'own', f'target=a/game,sources=b+c,method={method},phase={phase},size={size}'
      )
      fields.initial = 'base' if phase == 'finetune' and known.is_pretrained else ''
      config = from_mapping(fields)
      assert (config.method, config.phase, config.target) == (method, phase, 'game')
      takes_sources = 'source' in known.phases[phase]
      assert config.data.sources == (('b', 'c') if takes_sources else ())
      titles.add(config.title)
  # A report refuses two runs of one title: phases of a method are told apart.
  assert len(titles) == sum(len(known.phases) for known in methods.METHODS.values())


def test_each_of_many_sources_gets_a_row_a_step():
  sources = '+'.join('abcdefghij')
  fields = get_config('own', f'target=x,sources={sources}')
  # The labelled quarter of an eleventh of 44 rows is one.
  assert fields.training.batch_size == 44
  assert (
    get_config('own', f'target=x,sources={sources},batch=8').training.batch_size == 8
  )


def test_words_of_the_config_that_are_wrong_are_named():
  with pytest.raises(ValueError, match='target: expected a dataset folder'):
    get_config('own')
  with pytest.raises(ValueError, match="one of image, vector, found 'sound'"):
    get_config('own', 'target=x,observation=sound')
  with pytest.raises(UserError, match='joint takes at least one source, found'):
    from_mapping(get_config('own', 'target=x'))


def test_nobody_records_own_datasets(root, tmp_path):
  config = ml_collections.ConfigDict()
  config.experiment, config.overrides, config.record = 'curve', {}, {}
  config.run_config = str(CONFIGS / 'own.py')
  words = f'target={root / "target"},method=dt1-idm'
  config.runs = tuple(f'{words},labels={labels}' for labels in (100, 0))
  planned = sweep.plan(config, tmp_path, root)
  assert not planned.recordings and len(planned.runs) == 2
  found = [each['labels'] for each in sweep.describe(config, planned, root)['planned']]
  assert found == [100, 0]


# Labels.


def test_labels_are_drawn_among_what_was_recorded(root):
  config = config_of(root)
  data = datasets.load(config)
  expected = draw_recorded(data.target.index, 0, 0, 50, 0.05, 0.2, window_length=5)
  assert data.labels == expected
  assert data.labels.audited and data.labels.budget > 300
  # Without an audit what it had is learnt from.
  more = datasets.load(config_of(root, audit_share=0.0)).labels
  assert not more.audited and more.budget > data.labels.budget
  assert datasets.load(config_of(root, labels=100)).labels.audited == expected.audited


def test_where_all_are_recorded_labels_are_drawn_as_ever(root):
  config = config_of(root, 'all', 'source', 'labels=20')
  data = datasets.load(config)
  assert data.labels.budget == 20 and not data.labels.audited
  assert data.has_truth(heldout=False) and data.has_truth(heldout=True)
  other = config_of(root, 'all', 'source', 'labels=20', audit_share=0.5)
  assert datasets.load(other).labels.hash == data.labels.hash


def test_a_packed_set_gives_the_same_labels_and_batches(root):
  configs = [config_of(root, target) for target in ('target', 'packed')]
  one, two = (datasets.load(config) for config in configs)
  assert one.hash == two.hash and one.labels == two.labels
  expected = rows_of(configs[0], one)
  for name, values in rows_of(configs[1], two).items():
    np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize(('method', 'phase'), WORKING)
def test_no_batch_depends_on_an_action_that_is_set_aside(root, method, phase):
  config = config_of(root, 'target', 'source', f'method={method},phase={phase}')
  data = datasets.load(config)
  pool = data.target.index
  known = hide_actions(pool, data.labels).is_labelled
  assert (pool.is_labelled & ~known).sum() > 60
  swapped = dataclasses.replace(
    pool, actions=np.where(known, pool.actions, 3 - pool.actions).astype(np.int32)
  )
  other = dataclasses.replace(data, target=type(data.target)(swapped))
  expected = rows_of(config, data)
  for name, values in rows_of(config, other).items():
    np.testing.assert_array_equal(values, expected[name], err_msg=name)
  is_target = expected['environment'] == 0
  assert is_target.any() or phase == 'sources'


@pytest.mark.parametrize('method', ['alpt', 'dt5', 'dt5-ret'])
def test_rows_of_a_source_show_its_recorded_actions_and_are_never_relabelled(
  root, method
):
  rows = rows_of(config_of(root, 'target', 'partial', f'method={method}'))
  source = rows['environment'] == 1
  assert source.any() and not rows['relabel'][source].any()
  # '#.##..#': tiny_episode's rows say at which step they were seen.
  step = rows['observations'][source][:, :-1, 1].astype(int)
  number = rows['observations'][source][:, :-1, 0].astype(int) - 1
  valid = rows['valid'][source]
  expected = valid & np.isin(step, [0, 2, 3, 6])
  np.testing.assert_array_equal(rows['is_labelled'][source], expected)
  actions = rows['actions'][source]
  np.testing.assert_array_equal(actions, np.where(expected, (number + step) % 4, 0))


def test_a_target_without_any_label_has_its_sources_pretrained_on(root):
  config = config_of(root, 'none', 'source', 'phase=sources')
  data = datasets.load(config)
  assert data.labels == Labels(data.target.manifest_hash, 0, (), ())
  assert set(rows_of(config, data)['environment']) == {1}
  assert not data.has_truth(heldout=False) and not data.has_truth(heldout=True)


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (('target', 'source', 'labels=500'), '500 labels asked for: expected 1 to 3'),
    (('none',), 'none: expected recorded actions to learn from, found none in its 5'),
    (('none', 'source', 'method=dt1-idm'), 'only phase sources, the pretraining with'),
    (('all',), 'data.labels: expected at least 1, as all 120 actions of .* found 0'),
    (('target', 'source', 'method=oracle'), 'which method oracle .* 480 of 1,240'),
    (('target', 'source+mute'), 'mute: expected a source with recorded actions'),
  ],
)
def test_what_cannot_be_learnt_from_is_refused(root, arguments, expected):
  with pytest.raises(UserError, match=expected) as raised:
    datasets.load(config_of(root, *arguments))
  assert '\n' not in str(raised.value)


def test_that_what_judges_the_idm_may_be_guessed_is_said(root):
  spec = tiny.tiny_spec('own/target')
  write_pool(root / 'guessed' / 'pool', spec, known_in(*STREWN), guesses=0.8)
  (said,) = datasets.remarks(datasets.load(config_of(root, 'guessed')))
  assert said.startswith('own/target: guesses of a model that was 0.8 sure count')


def test_actions_that_no_source_has_are_named(root):
  data = datasets.load(config_of(root, 'target', 'strange'))
  (said,) = datasets.remarks(data)
  assert said.startswith('own/target: no source has an action named right, up;')
  both = datasets.load(config_of(root, 'target', 'strange+source'))
  assert datasets.remarks(both) == []
  alone = config_of(root, 'target', 'source', 'method=dt1-idm,phase=finetune')
  assert datasets.remarks(datasets.load(alone)) == []


# What is told of a run.


def test_what_judges_an_idm_need_not_be_spoken_of(root, capsys):
  Run(config_of(root, 'target', 'source', 'method=dt1-idm'))
  said = capsys.readouterr().out
  assert said == 'own/target: no game or maze of ours, so play is not scored\n'


def test_an_idm_is_not_scored_where_nothing_judges_it(root, capsys):
  evaluator = Run(config_of(root, 'few', 'source', 'method=dt1-idm')).evaluator
  assert evaluator(0, None) == evaluator.per_action(None) == {}
  said = capsys.readouterr().out
  assert 'own/target: no recorded action is hidden' in said and 'nowhere' in said


def test_an_idm_may_be_scored_on_held_out_labels_alone(root, capsys):
  Run(config_of(root, 'target', 'source', 'method=dt1-idm', audit_share=0.0))
  assert 'scored on held-out episodes alone' in capsys.readouterr().out


def test_the_identity_says_how_the_recorded_actions_are_used(root, tmp_path):
  config = config_of(root)
  data = datasets.load(config)
  identity.write_identity(tmp_path, config, data)
  found = json.loads((tmp_path / 'identity.json').read_text())
  audited = sum(length for _, _, length in data.labels.audited)
  expected = {'all': 480, 'trained_on': data.labels.budget, 'audited': audited}
  assert found['recorded_labels'] == expected
  assert found['labels'] == lineage.budget(config) == 0
  (tmp_path / 'other').mkdir()
  config = config_of(root, 'all', 'source', 'labels=20')
  identity.write_identity(tmp_path / 'other', config, datasets.load(config))
  found = json.loads((tmp_path / 'other' / 'identity.json').read_text())
  assert 'recorded_labels' not in found


def test_a_report_calls_however_many_were_recorded_all(tmp_path):
  write_run(tmp_path, 'ALPT', rows=[success(0.5)], labels=0)
  write_run(tmp_path, 'DT1', rows=[success(0.2)], labels=50)
  # Behind any number.
  assert [run.labels for run in load_runs(tmp_path)] == [50, 'all']
  page.build(report.load(tmp_path))
  lines = (tmp_path / 'results.csv').read_text().splitlines()[1:]
  assert [line.split(',')[:4] for line in lines] == [
    ['tiny', '', 'DT1', '50'],
    ['tiny', '', 'ALPT', 'all'],
  ]


@pytest.mark.slow
def test_a_run_is_pretrained_finetuned_evaluated_and_reported(root, tmp_path):
  base, tuned = tmp_path / 'runs' / 'base', tmp_path / 'runs' / 'tuned'
  Run(config_of(root, 'packed', 'partial', 'phase=pretrain')).train(base)
  fields = fields_of(root, 'packed', 'partial', 'phase=finetune')
  fields.initial = str(base)
  Run(from_mapping(fields)).train(tuned)
  run, state = open_trained(tuned)
  assert int(state.step) == 2
  assert load_labels(tuned / 'labels.json') == run.data.labels
  assert not run.evaluator.can_play
  scores = run.evaluator(2, state)
  assert {'idm_accuracy', 'idm_accuracy_heldout'} <= scores.keys()
  html = page.build(report.load(tmp_path / 'runs')).read_text()
  assert 'ALPT (finetuned)' in html
  # Other labels of the same target than those that the base was taught.
  fields.data.audit_share = 0.4
  with pytest.raises(UserError, match='was trained with other labels of own/target'):
    Run(from_mapping(fields))
