"""Every config loads and is complete, and an impossible one is refused by name."""

import dataclasses
import functools
import pathlib

import pytest
from tiny_configs import CONFIGS, get_config

from alpt_jax import methods
from alpt_jax.errors import UserError
from alpt_jax.experiment import config as config_lib
from alpt_jax.launching import sweep


def _fields(**changes):
  """configs/maze.py as plain nested dicts, with `section__field=value` changes."""
  fields = get_config('maze').to_dict()
  for name, value in changes.items():
    *sections, last = name.split('__')
    functools.reduce(dict.__getitem__, sections, fields)[last] = value
  return fields


@pytest.mark.parametrize('size', ['small', 'paper'])
def test_every_part_of_the_five_games_gets_a_row_a_step(size):
  """As `data.mixture` demands of the streams of the longest list of parts."""
  config = config_lib.from_mapping(get_config('atari', f'phase=pretrain,size={size}'))
  games = 1 + len(config.data.sources)
  assert games == 5
  labelled = config.training.batch_size * config.data.labelled_share / games
  assert labelled >= 1


_EXPERIMENTS = {
  'quickstart': ('', 'smoke'),
  'maze_studies': ('greedy', 'few_labels', 'sources'),
  'atari_demo': ('', 'Breakout,smoke', 'Freeway,paper'),
  'confidence': ('maze', 'atari'),
  'own_curve': ('target=a,sources=b+c,labels=600',),
}


def test_every_experiment_is_tested():
  found = {p.stem for p in CONFIGS.glob('*.py') if 'config.runs' in p.read_text()}
  assert found == set(_EXPERIMENTS)


@pytest.mark.parametrize(
  ('name', 'text'),
  [(name, text) for name, texts in _EXPERIMENTS.items() for text in texts],
)
def test_every_run_of_an_experiment_is_a_valid_config(
  name, text, tmp_path, monkeypatch
):
  monkeypatch.chdir(CONFIGS.parent)
  config = get_config(name, text) if text else get_config(name)
  planned = sweep.plan(config, tmp_path)
  assert len(planned.runs) == len(config.runs)
  for run in planned.runs.values():
    # One's own recordings are there, or are not; all others are recorded for it.
    ours = {run.data.target, *run.data.sources} if run.data.environments else set()
    assert ours <= set(map(str, planned.recordings))
    # What a run starts from is trained before it.
    assert not run.initial or pathlib.Path(run.initial) in planned.runs


@pytest.mark.parametrize('text', ['', 'smoke'])
def test_the_quickstart_compares_the_methods_on_the_same_mazes(
  text, tmp_path, monkeypatch
):
  monkeypatch.chdir(CONFIGS.parent)
  planned = sweep.plan(get_config('quickstart', text), tmp_path)
  titles = {run.title for run in planned.runs.values()}
  assert titles == {'DT1', 'DT1-IDM', 'ALPT-Blocked', 'ALPT-Blocked+Tunneled', 'Oracle'}
  # Methods of a seed share their target; seeds share no maze.
  targets = {(run.seed, run.data.target) for run in planned.runs.values()}
  assert len(targets) == len({run.seed for run in planned.runs.values()})


@pytest.mark.parametrize(('text', 'groups', 'arms'), [('maze', 20, 6), ('atari', 5, 5)])
def test_arms_of_confidence_differ_in_their_use_of_it_alone(
  text, groups, arms, tmp_path, monkeypatch
):
  monkeypatch.chdir(CONFIGS.parent)
  planned = sweep.plan(get_config('confidence', text), tmp_path)
  found = {}
  for run in planned.runs.values():
    name, _, arm = run.title.partition(', ')
    if run.title != 'base':
      found.setdefault((name, run.data.labels, run.seed), {})[arm] = run
  assert len(found) == groups
  for runs in found.values():
    assert len({run.hash for run in runs.values()}) == len(runs) == arms
    plain = runs['plain']
    assert plain.training.relabelling == 'argmax'
    assert not plain.training.confidence_threshold
    assert not plain.training.confidence_weighting
    for run in runs.values():
      used = {
        name: getattr(plain.training, name)
        for name in ('relabelling', 'confidence_weighting', 'confidence_threshold')
      }
      training = dataclasses.replace(run.training, **used)
      assert dataclasses.replace(run, title=plain.title, training=training) == plain


@pytest.mark.parametrize('file', ['maze', 'atari'])
def test_every_method_has_a_title_of_its_own(file):
  titles = {}
  for method, known in methods.METHODS.items():
    phase = 'joint' if 'joint' in known.phases else 'finetune'
    titles[method] = get_config(file, f'method={method},phase={phase}').title
  # The mazes name their sources, as figure 5 does.
  assert titles['alpt'] == ('ALPT-Blocked' if file == 'maze' else 'ALPT')
  assert titles['dt1-idm'] == 'DT1-IDM'
  assert len(set(titles.values())) == len(methods.METHODS)
  pretrained = get_config(file, 'method=dt5,phase=pretrain')
  assert pretrained.title == 'DT5 (pretraining)'
  assert len(pretrained.data.sources) == (1 if file == 'maze' else 4)


def test_every_target_maze_has_a_title_of_its_own():
  mazes = ('own', 'blocked', 'blocked2', 'tunneled', 'diagonal')
  configs = [get_config('maze', f'target={maze}') for maze in mazes]
  assert [config.target for config in configs] == [
    'maze',
    'blocked maze',
    'blocked2 maze',
    'tunneled maze',
    'diagonal maze',
  ]
  assert len({config.data.target for config in configs}) == len(mazes)


