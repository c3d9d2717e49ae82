"""Reports made from a few hand-written files whose numbers fit on paper."""

import csv
import json
import re
import subprocess
import sys

import pytest
from PIL import Image

from alpt_jax.errors import UserError
from alpt_jax.report import exhibits, headline, looks, page, panels, runs, tables


def _write_run(root, method='ALPT-Blocked', labels=50, seed=0, rows=(), **others):
  """A run folder; `rows` are evaluations, `others` extra identity keys."""
  folder = root / f'{method}-{labels}-{seed}'
  folder.mkdir(parents=True)
  identity = {'experiment': 'tiny', 'method': method, 'labels': labels, 'seed': seed}
  (folder / 'identity.json').write_text(json.dumps({**identity, **others}))
  lines = [json.dumps({'kind': 'evaluation', **row}) + '\n' for row in rows]
  (folder / 'metrics.jsonl').write_text(''.join(lines))
  return folder


def _evaluation(step, success, idm=None, **others):
  return {
    'step': step,
    'success_sampled': success,
    'success_greedy': success / 2,
    'idm_accuracy': idm,
    **others,
  }


def _whole_root(root):
  """Two methods, two seeds, two budgets, the oracle, a data card, a failed run."""
  references = {'random_walk': 0.1, 'behaviour': 0.8, 'optimal': 1.0}
  for seed in (0, 1):
    for labels in (50, 250):
      for method, idm in (('DT1-IDM', 0.25), ('ALPT-Blocked', 0.75)):
        rows = [_evaluation(s, 0.5, idm, **references) for s in (10, 20)]
        folder = _write_run(root, method, labels, seed, rows, note='<b>&')
        Image.new('RGB', (4, 4)).save(folder / 'episode.gif')
  _write_run(root, 'oracle', 'all', 0, [_evaluation(20, 0.9)])
  failed = _write_run(root, 'DT1', 50, 0)
  (failed / 'status.json').write_text('{"state": "failed", "message": "disk <full>"}')
  data = root / 'data' / 'target'
  data.mkdir(parents=True)
  Image.new('RGB', (4, 4)).save(data / 'picture.png')
  (data / 'card.json').write_text(
    '{"num_episodes": 500, "action_histogram": {"UP": 3, "DOWN": 1},'
    ' "warnings": ["all returns <equal>"]}'
  )
  return root


def test_the_final_table_shows_mean_and_sample_deviation_at_the_last_step(tmp_path):
  _write_run(tmp_path, seed=0, rows=[_evaluation(10, 0.9), _evaluation(20, 0.2)])
  _write_run(tmp_path, seed=1, rows=[_evaluation(20, 0.6)])
  (row,) = tables.final_table(runs.load_runs(tmp_path))
  found = row.spreads['success_sampled']
  # mean (.2 + .6) / 2 = .4; deviations -.2 and .2: sqrt(.08 / (2 - 1)) = .2828
  assert found.mean == pytest.approx(0.4)
  assert found.deviation == pytest.approx(0.08**0.5)
  assert found.values == (0.2, 0.6)
  assert (row.num_seeds, row.steps) == (2, (20,))
  assert 'idm_accuracy' not in row.spreads
  assert '0.400 ± 0.283' in tables.to_text([row])


def test_one_seed_has_no_deviation(tmp_path):
  _write_run(tmp_path, rows=[_evaluation(20, 0.5)])
  (row,) = tables.final_table(runs.load_runs(tmp_path))
  assert row.spreads['success_sampled'].deviation is None
  assert '±' not in tables.to_text([row]).splitlines()[2]


def test_seeds_that_ended_at_different_steps_are_named(tmp_path):
  _write_run(tmp_path, seed=0, rows=[_evaluation(1500, 0.5)])
  _write_run(tmp_path, seed=1, rows=[_evaluation(750, 0.5)])
  text = tables.to_text(tables.final_table(runs.load_runs(tmp_path)))
  assert '750 to 1,500' in text


