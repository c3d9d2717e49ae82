"""Two tiny episodes as arrays in an .npz, and what is read of them."""

import numpy as np
import pytest

from alpt_jax.data.arrays import ArrayChoice, read_npz
from alpt_jax.errors import UserError

# Two episodes: three transitions that end, two that are cut off. Observation t of
# episode e is [10 e + t, e].
OBSERVATIONS = np.array([[0, 0], [1, 0], [2, 0], [10, 1], [11, 1]], np.float32)
NEXT = np.array([[1, 0], [2, 0], [3, 0], [11, 1], [12, 1]], np.float32)
FIELDS = {
  'observations': OBSERVATIONS,
  'actions': np.array([0, 1, 2, 1, 0]),
  'rewards': np.array([0.5, 0, 1, 0, -2]),
  'terminals': np.array([False, False, True, False, False]),
  'timeouts': np.array([False, False, False, False, True]),
  'next_observations': NEXT,
  'action_names': np.array(['up', 'down', 'stay']),
}
ALL = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [10, 1], [11, 1], [12, 1]], np.float32)


def save(folder, save_fn=np.savez, **changes):
  """Writes `FIELDS` with changes to a file `game.npz`; None leaves a field out."""
  fields = FIELDS | changes
  path = folder / 'game.npz'
  save_fn(path, **{name: value for name, value in fields.items() if value is not None})
  return path


def read(path, **choice):
  """(spec, episodes, remarks without the path)."""
  spec, episodes, remarks = read_npz(path, ArrayChoice(**choice))
  assert all(remark.startswith(f'{path}: ') for remark in remarks)
  return spec, list(episodes), [each.removeprefix(f'{path}: ') for each in remarks]


def refused(path, *words, **choice):
  """Asserts that reading fails with one line of these words, in this order."""
  with pytest.raises(UserError) as caught:
    read(path, **choice)
  message = str(caught.value)
  assert '\n' not in message
  place = 0
  for word in (str(path), *words):
    assert word in message[place:], message
    place = message.index(word, place)
