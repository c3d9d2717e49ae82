"""How a step of an RLDS dataset looks: ours as they are written, and what is known.

Beside the standard fields a step may say what is known of its action. All three are
False, False and 0 on the last step of an episode, whose action has no meaning:

  is_labelled     bool: `action` stands for an action; where False it is 0
  is_recorded     bool: it is what was really done, and no model's guess
  confidence      float32: how sure its guess is, 1 where recorded

Without them all actions are recorded.
"""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np

from alpt_jax.data.encoded import encode_png
from alpt_jax.data.quiet_tensorflow import tf
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

# Below what quietens TensorFlow.
import tensorflow_datasets as tfds  # isort: skip

# Fields of a step besides its observation, one value each.
SCALARS = {
  'action': np.integer,
  **dict.fromkeys(('reward', 'discount'), np.number),
  **dict.fromkeys(('is_first', 'is_last', 'is_terminal'), np.bool_),
}
# Those that may be missing.
KNOWLEDGE = {
  **dict.fromkeys(('is_labelled', 'is_recorded'), np.bool_),
  'confidence': np.floating,
}


def dataset_name(name: str) -> str:
  """How a dataset of an environment is called in TFDS."""
  return re.sub(r'\W+', '_', name).strip('_').lower()


def dataset_info(
  folder: str | os.PathLike,
  spec: EnvironmentSpec,
  episode_metadata: Mapping[str, str | int | float],
  name: str,
  knowledge: tuple[str, ...] = (),
) -> tfds.core.DatasetInfo:
  """What TFDS writes to `dataset_info.json` and `features.json`.

  Args:
    folder: where.
    spec: of the environment.
    episode_metadata: of every episode, for their types.
    name: the dataset's, in TFDS.
    knowledge: those of `KNOWLEDGE` that steps have.
  """
  feature_of = {str: tfds.features.Text(), int: np.int64, float: np.float32}
  form = spec.observation
  observation = {'shape': form.shape, 'dtype': np.dtype(form.dtype).type}
  # PNG is lossless, and what TFDS keeps images as; it knows these channels only.
  if form.kind == 'image' and form.shape[-1] in (1, 3, 4):
    observation = tfds.features.Image(**observation, encoding_format='png')
  else:
    observation = tfds.features.Tensor(**observation)
  config = tfds.rlds.rlds_base.DatasetConfig(
    name='',
    overall_description=f'Episodes of {spec.name}, recorded by alpt_jax.',
    observation_info=observation,
    action_info=tfds.features.ClassLabel(names=list(spec.action_names)),
    reward_info=np.float32,
    discount_info=np.float32,
    step_metadata_info={
      field: np.float32 if field == 'confidence' else np.bool_ for field in knowledge
    },
    episode_metadata_info={
      key: feature_of[type(value)] for key, value in episode_metadata.items()
    },
  )
  identity = tfds.core.DatasetIdentity(
    name=name, version='1.0.0', data_dir=os.fspath(folder), module_name=''
  )
  return tfds.rlds.rlds_base.build_info(config, identity)


def steps(
  episode: Episode, knowledge: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
  """The L + 1 RLDS steps of an episode, as the table in `rlds.py` shows them.

  Args:
    episode: checked.
    knowledge: `[L]` each, by the field of `KNOWLEDGE`.
  """
  last = len(episode.actions)
  step = np.arange(last + 1)
  terminal = episode.discounts[-1] == 0
  return {
    'observation': episode.observations,
    'action': np.append(episode.actions, 0),
    'reward': np.append(episode.rewards, np.float32(0)),
    'discount': np.append(episode.discounts, np.float32(not terminal)),
    'is_first': step == 0,
    'is_last': step == last,
    'is_terminal': (step == last) & terminal,
    **{
      field: np.append(values, values.dtype.type(0))
      for field, values in (knowledge or {}).items()
    },
  }


def encoded_steps(
  episode: Episode,
  spec: EnvironmentSpec,
  knowledge: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray | list[bytes]]:
  """`steps`, grey pictures as PNGs: TFDS's own encoder takes three times as long.

  Args:
    episode: as in `steps`; its observations may come in pieces (`Pool.pieces`), of
      which one is held at a time where they become PNGs.
    spec: of its environment.
    knowledge: as in `steps`.
  """
  found, form = steps(episode, knowledge), spec.observation
  shown = episode.observations
  is_whole = hasattr(shown, 'shape')
  if form.kind == 'image' and form.shape[-1] == 1:
    pieces = [shown] if is_whole else shown
    found['observation'] = [encode_png(frame) for piece in pieces for frame in piece]
  elif not is_whole:
    found['observation'] = np.concatenate(list(shown))
  return found


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
  """What TensorFlow says of a disk that cannot be written, as Python says it.

  Raises:
    OSError: in its place.
  """
  try:
    yield
  except tf.errors.OpError as error:
    # A full disk, or one over its quota; a file that is too large.
    full = (tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError)
    number = errno.ENOSPC if isinstance(error, full) else errno.EIO
    raise OSError(number, error.message) from error


def check_forms(path: pathlib.Path, found: Mapping, spec: EnvironmentSpec) -> None:
  """Compares what the files claim to hold with the spec.

  Args:
    path: of `features.json`, for messages.
    found: TFDS's feature of each step field.
    spec: what they should be.

  Raises:
    UserError: a field is missing or of another form.
  """
  fix = 'Record the dataset anew, or correct environment.json.'
  form = np.dtype(spec.observation.dtype).type, spec.observation.shape
  scalars = SCALARS | {field: KNOWLEDGE[field] for field in KNOWLEDGE if field in found}
  forms = {'observation': form, **{field: (scalars[field], ()) for field in scalars}}
  for field, (dtype, shape) in forms.items():
    feature = found.get(field)
    if not (
      isinstance(feature, (tfds.features.Tensor, tfds.features.Image))
      and np.issubdtype(feature.np_dtype, dtype)
      and tf.TensorShape(feature.shape).is_compatible_with(shape)
    ):
      text = ' '.join(repr(feature).split()) if feature else f'only {", ".join(found)}'
      raise UserError(
        f'{path}, step field {field}: expected {dtype.__name__} {list(shape)} for '
        f'{spec.name}, found {text}. {fix}'
      )
  names = getattr(found['action'], 'names', None)
  # The same numbers under other names would be other actions. Where there are no
  # names, TFDS makes them up: '0', '1', ...
  if names and names[0] != '0' and tuple(names) != spec.action_names:
    raise UserError(
      f'{path}, step field action: expected {", ".join(spec.action_names)} for '
      f'{spec.name}, found {", ".join(names)}. {fix}'
    )


def known(found: Mapping[str, np.ndarray], guesses: float | None) -> np.ndarray | None:
  """`[L]` bool: the actions that count as known; None where all are.

  Args:
    found: the fields of an episode's L + 1 steps.
    guesses: the confidence from which on a guess counts, too; None: none does.
  """
  if not found.keys() & {'is_labelled', 'is_recorded'}:
    return None
  everything = np.ones(len(found['action']), bool)
  is_recorded = found.get('is_recorded', everything)
  if guesses is not None and 'is_recorded' in found:
    is_recorded = is_recorded | (found['confidence'] >= guesses)
  return (found.get('is_labelled', everything) & is_recorded)[:-1]
