"""A folder as `bin/label` leaves it, of a tiny game, every number made by hand."""

import json

import numpy as np

from alpt_jax.data import label_table
from alpt_jax.data.pool import write_pool
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode

NAMES = ('left', 'right', 'up')
MADE = {
  'forget': False,
  'min_confidence': 0.0,
  'seed': 0,
  'basis': 'recording',
  'is_fitted': True,
}


def image_pool(folder, lengths, names=NAMES, kind='image'):
  """Episodes of pictures [8, 8, 1], a dot at (episode, step), or of 3 numbers."""
  shape = (8, 8, 1) if kind == 'image' else (3,)
  observation = ObservationSpec(
    kind, shape, 'uint8', () if kind == 'image' else (9,) * 3
  )
  spec = EnvironmentSpec('own/game', tuple(names), observation, (0, 1), Protocol(100))
  return write_pool(
    folder, spec, [_episode(n, i, shape) for i, n in enumerate(lengths)]
  )


def _episode(length, index, shape):
  observations = np.zeros((length + 1, *shape), np.uint8)
  for step in range(length + 1):
    if len(shape) == 3:
      observations[step, index % 8, step % 8] = 255
    else:
      observations[step, 0] = step % 9
  zeros = np.zeros(length, np.float32)
  return Episode(observations, zeros.astype(np.int32), zeros, zeros + 1)


def label_columns(lengths, **changes):
  """Columns of labels: every action is guessed to be 0, at .5; none is recorded."""
  num = sum(lengths)
  columns = {
    'episode': np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
    'step': np.concatenate([np.arange(n) for n in lengths]).astype(np.int32),
    'confidence': np.full(num, 0.5, np.float32),
    'raw_confidence': np.full(num, 0.5, np.float32),
    'recorded': np.zeros(num, bool),
    'trained_on': np.zeros(num, bool),
    'guess': np.zeros(num, np.int32),
    'second': np.ones(num, np.int32),
  }
  columns['action'] = columns['guess']
  return columns | changes


def audit_columns(guess, true, confidence, unit, num_actions=3):
  """Columns of an audit; the other actions share what a guess leaves."""
  guess, true = np.array(guess, np.int32), np.array(true, np.int32)
  sure = np.broadcast_to(np.float32(confidence), guess.shape)
  rest = (1 - sure) / max(num_actions - 1, 1)
  probabilities = np.repeat(rest[:, None], num_actions, 1)
  probabilities[np.arange(len(guess)), guess] = sure
  return {
    'guess': guess,
    'true_action': true,
    'confidence': sure,
    'unit': np.array(unit, np.int32),
    'recording': np.zeros(len(guess), np.int32),
    'probabilities': probabilities.astype(np.float32),
  }


def write_folder(folder, labels, audit, names=NAMES, **changes):
  """OUT/labelling.json and the tables."""
  made = MADE | changes
  folder.mkdir(exist_ok=True)
  (folder / 'labels').mkdir(exist_ok=True)
  part = folder / 'labels' / 'part-00000-of-00001.parquet'
  label_table.write_table(part, labels, names, 'f00d')
  label_table.write_table(folder / 'audit.parquet', audit, names, 'f00d')
  identity = {key: made[key] for key in ('forget', 'min_confidence', 'seed')}
  record = {
    'format': 1,
    'run': 'runs/game',
    'step': 600,
    'data': 'data/game',
    'identity': {'dataset': 'd00d', 'labels': 'beef', 'label_by': 'mean', **identity},
    'temperature': {'value': 1.5, 'is_fitted': made['is_fitted']},
    'audit': {
      'basis': made['basis'],
      'of': 'audit',
      'may_be_trained_on': False,
      'guesses': None,
    },
    'versions': {'jax': '0'},
  }
  (folder / 'labelling.json').write_text(json.dumps(record))
