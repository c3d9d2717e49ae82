"""RLDS datasets through TFDS: write, validate, read, turn into a pool.

A folder that `write` made is read by plain TensorFlow Datasets, without any code
of ours: `tfds.builder_from_directory(folder).as_dataset(split='train')`.

How an episode of L transitions becomes L + 1 RLDS steps:

  step            0         1        ...   L - 1       L
  observation     o_0       o_1            o_(L-1)     o_L
  action          a_0       a_1            a_(L-1)     0, has no meaning
  reward          r_0       r_1            r_(L-1)     0, has no meaning
  discount        d_0       d_1            d_(L-1)     0 if terminal, else 1
  is_first        True      False          False       False
  is_last         False     False          False       True
  is_terminal     False     False          False       terminal

`reward[t]` and `discount[t]` belong to `action[t]`, which was taken on seeing
`observation[t]`. An episode is terminal if d_(L-1) is 0; otherwise it was cut
off. Reading follows the same rule for anyone's files: the last step's action,
reward and discount are dropped, because no observation follows them.

One of the three files that import TensorFlow; import it only where RLDS files
are really needed. TensorFlow only moves bytes here: it is kept off the GPUs.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# Read when TensorFlow is imported: only errors, and no oneDNN greeting, whose
# kernels nothing here uses.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

from alpt_jax.data.pool import Pool, check_episode, write_pool  # noqa: E402
from alpt_jax.errors import UserError  # noqa: E402
from alpt_jax.specs import EnvironmentSpec  # noqa: E402
from alpt_jax.types import Episode  # noqa: E402

# Too late, and harmless, if someone has already used TensorFlow.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], 'GPU')

SPLIT = 'train'
_VERSION = '1.0.0'
# Ours: 100 Atari episodes are about the 200 MB that TFDS advises for a file.
_EPISODES_PER_FILE = 100

# Step fields besides the observation, one value each: the numpy kinds accepted.
_SCALARS = {
  'action': 'iu',
  'reward': 'fiu',
  'discount': 'fiu',
  'is_first': 'b',
  'is_last': 'b',
  'is_terminal': 'b',
}
_KIND_WORDS = {'iu': 'integer', 'fiu': 'number', 'b': 'bool'}
_FIELDS = ('observation', *_SCALARS)


def write(
  folder: str | os.PathLike,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  episode_metadata: Mapping[str, str | int | float],
  name: str | None = None,
) -> None:
  """Writes episodes as an RLDS dataset, complete or not there at all.

  Episodes are checked and consumed one at a time. They go to a sibling folder
  that takes the final name at the end.

  Args:
    folder: must not exist yet, or be empty.
    spec: written to `environment.json`; its action names become class labels.
    episodes: read once.
    episode_metadata: the same for every episode, for example environment,
      layout_seed, policy, epsilon; str, int and float become text, int64 and
      float32 features beside `steps`.
    name: the dataset's name in TFDS; by default made from `spec.name`.

  Raises:
    UserError: the folder is taken, an episode does not fit `spec` (episode, step
      and field named), or there is none.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(
      f'{folder}: expected no such folder or an empty one, found something there. '
      'Remove it, or record to another folder.'
    )
  name = re.sub(r'\W+', '_', name or spec.name).strip('_').lower()
  partial = folder.with_name(f'{folder.name}.partial-{os.getpid()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    writer = tfds.core.SequentialWriter(
      _dataset_info(partial, spec, episode_metadata, name), _EPISODES_PER_FILE
    )
    writer.initialize_splits([SPLIT])
    num_episodes = 0
    for episode in episodes:
      episode = check_episode(episode, spec, f'{folder}: episode {num_episodes}')
      writer.add_examples({SPLIT: [{'steps': _steps(episode), **episode_metadata}]})
      num_episodes += 1
    if not num_episodes:
      raise UserError(f'{folder}: a dataset needs at least one episode, got none.')
    writer.close_all()
    text = json.dumps(spec.to_dict(), indent=2) + '\n'
    (partial / 'environment.json').write_text(text)
    os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _dataset_info(folder, spec, episode_metadata, name) -> tfds.core.DatasetInfo:
  """What TFDS writes to `dataset_info.json` and `features.json`."""
  feature_of = {str: tfds.features.Text(), int: np.int64, float: np.float32}
  config = tfds.rlds.rlds_base.DatasetConfig(
    name='',
    overall_description=f'Episodes of {spec.name}, recorded by alpt_jax.',
    observation_info=_observation_feature(spec),
    action_info=tfds.features.ClassLabel(names=list(spec.action_names)),
    reward_info=np.float32,
    discount_info=np.float32,
    episode_metadata_info={
      key: feature_of[type(value)] for key, value in episode_metadata.items()
    },
  )
  identity = tfds.core.DatasetIdentity(
    name=name, version=_VERSION, data_dir=os.fspath(folder), module_name=''
  )
  return tfds.rlds.rlds_base.build_info(config, identity)


