"""Dataset folders -> recorded sets, hidden labels, and the streams of a phase."""

import dataclasses
import pathlib
from collections.abc import Iterator

from alpt_jax import methods, specs
from alpt_jax.data import labels as labelling
from alpt_jax.data.mixture import Mixture, Stream
from alpt_jax.data.packed import open_recorded
from alpt_jax.data.pool import Pool
from alpt_jax.data.pool_files import MANIFEST
from alpt_jax.data.recorded_labels import draw_recorded
from alpt_jax.data.shards import recorded_runs
from alpt_jax.errors import UserError
from alpt_jax.experiment import mixing
from alpt_jax.experiment.config import DataConfig, RunConfig
from alpt_jax.experiment.recorded import PoolSet, RecordedSet, View
from alpt_jax.experiment.shard_set import ShardSet
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import EvaluationWindows

# Of an RLDS dataset; where one of them is missing, its reader says so.
_RLDS = ('dataset_info.json', 'features.json')
# Where one is looked for that was meant.
_DEPTHS = ('*', '*/*', '*/*/*')


def open_dataset(folder: str | pathlib.Path) -> Pool:
  """Opens a recorded dataset: its pool or packed set, or a pool made of its RLDS files.

  Raises:
    UserError: the folder is missing, empty, not a dataset, or damaged.
  """
  folder = pathlib.Path(folder)
  if store := recorded_store(folder):
    return open_recorded(store)
  check_may_be_rlds(folder)
  # Only this conversion needs TensorFlow; training reads the pool it leaves.
  from alpt_jax.data import rlds

  print(f'{folder}: converting RLDS to a pool, once', flush=True)
  return rlds.to_pool(folder, folder / 'pool')


def recorded_store(folder: pathlib.Path) -> pathlib.Path | None:
  """Where a dataset folder holds a pool or a packed set; None where it does not."""
  places = (folder, folder / 'pool', folder / 'packed')
  return next((place for place in places if (place / MANIFEST).is_file()), None)


def check_may_be_rlds(folder: pathlib.Path, also: str = '') -> None:
  """Sees, without TensorFlow, that what is no recorded store may be an RLDS dataset.

  Args:
    folder: of a dataset.
    also: what else would have done, for the message.

  Raises:
    UserError: it is none; where datasets lie in the folder, one of them is named.
  """
  if not folder.exists():
    raise UserError(
      f'{folder}: no such dataset folder. Record it with bin/record, for RL Unplugged '
      'download it, or correct the path.'
    )
  if not folder.is_dir():
    raise UserError(
      f'{folder}: expected a dataset folder, found a file. Name its folder.'
    )
  if is_dataset(folder):
    return
  # TFDS nests its datasets as name/config/version.
  inside = (path for depth in _DEPTHS for path in sorted(folder.glob(depth)))
  near = (path for path in inside if path.is_dir() and is_dataset(path))
  found = 'none of these' if any(folder.iterdir()) else 'an empty folder'
  hint = next((f'Did you mean {path}?' for path in near), 'Correct the path.')
  raise UserError(
    f'{folder}: expected {also}manifest.json (a pool or a packed set), '
    'dataset_info.json (RLDS) or run_<r>-<i>-of-<N> (RL Unplugged), found '
    f'{found}. {hint}'
  )


def is_dataset(folder: pathlib.Path) -> bool:
  """Whether a folder looks like a dataset of any kind, by the names in it."""
  is_recorded = recorded_store(folder) is not None
  return is_recorded or holds_rlds(folder) or holds_shards(str(folder))


def holds_rlds(folder: pathlib.Path) -> bool:
  """Whether a folder is an RLDS dataset, by the names of its files."""
  return any((folder / name).is_file() for name in _RLDS)


def open_set(folder: str, config: DataConfig) -> RecordedSet:
  """Opens whatever a folder holds: a pool, packed or not, RLDS files or shards.

  Raises:
    UserError: as `open_dataset`, or the shards cannot be read.
  """
  if not holds_shards(folder):
    return PoolSet(open_dataset(folder))
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow

  root, _, game = folder.rstrip('/').rpartition('/')
  cache = pathlib.Path(config.cache)
  manifest = rl_unplugged.scan(
    root or '.',
    game,
    cache,
    runs=config.runs,
    checkpoints=config.checkpoints or None,
    reward_lead=None if config.reward_lead < 0 else config.reward_lead,
    skip_bad=config.skip_bad_shards,
  )
  return ShardSet(manifest, root or '.', cache)


