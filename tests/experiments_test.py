"""The paper's experiments: what they run, from what, on how many machines."""

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from alpt_jax import specs
from alpt_jax.errors import UserError
from alpt_jax.experiment.recording import Recording
from alpt_jax.launching import experiments, sweep, workers
from alpt_jax.report import report

PARTS = (
  *('figure2/maze', 'figure2/atari', 'figure3/maze', 'figure3/atari'),
  *('figure4/maze', 'figure4/atari', 'figure5/maze', 'figure6/maze', 'figure6/atari'),
  *('labels/maze', 'labels/atari', 'table4/maze', 'table4/atari'),
)


def _plan(name, tmp_path, **arguments):
  (part,) = experiments.find(name, tmp_path, arguments)
  return part.planned


def _targets(planned):
  return {run.target for run in planned.runs.values()}


def test_all_is_every_part_of_every_experiment(tmp_path):
  found = experiments.find('all', tmp_path, {})
  assert sorted(part.name for part in found) == sorted(PARTS)


@pytest.mark.parametrize('name', PARTS)
@pytest.mark.parametrize('size', ['twin', 'paper', 'smoke'])
def test_every_part_plans_at_every_size(tmp_path, name, size):
  """Each run's config is checked; a base stands before all that start from it."""
  planned = _plan(name, tmp_path, size=size)
  earlier = set()
  for stage in planned.stages:
    for run in stage.values():
      assert not run.initial or run.initial in earlier
    earlier |= {str(folder) for folder in stage}
  assert len(earlier) == len(planned.runs)
  is_small = [run.model.width < 512 for run in planned.runs.values()]
  assert all(is_small) or (size == 'paper' and not any(is_small))


@pytest.mark.parametrize('name', PARTS)
def test_claims_are_about_methods_and_metrics_that_the_runs_have(tmp_path, name):
  (part,) = experiments.find(name, tmp_path, {})
  titles = {run.title for run in part.planned.runs.values()}
  described = sweep.describe(part.config, part.planned, part.data)
  assert json.loads(json.dumps(described)) == described
  for claim in described['claims']:
    assert {claim['method'], claim['over']} <= titles
    assert claim['kind'] in ('higher', 'not_lower', 'faster')
  assert described['claims'] or name.startswith('table4')


def test_a_seed_changes_layouts_labels_and_initialisation_alike(tmp_path):
  planned = _plan('figure5', tmp_path, seeds='7+11+13')
  assert {run.seed for run in planned.runs.values()} == {7, 11, 13}
  by_seed = collections.defaultdict(set)
  for run in planned.runs.values():
    by_seed[run.seed] |= set(run.data.environments)
  assert not by_seed[7] & by_seed[11]
  recordings = planned.recordings.values()
  assert {(r.environment.endswith('7'), r.seed) for r in recordings} >= {(True, 7)}


def test_recorded_games_have_a_seed_of_their_own(tmp_path):
  one, other = (
    _plan('figure4/atari', tmp_path, data_seed=seed, seeds='2') for seed in ('', '5')
  )
  assert {recording.seed for recording in one.recordings.values()} == {0}
  assert {recording.seed for recording in other.recordings.values()} == {5}
  assert not one.recordings.keys() & other.recordings.keys()


def test_the_five_targets_of_figure_2_have_the_other_four_as_sources(tmp_path):
  planned = _plan('figure2/atari', tmp_path, size='paper', seeds='1')
  assert len(_targets(planned)) == 5
  for run in planned.runs.values():
    if run.data.sources:
      games = {environment.split('/')[1] for environment in run.data.environments}
      assert len(games) == 5
      assert run.phase == 'pretrain'
  methods = collections.Counter(run.title for run in planned.runs.values())
  for title in ('DT1', 'DT1-IDM', 'DT5', 'DT5-RET', 'ALPT'):
    assert methods[title] == 5


def test_figure_3_pretrains_once_on_36_games_that_are_no_target(tmp_path):
  planned = _plan('figure3/atari', tmp_path, size='paper', seeds='1')
  bases = [run for run in planned.runs.values() if run.phase == 'sources']
  assert sorted(len(run.data.sources) for run in bases) == [9, 36]
  targets = ('Pong', 'SpaceInvaders', 'StarGunner', 'MsPacman', 'Alien')
  assert _targets(planned) == set(targets)
  for run in bases:
    games = {name.split('/')[1] for name in run.data.environments[1:]}
    assert games < set(specs.ATARI_GAMES) - set(targets)
  starting = collections.Counter(run.initial for run in planned.runs.values())
  assert sorted(starting.values()) == [5, 5, 5 + 2]  # each base, and none


@pytest.mark.parametrize(
  ('name', 'few', 'many'),
  [
    ('figure2/atari', 'Breakout', 'Breakout+Freeway'),
    ('figure2/maze', 'blocked2', ''),
    ('figure3/maze', 'none', ''),
    ('figure3/maze', 'tunneled9', ''),
  ],
)
def test_a_run_has_one_place_however_much_is_asked_for(tmp_path, name, few, many):
  """So that what was done for some targets is not done again for all."""
  some = _plan(name, tmp_path, targets=few, seeds='2')
  every = _plan(name, tmp_path, targets=many, seeds='2')
  assert some.folder == every.folder
  assert len(some.runs) < len(every.runs)
  for folder, run in some.runs.items():
    assert every.runs[folder] == run


