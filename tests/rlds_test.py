"""RLDS files: plain TFDS reads ours, and bad ones are refused in one clear line."""

import json
import shutil

import numpy as np
import pytest
import tiny

from alpt_jax import specs
from alpt_jax.data import pool, rlds
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode

# Below rlds, which quietens TensorFlow before it is imported.
import tensorflow_datasets as tfds  # isort: skip

METADATA = {'environment': 'maze/x', 'layout_seed': 7, 'policy': 'p', 'epsilon': 0.5}

FORMS = {
  'integers': ObservationSpec('integers', (4,), 'uint8', (20,) * 4),
  'image': ObservationSpec('image', (20, 20, 3), 'uint8'),
  'gray_image': ObservationSpec('image', (84, 84, 1), 'uint8'),
  'two_channels': ObservationSpec('image', (3, 3, 2), 'uint8'),
  'vector': ObservationSpec('vector', (3,), 'float32'),
}


def spec_of(form='integers'):
  return EnvironmentSpec('maze/x:1/7', ('down', 'up'), FORMS[form], (0, 2), Protocol(9))


def episode_of(length, form='integers', terminal=True, seed=0):
  rng = np.random.default_rng(seed)
  observation = FORMS[form]
  shape = (length + 1, *observation.shape)
  observations = rng.integers(0, 20 if form == 'integers' else 256, shape)
  if observation.kind == 'vector':
    observations = rng.normal(size=shape)
  discounts = np.ones(length, np.float32)
  discounts[-1] = 0 if terminal else 1
  return Episode(
    observations.astype(observation.dtype),
    rng.integers(0, 2, length).astype(np.int32),
    rng.normal(size=length).astype(np.float32),
    discounts,
  )


def episodes_of(form='integers'):
  return [episode_of(3, form), episode_of(1, form, terminal=False, seed=1)]


@pytest.fixture
def recorded(tmp_path):
  """A good dataset of two episodes of integers, for a test to damage."""
  rlds.write(tmp_path / 'data', spec_of(), episodes_of(), METADATA)
  return tmp_path / 'data'


def assert_equal_episodes(found, expected):
  for one, other in zip(list(found), expected, strict=True):
    tiny.assert_equal_episodes(one, other)


@pytest.mark.parametrize('form', FORMS)
def test_plain_tfds_reads_every_bit_of_what_was_written(tmp_path, form):
  rlds.write(tmp_path / 'data', spec_of(form), iter(episodes_of(form)), METADATA)
  builder = tfds.builder_from_directory(tmp_path / 'data')
  assert builder.info.features['steps']['action'].names == ['down', 'up']
  rows = list(builder.as_dataset(split='train'))
  assert len(rows) == 2
  for row, episode in zip(rows, episodes_of(form), strict=True):
    terminal = episode.discounts[-1] == 0
    assert row['environment'].numpy() == b'maze/x' and row['policy'].numpy() == b'p'
    assert row['layout_seed'].numpy() == 7 and row['epsilon'].numpy() == 0.5
    steps = list(row['steps'].as_numpy_iterator())
    length = len(episode.actions)
    # The last observation makes one step of its own.
    assert len(steps) == length + 1
    for t, step in enumerate(steps):
      assert step['observation'].dtype == episode.observations.dtype
      np.testing.assert_array_equal(step['observation'], episode.observations[t])
      marks = step['is_first'], step['is_last'], step['is_terminal']
      assert marks == (t == 0, t == length, terminal and t == length)
      named = step['action'], step['reward'], step['discount']
      if t < length:
        assert named == (episode.actions[t], episode.rewards[t], episode.discounts[t])
      else:
        assert named == (0, 0, 0 if terminal else 1)


@pytest.mark.parametrize('form', FORMS)
def test_reading_gives_back_the_episodes(tmp_path, form):
  rlds.write(tmp_path / 'data', spec_of(form), episodes_of(form), METADATA)
  assert rlds.validate(tmp_path / 'data') == spec_of(form)
  assert_equal_episodes(rlds.read(tmp_path / 'data'), episodes_of(form))


