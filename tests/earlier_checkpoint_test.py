"""Runs of earlier versions are scored as then, or refused with what differs.

`tests/data/VERSION/run.tar.gz` is a run folder as that version wrote it, `scores.json`
what its bin/evaluate found. README.md there says how they were made.
"""

import json
import pathlib
import shutil

import pytest
import tiny_configs

from alpt_jax.data.labels import load_labels
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import claim_workdir, from_mapping, read_config
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, open_trained
from alpt_jax.training.checkpoint import Checkpoints

VERSIONS = sorted((pathlib.Path(__file__).parent / 'data').iterdir())
LAYOUTS = (1000, 2000)
STEP = 1500


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  """What the runs were trained on, recorded anew: the same bits from the same seeds."""
  root = tmp_path_factory.mktemp('recorded')
  for layout in LAYOUTS:
    folder = root / 'data' / f'maze-blocked-20-{layout}-position'
    record(Recording(f'maze/blocked:20/{layout}', episodes=40), folder, rlds=False)
  return root


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def earlier(request, recorded, monkeypatch):
  """A copy of a version's run folder, beside the data at the paths in its config."""
  monkeypatch.chdir(recorded)
  shutil.rmtree('run', ignore_errors=True)
  shutil.unpack_archive(request.param / 'run.tar.gz')
  shutil.copy(request.param / 'scores.json', 'run')
  return pathlib.Path('run')


def error_of(call, *arguments):
  with pytest.raises(UserError) as raised:
    call(*arguments)
  assert '\n' not in str(raised.value)
  return str(raised.value)


def test_an_earlier_run_has_the_scores_that_it_had_then(earlier):
  then = json.loads((earlier / 'scores.json').read_text())
  run, state = open_trained(earlier)
  now = {'step': int(state.step), **run.evaluator(int(state.step), state)}
  # It had learnt something: the commonest action is right far less often.
  assert then['idm_accuracy'] > then['idm_majority'] + 0.3
  played = {name for name in then if name.startswith('success_')}
  assert played == {'success_sampled', 'success_greedy'}
  for name, value in then.items():
    if name not in ('idm_per_action', 'protocol'):
      # Another machine's rounding may tip a step of an episode: two of the 16.
      assert now[name] == pytest.approx(value, abs=2 / 16 if name in played else 1e-5)


def todays_config():
  """What today's configs/maze.py makes of the words that the run was made from."""
  fields = tiny_configs.get_config('maze', 'root=data,labels=100')
  fields.model.update({'width': 8, 'num_heads': 2})
  fields.optimizer.update({'learning_rate': 1e-2, 'warmup_steps': 20})
  fields.training.update({'num_steps': STEP, 'batch_size': 32, 'log_every': 500})
  fields.training.update({'evaluate_every': STEP, 'checkpoint_every': STEP})
  fields.training.update({'keep_checkpoints': 1})
  fields.evaluation.update({'num_transitions': 512, 'num_episodes': 16})
  fields.evaluation.update({'max_steps': 30})
  return fields


def test_an_earlier_runs_data_and_labels_keep_their_hashes(earlier):
  then = json.loads((earlier / 'identity.json').read_text())
  run = Run(read_config(earlier))
  kept = load_labels(earlier / 'labels.json')
  assert kept == run.data.labels
  assert kept.hash == run.data.labels.hash == then['label_hash']
  assert run.data.hash == then['data_hash']


def test_an_earlier_run_can_go_on(earlier):
  config = from_mapping(todays_config())
  assert read_config(earlier) == config
  claim_workdir(earlier, config)
  state = Run(config).restore(Checkpoints(earlier / 'checkpoints', writable=False))
  assert int(state.step) == STEP


def test_an_earlier_run_does_not_go_on_otherwise(earlier):
  fields = todays_config()
  fields.model.scan_layers = True
  message = error_of(claim_workdir, earlier, from_mapping(fields))
  assert 'model.scan_layers (there False, now True)' in message


def change(path, change_fn):
  content = json.loads(path.read_text())
  change_fn(content)
  path.write_text(json.dumps(content))


@pytest.mark.parametrize('place', ['config', 'checkpoint'])
def test_a_field_of_no_known_version_is_refused_by_name(earlier, place):
  def in_config(content):
    content['model']['depth'] = 3
    del content['training']['shift']

  if place == 'config':
    change(earlier / 'config.json', in_config)
  else:
    path = earlier / 'checkpoints' / f'{STEP}' / 'description' / 'metadata'
    change(path, lambda content: in_config(content['config']))
  message = error_of(open_trained, earlier)
  assert 'model.depth: unknown field' in message
  assert 'training.shift: missing' in message


def test_another_architecture_is_refused_by_its_first_differing_leaf(earlier):
  change(earlier / 'config.json', lambda content: content['model'].update(width=16))
  message = error_of(open_trained, earlier)
  assert (
    'a checkpoint of another architecture. First differing leaf: params/' in message
  )