def test_a_reference_counts_once_per_seed_however_many_methods_share_it(tmp_path):
  _write_run(tmp_path, 'DT1', seed=0, rows=[_evaluation(1, 0, random_walk=0.1)])
  _write_run(tmp_path, 'DT1-IDM', seed=0, rows=[_evaluation(1, 0, random_walk=0.1)])
  _write_run(tmp_path, 'DT1', seed=1, rows=[_evaluation(1, 0, random_walk=0.3)])
  row = tables.final_table(runs.load_runs(tmp_path))[-1]
  # (.1 + .3) / 2 = .2, not (.1 + .1 + .3) / 3
  assert row.method == 'random walk'
  assert row.spreads['success_sampled'].mean == pytest.approx(0.2)
  assert row.num_seeds == 2


def test_a_failed_seed_is_not_averaged_with_finished_ones(tmp_path):
  _write_run(tmp_path, seed=0, rows=[_evaluation(20, 0.6)])
  failed = _write_run(tmp_path, seed=1, rows=[_evaluation(10, 0.0)])
  (failed / 'status.json').write_text('{"state": "failed"}')
  (row,) = tables.final_table(runs.load_runs(tmp_path))
  assert row.spreads['success_sampled'].mean == 0.6
  assert row.note == '1 unfinished, not counted'


def test_runs_come_in_the_order_of_a_report(tmp_path):
  for method, labels in (
    ('oracle', 'all'),
    ('Mine', 50),
    ('ALPT-Blocked+Tunneled', 50),
    ('ALPT-Blocked', 1000),
    ('ALPT-Blocked', 50),
    ('DT1-IDM', 50),
    ('DT1', 50),
  ):
    _write_run(tmp_path / 'deep' / 'er', method, labels)
  found = [(run.method, run.labels) for run in runs.load_runs(tmp_path)]
  assert found == [
    ('DT1', 50),
    ('DT1-IDM', 50),
    ('ALPT-Blocked', 50),
    ('ALPT-Blocked+Tunneled', 50),
    ('Mine', 50),
    ('ALPT-Blocked', 1000),
    ('oracle', 'all'),
  ]


def test_a_last_line_cut_off_by_a_crash_is_ignored(tmp_path):
  folder = _write_run(tmp_path, rows=[_evaluation(10, 0.5)])
  with open(folder / 'metrics.jsonl', 'a') as file:
    file.write('{"kind": "evaluation", "step": 20, "succ')
  (run,) = runs.load_runs(tmp_path)
  assert [row['step'] for row in run.evaluations] == [10]


def test_a_whole_last_line_without_its_line_break_is_read(tmp_path):
  folder = _write_run(tmp_path, rows=[_evaluation(10, 0.5)])
  with open(folder / 'metrics.jsonl', 'a') as file:
    file.write('{"kind": "evaluation", "step": 20}')
  (run,) = runs.load_runs(tmp_path)
  assert [row['step'] for row in run.evaluations] == [10, 20]


def test_a_corrupt_line_in_the_middle_is_named(tmp_path):
  folder = _write_run(tmp_path, rows=[_evaluation(10, 0.5)])
  with open(folder / 'metrics.jsonl', 'a') as file:
    file.write('{"kind": "eval\n{"kind": "evaluation", "step": 20}\n')
  with pytest.raises(UserError, match=r'metrics\.jsonl, line 2: '):
    runs.load_runs(tmp_path)


def test_of_a_step_written_twice_by_a_resumed_run_the_last_row_stands(tmp_path):
  rows = [_evaluation(10, 0.1), _evaluation(20, 0.2), _evaluation(10, 0.3)]
  _write_run(tmp_path, rows=rows)
  (run,) = runs.load_runs(tmp_path)
  found = [(row['step'], row['success_sampled']) for row in run.evaluations]
  assert found == [(10, 0.3), (20, 0.2)]


def test_a_folder_without_runs_says_what_was_looked_for(tmp_path):
  with pytest.raises(UserError, match=r'identity\.json'):
    runs.load_runs(tmp_path)
  with pytest.raises(UserError, match='no such folder'):
    runs.load_runs(tmp_path / 'missing')


