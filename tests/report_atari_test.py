"""Reports of games: scores beside accuracies, and differences seed by seed."""

import json
import math

import pytest

from alpt_jax.report import bars, curves, differences, headline, measures, page, tables
from alpt_jax.report import pairs as pairs_lib
from alpt_jax.report import runs as runs_lib


def _write_run(root, method='ALPT', seed=0, rows=(), labels=300, **others):
  """A run folder; `rows` are evaluations, `others` extra identity keys."""
  identity = {'experiment': 'game', 'method': method, 'labels': labels, 'seed': seed}
  identity |= {'label_hash': f'draw {seed}', **others}
  folder = root / f'{identity["experiment"]}-{method}-{labels}-{seed}'
  folder.mkdir(parents=True)
  (folder / 'identity.json').write_text(json.dumps(identity))
  lines = [json.dumps({'kind': 'evaluation', **row}) + '\n' for row in rows]
  (folder / 'metrics.jsonl').write_text(''.join(lines))
  return folder


def _evaluation(score, idm, step=4, **others):
  """Of a game with published scores 100 (random) and 1100 (human)."""
  return {
    'step': step,
    'score': score,
    'score_human_normalised': (score - 100) / 1000,
    'score_random': 100.0,
    'score_human': 1100.0,
    'idm_accuracy': idm,
    'idm_accuracy_merged': idm + 0.25,
    'idm_accuracy_balanced': idm / 2,
    'idm_majority': 0.3,
    'idm_majority_merged': 0.4,
    'idm_visible': 0.9,
    'idm_visible_merged': 1.0,
    **others,
  }


def _two_pairs(root):
  """DT1-IDM has .5 twice, ALPT .6 and .8: differences .1 and .3."""
  for seed, idm in ((0, 0.6), (1, 0.8)):
    _write_run(root, 'DT1-IDM', seed, [_evaluation(200.0, 0.5)])
    _write_run(root, 'ALPT', seed, [_evaluation(300.0 + 100 * seed, idm)])
  return root


def _table(root):
  return tables.final_table(runs_lib.load_runs(root))


@pytest.mark.parametrize(
  ('score', 'text'),
  [(363.5, '363.5'), (12345.6, '12,346'), (21, '21.00'), (-0.25, '-0.250'), (0, '0')],
)
def test_a_score_has_four_significant_digits(score, text):
  assert measures.number_text('score', score) == text


def test_the_deviation_of_a_score_is_as_fine_as_its_mean(tmp_path):
  rows = _table(_two_pairs(tmp_path))
  ours = next(row for row in rows if row.method == 'ALPT')
  # 300 and 400: mean 350, deviations of 50 each: sqrt(5000 / (2 - 1)) = 70.71
  assert tables.format_spread(ours.spreads['score'], 'score') == '350.0 ± 70.7'


def test_the_table_of_a_game_names_scores_and_their_references(tmp_path):
  text = tables.to_text(_table(_two_pairs(tmp_path)))
  head = text.splitlines()[0]
  for column in ('score', 'human-normalised', 'IDM, FIRE merged', 'IDM, balanced'):
    assert column in head
  assert 'success' not in head
  names = ('random', 'human', 'most', 'what')
  lines = [' '.join(line.split()) for line in text.splitlines()]
  assert [line for line in lines if line.startswith(names)] == [
    'random play (published) 100.0 - - - -',
    'human (published) 1,100 - - - -',
    'most common action 2 - - 0.300 ± 0.000 0.400 ± 0.000 -',
    'what the screen shows 2 - - 0.900 ± 0.000 1.000 ± 0.000 -',
  ]


def test_a_maze_gets_no_column_of_balanced_accuracy(tmp_path):
  row = {'step': 1, 'success_sampled': 0.5, 'idm_accuracy_balanced': 0.4}
  _write_run(tmp_path, rows=[row])
  assert 'balanced' not in tables.to_text(_table(tmp_path))


def test_a_table_of_mazes_and_games_has_at_most_seven_figures():
  assert len(measures.column_names(set(measures.METRICS))) == 7


def test_the_base_stands_after_all_methods_it_is_not_comparable_with(tmp_path):
  for method in ('base', 'oracle', 'ALPT', 'Mine', 'DT1-IDM'):
    _write_run(tmp_path, method)
  found = [run.method for run in runs_lib.load_runs(tmp_path)]
  assert found == ['DT1-IDM', 'ALPT', 'Mine', 'oracle', 'base']


def test_the_headline_of_a_game_is_made_of_the_numbers(tmp_path):
  _write_run(tmp_path, 'ALPT', rows=[_evaluation(363.5, 0.5)])
  _write_run(tmp_path, 'DT1-IDM', rows=[_evaluation(250.0, 0.25)])
  assert headline.headline(_table(tmp_path)) == [
    'With 300 recorded actions ALPT labels 50.0 % of the hidden ones correctly '
    '(75.0 % with FIRE merged), DT1-IDM 25.0 % (50.0 %); ALPT scores 363.5, '
    'DT1-IDM 250.0, random play (published) 100.0, human (published) 1,100 '
    '(1 seed, step 4).'
  ]


@pytest.fixture
def two_are_enough(monkeypatch):
  """For arithmetic on paper."""
  monkeypatch.setattr(pairs_lib, 'FEWEST_SEEDS', 2)


def test_two_pairs_are_too_few_to_speak_of(tmp_path):
  runs = runs_lib.load_runs(_two_pairs(tmp_path))
  assert differences.paired_differences(runs) == []
  assert differences.grid(runs) is None


