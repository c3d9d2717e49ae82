"""What more labels or sources would bring, from runs whose gains are known."""

import json

import pytest
import tiny_labels
import tiny_runs

from alpt_jax.errors import UserError
from alpt_jax.experiment.label_card import write_label_card
from alpt_jax.report.label_gain import label_gains
from alpt_jax.report.label_verdict import verdict

# Of the three draws one is lucky, in every run alike.
LUCK = (0.0, 0.2, 0.1)


def write(root, method, labels, value, sources=(), luck=LUCK, **others):
  others = {'environment': 'own/game', 'sources': list(sources), **others}
  for seed, extra in enumerate(luck):
    rows = [{'step': 20, 'idm_accuracy': value + extra}]
    tiny_runs.write_run(root, method, seed, rows, labels=labels, **others)


def three_budgets(root):
  for labels, value in ((100, 0.3), (200, 0.5), (400, 0.6)):
    write(root, 'ALPT', labels, value, ['other'])
    write(root, 'DT1-IDM', labels, value - 0.05)


def test_gains_are_between_runs_of_one_draw(tmp_path):
  three_budgets(tmp_path)
  found = label_gains(tmp_path, 'own/game')
  # The luck of a draw is the same on both sides, so the interval has no width.
  for gain, value in ((found['more_labels'], 0.1), (found['sources'], 0.05)):
    assert gain['value'] == pytest.approx(value)
    assert gain['low'] == pytest.approx(value)
    assert gain['high'] == pytest.approx(value)
    assert gain['draws'] == 3
  assert (found['more_labels']['fewer'], found['more_labels']['more']) == (200, 400)
  assert found['sources']['labels'] == 400
  rows = {(row['labels'], row['with_sources']): row['value'] for row in found['rows']}
  assert rows[100, False] == pytest.approx(0.25 + 0.1)
  assert len(rows) == 6


def test_runs_that_took_all_that_was_recorded_say_how_many(tmp_path):
  write(tmp_path, 'DT1-IDM', 100, 0.3)
  write(tmp_path, 'DT1-IDM', 0, 0.4, recorded_labels={'trained_on': 321})
  found = label_gains(tmp_path, 'own/game')
  assert (found['more_labels']['fewer'], found['more_labels']['more']) == (100, 321)
  assert found['sources'] is None


def test_a_run_has_the_sources_of_the_one_that_it_started_from(tmp_path):
  write(tmp_path, 'ALPT', 100, 0.5, ancestry=[{'sources': ['other']}])
  assert [row['with_sources'] for row in label_gains(tmp_path, 'own/game')['rows']] == [
    True
  ]


def test_two_draws_are_no_interval(tmp_path):
  write(tmp_path, 'DT1-IDM', 100, 0.3)
  write(tmp_path, 'DT1-IDM', 200, 0.4, luck=(0, 0.1))
  assert label_gains(tmp_path, 'own/game')['more_labels'] is None


def test_pretrainings_and_runs_that_failed_do_not_count(tmp_path):
  write(tmp_path, 'DT1-IDM', 100, 0.3)
  write(tmp_path, 'base', 200, 0.3)
  write(tmp_path, 'ALPT', 400, 0.3, state='failed')
  assert len(label_gains(tmp_path, 'own/game')['rows']) == 1


def test_two_runs_of_one_draw_are_refused(tmp_path):
  write(tmp_path, 'DT1-IDM', 100, 0.3)
  write(tmp_path, 'DT1', 100, 0.3)
  with pytest.raises(UserError, match='100 labels and seed 0 without sources'):
    label_gains(tmp_path, 'own/game')


@pytest.mark.parametrize('others', [['own/b'], ['own/b', 'own/game']])
def test_runs_of_another_target_are_refused(tmp_path, others):
  for name in others:
    write(tmp_path, 'DT1-IDM', 100, 0.3, target=name, environment=name)
  with pytest.raises(UserError, match=f'own/game alone .* {", ".join(others)}'):
    label_gains(tmp_path, 'own/game')


def gain(value, low, high, **others):
  return {'value': value, 'low': low, 'high': high, 'draws': 3, **others}


@pytest.mark.parametrize(
  'more_labels, sources, sentence',
  [
    ((0.02, -0.01, 0.05), (0.01, -0.02, 0.04), 'Neither more labels nor sources were'),
    ((0.1, 0.08, 0.12), (0.03, 0.01, 0.05), 'More labels would help most: more labels'),
    ((0.03, 0.01, 0.05), (0.1, 0.08, 0.12), 'Sources would help most: sources +10'),
    ((0.1, 0.04, 0.16), (0.06, 0.01, 0.11), 'Both help, which more is not shown: '),
    ((0.1, 0.04, 0.16), (0.01, -0.1, 0.12), 'That sources help is not shown.'),
    ((0.1, 0.04, 0.16), None, 'More labels would help: +10 points (4 to 16).'),
    (None, (0.1, -0.1, 0.3), 'That sources would help is not shown.'),
    (None, None, 'fewer than three draws'),
  ],
)
def test_the_card_says_which_would_help_most(tmp_path, more_labels, sources, sentence):
  pool = tiny_labels.image_pool(tmp_path / 'data', (30,))
  labels = tiny_labels.label_columns((30,))
  audit = tiny_labels.audit_columns([0] * 9, [0] * 9, 0.9, range(9))
  tiny_labels.write_folder(tmp_path / 'out', labels, audit)
  card = write_label_card(tmp_path / 'out', pool, tmp_path / 'data')
  card['curve'] = {
    'rows': [],
    'more_labels': more_labels and gain(*more_labels, fewer=1, more=2),
    'sources': sources and gain(*sources, labels=2),
  }
  assert sentence in verdict(card)[-1]


def test_the_page_shows_the_curve(tmp_path):
  three_budgets(tmp_path / 'runs')
  pool = tiny_labels.image_pool(tmp_path / 'data', (30,))
  labels = tiny_labels.label_columns((30,))
  audit = tiny_labels.audit_columns([0] * 9, [0] * 9, 0.9, range(9))
  tiny_labels.write_folder(tmp_path / 'out', labels, audit)
  write_label_card(tmp_path / 'out', pool, tmp_path / 'data', tmp_path / 'runs')
  text = (tmp_path / 'out' / 'label_card.html').read_text()
  assert 'From 200 to 400 labels: +10 percentage points' in text
  assert 'Sources, with 400 labels: +5 percentage points' in text
  found = json.loads((tmp_path / 'out' / 'label_card.json').read_text())['curve']
  assert len(found['rows']) == 6
