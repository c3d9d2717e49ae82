"""A run folder with an untrained model, and a dataset that is labelled in part."""

import json

import numpy as np
import pytest
import tiny
import tiny_configs
import tiny_models

from alpt_jax.data import label_table
from alpt_jax.data.labels import load_labels, save_labels
from alpt_jax.data.pool import write_pool
from alpt_jax.data.recorded_labels import draw_recorded
from alpt_jax.experiment import label_run, models
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.label_run import LabelChoice
from alpt_jax.experiment.models import Origin
from alpt_jax.labelling import parts as cutting
from alpt_jax.labelling.labeller import LabellingConfig
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.checkpoint import Checkpoints

IMAGE = ObservationSpec('image', (28, 28, 1), 'uint8')


def episodes(lengths, known, observation=None, seed=0):
  """Random episodes; of the first `known` of them the actions were recorded."""
  random = np.random.default_rng(seed)
  for number, length in enumerate(lengths):
    episode = tiny.tiny_episode(length, number % 200)
    if observation is not None:
      screens = random.integers(0, 256, (length + 1, *observation.shape))
      episode = episode._replace(observations=screens.astype(observation.dtype))
    actions = random.integers(0, 4, length).astype(np.int32)
    rewards = random.normal(size=length).astype(np.float32)
    is_labelled = np.full(length, number < known)
    actions[~is_labelled] = 0
    yield episode._replace(actions=actions, rewards=rewards, is_labelled=is_labelled)


def write_dataset(folder, lengths=(9, 30, 4, 12, 25, 8), known=6, spec=None, seed=0):
  """A pool of them; `known` episodes are labelled."""
  spec = spec or tiny.tiny_spec()
  form = None if spec.observation.kind == 'integers' else spec.observation
  return write_pool(folder, spec, episodes(lengths, known, form, seed))


def draw(pool):
  """Labels with an audit, of a pool that is labelled in part."""
  return draw_recorded(pool, 0, 0, 20, 0.1, 0.4, window_length=5)


def write_run(workdir, pool, labels, text='', vocabulary=None, step=7, **identity):
  """A run of `tiny_configs.tiny_maze` as if it had been trained on a pool."""
  config = from_mapping(tiny_configs.tiny_maze('data', text))
  spec, vocabulary = pool.spec, vocabulary or pool.spec.action_names
  origin = Origin(config, spec, vocabulary, spec.return_range)
  steps = models.build(config, spec.observation, len(vocabulary), spec.return_range)
  length = config.model.num_transitions
  window = models.example_window(spec.observation, len(vocabulary), length)
  state = tiny_models.loud_state(steps, window)
  state = state._replace(step=state.step * 0 + step)
  checkpoints = Checkpoints(models.checkpoint_folder(workdir))
  checkpoints.save(step, state, origin.to_dict())
  checkpoints.close()
  save_labels(workdir / 'labels.json', labels)
  known = {'environment': spec.name, 'sources': [], 'data_hash': labels.dataset}
  (workdir / 'identity.json').write_text(json.dumps({**known, **identity}))
  return workdir


def content(folder):
  """Path below a folder -> bytes, of all files that a labelling leaves.

  Without the commit, which may change in the middle of a test.
  """
  found = {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }
  record = json.loads(found['labelling.json'])
  return found | {'labelling.json': record | {'git_commit': None}}


LENGTHS = (40,) * 8 + (23, 7, 41, 3) + (40,) * 18
_COLUMNS = ['episode', 'step', 'action', 'confidence', 'raw_confidence', 'recorded']


def write_root(folder):
  """A dataset of 30 episodes, 24 of them labelled, and a run on it."""
  pool = write_dataset(folder / 'data', LENGTHS, known=24)
  write_run(folder / 'run', pool, draw(pool))
  return folder


def small_parts(patch):
  """Of 200 transitions: 6 of the dataset above."""
  patch.setattr(cutting, '_TRANSITIONS', 200)


def choice(root, out, **changes):
  """What `label` labels, where and how."""
  config = LabellingConfig('mean', 16)
  fields = {'config': config, 'rlds': False, 'card': False, **changes}
  return LabelChoice(root / 'run', root / 'data', out, **fields)


def label(root, out, **changes):
  """Labels; the lines that it said."""
  lines = []
  label_run.label_dataset(choice(root, out, **changes), lines.append)
  return lines


def label_whole(root):
  """The folder of a labelling that nothing happened to."""
  with pytest.MonkeyPatch.context() as patch:
    small_parts(patch)
    label(root, root / 'whole', rlds=True)
  return root / 'whole'


def tables(out, *columns):
  """The columns of all parts of a labelling."""
  paths = sorted((out / 'labels').glob('*.parquet'))
  return label_table.read_table(paths, [*_COLUMNS, *columns])


def trained_labels(root):
  """The label file of its run."""
  return load_labels(root / 'run' / 'labels.json')
