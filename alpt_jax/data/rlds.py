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

A set may know only some actions, or hold a model's guesses: `rlds_forms.py`.

One of the files that need TensorFlow. Import this module only where RLDS files are
really needed.
"""

import json
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from alpt_jax import specs
from alpt_jax.data import rlds_forms
from alpt_jax.data.checks import check_all_known, check_episode
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.data.quiet_tensorflow import tf
from alpt_jax.errors import UserError
from alpt_jax.partial import PARTIAL, writer_name
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

# Below what quietens TensorFlow.
import tensorflow_datasets as tfds  # isort: skip

Folder = str | os.PathLike

# Ours: 100 Atari episodes are about the 200 MB that TFDS advises for a file.
_EPISODES_PER_FILE = 100


def write(
  folder: Folder,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  episode_metadata: Mapping[str, str | int | float],
  name: str | None = None,
  *,
  is_partial: bool = False,
) -> None:
  """Writes episodes as an RLDS dataset, complete or not there at all.

  It is written to a sibling folder that takes the final name at the end.

  Args:
    folder: must not exist yet, or be empty.
    spec: written to `environment.json`; its action names become class labels.
    episodes: read once, checked one by one, one in memory at a time.
    episode_metadata: the same for every episode, for example environment,
      layout_seed, policy, epsilon; str, int and float become text, int64 and
      float32 features beside `steps`.
    name: the dataset's name in TFDS; by default made from `spec.name`.
    is_partial: steps say whether their action is known; TFDS has to be told before
      the first is written. Without it all must be.

  Raises:
    UserError: the folder is taken, an episode does not fit `spec` (episode, step
      and field named), or there is none.
    OSError: it cannot be written.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f'{folder}: already there. Remove it, or record to another folder.')
  name = rlds_forms.dataset_name(name or spec.name)
  partial = folder.with_name(f'{folder.name}.{PARTIAL}{writer_name()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    fields = ('is_labelled',) if is_partial else ()
    info = rlds_forms.dataset_info(partial, spec, episode_metadata, name, fields)
    writer = tfds.core.SequentialWriter(info, _EPISODES_PER_FILE)
    writer.initialize_splits(['train'])
    num_episodes = 0
    for episode in episodes:
      place = f'{folder}: episode {num_episodes}'
      episode = check_episode(episode, spec, place)
      knowledge = _knowledge(episode, is_partial, place)
      steps = rlds_forms.encoded_steps(episode, spec, knowledge)
      with rlds_forms.disk_errors():
        writer.add_examples({'train': [{'steps': steps, **episode_metadata}]})
      num_episodes += 1
    if not num_episodes:
      raise UserError(f'{folder}: a dataset needs at least one episode, got none.')
    with rlds_forms.disk_errors():
      writer.close_all()
    text = json.dumps(spec.to_dict(), indent=2) + '\n'
    (partial / 'environment.json').write_text(text)
    os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _knowledge(episode: Episode, is_partial: bool, place: str) -> dict[str, np.ndarray]:
  """The fields of `rlds_forms.KNOWLEDGE` that are written of an episode."""
  if not is_partial:
    check_all_known(episode, place, 'Write the dataset as one that is partial.')
    return {}
  known = episode.is_labelled
  known = np.ones(len(episode.actions), bool) if known is None else known
  return {'is_labelled': known}


def validate(folder: Folder, spec: EnvironmentSpec | None = None) -> EnvironmentSpec:
  """Returns the spec of a dataset, having checked all but the episodes themselves.

  Args:
    folder: an RLDS dataset, ours or anyone's with the standard step fields.
    spec: what it should hold; `environment.json` in the folder unless given.

  Raises:
    UserError: one line that names the file and field and says what to do.
  """
  return _open(pathlib.Path(folder), spec)[1]


def read(
  folder: Folder, spec: EnvironmentSpec | None = None, guesses: float | None = None
) -> Iterator[Episode]:
  """The episodes of an RLDS dataset in their recorded order, each checked.

  What `validate` checks is checked before this returns, the rest while reading.
  An episode whose last step is not marked `is_last` counts as cut off there.

  Args:
    folder: as in `validate`.
    spec: as in `validate`.
    guesses: the confidence from which on a model's guess counts as a known action.
      By default none does: a guess never poses as a recording.

  Raises:
    UserError: as in `validate`, or guesses are asked for where none are told; or, while
      reading, an episode does not fit the spec (episode, step and field named)
      or a file is damaged (file named).
  """
  folder = pathlib.Path(folder)
  builder, spec = _open(folder, spec)
  fields = builder.info.features['steps'].feature
  for field in () if guesses is None else ('is_recorded', 'confidence'):
    if field not in fields:
      raise UserError(
        f'{folder}/features.json, step field {field}: expected one, as guesses are '
        'told and chosen by is_recorded and confidence, found none. Leave guesses out, '
        'or give what bin/label wrote.'
      )
  return _episodes(folder, builder, spec, guesses)


def to_pool(folder: Folder, pool_folder: Folder) -> Pool:
  """Writes an RLDS dataset as a pool, one episode in memory at a time.

  Fails as `read` does; nothing is left under `pool_folder` then. Processes that do it
  at once all open the pool of the first that is ready.
  """
  return write_pool(pool_folder, validate(folder), read(folder), replace=False)


def _open(folder: pathlib.Path, spec: EnvironmentSpec | None):
  """`(TFDS builder, spec)` of a folder whose metadata are in order."""
  _check_is_dataset(folder)
  # TFDS raises whatever the parser of a damaged file raises.
  try:
    builder = tfds.builder_from_directory(os.fspath(folder))
    features = dict(builder.info.features.items())
    files = builder.info.splits['train'].filepaths
  except Exception as error:
    raise UserError(
      f"{folder}: TFDS cannot open split 'train' by dataset_info.json and "
      f'features.json ({_first_line(error)}). Copy or record the dataset anew.'
    ) from error
  path = folder / 'features.json'
  steps = getattr(features.get('steps'), 'feature', None)
  if not isinstance(steps, tfds.features.FeaturesDict):
    raise UserError(
      f"{path}: not RLDS, expected each episode to have a dataset named 'steps', "
      f'found {", ".join(features)}. Give a dataset in RLDS format.'
    )
  spec = spec or _rl_unplugged_spec(builder) or _load_spec(folder / 'environment.json')
  rlds_forms.check_forms(path, dict(steps.items()), spec)
  for file in files:
    if not file.exists():
      raise UserError(f'{file}: no such file. Copy or record the dataset anew.')
  return builder, spec


def _check_is_dataset(folder: pathlib.Path) -> None:
  if not folder.is_dir() or not any(folder.iterdir()):
    problem = 'the folder is empty' if folder.is_dir() else 'no such folder'
    raise UserError(f'{folder}: {problem}. Record the dataset, or correct the path.')
  for file in ('dataset_info.json', 'features.json'):
    if not (folder / file).is_file():
      # TFDS itself nests its datasets as name/config/version.
      nested = sorted(folder.glob(f'*/**/{file}'))
      hint = f'Did you mean {nested[0].parent}?' if nested else 'Record it anew.'
      raise UserError(f'{folder}: not an RLDS dataset, {file} is missing. {hint}')


def _rl_unplugged_spec(builder) -> EnvironmentSpec | None:
  """That of a run of RL Unplugged as TFDS prepares it, by the dataset's own name."""
  match = re.fullmatch(r'([A-Za-z]+)_run_\d+', builder.info.config_name or '')
  if not builder.info.name.startswith('rlu_atari') or match is None:
    return None
  return specs.atari_spec(match[1], specs.RL_UNPLUGGED_PROTOCOL)


def _load_spec(path: pathlib.Path) -> EnvironmentSpec:
  try:
    return EnvironmentSpec.from_dict(json.loads(path.read_text()))
  except FileNotFoundError:
    problem = 'no such file, so the environment is unknown'
  except (ValueError, KeyError, TypeError) as error:
    problem = f'not an EnvironmentSpec ({type(error).__name__}: {_first_line(error)})'
  raise UserError(f'{path}: {problem}. Record the dataset anew, or write it by hand.')


def _episodes(folder, builder, spec, guesses: float | None) -> Iterator[Episode]:
  index = -1
  try:
    for index, steps in enumerate(_stacked_steps(builder)):
      place = f'{folder}: episode {index}'
      _check_marks(steps, place)
      yield check_episode(_episode(steps, folder, guesses), spec, place)
  except tf.errors.OpError as error:
    raise UserError(_damage(folder, builder, index + 1, error)) from error


def _stacked_steps(builder) -> Iterator[dict[str, np.ndarray]]:
  """Each episode's step fields as arrays of L + 1 rows, in the recorded order."""
  features = builder.info.features['steps'].feature
  # TFDS's own nested datasets would cost one tf.data pipeline per episode. With a
  # cycle of 1 the files are read one after the other.
  dataset = builder.as_dataset(
    split='train',
    decoders={'steps': tfds.decode.SkipDecoding()},
    read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
  )
  known = (field for field in rlds_forms.KNOWLEDGE if field in features)
  fields = ('observation', *rlds_forms.SCALARS, *known)
  dataset = dataset.map(
    lambda row: {key: _decode(features[key], row['steps'][key]) for key in fields}
  )
  return dataset.prefetch(1).as_numpy_iterator()


def _decode(feature, encoded):
  """All steps of one field, `[L + 1, ...]`."""
  if encoded.dtype == tf.string:
    decode_fn = feature.decode_example
    return tf.map_fn(decode_fn, encoded, fn_output_signature=feature.tf_dtype)
  return feature.decode_batch_example(encoded)


def _check_marks(steps: Mapping[str, np.ndarray], place: str) -> None:
  """Says where the marks of beginning and end contradict the order of steps."""
  last = len(steps['is_last']) - 1
  if last < 0:
    raise UserError(f'{place}: expected steps, found none. Remove the episode.')
  for field, only in (('is_first', 0), ('is_last', last), ('is_terminal', last)):
    wrong = np.flatnonzero(steps[field] & (np.arange(last + 1) != only))
    if wrong.size:
      raise UserError(
        f'{place}, step {wrong[0]}, field {field}: expected True only on step {only} '
        f'of steps 0 to {last}, found True. Split or repair the episode.'
      )


def _episode(
  steps: Mapping[str, np.ndarray], folder: pathlib.Path, guesses: float | None
) -> Episode:
  """Drops what the last step says of an action that led nowhere."""
  if steps['reward'][-1]:
    message = 'rewards on last steps are dropped, no observation follows them.'
    warnings.warn(f'{folder}: {message}', stacklevel=2)
  discounts = np.array(steps['discount'][:-1])
  if steps['is_terminal'][-1]:
    # Some writers put the 0 on the last step only.
    discounts[-1:] = 0
  return Episode(
    steps['observation'],
    steps['action'][:-1],
    steps['reward'][:-1],
    discounts,
    rlds_forms.known(steps, guesses),
  )


def _damage(folder, builder, index: int, error: Exception) -> str:
  """Finds the file that stopped the reading: TFDS does not name it."""
  split = builder.info.splits['train']
  for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
    try:
      found = f'{sum(1 for _ in tf.data.TFRecordDataset(os.fspath(path)))}'
    except tf.errors.OpError:
      found = 'a damaged or shortened file'
    if found != f'{expected}':
      return f'{path}: expected {expected} episodes, found {found}. Copy it anew.'
  problem = f'does not hold what features.json says ({_first_line(error)})'
  return f'{folder}: episode {index} {problem}. Record the dataset anew.'


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [''])[0]
