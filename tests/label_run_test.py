"""A dataset labelled in parts: recorded actions stay, guesses are marked."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny
import tiny_label_run
from tiny_label_run import label, tables, trained_labels

from alpt_jax.data import label_table, rlds
from alpt_jax.data.labels import (
  audited_transitions,
  labelled_transitions,
)
from alpt_jax.data.pool import open_pool
from alpt_jax.experiment import trained_models
from alpt_jax.labelling import calibration
from alpt_jax.labelling.labeller import SETTINGS, LabellingConfig, label_pool
from alpt_jax.labelling.stretches import label_stretches


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tiny_label_run.write_root(tmp_path_factory.mktemp('label'))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  tiny_label_run.small_parts(monkeypatch)


@pytest.fixture(scope='module')
def whole(root):
  return tiny_label_run.label_whole(root)


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
