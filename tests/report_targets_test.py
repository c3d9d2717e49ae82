"""Reports of several targets: grouped, averaged over seeds, drawn one by one."""

import math
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import success, write_run

from alpt_jax.errors import UserError
from alpt_jax.report import (
  aggregate,
  bars,
  curves,
  differences,
  headline,
  label_curve,
  looks,
  page,
  panels,
  runs,
  tables,
)


def _two_targets(root, num_seeds=3, method='ALPT'):
  """Target a: .2 .4 .6; target b: .4 .6 .8, each of three seeds."""
  for seed in range(num_seeds):
    for target, low in (('a', 0.2), ('b', 0.4)):
      rows = [success(0.1, 10), success(low + 0.2 * seed)]
      write_run(root, method, seed, rows, target=target)
  return root


def test_runs_of_one_seed_on_two_targets_are_no_twins(tmp_path):
  found = runs.load_runs(_two_targets(tmp_path))
  assert [(run.target, run.seed) for run in found[:4]] == [
    ('a', 0),
    ('a', 1),
    ('a', 2),
    ('b', 0),
  ]
  write_run(tmp_path / 'again', 'ALPT', 0, target='a')
  with pytest.raises(UserError, match='one run per experiment, target'):
    runs.load_runs(tmp_path)


def test_a_target_that_is_no_name_is_refused(tmp_path):
  write_run(tmp_path, 'ALPT', 1, target=7)
  with pytest.raises(UserError, match='field target: expected a name'):
    runs.load_runs(tmp_path)


def test_a_table_of_several_targets_has_a_row_and_references_for_each(tmp_path):
  rows = tables.final_table(runs.load_runs(_two_targets(tmp_path)))
  found = [(r.target, r.method, r.spreads['success_sampled'].mean) for r in rows]
  assert found == [
    ('a', 'ALPT', pytest.approx(0.4)),
    ('a', 'random walk', pytest.approx(0.1)),
    ('a', 'optimal policy', 1.0),
    ('b', 'ALPT', pytest.approx(0.6)),
    ('b', 'random walk', pytest.approx(0.1)),
    ('b', 'optimal policy', 1.0),
  ]
  assert tables.to_text(rows).startswith('target')
  only_a = [row for row in rows if row.target == 'a']
  assert 'target' not in tables.to_text(only_a).splitlines()[0]


def test_a_mean_over_targets_spreads_over_seeds(tmp_path):
  rows = aggregate.over_targets(runs.load_runs(_two_targets(tmp_path)))
  found = rows[0].spreads['success_sampled']
  # Seeds: (.2 + .4) / 2 = .3, .5, .7; mean .5, deviation .2
  assert found.values == pytest.approx((0.3, 0.5, 0.7))
  assert (found.mean, found.deviation) == (pytest.approx(0.5), pytest.approx(0.2))
  assert (rows[0].target, rows[0].num_seeds) == ('mean of 2 targets', 3)


def test_a_seed_that_lacks_a_target_is_left_out_of_the_mean(tmp_path):
  _two_targets(tmp_path)
  write_run(tmp_path, 'ALPT', 3, [success(1.0)], target='a')
  write_run(tmp_path, 'ALPT', 3, [success(1.0)], target='b', state='failed')
  row = aggregate.over_targets(runs.load_runs(tmp_path))[0]
  assert row.spreads['success_sampled'].mean == pytest.approx(0.5)
  assert row.note == 'seeds left out as a target is missing: 1'
  assert 'failed' in page.build(tmp_path).read_text()


def test_a_method_that_skips_a_target_has_no_mean_over_all(tmp_path):
  _two_targets(tmp_path)
  write_run(tmp_path, 'DT1', 0, [success(1.0)], target='a')
  methods = {row.method for row in aggregate.over_targets(runs.load_runs(tmp_path))}
  assert 'DT1' not in methods and 'ALPT' in methods


def test_a_pretraining_on_one_target_does_not_add_a_target(tmp_path):
  _two_targets(tmp_path)
  write_run(tmp_path, 'base, 4 sources', 0, [success(0.1)], target='c')
  loaded = runs.load_runs(tmp_path)
  assert aggregate.targets_of(loaded) == {'tiny': ['a', 'b']}
  assert loaded[-1].method == 'base, 4 sources'


