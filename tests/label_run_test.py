"""A dataset labelled in parts: recorded actions stay, kills leave no trace."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
import tiny_label_run

from alpt_jax.data import label_table, rlds
from alpt_jax.data.labels import (
  audited_transitions,
  draw_labels,
  labelled_transitions,
  load_labels,
)
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.errors import Preempted, RunFailed, UserError
from alpt_jax.experiment import known_actions, label_run, trained_models
from alpt_jax.experiment.label_files import LabelFiles
from alpt_jax.experiment.label_run import LabelChoice
from alpt_jax.experiment.recordings import read_recordings
from alpt_jax.labelling import calibration
from alpt_jax.labelling import parts as cutting
from alpt_jax.labelling.labeller import SETTINGS, LabellingConfig, label_pool
from alpt_jax.labelling.stretches import label_stretches

LENGTHS = (40,) * 8 + (23, 7, 41, 3) + (40,) * 18
COLUMNS = ['episode', 'step', 'action', 'confidence', 'raw_confidence', 'recorded']


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A dataset of 30 episodes, 24 of them labelled, and a run on it."""
  folder = tmp_path_factory.mktemp('label')
  pool = tiny_label_run.write_dataset(folder / 'data', LENGTHS, known=24)
  tiny_label_run.write_run(folder / 'run', pool, tiny_label_run.draw(pool))
  return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  """Of 200 transitions: 6 of the dataset above."""
  monkeypatch.setattr(cutting, '_TRANSITIONS', 200)


def choice(root, out, **changes):
  config = LabellingConfig('mean', 16)
  fields = {'config': config, 'rlds': False, 'card': False, **changes}
  return LabelChoice(root / 'run', root / 'data', out, **fields)


def label(root, out, **changes):
  """Labels; the lines that it said."""
  lines = []
  label_run.label_dataset(choice(root, out, **changes), lines.append)
  return lines


def tables(out, *columns):
  paths = sorted((out / 'labels').glob('*.parquet'))
  return label_table.read_table(paths, [*COLUMNS, *columns])


