"""A run folder with an untrained model, and a dataset that is labelled in part."""

import json

import numpy as np
import tiny
import tiny_configs
import tiny_models

from alpt_jax.data.labels import save_labels
from alpt_jax.data.pool import write_pool
from alpt_jax.data.recorded_labels import draw_recorded
from alpt_jax.experiment import models
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.models import Origin
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
  """Path below a folder -> bytes, of all files that a labelling leaves."""
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_file()
  }