def test_the_order_survives_several_files(tmp_path, monkeypatch):
  # TFDS by itself would read 16 episodes of a file, then 16 of the next.
  monkeypatch.setattr(rlds, '_EPISODES_PER_FILE', 18)
  episodes = [episode_of(1, seed=seed) for seed in range(36)]
  rlds.write(tmp_path / 'data', spec_of(), episodes, METADATA)
  assert len(list((tmp_path / 'data').glob('*tfrecord*'))) == 2
  assert_equal_episodes(rlds.read(tmp_path / 'data'), episodes)


def test_a_pool_made_from_rlds_is_the_pool_written_directly(recorded, tmp_path):
  converted = rlds.to_pool(recorded, tmp_path / 'converted')
  direct = pool.write_pool(tmp_path / 'direct', spec_of(), episodes_of())
  # The hash covers the spec, the counts and every array.
  assert converted.manifest_hash == direct.manifest_hash


def test_an_interrupted_write_leaves_nothing(tmp_path):
  def interrupted():
    yield episode_of(2)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    rlds.write(tmp_path / 'data', spec_of(), interrupted(), METADATA)
  assert list(tmp_path.iterdir()) == []


def test_a_write_takes_no_folder_that_holds_something(recorded):
  before = sorted(recorded.iterdir())
  with pytest.raises(UserError, match='already there. Remove it'):
    rlds.write(recorded, spec_of(), episodes_of(), METADATA)
  assert sorted(recorded.iterdir()) == before


def test_a_write_needs_an_episode_and_checks_each(tmp_path):
  with pytest.raises(UserError, match='at least one episode, got none'):
    rlds.write(tmp_path / 'data', spec_of(), [], METADATA)
  bad = episode_of(2)._replace(actions=np.array([0, 2]))
  with pytest.raises(UserError, match='episode 1, step 1, field action.*found 2'):
    rlds.write(tmp_path / 'data', spec_of(), [episode_of(2), bad], METADATA)
  assert list(tmp_path.iterdir()) == []


# Where only some actions are known.


def knowing(episode, *known):
  return episode._replace(is_labelled=np.array(known))


def test_what_is_not_known_of_an_action_is_written_and_read(tmp_path):
  episodes = [knowing(episode_of(3), True, False, True), episode_of(1, seed=1)]
  rlds.write(tmp_path / 'data', spec_of(), episodes, METADATA, is_partial=True)
  builder = tfds.builder_from_directory(tmp_path / 'data')
  rows = [
    [bool(step['is_labelled']) for step in row['steps'].as_numpy_iterator()]
    for row in builder.as_dataset(split='train')
  ]
  # The last step's action has no meaning.
  assert rows == [[True, False, True, False], [True, False]]
  one, two = rlds.read(tmp_path / 'data')
  assert one.is_labelled.tolist() == [True, False, True]
  assert one.actions.tolist() == (episodes[0].actions * [1, 0, 1]).tolist()
  assert two.is_labelled.tolist() == [True]
  converted = rlds.to_pool(tmp_path / 'data', tmp_path / 'pool')
  direct = pool.write_pool(tmp_path / 'direct', spec_of(), episodes)
  assert converted.manifest_hash == direct.manifest_hash


def test_an_unknown_action_is_not_written_as_one(tmp_path):
  bad = knowing(episode_of(3), True, False, True)
  with pytest.raises(UserError, match='episode 1, step 1, field action: .* is known'):
    rlds.write(tmp_path / 'data', spec_of(), [episode_of(2), bad], METADATA)
  assert list(tmp_path.iterdir()) == []


GUESSED = {
  # Recorded, a sure guess, no guess; the last step's means nothing.
  'observation': np.zeros((4, 4), np.uint8),
  'action': np.array([1, 1, 0, 0]),
  'reward': np.zeros(4, np.float32),
  'discount': np.ones(4, np.float32),
  'is_first': np.array([True, False, False, False]),
  'is_last': np.array([False, False, False, True]),
  'is_terminal': np.zeros(4, bool),
  'is_labelled': np.array([True, True, False, False]),
  'is_recorded': np.array([True, False, False, False]),
  'confidence': np.array([1, 0.75, 0, 0], np.float32),
}
KNOWLEDGE = {
  **dict.fromkeys(('is_labelled', 'is_recorded'), np.bool_),
  'confidence': np.float32,
}


