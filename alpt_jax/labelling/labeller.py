"""A trained IDM labels recordings: two entrances, one core."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alpt_jax import specs
from alpt_jax.data import pool as pools
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.labelling.gathering import EpisodeLabels, Gathered
from alpt_jax.labelling.reading import ReadAhead, Recording, Rows, Windows, batches
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.specs import EnvironmentSpec, Protocol
from alpt_jax.training import sharding

# Setting -> how many transitions lie between two windows (None: T), and whether a
# window is read at all of its own.
SETTINGS = {'once': (None, False), 'centre': (1, False), 'mean': (1, True)}


@dataclasses.dataclass(frozen=True)
class LabellingConfig:
  """Which windows label a transition, and how many are labelled at once.

  The slots of a model are not equally good, and its middle one is not the best. Over
  five mazes (alpt, 250 labels, 68,695 hidden transitions) 'once' and 'centre' found
  .953 of the actions, 'mean' .964; in Freeway (a model of form 'difference', 10,000)
  they found .760, .763 and .766. In each maze, also without sources, 'mean' was ahead
  of both. So it is the default; 'once' takes a fifth of its windows.

  Attributes:
    label_by: 'once', by one window: they lie side by side; 'centre', by the window in
      whose middle it stands; 'mean', by the mean of the probabilities that all windows
      which show it give (ours). The last two take a window for each transition.
    batch_size: windows per call of the compiled program, over all devices; the labels
      do not depend on it but for rounding. None: as `batch_size_of` says.
    ahead: batches that are read while the device computes.
  """

  label_by: str = 'mean'
  batch_size: int | None = None
  ahead: int = 2


@dataclasses.dataclass(frozen=True)
class Labeller:
  """A trained IDM and what it is a model of.

  Attributes:
    idm: the model.
    params: its parameters, on the devices of `mesh`.
    vocabulary: the A joint action names that it was trained on.
    protocol: how what it was trained on was recorded.
    mesh: the devices that share a batch's rows.
  """

  idm: InverseDynamics
  params: Any
  vocabulary: tuple[str, ...]
  protocol: Protocol
  mesh: Mesh


@dataclasses.dataclass
class Progress:
  """What has been done so far; counted up while episodes are labelled.

  One that is passed to several calls adds them up.

  Attributes:
    windows: passed through the model.
    transitions: that those windows label, also of an episode whose end is to come.
    waited: seconds in which nothing was there to be labelled.
  """

  windows: int = 0
  transitions: int = 0
  waited: float = 0.0

  def advanced(self) -> None:
    """Called when a batch has been counted; for whoever wants to be told."""


def make_labeller(
  idm: InverseDynamics,
  params: Any,
  vocabulary: Sequence[str],
  protocol: Protocol,
  mesh: Mesh | None = None,
) -> Labeller:
  """Puts an IDM on the devices that shall label.

  Args:
    idm: the model.
    params: its parameters, wherever they lie.
    vocabulary: the A joint action names that it was trained on.
    protocol: how what it was trained on was recorded.
    mesh: of devices of this process; None: all of them. Several processes share the
      work by episodes (`plan.share_of`), and send each other nothing.
  """
  mesh = mesh or sharding.make_mesh(devices=jax.local_devices())
  params = sharding.place_state(params, mesh)
  return Labeller(idm, params, tuple(vocabulary), protocol, mesh)


def label_pool(
  labeller: Labeller,
  pool: Pool,
  config: LabellingConfig,
  episodes: Sequence[int] | None = None,
  progress: Progress | None = None,
) -> EpisodeLabels:
  """Labels the episodes of a pool; recorded actions stay as they are, bit for bit.

  Args:
    labeller: trained on observations of the pool's form.
    pool: actions are known where its `is_labelled` says so.
    config: how.
    episodes: numbers of those to be labelled, in this order; None: all.
    progress: counted up meanwhile.

  Returns:
    `EpisodeLabels` over the transitions of all of them, episode after episode; empty
    arrays for no episodes, as in a share of `plan.share_of` that got none. A
    probability for each transition and own action is the most of it.

  Raises:
    UserError: see `label_episodes`, or there is no such episode; nothing is returned
      then.
  """
  chosen = range(pool.num_episodes) if episodes is None else episodes
  for index in chosen:
    # numpy would count -1 from the end, and the places of its rows would be others.
    if not 0 <= index < pool.num_episodes:
      raise UserError(
        f'{pool.spec.name}, episodes: expected 0 to {pool.num_episodes - 1}, found '
        f'{index}.'
      )
  recordings = (recording_of(pool, int(index)) for index in chosen)
  found = label_episodes(labeller, pool.spec, recordings, config, progress)
  nothing = EpisodeLabels(
    np.zeros(0, np.int32),
    np.zeros(0, np.float32),
    np.zeros(0, bool),
    np.zeros((0, len(pool.spec.action_names)), np.float32),
  )
  return EpisodeLabels(*map(np.concatenate, zip(nothing, *found, strict=True)))


def label_episodes(
  labeller: Labeller,
  spec: EnvironmentSpec,
  recordings: Iterable[Recording],
  config: LabellingConfig,
  progress: Progress | None = None,
) -> Iterator[EpisodeLabels]:
  """Labels recordings one after the other, in memory that does not grow with them.

  Not with their number, and where one comes in pieces, not with its frames. The labels
  of an episode are given when the batch behind that of its last window is full, or
  nothing more comes: those of a source that is being recorded come so much later.

  Closing the generator waits until the recording, or the piece of it, that is being
  read is there.

  Args:
    labeller: trained on observations of the environment's form.
    spec: of the environment that all of them are of.
    recordings: read in a thread, some batches before their labels are given.
    config: how.
    progress: counted up meanwhile.

  Raises:
    UserError: at once, where the labeller is none for this environment; while it goes,
      where a recording does not fit (`reading.batches`). Before this error, or another
      in reading, the labels of all recordings before it are given.
  """
  check(labeller, spec, config)
  return _labelled(labeller, spec, recordings, config, progress or Progress())


def _labelled(labeller, spec, recordings, config, progress) -> Iterator[EpisodeLabels]:
  """`label_episodes` of what was checked."""
  idm, mesh = labeller.idm, labeller.mesh
  guess_fn = _probabilities(idm)
  allowed = specs.allowed_actions(spec, labeller.vocabulary)
  gathered = Gathered(specs.action_indices(spec, labeller.vocabulary))

  def place(rows: Rows):
    inputs = sharding.place_batch((rows.observations, rows.valid), mesh)
    return rows._replace(observations=None), inputs

  def computed():
    for rows, inputs in reader:
      yield rows, guess_fn(labeller.params, *inputs, allowed)

  read = batches(recordings, windows_of(labeller, config), len(spec.action_names))
  reader = ReadAhead(read, place, config.ahead)
  end, waited = 0, 0.0
  # One batch is computed while the results of the one before are fetched.
  for rows, probabilities in _one_behind(computed()):
    progress.windows += int((rows.places >= 0).any(1).sum())
    begin, end = end, max(end, int(rows.places.max()) + 1)
    progress.transitions += end - begin
    before, waited = waited, reader.waited
    progress.waited += waited - before
    progress.advanced()
    yield from gathered.add(rows, np.asarray(probabilities))


def _one_behind(items: Iterator[Any]) -> Iterator[Any]:
  """Each item when the next is there, or before the error that comes in its place."""
  last = ()
  try:
    for item in items:
      yield from last
      last = (item,)
  except Exception:
    yield from last
    raise
  yield from last


def batch_size_of(labeller: Labeller, config: LabellingConfig) -> int:
  """Windows per call of the compiled program, over all devices.

  Where the config leaves it open, 256; of screens on a CPU 32, which took half the time
  (docs/benchmarks.md).
  """
  if config.batch_size is not None:
    return config.batch_size
  is_cpu = labeller.mesh.devices.flat[0].platform == 'cpu'
  best = 32 if is_cpu and labeller.idm.observation_spec.kind == 'image' else 256
  return -(-best // labeller.mesh.size) * labeller.mesh.size


def windows_of(labeller: Labeller, config: LabellingConfig) -> Windows:
  """How a model's recordings are cut.

  Those of a model that reads pairs lie side by side whatever the config says: a
  transition knows nothing of those beside it, and windows that overlap would compute
  the same again.
  """
  idm = labeller.idm
  label_by = 'once' if idm.form == 'pair' else config.label_by
  stride, reads_all = SETTINGS[label_by]
  length = idm.num_transitions
  rows = batch_size_of(labeller, config)
  return Windows(idm.observation_spec, length, stride or length, reads_all, rows)


def recording_of(
  pool: Pool, episode: int, begin: int = 0, end: int | None = None
) -> Recording:
  """An episode of a pool, or its transitions from `begin` up to `end`."""
  end = int(pool.lengths[episode]) if end is None else end
  first = int(pool.starts[episode])
  own = slice(first + begin, first + end)
  pieces = pool.pieces(episode, begin, end)
  # A short episode is not put together again.
  observations = next(pieces) if end - begin < pools.PIECE else pieces
  return Recording(observations, pool.actions[own], pool.is_labelled[own])


@functools.cache
def _probabilities(idm: InverseDynamics):
  """Jitted: `[B, T, A]` float32 probabilities, 0 for actions that are not allowed."""

  def probabilities(params, observations, valid, allowed):
    logits = idm.apply({'params': params}, observations, valid)
    return jax.nn.softmax(jnp.where(allowed, logits.astype(jnp.float32), -jnp.inf))

  return jax.jit(probabilities)


def _is_count(value: Any) -> bool:
  """Whether a setting is a whole number of at least 1."""
  return isinstance(value, (int, np.integer)) and value is not True and value >= 1


def check(labeller: Labeller, spec: EnvironmentSpec, config: LabellingConfig) -> None:
  """Whether a labeller can label an environment's recordings, asked before it does.

  Raises:
    UserError: its model is of other observations, another protocol, or other actions;
      or the config is wrong.
  """
  label_by, size = f'{config.label_by}', labeller.mesh.size
  if label_by not in SETTINGS:
    raise UserError(
      f'labelling.label_by: expected one of {", ".join(SETTINGS)}, found '
      f"'{label_by}'{did_you_mean(label_by, SETTINGS)}"
    )
  rows = batch_size_of(labeller, config)
  if not _is_count(rows) or rows % size:
    raise UserError(
      f'labelling.batch_size: expected a multiple of the {size} devices, found '
      f'{rows!r}.'
    )
  if not _is_count(config.ahead):
    raise UserError(
      f'labelling.ahead: expected a whole number of at least 1, found {config.ahead!r}.'
    )
  expected = labeller.idm.observation_spec
  if spec.observation != expected:
    raise UserError(
      f'{spec.name}, field observation: expected {expected}, which the IDM was trained '
      f'on, found {spec.observation}. Record it in that form.'
    )
  differing = spec.protocol.seen_differences(labeller.protocol)
  if differing:
    raise UserError(
      f'{spec.name}, field protocol: {", ".join(differing)} as in what the IDM was '
      'trained on. Record it under that protocol.'
    )
  if not spec.action_names:
    raise UserError(
      f'{spec.name}, field action_names: expected the actions that it accepts, found '
      'none: there is nothing to guess. Name them.'
    )
  for name in spec.action_names:
    if name not in labeller.vocabulary:
      raise UserError(
        f"{spec.name}: the IDM does not know its action '{name}'"
        f'{did_you_mean(name, labeller.vocabulary)}. Finetune it on data that has it.'
      )