@pytest.mark.usefixtures('two_are_enough')
def test_a_paired_difference_has_students_interval(tmp_path):
  found = differences.paired_differences(runs_lib.load_runs(_two_pairs(tmp_path)))
  assert [each.metric for each in found] == [
    'score',
    'idm_accuracy',
    'idm_accuracy_merged',
  ]
  idm = found[1]
  # .1 and .3: mean .2, deviation sqrt((.01 + .01) / 1) = .1414; one degree of
  # freedom: 12.706 * .1414 / sqrt(2) = 1.2706
  assert idm.values == (pytest.approx(0.1), pytest.approx(0.3))
  assert idm.interval == pytest.approx((0.2, 0.2 - 1.2706, 0.2 + 1.2706), abs=1e-4)
  # Scores: 300 - 200 and 400 - 200: mean 150, 12.706 * 70.71 / sqrt(2) = 635.3
  assert found[0].interval == pytest.approx((150, 150 - 635.3, 150 + 635.3))


@pytest.mark.usefixtures('two_are_enough')
def test_the_text_of_the_differences_holds_every_pair_and_no_verdict(tmp_path):
  runs = runs_lib.load_runs(_two_pairs(tmp_path))
  text = differences.grid(runs).to_text()
  lines = [' '.join(line.split()) for line in text.splitlines()]
  assert lines[2:4] == [
    '300 ALPT - DT1-IDM score 2 +150.0 -485.3 to +785.3 +100.0 +200.0',
    '300 ALPT - DT1-IDM IDM accuracy 2 +0.200 -1.071 to +1.471 +0.100 +0.300',
  ]
  assert 'signific' not in text and 'better' not in text


@pytest.mark.parametrize('change', [{'label_hash': 'another draw'}, {'labels': 500}])
@pytest.mark.usefixtures('two_are_enough')
def test_runs_that_do_not_share_the_label_draw_are_no_pair(tmp_path, change):
  for seed in (0, 1):
    _write_run(tmp_path, 'DT1-IDM', seed, [_evaluation(200.0, 0.5)])
    others = change if seed else {}
    _write_run(tmp_path, 'ALPT', seed, [_evaluation(300.0, 0.6)], **others)
  runs = runs_lib.load_runs(tmp_path)
  assert differences.paired_differences(runs) == []  # one pair has no spread
  assert 'Paired differences</h2>' not in page.build(tmp_path).read_text()


@pytest.mark.usefixtures('two_are_enough')
def test_an_unfinished_run_is_no_pair(tmp_path):
  folder = _two_pairs(tmp_path) / 'game-ALPT-300-1'
  (folder / 'status.json').write_text('{"state": "running"}')
  assert differences.paired_differences(runs_lib.load_runs(tmp_path)) == []


def test_the_quantiles_agree_with_those_that_have_a_closed_form():
  # One degree of freedom is Cauchy's distribution: tan(pi * .475). Two:
  # .95 * sqrt(2 / (1 - .95 ** 2)).
  assert pairs_lib.student_quantile(1) == pytest.approx(
    math.tan(math.pi * 0.475), abs=5e-4
  )
  two = 0.95 * math.sqrt(2 / (1 - 0.95**2))
  assert pairs_lib.student_quantile(2) == pytest.approx(two, abs=5e-4)
  quantiles = [pairs_lib.student_quantile(freedom) for freedom in range(1, 32)]
  assert quantiles == sorted(quantiles, reverse=True)
  assert (quantiles[-2], quantiles[-1]) == (2.042, 1.96)


@pytest.mark.usefixtures('two_are_enough')
def test_a_single_evaluation_gives_bars_and_no_curve(tmp_path):
  path = page.build(_two_pairs(tmp_path))
  names = {each.name for each in path.parent.iterdir()}
  assert names == {'index.html', 'labels-gap.png', 'overview.png'}
  # The overview would be the bars alone: they are not drawn again.
  pictures = curves.draw_all(runs_lib.load_runs(tmp_path))
  assert pictures['overview.png'] is pictures['labels-gap.png']
  text = path.read_text()
  assert 'While training' not in text and 'Paired differences</h2>' in text


def test_two_evaluations_give_a_curve_of_the_score_and_none_of_success(tmp_path):
  rows = [_evaluation(-5.0, 0.1, step=2), _evaluation(300.0, 0.5, step=4)]
  _write_run(tmp_path, rows=rows)
  folder = page.build(tmp_path).parent
  names = {each.name for each in folder.glob('curves-*')}
  assert names == {'curves-score.png', 'curves-idm-accuracy.png'}
  overview = (folder / 'overview.png').read_bytes()
  assert overview != (folder / 'labels-gap.png').read_bytes()


def test_a_far_reference_does_not_squeeze_the_bars(tmp_path):
  rows = _table(_two_pairs(tmp_path))
  low, high = bars._limits(rows, 'score')
  # The furthest whisker ends at 350 + 70.7 = 420.7; a human's 1100 is more than
  # 1.5 times as far, so the axis ends at 1.14 * 420.7 = 479.6.
  assert (low, high) == (0, pytest.approx(479.6, abs=0.1))


def test_scores_of_several_games_are_drawn_normalised(tmp_path):
  for name in ('one', 'two'):
    _write_run(tmp_path, rows=[_evaluation(300.0, 0.5)], experiment=name)
  assert bars._columns(_table(tmp_path)) == ['idm_accuracy', 'score_human_normalised']


def test_negative_scores_and_one_point_still_make_every_picture(tmp_path):
  _write_run(tmp_path, rows=[_evaluation(-21.0, 0.5, score_random=-20.7)])
  runs = runs_lib.load_runs(tmp_path)
  curve = curves.draw_curves(runs, 'score', 'Score')
  for png in (curve, *curves.draw_all(runs).values()):
    assert png.startswith(b'\x89PNG')