def test_two_runs_of_the_same_seed_are_refused(tmp_path):
  _write_run(tmp_path / 'a')
  _write_run(tmp_path / 'b')
  with pytest.raises(UserError, match='one run per experiment'):
    runs.load_runs(tmp_path)


def test_an_identity_without_a_seed_is_refused(tmp_path):
  _write_run(tmp_path, seed=None)
  with pytest.raises(UserError, match='field seed: expected a number, found None'):
    runs.load_runs(tmp_path)


def test_the_csv_holds_every_evaluation_under_the_promised_columns(tmp_path):
  rows = [_evaluation(10, 0.5, idm=None, zeal=1), _evaluation(20, 0.75, idm=0.9, age=2)]
  _write_run(tmp_path, rows=rows, config_hash='c', versions={'jax': '1', 'flax': '2'})
  path = tables.write_results_csv(tmp_path / 'results.csv', runs.load_runs(tmp_path))
  lines = path.read_text().splitlines()
  assert lines[0] == (
    'experiment,target,method,labels,seed,step,idm_accuracy,success_sampled,'
    'success_greedy,age,zeal,config_hash,label_hash,data_hash,git_commit,versions'
  )
  first, second = csv.DictReader(lines)
  assert lines[1].startswith('tiny,,ALPT-Blocked,50,0,10,,0.5,0.25,,1,c,,,,')
  assert (second['idm_accuracy'], second['age'], second['zeal']) == ('0.9', '2', '')
  assert first['versions'] == '{"flax":"2","jax":"1"}'
  assert [each.name for each in tmp_path.glob('*.partial*')] == []


def test_a_mean_line_takes_only_steps_that_all_seeds_share(tmp_path):
  _write_run(tmp_path, seed=0, rows=[_evaluation(s, 0.2) for s in (10, 20, 30)])
  _write_run(tmp_path, seed=1, rows=[_evaluation(s, 0.6) for s in (10, 30, 40)])
  points = panels.shared_points(runs.load_runs(tmp_path), 'success_sampled')
  assert [(step, found.mean) for step, found in points] == [
    (10, pytest.approx(0.4)),
    (30, pytest.approx(0.4)),
  ]


def test_labels_of_lines_that_end_together_are_moved_apart():
  # .5 stays, .51 must be .1 higher; .98 and 1.0 leave the ceiling downwards.
  places = panels.spread_apart([0.5, 0.51, 0.98, 1.0], 0.1, 0.0, 1.0)
  assert places == pytest.approx([0.5, 0.6, 0.9, 1.0])


def test_a_method_keeps_its_colour_whatever_else_is_shown(tmp_path):
  _write_run(tmp_path, 'DT1')
  alone = looks.method_styles(runs.load_runs(tmp_path))
  for method in ('Alien', 'ALPT-Blocked', 'Zebra'):
    _write_run(tmp_path, method)
  together = looks.method_styles(runs.load_runs(tmp_path))
  assert together['DT1'] == alone['DT1']
  assert len(set(together.values())) == 4


def test_the_headline_is_made_of_the_numbers(tmp_path):
  _write_run(tmp_path, 'ALPT-Blocked', rows=[_evaluation(500, 0.66, idm=0.981)])
  _write_run(tmp_path, 'DT1-IDM', rows=[_evaluation(500, 0.03, idm=0.283)])
  lines = headline.headline(tables.final_table(runs.load_runs(tmp_path)))
  assert lines == [
    'With 50 recorded actions ALPT-Blocked labels 98.1 % of the hidden ones '
    'correctly, DT1-IDM 28.3 %; ALPT-Blocked reaches the goal in 66.0 % of the '
    'episodes, DT1-IDM in 3.0 % (1 seed, step 500).'
  ]


