"""The real `rlds` package, in an environment of its own, reads what we write.

`./launch/test.sh --all` makes that environment (tests/interop/run.sh).
"""

import json
import os
import pathlib
import platform
import subprocess

import numpy as np
import pytest

from alpt_jax.data import rlds, rlds_forms, rlds_parts
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode

pytestmark = pytest.mark.slow

_READER = pathlib.Path(__file__).parent / 'interop' / 'read_with_rlds.py'
_METADATA = {'environment': 'own/tiny'}
_NAMES = ('down', 'left', 'up')
_FORMS = {
  'image': ObservationSpec('image', (4, 3, 1), 'uint8'),
  'integers': ObservationSpec('integers', (5,), 'uint8', (256,) * 5),
  'vector': ObservationSpec('vector', (2,), 'float32'),
}


@pytest.fixture(scope='module')
def read_fn():
  """A function from a dataset folder to what `rlds` finds there."""
  if 'ALPT_RLDS' not in os.environ:
    pytest.skip('the environment of rlds is made by ./launch/test.sh --all')
  if (platform.system(), platform.machine()) != ('Linux', 'x86_64'):
    pytest.skip(f'rlds is not there for {platform.system()} {platform.machine()}')
  python = pathlib.Path(os.environ['ALPT_RLDS']) / 'bin' / 'python'
  if not python.exists():
    pytest.skip('rlds needs Python 3.11, and there is none')

  def read(folder):
    done = subprocess.run(
      [python, '-I', _READER, folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

  return read


def spec_of(form):
  return EnvironmentSpec('own/tiny', _NAMES, _FORMS[form], (-9, 9), Protocol(99))


def episode_of(length, form, terminal):
  rng = np.random.default_rng(length)
  shape = (length + 1, *_FORMS[form].shape)
  observations = rng.integers(0, 256, shape)
  discounts = np.ones(length, np.float32)
  discounts[-1] = 0 if terminal else 1
  return Episode(
    observations.astype(_FORMS[form].dtype),
    rng.integers(0, 3, length).astype(np.int32),
    rng.normal(size=length).astype(np.float32),
    discounts,
  )


def episodes_of(form='image'):
  """One that ends, one of a single transition, one that was cut off."""
  ends = {4: True, 1: True, 6: False}
  return [episode_of(length, form, ends[length]) for length in ends]


def assert_rlds_finds(found, form, episodes, knowledge=None):
  """Compares every number of every step.

  Args:
    found: what the reader printed.
    form: of the observations.
    episodes: as they were given to be written.
    knowledge: for each episode `[L]` values of each field of `rlds_forms.KNOWLEDGE`.
  """
  assert found['action_names'] == list(_NAMES)
  assert found['dtypes']['observation'] == _FORMS[form].dtype
  knowledge = knowledge or [{} for _ in episodes]
  for one, episode, known in zip(found['episodes'], episodes, knowledge, strict=True):
    length = len(episode.actions)
    assert one['length'] == length + 1  # the last observation is a step of its own
    total = episode.rewards.sum(dtype=np.float64)
    assert one['reward_sum'] == pytest.approx(total, abs=1e-5)
    terminal = episode.discounts[-1] == 0
    expected = {
      'observation': episode.observations.tolist(),
      'action': [*episode.actions.tolist(), 0],
      'reward': [*episode.rewards.tolist(), 0],
      'discount': [*episode.discounts.tolist(), 0 if terminal else 1],
      'is_first': [True] + [False] * length,
      'is_last': [False] * length + [True],
      'is_terminal': [False] * length + [terminal],
      **{field: [*values.tolist(), 0] for field, values in known.items()},
    }
    for step, values in enumerate(one['steps']):
      assert values == {field: expected[field][step] for field in expected}
    assert len(one['pairs']) == length
    for step, values in enumerate(one['pairs']):
      assert values == {field: expected[field][step : step + 2] for field in expected}


@pytest.mark.parametrize('form', _FORMS)
def test_rlds_reads_every_number_of_a_recording(read_fn, tmp_path, form):
  rlds.write(tmp_path / 'data', spec_of(form), episodes_of(form), _METADATA)
  found = read_fn(tmp_path / 'data')
  # All that rlds asks of a step is there, and nothing else.
  assert sorted(found['dtypes']) == found['rlds_core_fields']
  assert_rlds_finds(found, form, episodes_of(form))


def test_rlds_reads_which_actions_are_known(read_fn, tmp_path):
  known = [np.array([1, 0, 0, 1]), np.array([1]), np.zeros(6)]
  known = [values.astype(bool) for values in known]
  episodes = [
    episode._replace(is_labelled=values)
    for episode, values in zip(episodes_of(), known, strict=True)
  ]
  folder = tmp_path / 'data'
  rlds.write(folder, spec_of('image'), episodes, _METADATA, is_partial=True)
  # An action that is not known is written as 0.
  expected = [
    each._replace(actions=each.actions * each.is_labelled) for each in episodes
  ]
  knowledge = [{'is_labelled': values} for values in known]
  assert_rlds_finds(read_fn(folder), 'image', expected, knowledge)


def test_rlds_reads_which_actions_are_guesses_and_how_sure(read_fn, tmp_path):
  rng = np.random.default_rng(0)
  episodes, knowledge = episodes_of(), []
  for episode in episodes:
    length = len(episode.actions)
    is_recorded = rng.random(length) < 0.5
    sure = np.where(is_recorded, 1, rng.random(length)).astype(np.float32)
    is_labelled = is_recorded | (sure > 0.3)
    values = is_labelled, is_recorded, sure
    knowledge.append(dict(zip(rlds_forms.KNOWLEDGE, values, strict=True)))
  folder = tmp_path / 'data'
  folder.mkdir()
  files = rlds_parts.LabelledFiles(folder, spec_of('image'), 2)
  numbered = list(zip(range(3), episodes, knowledge, strict=True))
  files.write(1, numbered[2:])
  files.write(0, numbered[:2])
  files.finish([2, 1])
  assert_rlds_finds(read_fn(folder), 'image', episodes, knowledge)
