"""Which recorded actions judge a labelling: those that its model has never seen."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tiny
import tiny_label_run
from tiny_label_run import choice, label, tables, trained_labels

from alpt_jax.data import label_table
from alpt_jax.data.labels import (
  audited_transitions,
  draw_labels,
  labelled_transitions,
)
from alpt_jax.data.pool import open_pool, write_pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import known_actions, label_run, trained_models
from alpt_jax.experiment.recordings import read_recordings


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tiny_label_run.write_root(tmp_path_factory.mktemp('label'))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  tiny_label_run.small_parts(monkeypatch)


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