@pytest.fixture(scope='module')
def whole(root):
  """The folder of a labelling that nothing happened to."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(cutting, '_TRANSITIONS', 200)
    label(root, root / 'whole', rlds=True)
  return root / 'whole'


def test_every_transition_has_the_recorded_action_or_the_models_guess(root, whole):
  pool, found = open_pool(root / 'data'), tables(whole, 'guess', 'second')
  labeller = trained_models.load_labeller(root / 'run')
  expected = label_pool(labeller, pool, LabellingConfig('mean', 16))
  assert found['episode'].tolist() == pool.episode_of.tolist()
  steps = np.arange(pool.num_transitions) - pool.starts[pool.episode_of]
  assert found['step'].tolist() == steps.tolist()
  known = pool.is_labelled
  assert found['recorded'].tolist() == known.tolist()
  assert found['action'][known].tolist() == pool.actions[known].tolist()
  assert (found['confidence'][known] == 1).all()
  guess = expected.probabilities.argmax(1)
  assert found['action'][~known].tolist() == guess[~known].tolist()
  assert found['guess'].tolist() == guess.tolist()
  second = np.sort(expected.probabilities, axis=1)[:, -2]
  rows = np.arange(len(guess))
  assert (expected.probabilities[rows, found['second']] == second).all()
  np.testing.assert_allclose(
    found['raw_confidence'], expected.probabilities.max(1), rtol=1e-5
  )


def test_what_trained_the_model_is_marked_and_what_judges_it_is_apart(root, whole):
  pool, labels = open_pool(root / 'data'), trained_labels(root)
  trained = np.flatnonzero(tables(whole, 'trained_on')['trained_on'])
  assert trained.tolist() == labelled_transitions(pool, labels).tolist()
  audit = label_table.read_table(
    [whole / 'audit.parquet'], ['episode', 'step', 'true_action', 'unit', 'recording']
  )
  rows = pool.starts[audit['episode']] + audit['step']
  assert rows.tolist() == audited_transitions(pool, labels).tolist()
  assert audit['true_action'].tolist() == pool.actions[rows].tolist()
  assert audit['recording'].tolist() == audit['episode'].tolist()


def trained_labels(root):
  return load_labels(root / 'run' / 'labels.json')


def test_confidence_is_tempered_by_the_audit(root, whole):
  names = ['probabilities', 'true_action', 'unit', 'confidence', 'raw_confidence']
  audit = label_table.read_table([whole / 'audit.parquet'], names)
  expected = calibration.crosswise(
    audit['probabilities'], audit['true_action'], audit['unit'], seed=0
  )
  record = pd.read_json(whole / 'labelling.json', typ='series')
  assert record['temperature'] == {'value': expected.value, 'is_fitted': True}
  assert record['counts']['audit'] == len(audit['unit']) > 100
  judged = calibration.tempered(audit['probabilities'], expected.crosswise).max(1)
  np.testing.assert_allclose(audit['confidence'], judged, rtol=1e-6)
  found = tables(whole)
  guessed = ~found['recorded']
  # The model is untrained, so far too sure; it would be right in a quarter.
  assert found['confidence'][guessed].mean() < found['raw_confidence'][guessed].mean()


@pytest.mark.parametrize('label_by', SETTINGS)
def test_a_stretch_is_labelled_as_in_its_episode(root, label_by):
  pool, labeller = open_pool(root / 'data'), trained_models.load_labeller(root / 'run')
  config = LabellingConfig(label_by, 16)
  whole = label_pool(labeller, pool, config).probabilities
  # At both ends, in the middle, at no multiple of T; an episode shorter than T.
  for episode, first, count in [(0, 0, 3), (1, 17, 9), (2, 33, 7), (11, 1, 1)]:
    rows = pool.starts[episode] + first + np.arange(count)
    found = label_stretches(labeller, pool, [(episode, first, count)], config)
    np.testing.assert_allclose(found, whole[rows], rtol=1e-4, atol=1e-6)


def test_rlds_keeps_what_was_recorded_bit_for_bit_and_marks_guesses(root, whole):
  pool, begin = open_pool(root / 'data'), 0
  found = tables(whole)
  recorded, all_labelled = rlds.read(whole), rlds.read(whole, guesses=0.0)
  for index, (one, other) in enumerate(zip(recorded, all_labelled, strict=True)):
    tiny.assert_equal_episodes(
      one._replace(is_labelled=None), pool.episode(index)._replace(is_labelled=None)
    )
    known = pool.is_labelled[begin : begin + len(one.actions)]
    assert one.is_labelled.tolist() == known.tolist()
    assert other.is_labelled.all()
    expected = found['action'][begin : begin + len(one.actions)]
    assert other.actions.tolist() == expected.tolist()
    begin += len(one.actions)
  assert begin == pool.num_transitions


@pytest.mark.slow
def test_screens_are_pngs_that_tfds_reads(tmp_path):
  spec = dataclasses.replace(tiny.tiny_spec(), observation=tiny_label_run.IMAGE)
  pool = tiny_label_run.write_dataset(tmp_path / 'data', known=4, spec=spec)
  tiny_label_run.write_run(tmp_path / 'run', pool, tiny_label_run.draw(pool))
  label(tmp_path, tmp_path / 'out', rlds=True)
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(tmp_path / 'out')
  episodes = list(builder.as_dataset(split='train'))
  assert [int(episode['episode']) for episode in episodes] == list(range(6))
  for index, episode in enumerate(episodes):
    steps = list(episode['steps'].as_numpy_iterator())
    shown = np.stack([step['observation'] for step in steps])
    assert np.array_equal(shown, pool.episode(index).observations)
    last = steps[-1]
    assert last['is_last'] and not last['is_labelled'] and not last['confidence']
    guessed = [step['is_labelled'] and not step['is_recorded'] for step in steps]
    assert guessed == [index >= 4] * (len(steps) - 1) + [False]


def test_less_sure_guesses_are_left_unlabelled_and_counted(root, tmp_path):
  sure = tables(label_and_return(root, tmp_path / 'all'))
  guessed = ~sure['recorded']
  least = float(np.median(sure['confidence'][guessed]))
  lines = label(root, tmp_path / 'some', min_confidence=least, rlds=True)
  found = tables(tmp_path / 'some', 'guess')
  left = found['action'] < 0
  assert left.tolist() == (guessed & (sure['confidence'] < least)).tolist()
  assert (found['guess'] >= 0).all()
  assert (found['confidence'] == sure['confidence']).all()
  assert f'{left.sum():,} left unlabelled, as less sure than' in lines[1]
  episodes = rlds.read(tmp_path / 'some', guesses=0.0)
  known = np.concatenate([episode.is_labelled for episode in episodes])
  assert known.tolist() == (~left).tolist()


def label_and_return(root, out, **changes):
  label(root, out, **changes)
  return out


def test_lines_tell_the_counts_of_each_action(root, tmp_path):
  lines = label(root, tmp_path / 'out')
  found = tables(tmp_path / 'out')
  assert lines[0].startswith('6 of 6 parts labelled: ')
  for name, line in zip(tiny.ACTIONS, lines[3:], strict=True):
    index = tiny.ACTIONS.index(name)
    is_it = found['action'] == index
    counts = (is_it & found['recorded']).sum(), (is_it & ~found['recorded']).sum()
    assert line.split()[:4] == [name, *map(str, counts), '0']


class Killed(BaseException):
  """Stands for a kill: nothing that is done on the way out is to the files."""


@pytest.mark.slow
def test_killed_before_any_file_and_begun_again_it_has_the_same_bits(
  root, whole, tmp_path, monkeypatch
):
  """Each start dies when it would give the second, third, ... file its name."""
  real, left = os.replace, [0]

  def replace(source, target):
    left[0] -= 1
    if not left[0]:
      raise Killed
    real(source, target)

  monkeypatch.setattr(os, 'replace', replace)
  out, num_kills = tmp_path / 'out', 0
  for lasts in itertools.cycle((1, 2, 3, 4, 6)):
    left[0] = lasts
    try:
      label(root, out, rlds=True)
      break
    except Killed:
      num_kills += 1
  # Two files for each of 6 parts, one of them twice where it dies between them.
  assert num_kills >= 5
  assert tiny_label_run.content(out) == tiny_label_run.content(whole)


def test_of_two_labellings_at_once_the_later_one_writes_nothing(
  root, tmp_path, monkeypatch
):
  real = label_run.label_stretches

  def overtaken(*args):
    monkeypatch.setattr(label_run, 'label_stretches', real)
    label(root, tmp_path / 'out')
    return real(*args)

  monkeypatch.setattr(label_run, 'label_stretches', overtaken)
  with pytest.raises(UserError, match='field seed: was begun with 0, found 1'):
    label(root, tmp_path / 'out', seed=1)
  label(root, tmp_path / 'alone')
  found, expected = (
    tiny_label_run.content(tmp_path / name) for name in ('out', 'alone')
  )
  assert found == expected


@pytest.mark.slow
def test_three_shards_are_one_whoever_ends_last(root, whole, tmp_path):
  for index in (2, 0, 1):
    assert not (tmp_path / 'dataset_info.json').exists()
    lines = label(root, tmp_path, rlds=True, shard=(index, 3))
    is_last = index == 1
    assert ('2 of 6 parts are missing' in lines[1]) == (index == 0)
    assert (tmp_path / 'dataset_info.json').exists() == is_last
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_what_is_complete_is_not_labelled_again(root, whole, monkeypatch):
  before = tiny_label_run.content(whole)
  monkeypatch.setattr(label_run, 'label_pool', None)
  monkeypatch.setattr(label_run, 'label_stretches', None)
  lines = label(root, whole, rlds=True)
  assert lines[0] == '0 of 6 parts labelled: 0 transitions'
  assert tiny_label_run.content(whole) == before


@pytest.mark.slow
def test_rlds_files_can_be_added_to_tables(root, whole, tmp_path):
  label(root, tmp_path)
  assert not list(tmp_path.glob('*.tfrecord*'))
  label(root, tmp_path, rlds=True)
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_asked_to_stop_it_stops_between_batches_and_goes_on(
  root, whole, tmp_path, monkeypatch
):
  real = label_run.label_pool

  def asked(labeller, pool, config, episodes, progress):
    if 10 in episodes:
      os.kill(os.getpid(), signal.SIGTERM)
    return real(labeller, pool, config, episodes, progress)

  with monkeypatch.context() as patch:
    patch.setattr(label_run, 'label_pool', asked)
    with pytest.raises(Preempted, match='[12] of 6 parts are there. The same command'):
      label(root, tmp_path, rlds=True)
  label(root, tmp_path, rlds=True)
  assert tiny_label_run.content(tmp_path) == tiny_label_run.content(whole)


def test_a_full_disk_is_named_and_the_parts_stay(root, tmp_path, monkeypatch):
  real = LabelFiles.write_part

  def full(files, part, *arguments):
    if part.index == 2:
      raise OSError(28, 'No space left on device')
    real(files, part, *arguments)

  monkeypatch.setattr(LabelFiles, 'write_part', full)
  with pytest.raises(RunFailed, match='2 of 6 parts are there, .*No space left'):
    label(root, tmp_path)


def test_forgetting_shows_the_truth_beside_the_guesses(tmp_path):
  """All actions are on disk; the run knew 60 and has a held-out episode."""
  pool = write_all_known(tmp_path / 'data')
  labels = draw_labels(pool, 60, 0, 5, 0.1)
  tiny_label_run.write_run(tmp_path / 'run', pool, labels)
  with pytest.raises(UserError, match='all its 880 actions are recorded, so there is'):
    label(tmp_path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
  label(tmp_path, tmp_path / 'out', forget=True)
  found = tables(tmp_path / 'out', 'true_action', 'trained_on')
  assert found['true_action'].tolist() == pool.actions.tolist()
  trained = labelled_transitions(pool, labels)
  heldout = pool.transitions_of(labels.heldout_episodes)
  assert np.flatnonzero(found['trained_on']).tolist() == trained.tolist()
  assert np.flatnonzero(found['recorded']).tolist() == sorted([*trained, *heldout])
  # What is forgotten does not come back as a recorded action.
  hidden = ~found['recorded']
  assert (found['action'][hidden] != pool.actions[hidden]).any()
  record = pd.read_json(tmp_path / 'out' / 'labelling.json', typ='series')
  assert record['audit']['of'] == 'heldout'
  assert record['counts']['audit'] == len(heldout)


def write_all_known(folder):
  return write_pool(folder, tiny.tiny_spec(), tiny.tiny_episodes([40] * 22))


def test_forgetting_in_part_keeps_what_the_label_file_names(root, tmp_path):
  pool, labels = open_pool(root / 'data'), trained_labels(root)
  label(root, tmp_path, forget=True)
  found = tables(tmp_path, 'true_action')
  named = [labelled_transitions(pool, labels), audited_transitions(pool, labels)]
  assert np.flatnonzero(found['recorded']).tolist() == sorted(np.concatenate(named))
  expected = np.where(pool.is_labelled, pool.actions, -1)
  assert found['true_action'].tolist() == expected.tolist()


@pytest.mark.parametrize(
  ('known', 'learnt', 'audited', 'unsure'),
  [
    # The middle one of three files, of an episode each, is the run's, too.
    ({'recordings': [['b', 'd']]}, [1], {0, 2}, False),
    # Of a base the target taught nothing.
    ({'phase': 'sources', 'recordings': [['a'], ['b']]}, [1], {0, 2}, False),
    # Nobody knows of which files it was made, or its source.
    ({}, [], {0, 1, 2}, True),
    ({'recordings': [['b'], []]}, [], {0, 1, 2}, True),
  ],
)
def test_a_recording_that_the_run_was_trained_on_is_no_audit_in_another_dataset(
  tmp_path, known, learnt, audited, unsure
):
  target = tiny_label_run.write_dataset(tmp_path / 'target')
  run = tiny_label_run.write_run(
    tmp_path / 'run', target, tiny_label_run.draw(target), **known
  )
  pool = tiny_label_run.write_dataset(tmp_path / 'new', (9, 30, 8, 5), known=3, seed=1)
  records = [
    {
      'file': f'{digest}.mp4',
      'sha256': digest,
      'episodes': [number, 1],
      'first_frames': [0],
      'frame_rate': 60.0,
    }
    for number, digest in enumerate('abce')
  ]
  conversion = {'recordings': records}
  (tmp_path / 'new' / 'conversion.json').write_text(json.dumps(conversion))
  found = known_actions.known_actions(
    pool,
    read_recordings(tmp_path / 'new', pool),
    run,
    trained_models.load(run).origin.config,
    forget=False,
  )
  assert {episode for episode, _, _ in found.audit} == audited
  taught = np.repeat(np.isin(np.arange(4), learnt), pool.lengths)
  assert found.trained_on.tolist() == taught.tolist()
  assert found.may_be_trained_on == unsure


def test_what_is_recorded_of_other_recordings_is_their_audit(root, tmp_path):
  pool = tiny_label_run.write_dataset(tmp_path / 'new', (40, 30, 20), known=1, seed=1)
  there = dataclasses.replace(choice(root, tmp_path / 'out'), data=tmp_path / 'new')
  label_run.label_dataset(there, lambda line: None)
  found = tables(tmp_path / 'out', 'trained_on')
  assert not found['trained_on'].any()
  record = pd.read_json(tmp_path / 'out' / 'labelling.json', typ='series')
  # The game is the one that the run was trained on, so it may be a copy.
  assert record['audit'] == {
    'of': 'new',
    'basis': 'stretch',
    'may_be_trained_on': True,
    'guesses': None,
  }
  assert record['counts']['audit'] == pool.is_labelled.sum() == 40
  # Labels are segments of 5 there, but no audited stretch is under 4 windows of 5.
  audit = label_table.read_table([tmp_path / 'out' / 'audit.parquet'], ['unit'])
  assert np.bincount(audit['unit']).tolist() == [20, 20]
  assert record['temperature'] == {'value': 1, 'is_fitted': False}


def test_without_any_recorded_action_nothing_is_tempered(root, tmp_path):
  tiny_label_run.write_dataset(tmp_path / 'new', (40, 30), known=0, seed=1)
  there = dataclasses.replace(choice(root, tmp_path / 'out'), data=tmp_path / 'new')
  label_run.label_dataset(there, lambda line: None)
  found = tables(tmp_path / 'out')
  np.testing.assert_allclose(found['confidence'], found['raw_confidence'], rtol=1e-6)
  audit = label_table.read_table(
    [tmp_path / 'out' / 'audit.parquet'], ['probabilities', 'guess']
  )
  assert audit['probabilities'].shape == (0, 4) and len(audit['guess']) == 0


def test_a_source_in_part_has_no_audit(root, tmp_path):
  source = tiny_label_run.write_dataset(tmp_path / 'data', (40, 30), known=1, seed=1)
  target = open_pool(root / 'data')
  hashes = f'{target.manifest_hash}+{source.manifest_hash}'
  labels = trained_labels(root)
  tiny_label_run.write_run(tmp_path / 'run', target, labels, data_hash=hashes)
  label(tmp_path, tmp_path / 'out')
  found = tables(tmp_path / 'out', 'trained_on')
  assert found['trained_on'].tolist() == found['recorded'].tolist()
  record = pd.read_json(tmp_path / 'out' / 'labelling.json', typ='series')
  assert record['counts']['audit'] == 0 and record['audit']['of'] == ''


@pytest.mark.parametrize('place, of', [(0, 'new'), (1, '')])
def test_sources_of_the_run_that_it_was_finetuned_from_are_no_audit(
  root, tmp_path, place, of
):
  other = tiny_label_run.write_dataset(tmp_path / 'data', (40, 30), known=1, seed=1)
  target = open_pool(root / 'data')
  # Of the target of a run of its sources alone it has learnt nothing.
  hashes = ['0' * 16] * 2
  hashes[place] = other.manifest_hash
  base = {'phase': 'sources', 'data_hash': '+'.join(hashes)}
  labels = trained_labels(root)
  tiny_label_run.write_run(tmp_path / 'run', target, labels, ancestry=[base])
  label(tmp_path, tmp_path / 'out')
  found = tables(tmp_path / 'out', 'trained_on')
  assert found['trained_on'].any() == (not of)
  record = pd.read_json(tmp_path / 'out' / 'labelling.json', typ='series')
  assert record['audit']['of'] == of


def test_a_run_of_the_sources_alone_has_learnt_nothing_of_its_target(root, tmp_path):
  pool, labels = open_pool(root / 'data'), trained_labels(root)
  tiny_label_run.write_run(tmp_path / 'run', pool, labels, 'phase=sources')
  there = choice(root, tmp_path / 'out')
  there = dataclasses.replace(there, run=tmp_path / 'run')
  label_run.label_dataset(there, lambda line: None)
  assert not tables(tmp_path / 'out', 'trained_on')['trained_on'].any()


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'step': 8}, r'checkpoints: no step 8; there are \[7\]'),
    ({'seed': 1}, 'labelling.json, field seed: was begun with 0, found 1. Choose anot'),
    ({'min_confidence': 0.5}, 'field min_confidence: was begun with 0.0, found 0.5'),
    ({'config': LabellingConfig('once', 16)}, 'label_by: was begun with mean, found o'),
    ({'forget': True}, 'field forget: was begun with False, found True'),
    ({'shard': (3, 3)}, 'shard 3/3: expected 0 to 2'),
    (
      {'config': LabellingConfig('middle')},
      'expected one of once, centre, mean, found',
    ),
  ],
)
def test_another_labelling_does_not_go_on(root, whole, changes, said):
  before = tiny_label_run.content(whole)
  with pytest.raises(UserError, match=said):
    label(root, whole, rlds=True, **changes)
  assert tiny_label_run.content(whole) == before


def test_somebodys_folder_is_left_alone(root, tmp_path):
  (tmp_path / 'thesis.txt').write_text('mine')
  with pytest.raises(UserError, match='exists and holds no labels, labelling.json is'):
    label(root, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(
  root, tmp_path
):
  pool, labels = open_pool(root / 'data'), trained_labels(root)

  def refused(said, text='', vocabulary=None, spec=pool.spec, name='run', **changes):
    workdir = tmp_path / name
    other = dataclasses.replace(pool, spec=spec)
    tiny_label_run.write_run(workdir, other, labels, text, vocabulary)
    there = dataclasses.replace(choice(root, tmp_path / 'out', **changes), run=workdir)
    with pytest.raises(UserError, match=said):
      label_run.label_dataset(there, lambda line: None)
    assert not (tmp_path / 'out').exists()

  refused(
    'method dt1 has no inverse dynamics model, which labels .in its phase joint.',
    'method=dt1',
    name='dt1',
  )
  refused(
    "the IDM does not know its action 'up'; did you mean 'upp'",
    vocabulary=('down', 'left', 'right', 'upp'),
    name='names',
  )
  form = dataclasses.replace(pool.spec.observation, shape=(2,), num_values=(9, 9))
  spec = dataclasses.replace(pool.spec, observation=form)
  refused('field observation: expected', spec=spec, name='form')
  protocol = dataclasses.replace(pool.spec.protocol, frame_skip=4, frame_rate=60)
  spec = dataclasses.replace(pool.spec, protocol=protocol)
  refused('field protocol: frame_skip 1, not 4', spec=spec, name='protocol')


def test_nothing_can_be_forgotten_of_what_the_run_was_not_trained_on(root, tmp_path):
  tiny_label_run.write_dataset(tmp_path / 'new', (40, 30), known=1, seed=1)
  there = choice(root, tmp_path / 'out', forget=True)
  there = dataclasses.replace(there, data=tmp_path / 'new')
  with pytest.raises(UserError, match='--forget: .*labels.json is of dataset'):
    label_run.label_dataset(there)


def test_files_of_rl_unplugged_are_packed_first(root, tmp_path):
  (tmp_path / 'Asterix').mkdir()
  (tmp_path / 'Asterix' / 'run_1-00000-of-00050').write_bytes(b'')
  there = choice(root, tmp_path / 'out')
  there = dataclasses.replace(there, data=tmp_path / 'Asterix')
  with pytest.raises(UserError, match='Pack them first: bin/convert'):
    label_run.label_dataset(there)


# What a process does that is killed before it gives the n-th file its name.
_KILLED = """
import os, runpy, signal, sys
real, left = os.replace, [int(sys.argv.pop(1))]
def replace(*names):
  left[0] -= 1
  if not left[0]:
    os.kill(os.getpid(), signal.SIGKILL)
  real(*names)