def test_only_q_learning_needs_a_window_as_long_as_its_frame_stack():
  changes = {'model__num_transitions': 3, 'model__context': 2, 'cql__num_frames': 4}
  assert config_lib.from_mapping(_fields(**changes)).cql.num_frames == 4
  alone = {'method': 'cql', 'data__sources': (), 'data__environments': ()}
  with pytest.raises(UserError, match='cql.num_frames: expected at most .* 3, found 4'):
    config_lib.from_mapping(_fields(**changes, **alone))


@pytest.mark.parametrize('method', ['dt1', 'dt1-idm', 'bc', 'oracle'])
def test_a_method_without_pretraining_is_finetuned_from_nothing(method):
  fields = get_config('maze', f'method={method},phase=finetune').to_dict()
  assert config_lib.from_mapping(fields).initial == ''


def test_all_errors_of_a_config_are_named_at_once_with_the_closest_name():
  fields = _fields(model__width='wide', training__num_steps=0)
  fields['optimiser'] = fields.pop('optimizer')
  with pytest.raises(UserError) as error:
    config_lib.from_mapping(fields)
  message = str(error.value)
  assert "optimiser: unknown field; did you mean 'optimizer'?" in message
  assert 'optimizer: missing' in message
  assert "model.width: expected int, found 'wide'" in message
  assert '\n' not in message


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'method': 'alpd'}, "method: 'alpd' is not known; did you mean 'alpt'"),
    ({'training__num_steps': 0}, 'training.num_steps: expected at least 1, found 0'),
    ({'model__num_heads': 5}, 'model.num_heads: expected a divisor'),
    ({'model__context': 5}, 'model.context: expected 1 to'),
    ({'data__labelled_share': 1.0}, 'data.labelled_share: expected between 0 and 1'),
    ({'data__sources': ()}, 'data.sources: method alpt in phase joint takes'),
    ({'optimizer__name': 'adam'}, "did you mean 'adamw'"),
    ({'model': {}}, 'model.width: missing'),
    ({'model': 3}, "model: expected a section, found '3'"),
    ({'initial': 'runs/a'}, 'initial: only phase finetune'),
    (
      {
        'method': 'dt1',
        'phase': 'finetune',
        'initial': 'runs/a',
        'data__sources': (),
        'data__environments': (),
      },
      'initial: method dt1 starts from nothing, found runs/a',
    ),
    (
      {'method': 'bc', 'acting__target_return': 1.0},
      'acting.target_return: method bc sees no returns, found 1.0',
    ),
    ({'method': 'alpt-idm'}, "phase (of method alpt-idm): 'joint' is not known"),
    ({'data__reward_lead': 2}, 'data.reward_lead: expected 0, 1, or -1'),
    (
      {'phase': 'finetune', 'data__sources': (), 'data__environments': ()},
      'initial: method alpt is finetuned from a pretraining run',
    ),
    ({'data__weights': (1.0,)}, 'data.weights: expected none, or one above 0'),
    ({'data__pool_policy_weight': 4.0}, 'pool_policy_weight: expected less than 1 / d'),
    ({'data__weights': (1.0, 0.0)}, 'data.weights: expected none, or one above 0'),
    ({'seed': True}, 'seed: expected int, found True'),
    ({'training__log_every': -5}, 'training.log_every: expected 0 or more, found -5'),
    ({'data__segment_length': -2}, 'data.segment_length: expected 0 or more'),
    ({'optimizer__clip': 0.0}, 'optimizer.clip: expected more than 0, found 0.0'),
    ({'model__dropout': 1.0}, 'model.dropout: expected 0 to below 1, found 1.0'),
    (
      {'training__confidence_threshold': 1.0},
      'training.confidence_threshold: expected 0 to below 1, found 1.0',
    ),
    ({'acting__action_percentile': 100.0}, 'acting.action_percentile: expected 0 to'),
    ({'acting__illegal': 'no-op'}, "acting.illegal: 'no-op' is not known"),
    ({'acting__padding': 'none'}, "acting.padding: 'none' is not known"),
  ],
)
def test_an_impossible_config_is_refused_by_the_name_of_its_field(changes, message):
  with pytest.raises(UserError) as error:
    config_lib.from_mapping(_fields(**changes))
  assert message in str(error.value)


def test_a_config_survives_its_json(tmp_path):
  config = config_lib.from_mapping(_fields())
  config_lib.claim_workdir(tmp_path / 'run', config)
  again = config_lib.read_config(tmp_path / 'run')
  assert again == config
  assert again.hash == config.hash


def test_a_workdir_of_another_run_names_every_differing_key(tmp_path):
  mine = config_lib.from_mapping(_fields())
  config_lib.claim_workdir(tmp_path, mine)
  config_lib.claim_workdir(tmp_path, mine)  # the same run may come back
  other = config_lib.from_mapping(_fields(seed=3, optimizer__clip=2.0))
  with pytest.raises(UserError) as error:
    config_lib.claim_workdir(tmp_path, other)
  assert 'optimizer.clip (there 1.0, now 2.0)' in str(error.value)
  assert 'seed (there 0, now 3)' in str(error.value)
  assert 'learning_rate' not in str(error.value)


def test_a_damaged_config_of_a_run_folder_is_named(tmp_path):
  config_lib.claim_workdir(tmp_path, config_lib.from_mapping(_fields()))
  path = tmp_path / 'config.json'
  path.write_text(path.read_text()[:40])
  with pytest.raises(UserError, match='config.json: damaged'):
    config_lib.claim_workdir(tmp_path, config_lib.from_mapping(_fields()))
  with pytest.raises(UserError, match='config.json: damaged'):
    config_lib.read_config(tmp_path)