def holds_shards(folder: str) -> bool:
  """Whether a folder is a game of RL Unplugged, by the names of its files."""
  if folder.startswith('gs://'):
    return True
  return bool(recorded_runs(pathlib.Path(folder)))


@dataclasses.dataclass(frozen=True)
class RunData:
  """The data of one run.

  Attributes:
    target: the target with ALL its actions; what training gets of it is hidden by
      `labels` on the way.
    sources: sets that show all actions that were recorded of them.
    labels: what is known of the target.
    vocabulary: the run's joint vocabulary.
  """

  target: RecordedSet
  sources: tuple[RecordedSet, ...]
  labels: labelling.Labels
  vocabulary: tuple[str, ...]

  @property
  def specs(self) -> list[EnvironmentSpec]:
    """Of every environment that takes part, the target first."""
    return [each.spec for each in (self.target, *self.sources)]

  @property
  def hash(self) -> str:
    """The manifest hashes of all datasets, the target first."""
    return '+'.join(each.manifest_hash for each in (self.target, *self.sources))

  def has_truth(self, heldout: bool) -> bool:
    """Whether there is any evaluation truth, of held-out episodes or of others."""
    return labelling.has_truth(self.target.index, self.labels, heldout=heldout)

  def evaluation(self, config: RunConfig, heldout: bool) -> EvaluationWindows:
    """Evaluation truth; only metric functions may receive it."""
    view = View(self.vocabulary, 0, config.model.num_transitions, config.seed)
    num_transitions = config.evaluation.num_transitions
    return self.target.evaluation(view, self.labels, num_transitions, heldout)


def load(
  config: RunConfig, vocabulary: tuple[str, ...] = (), *, with_sources: bool = True
) -> RunData:
  """Opens everything that a run reads and draws the target's labels.

  Args:
    config: of the run.
    vocabulary: of a checkpoint that the run starts from, kept and grown.
    with_sources: False leaves the sources closed, which only training reads.

  Raises:
    UserError: a dataset cannot be used, or its observations have another form
      than the target's, or were made in another way.
  """
  folders = (config.data.target, *(config.data.sources if with_sources else ()))
  target, *sources = sets = [open_set(folder, config.data) for folder in folders]
  for folder, source in zip(folders[1:], sources, strict=True):
    _check_alike(folder, source.spec, config.data.target, target.spec)
    _check_teaches(folder, source)
  _check_environments(config, sets)
  hashes = [each.manifest_hash for each in sets]
  for folder, digest in zip(folders, hashes, strict=True):
    if hashes.count(digest) > 1:
      raise UserError(
        f'{folder}: the same dataset is named twice among data.target and '
        'data.sources; a source shows all its actions. Name each once.'
      )
  labels = draw_labels(config, target)
  names = specs.joint_vocabulary([each.spec for each in sets], vocabulary)
  return RunData(target, tuple(sources), labels, names)


def draw_labels(config: RunConfig, target: RecordedSet) -> labelling.Labels:
  """Which of the target's transitions keep their action, and what is set aside.

  Where only some actions were recorded they are drawn from those. A phase that learns
  nothing of the target needs none.

  Raises:
    UserError: `data.labels` is 0 where all actions are recorded, or more than there
      are; or what was recorded is too little for the method.
  """
  data, index = config.data, target.index
  draw = (index, data.labels, config.seed, data.segment_length, data.heldout_share)
  num_recorded = int(index.is_labelled.sum())
  if num_recorded == index.num_transitions:
    if not data.labels and not methods.get(config.method).all_labelled:
      raise UserError(
        f'data.labels: expected at least 1, as all {num_recorded:,} actions of '
        f'{data.target} are recorded, found 0. Say how many are to be known, or learn '
        'from all with method oracle.'
      )
    return labelling.draw_labels(*draw)
  if methods.get(config.method).all_labelled:
    raise UserError(
      f'{data.target}: expected all actions, which method {config.method} learns '
      f'from, found {num_recorded:,} of {index.num_transitions:,}. Use another method.'
    )
  if num_recorded:
    return draw_recorded(*draw, data.audit_share, config.model.num_transitions)
  if methods.parts(config.method, config.phase).keys() & {'labelled', 'target'}:
    raise UserError(
      f'{data.target}: expected recorded actions to learn from, found none in its '
      f'{index.num_episodes:,} episodes. Label some of them; only phase sources, the '
      'pretraining without the target, needs none.'
    )
  return labelling.Labels(target.manifest_hash, config.seed, (), ())


