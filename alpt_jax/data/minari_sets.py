"""Minari datasets (minari.farama.org) as episodes.

The only file that knows Minari, which is asked for when a dataset is opened; nothing is
ever downloaded. A dataset must have Discrete actions, whose numbers begin with their
space's `start`, and observations in a Box: pictures of uint8 or vectors of floats. One
episode is in memory at a time.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from alpt_jax import specs
from alpt_jax.data.array_fields import made_up_names
from alpt_jax.data.arrays import (
  ArrayChoice,
  ReadArrays,
  cut,
  in_form,
  observation_form,
)
from alpt_jax.data.checks import check_episode, check_returns
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

_OWN = 'own/'
_METADATA = 'metadata.json'
_PLAIN = ArrayChoice()


def read_minari(name: str, choice: ArrayChoice = _PLAIN) -> ReadArrays:
  """The episodes of a dataset; its metadata are read and checked first.

  Args:
    name: its id, as of `own/game-v0`, below $MINARI_DATASETS_PATH; or its folder.
    choice: what it does not say; without names its actions are made up by number.

  Raises:
    UserError: Minari is not installed, there is no such dataset, or its actions or
      observations are of another kind; then, while reading, an episode is damaged
      (it is named).
  """
  place = f'minari:{name}'
  dataset = _open(name, place)
  first, names = _actions(dataset.action_space, choice.action_names, place)
  space = dataset.observation_space
  if type(space).__name__ != 'Box':
    raise UserError(
      f'{place}: observation space {_line(space)}: expected a Box, of pictures or '
      'numbers. Write the part that matters as an .npz of arrays.'
    )
  spec = EnvironmentSpec(
    name=choice.environment or _OWN + dataset.id.removeprefix(_OWN),
    action_names=names,
    observation=observation_form(
      space.shape, space.dtype, f'{place}: observation space'
    ),
    return_range=choice.return_range,
    protocol=choice.protocol,
  )
  remarks = []
  if _is_lossy(dataset):
    remarks.append('pictures were compressed with loss (JPEG), as Minari does.')
  if not choice.action_names:
    remarks.append(
      f'actions have no names: called {names[0]} to {names[-1]}. Another game whose '
      'actions are called so has the same actions, for a model; --actions names them.'
    )
  lengths = _lengths(dataset, place)
  max_steps = choice.protocol.max_episode_steps
  if num_cuts := sum((length - 1) // max_steps for length in lengths):
    remarks.append(f'cuts after {max_steps:,} steps: {num_cuts}.')
  episodes = _episodes(dataset, spec, first, lengths, place)
  return ReadArrays(spec, episodes, [f'{place}: {remark}' for remark in remarks])


def _open(name: str, place: str) -> Any:
  """A `minari.MinariDataset`."""
  try:
    import minari

    for folder in (pathlib.Path(name), pathlib.Path(name, 'data')):
      if (folder / _METADATA).is_file():
        return minari.MinariDataset(folder)
    return minari.load_dataset(name)
  except ImportError as error:
    raise UserError(
      f"{place}: Minari is needed ({error}). Run: pip install 'alpt-jax[minari]'"
    ) from error
  except FileNotFoundError as error:
    here = did_you_mean(name, minari.list_local_datasets())
    raise UserError(
      f'{place}: no such folder, or dataset below MINARI_DATASETS_PATH{here}. Download '
      f'it: minari download {name}'
    ) from error
  except Exception as error:  # Minari raises whatever its parsers raise
    raise _damaged(place, error) from error


def _damaged(place: str, error: Exception) -> UserError:
  reason = _line(error) or type(error).__name__
  return UserError(
    f'{place}: cannot be read by this Minari ({reason}). Download or copy it anew, or '
    'install the Minari that wrote it.'
  )


def _line(thing: Any) -> str:
  return ' '.join(f'{thing}'.split())


def _actions(
  space: Any, told: tuple[str, ...], place: str
) -> tuple[int, tuple[str, ...]]:
  """The number of the first action, and all names."""
  kind = type(space).__name__
  if kind != 'Discrete':
    reason = 'continuous actions are no names' if kind == 'Box' else 'one at a time'
    raise UserError(
      f'{place}: action space {_line(space)}: expected Discrete; {reason}. Choose a '
      'dataset of such actions.'
    )
  first, count = int(space.start), int(space.n)
  if told and len(told) != count:
    raise UserError(
      f'{place}: action space {space}: has {count} actions, --actions names '
      f'{len(told)}. Name all of them, in order.'
    )
  return first, told or made_up_names(range(first, first + count))


def _is_lossy(dataset: Any) -> bool:
  """By the rule of the Minari that is here; older ones know no JPEG."""
  from minari.dataset import minari_storage

  is_picture_fn = getattr(minari_storage, 'is_image_space', lambda space: False)
  is_encoded = dataset.storage.metadata.get('jpeg_encoding', True)
  return bool(is_encoded and is_picture_fn(dataset.observation_space))


def _lengths(dataset: Any, place: str) -> list[int]:
  """Steps of each episode, by the metadata."""
  try:
    found = dataset.storage.get_episode_metadata(dataset.episode_indices)
    return [int(each['total_steps']) for each in found]
  except Exception as error:
    raise _damaged(place, error) from error


def _episodes(
  dataset: Any, spec: EnvironmentSpec, first: int, lengths: list[int], place: str
) -> Iterator[Episode]:
  for number, length in enumerate(lengths):
    here = f'{place}: episode {number}'
    try:
      # Asked for one by one: a reader of several may hold more than one.
      (found,) = dataset.iterate_episodes([dataset.episode_indices[number]])
    except Exception as error:
      raise _damaged(here, error) from error
    yield from _checked(
      found, dataset.observation_space.shape, spec, first, length, here
    )


def _checked(
  found: Any,
  shape: tuple[int, ...],
  spec: EnvironmentSpec,
  first: int,
  length: int,
  place: str,
) -> Iterator[Episode]:
  """An episode, in parts of at most the protocol's steps."""
  actions, rewards = np.asarray(found.actions), np.asarray(found.rewards)
  is_over = np.asarray(found.terminations, bool)
  observations = np.asarray(found.observations)
  if not len(actions) == len(rewards) == len(is_over) == length > 0:
    raise UserError(
      f'{place}: expected {length} steps by its metadata, and at least one, found '
      f'{len(actions)} actions, {len(rewards)} rewards. Download or copy it anew.'
    )
  if observations.shape != (length + 1, *shape):
    raise UserError(
      f'{place}: expected observations {[length + 1, *shape]}, found '
      f'{list(observations.shape)}. Download or copy it anew.'
    )
  is_ended = is_over | np.asarray(found.truncations, bool)
  if is_ended[:-1].any():
    raise UserError(
      f'{place}, step {int(is_ended.argmax())}: ends before its last step, '
      f'{length - 1}. Split it there.'
    )
  discounts = np.where(is_over, 0, 1).astype(np.float32)
  observations = in_form(observations, spec)
  for begin, end in cut(0, length, spec.protocol.max_episode_steps):
    episode = Episode(
      observations[begin : end + 1],
      actions[begin:end] - first,
      rewards[begin:end],
      discounts[begin:end],
    )
    episode = check_episode(episode, spec, place)
    if specs.atari_game(spec) is None:
      check_returns(episode.rewards, spec.return_range, place)
    yield episode