@pytest.mark.parametrize(
  'guesses, known',
  [
    (None, [True, False, False]),
    (0.75, [True, True, False]),
    (0.76, [True, False, False]),
    # What was left without a label has none, however little is asked of it.
    (0, [True, True, False]),
  ],
)
def test_a_guess_poses_as_a_recording_only_where_that_is_asked(
  tmp_path, guesses, known
):
  folder = foreign(tmp_path / 'data', [GUESSED], **KNOWLEDGE)
  (episode,) = rlds.read(folder, guesses=guesses)
  assert episode.is_labelled.tolist() == known
  assert episode.actions.tolist() == [1, known[1], 0]


@pytest.mark.parametrize('field', ['is_recorded', 'confidence'])
def test_guesses_are_told_from_recordings_and_have_a_confidence(tmp_path, field):
  folder = foreign(tmp_path / 'data', [GUESSED], drop=(field,), **KNOWLEDGE)
  (episode,) = rlds.read(folder)
  assert episode.is_labelled.tolist() == [True, field == 'is_recorded', False]
  with pytest.raises(UserError, match=f'features.json, step field {field}: expected'):
    rlds.read(folder, guesses=0.5)


def test_a_pool_of_a_labelled_set_holds_the_recorded_actions_alone(tmp_path):
  folder = foreign(tmp_path / 'data', [GUESSED], **KNOWLEDGE)
  assert rlds.to_pool(folder, tmp_path / 'pool').is_labelled.tolist() == [
    True, False, False,
  ]  # fmt: skip


def test_knowledge_of_another_form_is_named(tmp_path):
  numbers = {**GUESSED, 'is_labelled': np.array([1, 1, 0, 0])}
  folder = foreign(
    tmp_path / 'data', [numbers], **KNOWLEDGE | {'is_labelled': np.int32}
  )
  refused(folder, 'features.json', 'step field is_labelled', 'expected bool')


def refused(folder, *words):
  """Asserts that reading fails with one line of these words, in this order."""
  with pytest.raises(UserError) as caught:
    list(rlds.read(folder))
  message = str(caught.value)
  assert '\n' not in message
  place = 0
  for word in (str(folder), *words):
    assert word in message[place:], message
    place = message.index(word, place)


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path):
  refused(tmp_path / 'absent', 'no such folder', 'Record')
  (tmp_path / 'empty').mkdir()
  refused(tmp_path / 'empty', 'the folder is empty', 'Record')


@pytest.mark.parametrize('file', ['dataset_info.json', 'features.json'])
def test_a_folder_without_the_files_of_tfds_is_refused(recorded, file):
  (recorded / file).unlink()
  refused(recorded, 'not an RLDS dataset', file, 'Record it anew')


def test_the_parent_of_a_dataset_is_refused_with_a_hint(recorded):
  refused(recorded.parent, 'not an RLDS dataset', f'Did you mean {recorded}?')


@pytest.mark.parametrize('file', ['dataset_info.json', 'features.json'])
def test_a_broken_json_file_is_refused(recorded, file):
  (recorded / file).write_text('{')
  refused(recorded, 'TFDS cannot open', 'anew')


def test_a_dataset_without_environment_is_refused_unless_told(recorded):
  (recorded / 'environment.json').unlink()
  refused(recorded, 'environment.json', 'no such file', 'Record')
  assert_equal_episodes(rlds.read(recorded, spec_of()), episodes_of())


def test_an_environment_of_another_format_is_refused(recorded):
  (recorded / 'environment.json').write_text('{"name": "x"}')
  refused(recorded, 'environment.json', 'KeyError', 'observation', 'Record')


@pytest.mark.parametrize(
  'changes',
  [{'shape': [5]}, {'dtype': 'uint16'}, {'shape': [4, 1]}, {'dtype': 'float32'}],
)
def test_another_observation_than_the_environment_has_is_refused(recorded, changes):
  fields = spec_of().to_dict()
  fields['observation'].update(changes)
  (recorded / 'environment.json').write_text(json.dumps(fields))
  form = fields['observation']
  expected = f'expected {form["dtype"]} {list(form["shape"])}'
  found = 'found Tensor(shape=(4,), dtype=uint8)'
  refused(recorded, 'features.json', 'observation', expected, found, 'Record')


