"""Verdicts on the paper's claims, of runs whose intervals fit on paper."""

import csv
import math

import pytest
from tiny_runs import success, write_claim, write_pairs, write_run

from alpt_jax.errors import UserError
from alpt_jax.report import claims, claims_table, page, report, runs, speed, summary


def _find(root):
  return report.load(root).findings


def _text(root):
  return claims_table.claims_text(_find(root))


@pytest.mark.parametrize(
  ('ours', 'verdict'),
  [
    # Differences .3, .4, .5: 4.303 * .1 / sqrt(3) = .248 on either side of .4
    ((0.6, 0.7, 0.8), claims.REPRODUCED),
    # -.1, 0, .1: .248 on either side of 0
    ((0.2, 0.3, 0.4), claims.NOT_REPRODUCED),
    # -.15, -.16, -.17
    ((0.15, 0.14, 0.13), claims.OPPOSITE),
  ],
)
def test_a_verdict_is_where_the_interval_lies(tmp_path, ours, verdict):
  write_claim(tmp_path)
  write_pairs(tmp_path, ours, (0.3, 0.3, 0.3))
  (found,) = _find(tmp_path)
  assert (found.verdict, found.reason) == (verdict, '')
  assert found.effect == pytest.approx(sum(ours) / 3 - 0.3)
  assert (found.mean_over, found.num_seeds) == (pytest.approx(0.3), 3)


def test_the_interval_of_a_claim_is_students(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  (found,) = _find(tmp_path)
  half = 4.303 * 0.1 / math.sqrt(3)
  assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))


def test_over_targets_a_seed_counts_once(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.5, 0.6, 0.7), (0.3, 0.3, 0.3), target='a')
  write_pairs(tmp_path, (0.7, 0.6, 0.5), (0.3, 0.3, 0.3), target='b')
  (found,) = _find(tmp_path)
  # Seed means of the differences: (.2 + .4) / 2 = .3, three times.
  assert (found.effect, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))
  assert (found.targets, found.num_seeds) == (('a', 'b'), 3)


def test_a_failed_run_takes_its_seed_away_and_is_said(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.5, 0.6), (0.3, 0.3))
  write_run(tmp_path, 'ALPT', 2, [success(0.9)], state='failed')
  write_run(tmp_path, 'DT1-IDM', 2, [success(0.3)])
  (found,) = _find(tmp_path)
  assert (found.verdict, found.reason) == (
    claims.NOT_TESTABLE,
    '2 seeds, 3 are the fewest; 1 of 3 seeds left out: their pairs are not complete',
  )
  assert found.mean == pytest.approx(0.55) and found.effect is None


def test_a_target_without_a_pair_is_named(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.5, 0.6, 0.7), (0.3, 0.3, 0.3), target='a')
  write_pairs(tmp_path, (0.5, 0.6, 0.7), (0.3, 0.3, 0.3), target='b', state='failed')
  (found,) = _find(tmp_path)
  assert found.reason == 'no pair of finished runs on b that measured it'


@pytest.mark.parametrize(
  ('ours', 'theirs', 'reason'),
  [
    # A random walk has .1, and .02 more is no more.
    ((0.11, 0.12, 0.12), (0.05, 0.06, 0.07), 'neither passes its floor'),
    ((1.0, 1.0, 1.0), (0.98, 0.99, 0.985), 'both reach the ceiling of 1'),
  ],
)
def test_figures_at_a_floor_or_a_ceiling_test_nothing(tmp_path, ours, theirs, reason):
  write_claim(tmp_path)
  write_pairs(tmp_path, ours, theirs)
  (found,) = _find(tmp_path)
  assert found.verdict == claims.NOT_TESTABLE and found.reason.startswith(reason)
  # Without its floor and ceiling named, a share still ends at 1.
  write_claim(tmp_path, floor=None, ceiling=None)
  (found,) = _find(tmp_path)
  assert (found.verdict == claims.NOT_TESTABLE) == (ours[0] == 1.0)


def test_not_lower_allows_for_two_hundredths(tmp_path):
  write_claim(tmp_path, kind='not_lower')
  write_pairs(tmp_path, (0.49, 0.49, 0.49), (0.5, 0.5, 0.5))
  assert _find(tmp_path)[0].verdict == claims.REPRODUCED  # -.01 > -.02
  write_claim(tmp_path, kind='higher')
  assert _find(tmp_path)[0].verdict == claims.OPPOSITE


def test_a_smoke_run_tests_nothing(tmp_path):
  write_claim(tmp_path, size='smoke')
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  (found,) = _find(tmp_path)
  assert (found.verdict, found.reason) == (claims.NOT_TESTABLE, 'a smoke run')
  text = _text(tmp_path)
  assert 'not testable: a smoke run' in text


