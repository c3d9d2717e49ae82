"""The runs that tell what more labels or sources would bring."""

import collections
import pathlib

import pytest

from alpt_jax.launching import sweep

_FILE = pathlib.Path('configs/own_curve.py')


def planned(text, tmp_path):
  config = sweep.load_config_file(_FILE).get_config(text)
  return list(sweep.plan(config, tmp_path).runs.values())


def test_three_budgets_with_sources_and_without_in_three_draws(tmp_path):
  runs = planned('target=data/game,sources=data/a+data/b,labels=2000', tmp_path)
  counts = collections.Counter((run.data.labels, run.data.sources) for run in runs)
  assert counts == {
    (labels, sources): 3
    for labels in (2000, 1000, 500)
    for sources in ((), ('data/a', 'data/b'))
  }
  assert {run.seed for run in runs} == {0, 1, 2}
  assert {run.data.target for run in runs} == {'data/game'}


def test_without_sources_only_labels_are_varied(tmp_path):
  runs = planned('target=data/game,labels=400,draws=4,steps=70', tmp_path)
  assert len(runs) == 3 * 4
  assert {run.method for run in runs} == {'dt1-idm'}
  assert {run.training.num_steps for run in runs} == {70}


@pytest.mark.parametrize('text', ['labels=400', 'target=data/game,labels=3'])
def test_what_must_be_named_is_asked_for(text):
  with pytest.raises(ValueError, match='expected'):
    sweep.load_config_file(_FILE).get_config(text)
