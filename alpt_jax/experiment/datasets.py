"""Dataset folders -> pools, hidden labels, and the streams of a method's phase."""

import dataclasses
import pathlib
from fractions import Fraction

import numpy as np

from alpt_jax import methods, specs
from alpt_jax.data import labels as labelling
from alpt_jax.data.mixture import Mixture, PoolWindows, Stream
from alpt_jax.data.pool import Pool, open_pool
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import RunConfig
from alpt_jax.specs import EnvironmentSpec


def open_dataset(folder: str | pathlib.Path) -> Pool:
  """Opens a recorded dataset: its pool, made from its RLDS files when missing.

  Raises:
    UserError: the folder is missing, empty, not a dataset, or damaged.
  """
  folder = pathlib.Path(folder)
  if (folder / 'manifest.json').is_file():
    return open_pool(folder)
  if (folder / 'pool' / 'manifest.json').is_file():
    return open_pool(folder / 'pool')
  if not folder.is_dir():
    raise UserError(f'{folder}: no such dataset folder. Record it with bin/record.')
  # Only this conversion needs TensorFlow; training reads the pool it leaves.
  from alpt_jax.data import rlds

  print(f'{folder}: converting RLDS to a pool, once', flush=True)
  return rlds.to_pool(folder, folder / 'pool')


@dataclasses.dataclass(frozen=True)
class RunData:
  """The data of one run.

  Attributes:
    target: the target's pool with ALL its actions; only evaluation may read it.
    visible: the same as training sees it: hidden actions are gone.
    sources: fully labelled pools.
    labels: what is known of the target.
    vocabulary: the run's joint vocabulary.
  """

  target: Pool
  visible: Pool
  sources: tuple[Pool, ...]
  labels: labelling.Labels
  vocabulary: tuple[str, ...]

  @property
  def specs(self) -> list[EnvironmentSpec]:
    """Of every environment that takes part, the target first."""
    return [pool.spec for pool in (self.target, *self.sources)]

  @property
  def hash(self) -> str:
    """The manifest hashes of all datasets, the target first."""
    return '+'.join(pool.manifest_hash for pool in (self.target, *self.sources))


def load(
  config: RunConfig, vocabulary: tuple[str, ...] = (), *, with_sources: bool = True
) -> RunData:
  """Opens everything that a run reads and hides the target's actions.

  Args:
    config: of the run.
    vocabulary: of a checkpoint that the run starts from, kept and grown.
    with_sources: False leaves the sources closed, which only training reads.

  Raises:
    UserError: a dataset cannot be used, or its observations have another form
      than the target's.
  """
  target = open_dataset(config.data.target)
  folders = config.data.sources if with_sources else ()
  sources = tuple(open_dataset(folder) for folder in folders)
  for folder, source in zip(folders, sources, strict=True):
    if source.spec.observation != target.spec.observation:
      raise UserError(
        f'{folder}, field observation: expected the form of the target '
        f'{config.data.target}, {_form(target)}; found {_form(source)}. Record both '
        'with the same --observation.'
      )
  _check_environments(config, (target, *sources))
  hashes = [pool.manifest_hash for pool in (target, *sources)]
  for folder, digest in zip((config.data.target, *folders), hashes, strict=True):
    if hashes.count(digest) > 1:
      raise UserError(
        f'{folder}: the same dataset is named twice among data.target and '
        'data.sources; a source shows all its actions. Name each once.'
      )
  labels = labelling.draw_labels(
    target,
    config.data.labels,
    config.seed,
    config.data.segment_length,
    config.data.heldout_share,
  )
  all_labelled = methods.get(config.method).all_labelled
  visible = target if all_labelled else labelling.hide_actions(target, labels)
  everyone = [pool.spec for pool in (target, *sources)]
  names = specs.joint_vocabulary(everyone, vocabulary)
  return RunData(target, visible, sources, labels, names)


def _check_environments(config: RunConfig, pools) -> None:
  folders = (config.data.target, *config.data.sources)
  named = config.data.environments or [pool.spec.name for pool in pools]
  for folder, pool, name in zip(folders, pools, named, strict=False):
    if pool.spec.name != name:
      raise UserError(
        f'{folder}, field environment: expected {name}, as the config says, found '
        f'{pool.spec.name}. Record it anew or correct data.environments.'
      )


def _form(pool: Pool) -> str:
  observation = pool.spec.observation
  return f'{observation.kind} {observation.dtype} {list(observation.shape)}'


def make_mixture(config: RunConfig, data: RunData) -> Mixture:
  """The streams that train a method in its phase (Table 2), with their shares.

  Source environments and the target have equal shares. Within the target the
  labelled segments have a share of their own, as a random window almost never
  meets one. Unless `data.pool_policy_weight` says otherwise they do not count
  again for the DT where it is relabelled: the target stream already runs over
  D+ and D- uniformly, recorded actions included, and weighs as much more as makes
  the target's share of the DT's loss equal to a source's.
  """
  uses = methods.parts(config.method, config.phase)
  streams = []
  if 'source' in uses:
    for index, source in enumerate(data.sources):
      reader = _reader(config, data, source, index + 1)
      ends = np.arange(source.num_transitions)
      streams.append(
        _stream(f'source {index}', reader, ends, Fraction(1), uses['source'])
      )
  reader = _reader(config, data, data.visible, 0)
  share = Fraction(config.data.labelled_share).limit_denominator(1000)
  share = {'labelled': share, 'target': 1 - share}
  if len(uses.keys() & share.keys()) == 1:
    share = dict.fromkeys(share, Fraction(1))
  pool_weight = target_weight = 1.0
  if 'labelled' in uses and 'target' in uses and uses['target'].relabel:
    pool_weight = config.data.pool_policy_weight
    target_weight = (1 - float(share['labelled']) * pool_weight) / float(
      share['target']
    )
  if 'labelled' in uses:
    # The DT has no place for the first transitions of a window: a method that trains
    # nothing else draws windows whose context holds a label.
    only_policy = not uses['labelled'].idm
    length = config.model.context if only_policy else config.model.num_transitions
    ends = labelling.labelled_windows(data.target, data.labels, length)
    stream = _stream('labelled', reader, ends, share['labelled'], uses['labelled'])
    streams.append(dataclasses.replace(stream, policy_weight=pool_weight))
  if 'target' in uses:
    ends = labelling.trained_transitions(data.target, data.labels)
    stream = _stream('target', reader, ends, share['target'], uses['target'])
    streams.append(dataclasses.replace(stream, policy_weight=target_weight))
  return Mixture(streams, config.training.batch_size, config.seed)


def _reader(config, data, pool, environment) -> WindowReader:
  return WindowReader(pool, data.vocabulary, environment, config.model.num_transitions)


def _stream(name, reader, ends, share, use: methods.Use) -> Stream:
  windows = PoolWindows(reader, ends)
  return Stream(name, windows, share, float(use.idm), float(use.policy), use.relabel)