def _observation_feature(spec: EnvironmentSpec):
  """PNG, which is lossless, where it exists for the channels; else plain numbers."""
  shape, dtype = spec.observation.shape, np.dtype(spec.observation.dtype).type
  if spec.observation.kind == 'image' and shape[-1] in (1, 3, 4):
    return tfds.features.Image(shape=shape, dtype=dtype, encoding_format='png')
  return tfds.features.Tensor(shape=shape, dtype=dtype)


def _steps(episode: Episode) -> list[dict[str, Any]]:
  """The L + 1 RLDS steps of an episode, as the module's table shows them."""
  last = len(episode.actions)
  discount = np.float32(episode.discounts[-1] != 0)
  return [
    {
      'observation': observation,
      'action': int(episode.actions[t]) if t < last else 0,
      'reward': episode.rewards[t] if t < last else np.float32(0),
      'discount': episode.discounts[t] if t < last else discount,
      'is_first': t == 0,
      'is_last': t == last,
      'is_terminal': t == last and discount == 0,
    }
    for t, observation in enumerate(episode.observations)
  ]


def validate(
  folder: str | os.PathLike, spec: EnvironmentSpec | None = None
) -> EnvironmentSpec:
  """Checks all that can be known of a dataset without reading its episodes.

  Args:
    folder: an RLDS dataset, ours or anyone's with the standard step fields.
    spec: what it should hold; `environment.json` in the folder unless given.

  Returns:
    The spec that the dataset claims to fit.

  Raises:
    UserError: one line that names the file and field and says what to do.
  """
  return _open(pathlib.Path(folder), spec)[1]


def read(
  folder: str | os.PathLike, spec: EnvironmentSpec | None = None
) -> Iterator[Episode]:
  """The episodes of an RLDS dataset in their recorded order, each checked.

  What `validate` checks is checked before this returns, the rest while reading.
  An episode whose last step is not marked `is_last` counts as cut off there.

  Args:
    folder: as in `validate`.
    spec: as in `validate`.

  Raises:
    UserError: as in `validate`; or, while reading, an episode does not fit the
      spec (episode, step and field named) or a file is damaged (file named).
  """
  folder = pathlib.Path(folder)
  builder, spec = _open(folder, spec)
  return _episodes(folder, builder, spec)


def to_pool(
  folder: str | os.PathLike,
  pool_folder: str | os.PathLike,
  spec: EnvironmentSpec | None = None,
) -> Pool:
  """Writes an RLDS dataset as a pool, one episode in memory at a time.

  Raises:
    UserError: as in `read`; nothing is left under `pool_folder` then.
  """
  folder = pathlib.Path(folder)
  builder, spec = _open(folder, spec)
  return write_pool(pool_folder, spec, _episodes(folder, builder, spec))


def _open(folder: pathlib.Path, spec: EnvironmentSpec | None):
  """`(TFDS builder, spec)` of a folder whose metadata are in order."""
  _check_is_rlds(folder)
  spec = spec or _load_spec(folder / 'environment.json')
  # TFDS has no error class of its own: a damaged file raises whatever its parser
  # raises.
  try:
    builder = tfds.builder_from_directory(os.fspath(folder))
    features = dict(builder.info.features.items())
    files = builder.info.splits[SPLIT].filepaths
  except Exception as error:
    raise UserError(
      f"{folder}: TFDS cannot open split '{SPLIT}' by dataset_info.json and "
      f'features.json ({_first_line(error)}). Copy or record the dataset anew.'
    ) from error
  _check_features(folder / 'features.json', features, spec)
  for file in files:
    if not file.exists():
      raise UserError(f'{file}: no such file. Copy or record the dataset anew.')
  return builder, spec


def _check_is_rlds(folder: pathlib.Path) -> None:
  if not folder.is_dir():
    raise UserError(
      f'{folder}: no such dataset folder. Record it, or correct the path.'
    )
  if not any(folder.iterdir()):
    raise UserError(f'{folder}: expected a dataset, found an empty folder. Record it.')
  for file in ('dataset_info.json', 'features.json'):
    if not (folder / file).is_file():
      # TFDS itself nests its datasets as name/config/version.
      nested = sorted(folder.glob(f'*/**/{file}'))
      hint = f'Did you mean {nested[0].parent}?' if nested else 'Record it anew.'
      raise UserError(f'{folder}: not an RLDS dataset, {file} is missing. {hint}')


def _load_spec(path: pathlib.Path) -> EnvironmentSpec:
  try:
    return EnvironmentSpec.from_dict(json.loads(path.read_text()))
  except FileNotFoundError:
    problem = 'no such file, so the environment is unknown'
  except (ValueError, KeyError, TypeError) as error:
    problem = f'not an EnvironmentSpec ({type(error).__name__}: {_first_line(error)})'
  raise UserError(f'{path}: {problem}. Record the dataset anew, or write it by hand.')