def test_the_headline_is_silent_without_the_baseline(tmp_path):
  _write_run(tmp_path, 'ALPT-Blocked', rows=[_evaluation(500, 0.66, idm=0.981)])
  _write_run(tmp_path, 'DT1-IDM', 250, rows=[_evaluation(500, 0.03, idm=0.283)])
  assert headline.headline(tables.final_table(runs.load_runs(tmp_path))) == []


def test_the_page_stands_alone_and_shows_everything(tmp_path):
  path = page.build(_whole_root(tmp_path))
  text = path.read_text()
  assert path == tmp_path / 'report' / 'index.html'
  links = re.findall(r'(?:src|href)\s*=\s*"([^"]{12})', text)
  # Bars, three curves and one maze; six of the eight animations.
  assert links.count('data:image/p') == 5
  assert links.count('data:image/g') == 6
  assert len(links) == 11
  written = re.sub('base64,[^"]*', '', text)
  assert 'http' not in written and '<script' not in written
  for shown in ('UP 75%, DOWN 25%', 'failed', 'random walk', 'With 50 recorded'):
    assert shown in text
  names = {each.name for each in path.parent.iterdir()}
  assert {'overview.png', 'curves-success-sampled.png', 'labels-gap.png'} <= names
  assert (tmp_path / 'results.csv').is_file()


def test_the_environments_of_the_runs_are_shown_wherever_they_were_recorded(tmp_path):
  """Experiments share a folder of datasets; each shows its own."""
  root = tmp_path / 'figure5-maze'
  identity = {'environment': 'maze/blocked/1', 'sources': ['maze/blocked/2']}
  _write_run(root, rows=[_evaluation(20, 0.5)], **identity)
  (root / 'experiment.json').write_text('{"name": "tiny", "data": "../data"}')
  for number in (1, 2, 3):
    card = tmp_path / 'data' / f'maze-{number}' / 'card.json'
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({'environment': f'maze/blocked/{number}'}))
  text = page.build(root).read_text()
  assert 'The recorded environments' in text
  shown = [f'<h3>maze-{number}</h3>' in text for number in (1, 2, 3)]
  assert shown == [True, True, False]


def test_text_from_files_is_escaped(tmp_path):
  text = page.build(_whole_root(tmp_path)).read_text()
  for raw, escaped in (
    ('<b>&', '&lt;b&gt;&amp;'),
    ('disk <full>', 'disk &lt;full&gt;'),
    ('returns <equal>', 'returns &lt;equal&gt;'),
  ):
    assert escaped in text
    assert raw not in text.replace('<b>&plusmn;', '')


@pytest.mark.parametrize(
  'rows', [[], [{'step': 1}], [_evaluation(0, 0.5)], [{'step': 3, 'idm_accuracy': 1}]]
)
def test_a_page_is_made_from_whatever_one_unknown_run_left(tmp_path, rows):
  _write_run(tmp_path, 'Something <new>', 7, rows=rows)
  text = page.build(tmp_path).read_text()
  assert 'Something &lt;new&gt;' in text
  assert ('Runs without a result' in text) == (not rows)


def test_a_run_whose_status_is_half_written_is_shown_as_unfinished(tmp_path):
  folder = _write_run(tmp_path, rows=[_evaluation(10, 0.5)])
  (folder / 'status.json').write_text('{"state": "do')
  assert 'unreadable' in page.build(tmp_path).read_text()


def test_animations_show_each_method_before_any_method_twice(tmp_path):
  chosen = exhibits.choose_animations(runs.load_runs(_whole_root(tmp_path)))
  found = [(run.method, run.labels, run.seed) for run, _ in chosen]
  # Both methods at 50, then both at 250, all of seed 0; two places are left for
  # the same at 50 with seed 1.
  assert sorted(found) == sorted(
    (method, labels, seed)
    for method in ('DT1-IDM', 'ALPT-Blocked')
    for labels, seed in ((50, 0), (250, 0), (50, 1))
  )


def test_the_report_needs_no_jax():
  code = 'import sys, alpt_jax.report.page; sys.exit("jax" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0