def test_the_phase_and_not_the_title_says_what_is_a_pretraining(tmp_path):
  """A pretraining competes with no method, whatever it is called."""
  for title, phase in (
    ('ALPT-Blocked (sources alone)', 'sources'),
    ('Warm start', 'pretrain'),
    ('ALPT-Blocked', 'joint'),
    ('base camp', 'finetune'),
    ('DT1-IDM', 'finetune'),
  ):
    for seed in range(3):
      rows = [success(0.1, 10), success(0.5)]
      write_run(tmp_path, title, seed, rows, phase=phase, target='a')
  loaded = runs.load_runs(tmp_path)
  order = list(dict.fromkeys(run.method for run in loaded))
  methods, pretrainings = order[:3], order[3:]
  assert methods == ['DT1-IDM', 'ALPT-Blocked', 'base camp']
  assert sorted(pretrainings) == ['ALPT-Blocked (sources alone)', 'Warm start']
  assert {each.method for each in aggregate.estimates(loaded)} == set(methods)
  compared = {each.method for each in differences.paired_differences(loaded)}
  assert compared == {'ALPT-Blocked'}
  (line,) = headline.headline(tables.final_table(loaded))
  assert 'sources alone' not in line
  styles = looks.method_styles(loaded)
  assert styles['Warm start'] == styles['ALPT-Blocked (sources alone)']
  assert styles['base camp'] != styles['Warm start']


def test_without_a_phase_the_title_says_it(tmp_path):
  for title in ('base, 4 sources', 'ALPT (pretraining)', 'ALPT-1 (sources alone)'):
    write_run(tmp_path, title)
  assert all(run.is_pretraining for run in runs.load_runs(tmp_path))


def test_scores_of_several_games_are_averaged_normalised_only(tmp_path):
  for seed in range(3):
    for target, score in (('a', 10.0), ('b', 4000.0)):
      row = {'step': 1, 'score': score, 'score_human_normalised': 0.5}
      write_run(tmp_path, 'ALPT', seed, [{**row, 'score_random': 1.0}], target=target)
  loaded = runs.load_runs(tmp_path)
  rows = aggregate.over_targets(loaded)
  assert [set(row.spreads) for row in rows] == [{'score_human_normalised'}]
  assert bars._columns(rows) == ['score_human_normalised']
  assert [e.metric for e in aggregate.estimates(loaded)] == ['score_human_normalised']


def test_the_interquartile_mean_is_that_of_the_middle_half():
  # Four seeds, two targets: 0 to 7 without the lowest and highest two: 2 to 5.
  matrix = ((0.0, 4.0), (1.0, 5.0), (2.0, 6.0), (3.0, 7.0))
  found = aggregate.interquartile_mean(matrix)
  assert found.mean == pytest.approx(3.5)
  assert 2.0 <= found.low < 3.5 < found.high <= 5.0


def test_the_bootstrap_of_two_strata_agrees_with_all_its_resamples():
  # Two seeds: 2 x 2 draws of each target, 16 in all, equally likely. Of four
  # figures the middle two count. No resample is rarer than a sixteenth, more than
  # the fortieth cut off at either end: the ends are the lowest and the highest.
  first, second = (0.0, 0.4), (0.1, 0.9)
  means = []
  for i in range(16):
    drawn = [first[i & 1], first[i >> 1 & 1], second[i >> 2 & 1], second[i >> 3]]
    means.append(sum(sorted(drawn)[1:3]) / 2)
  found = aggregate.interquartile_mean(tuple(zip(first, second, strict=True)))
  # Middle of 0, .1, .4, .9: .25
  assert found == pytest.approx((0.25, min(means), max(means)))
  # Were targets no strata, four draws of .9 would be as likely: they are not.
  assert found.high == pytest.approx(0.65)


def test_one_target_is_one_stratum_and_its_seeds_are_drawn():
  # Three figures have no quarter to leave out: their mean. A resample of the lowest
  # alone has 1/27 > 1/40, so the ends are the extremes.
  found = aggregate.interquartile_mean(((0.2,), (0.4,), (0.9,)))
  assert found == pytest.approx((0.5, 0.2, 0.9))


def test_the_bootstrap_is_the_same_twice_and_leaves_numpys_state_alone():
  matrix = tuple((value,) for value in np.linspace(0, 1, 9))
  np.random.seed(3)
  wanted = np.random.rand()
  np.random.seed(3)
  first = aggregate.interquartile_mean(matrix)
  assert np.random.rand() == wanted
  assert aggregate.interquartile_mean(matrix) == first


