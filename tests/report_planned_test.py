"""Runs that were planned and left nothing: missed by claims, shown on the page."""

import json

import pytest
from tiny_runs import write_claim, write_pairs

from alpt_jax.errors import UserError
from alpt_jax.report import claims, page, report


def _find(root):
  return report.load(root).findings


def _planned(methods=('ALPT', 'DT1-IDM'), targets=('',), seeds=3):
  """What experiment.json says of all runs of these."""
  return {
    'planned': [
      {
        **{'target': target, 'method': method, 'labels': 50, 'seed': seed},
        **{'phase': 'finetune', 'folder': f'{target}-{method}-50-{seed}'},
      }
      for method in methods
      for target in targets
      for seed in range(seeds)
    ]
  }


def test_a_verdict_says_how_many_seeds_it_does_without(tmp_path):
  """Those too that left nothing: their base may have failed."""
  write_claim(tmp_path, others=_planned(seeds=5))
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  (found,) = _find(tmp_path)
  assert found.verdict == claims.REPRODUCED
  assert found.reason == '2 of 5 seeds left out: their pairs are not complete'


def test_a_planned_target_that_left_nothing_is_missed(tmp_path):
  write_claim(tmp_path, others=_planned(targets=('a', 'b')))
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3), target='a')
  (found,) = _find(tmp_path)
  assert found.verdict == claims.NOT_TESTABLE
  assert found.reason.startswith('no pair of finished runs on b that measured it')


def test_a_planned_budget_that_left_nothing_is_missed(tmp_path):
  write_claim(tmp_path, labels=None, others=_planned())
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3), labels=250)
  missing, found = _find(tmp_path)
  assert (missing.labels, missing.verdict) == (50, claims.NOT_TESTABLE)
  assert (found.labels, found.verdict, found.reason) == (250, claims.REPRODUCED, '')


def test_runs_beside_those_planned_count_as_well(tmp_path):
  """A later call may ask for fewer seeds than the one before it."""
  write_claim(tmp_path, others=_planned(seeds=1))
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  (found,) = _find(tmp_path)
  assert (found.verdict, found.num_seeds, found.reason) == (claims.REPRODUCED, 3, '')


def test_planned_runs_without_a_trace_stand_on_the_page(tmp_path):
  write_claim(tmp_path, others=_planned(seeds=3))
  write_pairs(tmp_path, (0.6,), (0.3,))
  failed = tmp_path / 'runs' / '-ALPT-50-2'
  failed.mkdir(parents=True)
  status = {'state': 'failed', 'message': 'its <base> is not finished'}
  (failed / 'status.json').write_text(json.dumps(status))
  text = page.build(tmp_path).read_text()
  assert '4 more were planned' in text
  section = text[text.index('Runs without a result') : text.index('How to read')]
  assert section.count('not begun') == 3
  assert 'its &lt;base&gt; is not finished' in section
  assert 'runs/-DT1-IDM-50-1' in section and 'DT1-IDM-50-0' not in section


def test_a_planned_run_without_its_seed_is_refused(tmp_path):
  planned = _planned()
  del planned['planned'][1]['seed']
  write_claim(tmp_path, others=planned)
  write_pairs(tmp_path, (0.6,), (0.3,))
  with pytest.raises(UserError, match=r'planned run 1: field seed: expected a number'):
    _find(tmp_path)
