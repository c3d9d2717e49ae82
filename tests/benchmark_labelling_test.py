"""The benchmark's section `label` on tiny recordings."""

import dataclasses
import json

import numpy as np
import pytest

from alpt_jax.benchmark import ceilings, labelling, subjects
from alpt_jax.experiment.recording import Recording, record

ONCE, CENTRE = 'recording, once', 'recording, centre'


def tiny_subject(size='tiny', batch_size=8, **fields):
  config = subjects.config_of(size, batch_size, 'float32')
  fields = {'width': 16, 'num_layers': 1, 'num_heads': 2, **fields}
  model = dataclasses.replace(config.model, **fields)
  return subjects.prepare(dataclasses.replace(config, model=model))


@pytest.fixture(scope='module')
def limits():
  return ceilings.programs('float32', side=16, num_bytes=1_024)


@pytest.fixture(autouse=True)
def three_batches(monkeypatch):
  monkeypatch.setattr(labelling, '_MOST', 3)


def test_a_recording_is_labelled_in_both_ways_beside_windows_that_are_there(limits):
  section = labelling.measure_labels(tiny_subject(), limits, 2)
  found = json.loads(json.dumps(section.record()))
  ways = [ONCE, 'reading, once', CENTRE, 'reading, centre']
  assert [*found['programs']] == [*limits, labelling.LABEL, *ways]
  # An episode has 8 * 5 transitions: 3 episodes of 8 windows side by side, or one of 36
  # around each transition but the two at either end.
  counts = {name: each.program.counts for name, each in section.programs.items()}
  once, centre = {'windows': 24, 'transitions': 120}, {'windows': 36, 'transitions': 40}
  assert [counts[way] for way in ways] == [once, once, centre, centre]
  flops = {name: each['flops'] for name, each in found['programs'].items()}
  assert flops[ONCE] == 3 * flops[labelling.LABEL]
  for name, count in ((ONCE, 120), (CENTRE, 40)):
    seconds = found['programs'][name]['seconds']
    million = found[f'{name}: s for 1M transitions']
    assert million == pytest.approx(1e6 * seconds / count, rel=0.01)
    assert 0 <= found[f'{name}: share of time without input'] < 1
    assert found[f'{name}: of the rate of windows on the device'] > 0


def test_a_model_of_pairs_has_one_way(limits):
  subject = tiny_subject('small', idm_form='pair', patch_size=42)
  programs = labelling.measure_labels(subject, limits, 1).programs
  assert [*programs] == [*limits, labelling.LABEL, ONCE, 'reading, once']


def test_what_a_folder_holds_is_labelled(limits, tmp_path):
  folder = tmp_path / 'maze'
  record(Recording('maze/tunneled/9', episodes=30), folder, rlds=False)
  programs = labelling.measure_labels(tiny_subject(), limits, 1, [str(folder)]).programs
  # The first episodes that have 24 windows together.
  lengths = np.load(folder / 'pool' / 'lengths.npy')
  enough = np.searchsorted(np.cumsum(-(-lengths // 5)), 24) + 1
  assert programs[ONCE].program.counts['transitions'] == lengths[:enough].sum()