def test_an_estimate_has_students_interval_over_seeds(tmp_path):
  (found,) = aggregate.estimates(runs.load_runs(_two_targets(tmp_path)))
  # .3, .5, .7: 4.303 * .2 / sqrt(3) = .4969
  half = 4.303 * 0.2 / math.sqrt(3)
  assert found.interval == pytest.approx((0.5, 0.5 - half, 0.5 + half))
  assert (found.num_targets, found.metric) == (2, 'success_sampled')
  # Six figures .2 .4 .4 .6 .6 .8 without one at each end: .5
  assert found.middle.mean == pytest.approx(0.5)


def test_two_seeds_get_no_interval(tmp_path):
  loaded = runs.load_runs(_two_targets(tmp_path, num_seeds=2))
  assert aggregate.estimates(loaded) == []
  assert aggregate.grid(loaded) is None


def test_an_estimate_is_of_finished_runs_even_where_none_has_finished(tmp_path):
  for seed in range(3):
    write_run(tmp_path, 'ALPT', seed, [success(0.5)], state='running')
  loaded = runs.load_runs(tmp_path)
  assert aggregate.estimates(loaded) == []
  # The final table, which says so, has them.
  assert tables.final_table(loaded)[0].note == 'not finished'


def test_rliable_is_loaded_by_none_but_who_asks_for_an_interval():
  code = (
    'import sys, alpt_jax.report.page\n'
    'sys.exit(any(m in sys.modules for m in ("rliable", "pandas", "arch")))'
  )
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_a_missing_rliable_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'rliable', None)
  with pytest.raises(UserError, match=r'rliable: .* Install it'):
    aggregate.interquartile_mean(((0.0,), (1.0,), (2.0,)))


def test_differences_are_taken_within_a_target(tmp_path):
  _two_targets(tmp_path)
  for seed in range(3):
    for target in 'ab':
      rows = [success(0.2 + 0.2 * seed)]
      write_run(tmp_path, 'DT1-IDM', seed, rows, target=target)
  loaded = runs.load_runs(tmp_path)
  found = {d.target: d.interval.mean for d in differences.paired_differences(loaded)}
  assert found == {'a': pytest.approx(0.0), 'b': pytest.approx(0.2)}
  assert 'b: ALPT - DT1-IDM' in differences.grid(loaded).to_text()


def test_the_headline_speaks_of_the_mean_over_targets(tmp_path):
  _two_targets(tmp_path)
  _two_targets(tmp_path, method='DT1-IDM')
  (line,) = headline.headline(aggregate.over_targets(runs.load_runs(tmp_path)))
  assert 'ALPT reaches the goal in 50.0 %' in line
  assert line.endswith('(mean of 3 seeds and 2 targets, step 20).')


def test_every_target_has_a_panel_of_its_own(tmp_path):
  loaded = runs.load_runs(_two_targets(tmp_path))
  found = panels.panels_of(loaded, 'success_sampled')
  assert [(name, len(shown)) for name, shown in found] == [('a', 3), ('b', 3)]
  assert panels.shared_budget(loaded) == 50
  write_run(tmp_path, 'ALPT', 0, [success(0, 10), success(1)], target='a', labels=9)
  found = panels.panels_of(runs.load_runs(tmp_path), 'success_sampled')
  assert [name for name, _ in found] == [
    'a: 9 recorded actions',
    'a: 50 recorded actions',
    'b: 50 recorded actions',
  ]


def test_a_page_of_several_targets_shows_their_mean_and_each(tmp_path):
  text = page.build(_two_targets(tmp_path)).read_text()
  for heading in ('Mean over targets', '>a</h3>', '>b</h3>', 'Targets: a, b.'):
    assert heading in text
  first = (tmp_path / 'results.csv').read_text().splitlines()[1]
  assert first.startswith('tiny,a,ALPT,50,0,10,')


def test_the_label_curve_needs_three_budgets_of_one_method(tmp_path):
  for labels in (50, 250):
    write_run(tmp_path, 'ALPT', 0, [success(0.5)], labels=labels)
  write_run(tmp_path, 'oracle', 0, [success(0.9)], labels='all')
  assert curves.draw_label_curve(runs.load_runs(tmp_path)) is None
  write_run(tmp_path, 'ALPT', 0, [success(0.7)], labels=1000)
  loaded = runs.load_runs(tmp_path)
  ((name, metrics, shown),) = label_curve.label_panels(loaded)
  assert (name, metrics, len(shown)) == ('', ['success_sampled'], 4)
  assert curves.draw_label_curve(loaded).startswith(b'\x89PNG')
  page.build(tmp_path)
  assert (tmp_path / 'report' / 'label-curve.png').is_file()