def test_a_report_knows_every_run_that_was_planned(tmp_path):
  (part,) = experiments.find('figure5', tmp_path, {'seeds': '2'})
  described = sweep.describe(part.config, part.planned, part.data)
  assert described['data'] == '../data'
  folders = {part.folder / 'runs' / each['folder'] for each in described['planned']}
  assert folders == set(part.planned.runs)
  budgets = {(each['method'], each['labels']) for each in described['planned']}
  assert ('DT1', 50) in budgets and ('DT1', 250) in budgets


def test_a_pretraining_needs_no_target(tmp_path):
  planned = _plan('figure3/maze', tmp_path, targets='none', seeds='1')
  assert {run.phase for run in planned.runs.values()} == {'sources'}
  assert sorted(len(run.data.sources) for run in planned.runs.values()) == [1, 2, 4, 8]


def test_rl_unplugged_is_read_and_not_recorded(tmp_path):
  planned = _plan('figure2/atari', tmp_path, size='paper', rl_unplugged='/rlu')
  assert not planned.recordings
  assert all(run.data.target.startswith('/rlu/') for run in planned.runs.values())


def test_machines_share_an_experiment_by_whole_families(tmp_path):
  planned = _plan('figure6/maze', tmp_path, seeds='4')
  shares = [sweep.part_of(planned, index, 3) for index in range(3)]
  together = [folder for share in shares for folder in share.runs]
  assert sorted(together) == sorted(planned.runs)
  assert all(share.runs for share in shares)
  for share in shares:
    for run in share.runs.values():
      assert not run.initial or pathlib.Path(run.initial) in share.runs
      assert pathlib.Path(run.data.target) in share.recordings
  with pytest.raises(UserError, match='groups of runs that can be trained apart'):
    sweep.part_of(planned, 0, 99)


def test_the_estimate_counts_steps_evaluations_and_starts(tmp_path):
  planned = _plan('figure4/maze', tmp_path, seeds='1')
  # 2 bases of 600 steps, without curves; 6 tuned ones of 400, 4 evaluations each.
  seconds = sweep.estimate(planned, (1.0, 100.0, 10_000.0), 2, {})
  assert seconds == (2 * 600 + 6 * 400 + (2 + 6 * 4) * 100 + 8 * 10_000) / 2


def test_the_estimate_knows_methods_whose_steps_cost_something_else(tmp_path):
  """A tabled cost stands for the whole step; DT1's is half of one with an IDM."""
  planned = _plan('table4/maze', tmp_path, seeds='1')
  seconds = sweep.estimate(planned, (1.0, 0.0, 0.0), 1, {'cql': 0.01})
  assert seconds == pytest.approx(2 * (5_000 * 0.01 + 400 * 0.5))


def test_a_dataset_that_was_recorded_otherwise_is_refused(tmp_path):
  planned = _plan('figure5', tmp_path, size='smoke')
  folder, recording = next(iter(planned.recordings.items()))
  only = {folder: Recording(recording.environment, episodes=3)}
  changed = dataclasses.replace(planned, recordings=only)
  workers.record_shard(changed, 0, 1)
  assert not sweep.missing_recordings(changed)
  with pytest.raises(UserError, match='was recorded with episodes 3, not 20'):
    sweep.missing_recordings(planned)


@pytest.mark.parametrize(
  ('name', 'arguments', 'message'),
  [
    ('figure7', {}, "experiment 'figure7' is not known; did you mean 'figure"),
    ('figure5/atari', {}, "figure5: part 'atari' is not known. Known: maze"),
    ('figure5', {'seeds': '1+1'}, 'none twice'),
    ('figure5', {'seeds': '0'}, 'one at least'),
    ('figure5', {'seeds': 'many'}, "expected a number, or some joined by '[+]'"),
    ('labels/maze', {'targets': 'diagonale'}, "maze 'diagonale' is not known; did you"),
  ],
)
def test_what_is_asked_for_wrongly_is_named(tmp_path, name, arguments, message):
  with pytest.raises(UserError, match=message):
    experiments.find(name, tmp_path, arguments)


@pytest.mark.slow
def test_every_experiment_runs_from_nothing_to_its_report(tmp_path):
  """Recording, pretraining, finetuning, scores, claims: tiny, in real processes."""
  command = [sys.executable, '-m', 'alpt_jax.bin.reproduce', '--experiment=all']
  root = pathlib.Path(__file__).parents[1]
  environment = dict(os.environ)
  for name in ('DISABLE_MOST_OPTIMIZATIONS', 'COMPILATION_CACHE_DIR'):
    environment.pop(f'JAX_{name}', None)
  environment.pop('XLA_FLAGS', None)
  result = subprocess.run(
    [*command, '--size=smoke', f'--out={tmp_path}'],
    cwd=root,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  for part in experiments.find('all', tmp_path, {'size': 'smoke'}):
    found = report.load(part.folder)
    assert len(found.runs) == len(part.planned.runs) and not found.traceless
    assert all(run.state == 'done' and run.last for run in found.runs)
    assert {finding.reason for finding in found.findings} <= {'a smoke run'}
    assert (part.folder / 'report' / 'index.html').is_file()
    assert any(part.compiled.iterdir())