def remarks(data: RunData) -> list[str]:
  """What whoever starts a run should know of its data, a line each."""
  return [*_unshared(data.specs), *_guessed(data.target)]


def _unshared(environments: list[EnvironmentSpec]) -> Iterator[str]:
  """The target's actions that no source has by name."""
  target, *sources = environments
  names = {name for source in sources for name in source.action_names}
  missing = [name for name in target.action_names if name not in names]
  if sources and missing:
    yield (
      f'{target.name}: no source has an action named {", ".join(missing)}; what that '
      "looks like is learnt from the target's own labels alone. An action is its "
      'name: give one that has another name in a source the same.'
    )


def _guessed(target: RecordedSet) -> Iterator[str]:
  """That the target's labels are not all recorded."""
  guesses = getattr(target.index, 'guesses', None)  # shards have none
  if guesses is not None:
    yield (
      f'{target.spec.name}: guesses of a model that was {guesses:g} sure count as '
      'recorded: scores of the IDM are agreement with them, too.'
    )


def _check_alike(folder: str, found: EnvironmentSpec, target: str, expected) -> None:
  """Raises where a source shows its environment in another way than the target."""
  if found.observation != expected.observation:
    raise UserError(
      f'{folder}, field observation: expected the form of the target {target}, '
      f'{_form(expected)}; found {_form(found)}. Record both with the same '
      '--observation, or convert both with the same --size.'
    )
  differing = found.protocol.seen_differences(expected.protocol)
  if differing:
    raise UserError(
      f'{folder}, field protocol: {", ".join(differing)} as in the target {target}. '
      'Record both under one protocol.'
    )


def _check_teaches(folder: str, source: RecordedSet) -> None:
  """Raises where no action of a source is known: nobody fills them in."""
  if not source.index.is_labelled.any():
    raise UserError(
      f'{folder}: expected a source with recorded actions, found none in its '
      f'{source.index.num_episodes:,} episodes. Take it out of data.sources.'
    )


def _check_environments(config: RunConfig, sets) -> None:
  folders = (config.data.target, *config.data.sources)
  named = config.data.environments or [each.spec.name for each in sets]
  for folder, each, name in zip(folders, sets, named, strict=False):
    if each.spec.name != name:
      raise UserError(
        f'{folder}, field environment: expected {name}, as the config says, found '
        f'{each.spec.name}. Record it anew or correct data.environments.'
      )


def _form(spec: EnvironmentSpec) -> str:
  observation = spec.observation
  return f'{observation.kind} {observation.dtype} {list(observation.shape)}'


def make_mixture(
  config: RunConfig, data: RunData, host: int = 0, num_hosts: int = 1
) -> Mixture:
  """The streams that train a method in its phase, with their shares (`mixing.py`)."""
  view = View(
    data.vocabulary,
    0,
    config.model.num_transitions,
    config.seed,
    host,
    num_hosts,
    num_streams=1 + len(data.sources),
  )
  uses = methods.parts(config.method, config.phase)
  is_hidden = not methods.get(config.method).all_labelled
  streams = []
  for part in mixing.parts(config):
    if part.name == 'labelled':
      within = _labelled_within(config, uses['labelled'])
      windows = data.target.labelled(view, data.labels, within)
    elif part.name == 'target':
      windows = data.target.windows(view, data.labels, is_hidden)
    else:
      source = data.sources[part.source]
      windows = source.windows(view._replace(environment=part.source + 1), None, False)
    streams.append(
      Stream(
        part.name,
        windows,
        part.share,
        part.idm_weight,
        part.policy_weight,
        part.relabel,
      )
    )
  group = mixing.row_use(config).group
  return Mixture(streams, config.training.batch_size, config.seed, group)


def _labelled_within(config: RunConfig, use: methods.Use) -> int:
  """Among how many last transitions of a labelled row there must be a label.

  The DT has no place for the first transitions of a window: a method that trains
  nothing else draws windows whose context holds a label. Q-learning looks at the last
  transition alone.
  """
  if methods.get(config.method).is_q_learning:
    return 1
  return config.model.num_transitions if use.idm else config.model.context