def test_no_budget_means_each_and_an_oracle_meets_all_of_them(tmp_path):
  write_claim(tmp_path, labels=None, over='oracle', kind='not_lower')
  for labels in (50, 250):
    write_pairs(tmp_path, (0.5, 0.6, 0.7), (0.1, 0.1, 0.1), labels=labels)
  for seed in range(3):
    write_run(tmp_path, 'oracle', seed, [success(0.9)], labels='all')
  found = _find(tmp_path)
  assert [(f.labels, f.verdict) for f in found] == [
    (50, claims.OPPOSITE),
    (250, claims.OPPOSITE),
  ]
  write_claim(tmp_path, labels=None, over='DT5')
  (missing,) = _find(tmp_path)
  assert missing.reason == 'ALPT and DT5 were not both run'


def test_scores_of_several_games_are_compared_normalised(tmp_path):
  write_claim(tmp_path, metric='score', floor='score_random', ceiling=None)
  for target, unit in (('a', 1.0), ('b', 1000.0)):
    for method, share in (('ALPT', 0.5), ('DT1-IDM', 0.2)):
      for seed in range(3):
        row = {'step': 1, 'score': share * unit, 'score_human_normalised': share}
        row |= {'score_random': 0.0, 'score_human': unit}
        write_run(tmp_path, method, seed, [row], target=target)
  (found,) = _find(tmp_path)
  assert (found.metric, found.effect) == ('score_human_normalised', pytest.approx(0.3))


def _curve(root, method, seed, values, **arguments):
  """Evaluations at steps 10, 20, 30, ..."""
  rows = [success(value, 10 * place) for place, value in enumerate(values, start=1)]
  write_run(root, method, seed, rows, **arguments)


def test_steps_to_reach_lie_on_the_line_between_evaluations(tmp_path):
  _curve(tmp_path, 'ALPT', 0, (0.2, 0.6, 0.4))
  (run,) = runs.load_runs(tmp_path)
  # .5 is three quarters of the way from .2 (step 10) to .6 (step 20)
  assert speed.steps_to_reach(run, 'success_sampled', 0.5) == pytest.approx(17.5)
  assert speed.steps_to_reach(run, 'success_sampled', 0.1) == 10
  assert speed.steps_to_reach(run, 'success_sampled', 0.7) is None


def test_twice_as_fast_is_a_ratio_of_two(tmp_path):
  write_claim(tmp_path, kind='faster')
  for seed in range(3):
    _curve(tmp_path, 'ALPT', seed, (0.3, 0.5, 0.6, 0.7))  # .5 at 20
    _curve(tmp_path, 'DT1-IDM', seed, (0.1, 0.2, 0.3, 0.5))  # at 40
  (found,) = _find(tmp_path)
  assert (found.effect, found.low, found.high) == pytest.approx((2, 2, 2))
  assert (found.verdict, found.reason) == (claims.REPRODUCED, '')
  assert '2.00 times as fast (2.00 to 2.00)' in ' '.join(_text(tmp_path).split())


@pytest.mark.parametrize(
  ('factor', 'verdict'),
  [
    (1, claims.REPRODUCED),
    (1.5, claims.REPRODUCED),
    # Faster, but not so many times as is claimed: neither so nor the opposite.
    (3, claims.NOT_REPRODUCED),
  ],
)
def test_so_many_times_as_fast_is_tested_as_that(tmp_path, factor, verdict):
  write_claim(tmp_path, kind='faster', factor=factor)
  for seed in range(3):
    _curve(tmp_path, 'ALPT', seed, (0.3, 0.5, 0.6, 0.7))  # .5 at 20
    _curve(tmp_path, 'DT1-IDM', seed, (0.1, 0.2, 0.3, 0.5))  # at 40
  assert _find(tmp_path)[0].verdict == verdict
  assert (f', {factor:g} times as fast:' in _text(tmp_path)) == (factor != 1)


def test_slower_is_the_opposite_of_twice_as_fast(tmp_path):
  write_claim(tmp_path, kind='faster', factor=2)
  for seed in range(3):
    _curve(tmp_path, 'ALPT', seed, (0.1, 0.2, 0.3, 0.5))
    _curve(tmp_path, 'DT1-IDM', seed, (0.3, 0.5, 0.5, 0.5))
  assert _find(tmp_path)[0].verdict == claims.OPPOSITE


def test_the_figure_to_reach_is_where_the_pairs_own_baseline_ends(tmp_path):
  write_claim(tmp_path, kind='faster')
  finals = (0.4, 0.5, 0.6)
  for seed, final in enumerate(finals):
    _curve(tmp_path, 'ALPT', seed, (0.3, 0.5, 0.6, 0.7))
    _curve(tmp_path, 'DT1-IDM', seed, (0.1, 0.2, 0.3, final))
  (found,) = _find(tmp_path)
  # .4, .5 and .6, which the method has at 15, 20 and 30 and the baseline at 40.
  logs = [math.log(40 / step) for step in (15, 20, 30)]
  mean = sum(logs) / 3
  half = 4.303 * (sum((log - mean) ** 2 for log in logs) / 2 / 3) ** 0.5
  ends = (math.exp(mean + shift) for shift in (0, -half, half))
  assert (found.effect, found.low, found.high) == pytest.approx(tuple(ends))
  assert found.reason == ''
  # So wide an interval is no proof; with the mean of the finals the third seed's
  # baseline alone would have reached it early.
  assert found.low < 1 and found.verdict == claims.NOT_REPRODUCED