def test_other_action_names_than_the_environment_has_are_refused(recorded):
  fields = spec_of().to_dict() | {'action_names': ['up', 'down']}
  (recorded / 'environment.json').write_text(json.dumps(fields))
  refused(recorded, 'action', 'expected up, down', 'found down, up', 'Record')


def test_numbers_in_place_of_action_names_are_no_other_names(tmp_path):
  unnamed = tfds.features.ClassLabel(num_classes=2)
  assert len(list(rlds.read(foreign(tmp_path / 'data', [{}], action=unnamed)))) == 1


def foreign(folder, episodes, drop=(), top='steps', **forms):
  """Writes what another program might, and environment.json.

  Each episode is a dict of changes to three good steps; `drop` names fields left
  out, `top` the dataset of steps, `forms` unusual features of fields.
  """
  steps = {
    'observation': np.zeros((3, 4), np.uint8),
    'action': np.array([1, 0, 1]),
    'reward': np.array([0, 1, 0], np.float32),
    'discount': np.ones(3, np.float32),
    'is_first': np.array([True, False, False]),
    'is_last': np.array([False, False, True]),
    'is_terminal': np.array([False, False, True]),
  }
  features = {
    'observation': tfds.features.Tensor(shape=(4,), dtype=np.uint8),
    'action': np.int32,
    'reward': np.float32,
    'discount': np.float32,
    **dict.fromkeys(('is_first', 'is_last', 'is_terminal'), np.bool_),
    **forms,
  }
  features = {field: features[field] for field in features if field not in drop}
  folder.mkdir()
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity('foreign', '1.0.0', str(folder), ''),
    features=tfds.features.FeaturesDict({top: tfds.features.Dataset(features)}),
  )
  writer = tfds.core.SequentialWriter(info, 10)
  writer.initialize_splits(['train'])
  for changes in episodes:
    values = steps | changes
    row = {top: {field: values[field] for field in features}}
    writer.add_examples({'train': [row]})
  writer.close_all()
  (folder / 'environment.json').write_text(json.dumps(spec_of().to_dict()))
  return folder


def test_a_foreign_dataset_is_read_and_its_last_action_dropped(tmp_path):
  with pytest.warns(UserWarning, match='rewards on last steps are dropped'):
    (episode,) = rlds.read(
      foreign(tmp_path / 'data', [{'reward': np.array([0, 1, 5], np.float32)}])
    )
  assert episode.actions.tolist() == [1, 0] and episode.rewards.tolist() == [0, 1]
  # The mark of the terminal observation makes the transition into it terminal.
  assert episode.discounts.tolist() == [1, 0]
  assert episode.observations.shape == (3, 4)


def test_an_episode_without_a_last_mark_counts_as_cut_off(tmp_path):
  none = np.zeros(3, bool)
  folder = foreign(tmp_path / 'data', [{'is_last': none, 'is_terminal': none}])
  (episode,) = rlds.read(folder)
  assert episode.discounts.tolist() == [1, 1]


def test_a_dataset_without_steps_is_refused(tmp_path):
  folder = foreign(tmp_path / 'data', [{}], top='rows')
  refused(folder, 'features.json', "'steps'", 'found rows', 'RLDS format')


@pytest.mark.parametrize('field', ['observation', 'action', 'reward', 'is_terminal'])
def test_a_missing_step_field_is_named(tmp_path, field):
  refused(
    foreign(tmp_path / 'data', [{}], drop=(field,)), f'step field {field}', 'only'
  )


def test_an_action_that_is_no_index_or_outside_its_set_is_named(tmp_path):
  folder = foreign(tmp_path / 'floats', [{}], action=np.float32)
  refused(folder, 'step field action', 'expected integer', 'float32')
  folder = foreign(tmp_path / 'data', [{}, {'action': np.array([0, 2, 0])}])
  refused(folder, 'episode 1, step 1, field action', '0 to 1 (down, up)', 'found 2')