def _check_features(path, features, spec: EnvironmentSpec) -> None:
  """Compares what the files claim to hold with RLDS and with the spec."""
  steps = getattr(features.get('steps'), 'feature', None)
  if not isinstance(steps, tfds.features.FeaturesDict):
    raise UserError(
      f"{path}: not RLDS, expected each episode to have a dataset named 'steps', "
      f'found {", ".join(features)}. Give a dataset in RLDS format.'
    )
  for field in _FIELDS:
    if field not in steps:
      raise UserError(
        f'{path}: step field {field} is missing, found {", ".join(steps)}. '
        'Give a dataset with all standard RLDS step fields.'
      )
  form, of_spec = spec.observation, f'by the environment {spec.name}'
  if not _holds(steps['observation'], np.dtype(form.dtype).kind, form.shape):
    expected = f'{form.dtype} {list(form.shape)} {of_spec}'
    raise _mismatch(path, 'observation', expected, repr(steps['observation']))
  for field, kinds in _SCALARS.items():
    if not _holds(steps[field], kinds, ()):
      expected = f'one {_KIND_WORDS[kinds]} per step'
      raise _mismatch(path, field, expected, repr(steps[field]))
  names = getattr(steps['action'], 'names', None)
  # The same numbers under other names would be other actions.
  if names and tuple(names) != spec.action_names:
    expected = f'{", ".join(spec.action_names)} {of_spec}'
    raise _mismatch(path, 'action', expected, ', '.join(names))


def _holds(feature, kinds: str, shape: tuple[int, ...]) -> bool:
  """Whether a TFDS feature is one array of that form; its shape may be open."""
  return (
    isinstance(feature, (tfds.features.Tensor, tfds.features.Image))
    and np.dtype(feature.np_dtype).kind in kinds
    and tf.TensorShape(feature.shape).is_compatible_with(shape)
  )


def _mismatch(path, field: str, expected: str, found: str) -> UserError:
  return UserError(
    f'{path}, field {field}: expected {expected}, found {" ".join(found.split())}. '
    'Record the dataset anew, or correct environment.json.'
  )


def _episodes(folder, builder, spec: EnvironmentSpec) -> Iterator[Episode]:
  features = builder.info.features['steps'].feature
  dataset = builder.as_dataset(
    split=SPLIT,
    # Whole episodes at once: TFDS's nested datasets cost a pipeline per episode.
    decoders={'steps': tfds.decode.SkipDecoding()},
    # The recorded order, file after file.
    read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
  ).map(
    lambda episode: {
      field: _decode(features[field], episode['steps'][field]) for field in _FIELDS
    }
  )
  iterator = dataset.prefetch(1).as_numpy_iterator()
  index = num_lost = 0
  while True:
    try:
      steps = next(iterator)
    except StopIteration:
      break
    except tf.errors.OpError as error:
      raise UserError(_damage(folder, builder, index, error)) from error
    place = f'{folder}: episode {index}'
    _check_ends(steps, place)
    yield check_episode(_episode(steps), spec, place)
    num_lost += bool(steps['reward'][-1])
    index += 1
  if num_lost:
    warnings.warn(
      f'{folder}: {num_lost} of {index} episodes have a reward on their last step; '
      'it is dropped, because no observation follows it.',
      stacklevel=2,
    )


def _decode(feature, encoded):
  """All steps of one field, `[L + 1, ...]`."""
  if encoded.dtype == tf.string:
    return tf.map_fn(
      feature.decode_example, encoded, fn_output_signature=feature.tf_dtype
    )
  return feature.decode_batch_example(encoded)


def _check_ends(steps: Mapping[str, np.ndarray], place: str) -> None:
  """Says where the marks of beginning and end contradict the order of steps."""
  if not len(steps['is_last']):
    raise UserError(
      f'{place}: expected at least two steps, found none. Remove the episode.'
    )
  for field, marks, first in (
    ('is_last', steps['is_last'][:-1], 0),
    ('is_terminal', steps['is_terminal'][:-1], 0),
    ('is_first', steps['is_first'][1:], 1),
  ):
    if marks.any():
      step = int(marks.argmax()) + first
      where = 'a step before it' if field == 'is_first' else 'a step after it'
      raise UserError(
        f'{place}, step {step}, field {field}: expected no mark inside an episode, '
        f'found {where}. Split or repair the episode.'
      )


def _episode(steps: Mapping[str, np.ndarray]) -> Episode:
  """Drops what the last step says of an action that was never taken."""
  discounts = np.array(steps['discount'][:-1])
  if steps['is_terminal'][-1]:
    # Some writers put the 0 on the last step only.
    discounts[-1:] = 0
  return Episode(
    steps['observation'], steps['action'][:-1], steps['reward'][:-1], discounts
  )


def _damage(folder, builder, index: int, error: Exception) -> str:
  """Finds the file that stopped the reading: TFDS does not name it."""
  split = builder.info.splits[SPLIT]
  for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
    try:
      found = sum(1 for _ in tf.data.TFRecordDataset(os.fspath(path)))
    except tf.errors.OpError:
      return f'{path}: the file is damaged or cut short. Copy or record it anew.'
    if found != expected:
      return (
        f'{path}: expected {expected} episodes by dataset_info.json, found {found}. '
        'Copy or record the dataset anew.'
      )
  return (
    f'{folder}: episode {index} does not hold what features.json says '
    f'({_first_line(error)}). Record the dataset anew.'
  )


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [''])[0]