def test_a_method_that_never_arrives_in_one_seed_cannot_be_called_faster(tmp_path):
  write_claim(tmp_path, kind='faster')
  for seed in range(3):
    late = (0.3, 0.4, 0.45, 0.49)
    _curve(tmp_path, 'ALPT', seed, late if seed == 2 else (0.6, 0.6, 0.6, 0.6))
    _curve(tmp_path, 'DT1-IDM', seed, (0.1, 0.2, 0.3, 0.5))
  (found,) = _find(tmp_path)
  # Ratios 4, 4 and at most 1: no lower end.
  assert (found.low, found.verdict) == (0.0, claims.NOT_REPRODUCED)
  assert 'ALPT never got there in 1 of 3 runs' in found.reason


def test_speed_towards_what_a_random_walk_reaches_is_no_speed(tmp_path):
  write_claim(tmp_path, kind='faster')
  for seed in range(3):
    _curve(tmp_path, 'ALPT', seed, (0.3, 0.7))
    _curve(tmp_path, 'DT1-IDM', seed, (0.1, 0.11))
  (found,) = _find(tmp_path)
  assert found.reason.startswith('DT1-IDM does not pass its floor')


def test_one_evaluation_has_no_speed(tmp_path):
  write_claim(tmp_path, kind='faster')
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  assert _find(tmp_path)[0].reason == 'evaluated at one step only'


def test_claims_stand_on_the_page_and_in_a_file_of_their_own(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  text = page.build(tmp_path).read_text()
  assert '&quot;it &lt;works&gt;&quot; (figure 2)' in text
  assert '<p>A &lt;title&gt;</p>' in text
  assert text.index('The paper&#x27;s claims') < text.index('Final scores')
  with open(tmp_path / 'claims.csv') as file:
    (row,) = csv.DictReader(file)
  assert (row['verdict'], row['seeds'], row['labels']) == ('reproduced', '3', '50')
  assert float(row['effect']) == pytest.approx(0.4)


def test_only_the_papers_words_have_quotation_marks(tmp_path):
  write_claim(tmp_path, quoted=False)
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  assert 'it <works> (our words; figure 2)' in _text(tmp_path)
  assert '"it' not in _text(tmp_path)
  text = page.build(tmp_path).read_text()
  assert 'it &lt;works&gt; (our words; figure 2)' in text


def test_an_experiment_without_a_title_leaves_no_empty_paragraph(tmp_path):
  write_claim(tmp_path, others={'title': ''})
  write_pairs(tmp_path, (0.6,), (0.3,))
  assert '<p></p>' not in page.build(tmp_path).read_text()


def test_what_is_loaded_once_serves_page_and_summary(tmp_path):
  write_claim(tmp_path)
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  loaded = report.load(tmp_path)
  by_folder = page.build(tmp_path).read_text(), summary.text(tmp_path)
  assert (page.build(loaded).read_text(), summary.text(loaded)) == by_folder
  assert loaded.findings is loaded.findings


def test_runs_without_claims_have_no_table_of_them(tmp_path):
  write_pairs(tmp_path, (0.6,), (0.3,))
  assert 'claims</h2>' not in page.build(tmp_path).read_text()
  assert not (tmp_path / 'claims.csv').exists()
  assert _text(tmp_path) == ''


@pytest.mark.parametrize(
  ('change', 'place'),
  [({'kind': 'best'}, 'field kind'), ({'metric': 'luck'}, 'field metric')],
)
def test_a_claim_that_nobody_can_test_is_refused(tmp_path, change, place):
  write_claim(tmp_path, **change)
  write_pairs(tmp_path, (0.6,), (0.3,))
  with pytest.raises(UserError, match=rf'experiment\.json: claim 0, {place}'):
    _find(tmp_path)


def test_claims_of_another_experiment_than_the_runs_are_refused(tmp_path):
  write_claim(tmp_path)
  write_run(tmp_path, 'ALPT', 0, [success(0.5)], experiment='other')
  with pytest.raises(UserError, match="field name: expected .* 'other', found 'tiny'"):
    _find(tmp_path)


def test_the_claims_stand_in_a_markdown_table_too(tmp_path):
  write_claim(tmp_path, paper='a|b')
  write_pairs(tmp_path, (0.6, 0.7, 0.8), (0.3, 0.3, 0.3))
  page.build(tmp_path)
  header, rule, row = (tmp_path / 'claims.md').read_text().splitlines()
  assert header.count('|') == rule.count('|') == 5
  assert row == (
    '| "a\\|b" (figure 2) | 50 labels, success, sampled | ALPT 0.700, DT1-IDM 0.300: '
    '+0.400 (+0.152 to +0.648), 3 seeds | **reproduced** |'
  )