def test_a_reward_that_is_no_number_is_named(tmp_path):
  bad = {'reward': np.array([0, np.nan, 0], np.float32)}
  folder = foreign(tmp_path / 'data', [{}, bad])
  refused(folder, 'episode 1, step 1, field reward', 'finite', 'nan')


@pytest.mark.parametrize('field', ['is_first', 'is_last', 'is_terminal'])
def test_a_mark_inside_an_episode_is_refused(tmp_path, field):
  folder = foreign(tmp_path / 'data', [{field: np.array([False, True, True])}])
  refused(folder, f'episode 0, step 1, field {field}', 'of steps 0 to 2', 'repair')


def test_an_episode_without_steps_or_transitions_is_refused(tmp_path):
  marks = ('is_first', 'is_last', 'is_terminal')
  empty = dict.fromkeys(('observation', 'action', 'reward', 'discount', *marks), [])
  refused(foreign(tmp_path / 'empty', [{}, empty]), 'episode 1', 'expected steps')
  one = {field: np.zeros(1, bool) for field in marks}
  one |= dict.fromkeys(('action', 'reward', 'discount'), np.zeros(1, int))
  one['observation'] = np.zeros((1, 4), np.uint8)
  folder = foreign(tmp_path / 'one', [one])
  refused(folder, 'episode 0', 'at least one transition', '1 observations')


DAMAGE = {
  'shorten': lambda data: data[:-5],
  'corrupt': lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
  'empty': lambda data: b'',
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_file_is_named(tmp_path, monkeypatch, damage):
  monkeypatch.setattr(rlds, '_EPISODES_PER_FILE', 1)
  folder = tmp_path / 'data'
  rlds.write(folder, spec_of(), episodes_of(), METADATA)
  _, file = sorted(folder.glob('*tfrecord*'))
  file.write_bytes(DAMAGE[damage](file.read_bytes()))
  found = 'found 0' if damage == 'empty' else 'damaged or shortened'
  refused(folder, file.name, 'expected 1 episodes', found, 'Copy')
  with pytest.raises(UserError):
    rlds.to_pool(folder, tmp_path / 'pool')
  assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_a_missing_file_is_named_before_anything_is_read(recorded):
  (file,) = recorded.glob('*tfrecord*')
  file.unlink()
  with pytest.raises(UserError, match=f'{file.name}: no such file'):
    rlds.validate(recorded)


def test_records_that_contradict_features_json_are_refused(recorded, tmp_path):
  other = foreign(tmp_path / 'other', [{}], drop=('reward',))
  (file,) = recorded.glob('*tfrecord*')
  shutil.copy(next(other.glob('*tfrecord*')), file)
  info = json.loads((recorded / 'dataset_info.json').read_text())
  info['splits'][0]['shardLengths'] = ['1']
  (recorded / 'dataset_info.json').write_text(json.dumps(info))
  refused(recorded, 'episode 0', 'does not hold what features.json says')


def test_a_run_of_rl_unplugged_that_tfds_prepared_needs_no_description(tmp_path):
  spec = specs.atari_spec('Breakout', specs.RL_UNPLUGGED_PROTOCOL)
  frames = np.random.default_rng(0).integers(0, 256, (4, 84, 84, 1)).astype(np.uint8)
  episode = Episode(frames, [0, 3, 2], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0])
  folder = tmp_path / 'Breakout_run_1'
  rlds.write(folder, spec, [episode], {}, name='rlu_atari_checkpoints_ordered')
  (folder / 'environment.json').unlink()
  path = folder / 'dataset_info.json'
  info = json.loads(path.read_text())
  path.write_text(json.dumps({**info, 'configName': 'Breakout_run_1'}))
  assert rlds.validate(folder) == spec
  (found,) = rlds.read(folder)
  np.testing.assert_array_equal(found.observations, frames)
  # Of any other dataset without a description the user is asked for one.
  path.write_text(json.dumps(info))
  with pytest.raises(UserError, match='environment.json: no such file'):
    rlds.validate(folder)