os.replace = replace
runpy.run_module('alpt_jax.bin.label', run_name='__main__')
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  'option, said',
  [
    ('--shard=2/2', "--shard: expected i/n, i from 0 to n - 1, found '2/2'."),
    ('--shard=half', "--shard: expected i/n, i from 0 to n - 1, found 'half'."),
    ('--data=', '--data: expected a folder. See --help.'),
    ('--min_confidence=90', '90.0 is not a number in the range [0.0, 1.0]'),
  ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(option, said):
  words = [sys.executable, '-m', 'alpt_jax.bin.label', '--run=a', '--data=b']
  done = subprocess.run([*words, '--out=c', option], capture_output=True, text=True)
  assert done.returncode == 2
  assert said in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.slow
def test_real_processes_killed_and_sharded_leave_the_same_bits(tmp_path):
  """350 short episodes are 4 parts; two processes label at once in the end."""
  pool = tiny_label_run.write_dataset(tmp_path / 'data', [9] * 350, known=150)
  tiny_label_run.write_run(tmp_path / 'run', pool, tiny_label_run.draw(pool))

  def process(out, kill, *options):
    words = [sys.executable, '-c', _KILLED, f'{kill}', f'--run={tmp_path}/run']
    words += [f'--data={tmp_path}/data', f'--out={tmp_path / out}', '--nocard']
    return subprocess.Popen([*words, *options], stderr=subprocess.PIPE, text=True)

  def code(running):
    said = running.communicate()[1]
    assert running.returncode in (0, -signal.SIGKILL), said
    return running.returncode

  assert code(process('whole', 0)) == 0
  expected = tiny_label_run.content(tmp_path / 'whole')
  # When its record was just there, between the files of a part, between parts.
  for kill in (2, 3, 3):
    assert code(process('killed', kill)) == -signal.SIGKILL
  assert code(process('killed', 0)) == 0
  assert tiny_label_run.content(tmp_path / 'killed') == expected
  both = [process('both', 0, f'--shard={index}/2') for index in range(2)]
  assert [code(running) for running in both] == [0, 0]
  assert tiny_label_run.content(tmp_path / 'both') == expected
