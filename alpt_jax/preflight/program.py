"""The real training step of a config, compiled for devices that need not be there."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from alpt_jax import specs
from alpt_jax.errors import UserError
from alpt_jax.experiment import described, models
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.models import State, Steps
from alpt_jax.preflight.topologies import Topology
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.training import sharding
from alpt_jax.types import Batch

# Seconds between two lines that say that it still compiles.
_PATIENCE = 30
_TOO_LARGE = re.compile(r'Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm')
_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30}


class Program(NamedTuple):
  """A training step with the shapes and places of all that it reads.

  Attributes:
    config: of the run.
    topology: what it is for.
    mesh: of the topology's devices.
    steps: the models and their optimisers.
    state: shapes and shardings.
    batch: shapes and shardings of the global batch.
  """

  config: RunConfig
  topology: Topology
  mesh: Mesh
  steps: Steps
  state: State
  batch: Batch


class Compiled(NamedTuple):
  """What the compiler made of it.

  Attributes:
    text: of the program; '' where it did not fit.
    memory: XLA's own account, per chip; None where it did not fit.
    flops: XLA's count per chip, the body of a loop counted once; None if unknown.
    overrun: (bytes that it needs, bytes that there are) where it did not fit.
    seconds: that tracing and compiling took.
  """

  text: str
  memory: Any
  flops: float | None
  overrun: tuple[float, float] | None
  seconds: float


def prepare(config: RunConfig, topology: Topology) -> Program:
  """Builds the step of a config; no dataset is needed.

  What the datasets would say, the form of observations and the actions, comes from
  the environments that `data.environments` names.

  Raises:
    UserError: they are not named or not known, or the devices cannot be shared out as
      the config says.
  """
  data = _described(config)
  mesh = models.make_mesh(config, topology.devices)
  observation, num_actions = data.target.spec.observation, len(data.vocabulary)
  return_range = specs.joint_return_range(data.specs)
  steps = models.build(config, observation, num_actions, return_range)
  length = config.model.num_transitions
  example = models.example_window(observation, num_actions, length)
  rows, where = config.training.batch_size, sharding.batch_sharding(mesh)

  def placed(shape, dtype):
    return jax.ShapeDtypeStruct((rows, *shape), dtype, sharding=where)

  batch = Batch(
    window=jax.tree.map(lambda leaf: placed(leaf.shape[1:], leaf.dtype), example),
    idm_weight=placed((), jnp.float32),
    policy_weight=placed((), jnp.float32),
    relabel=placed((), bool),
  )
  state = models.placed_shapes(steps, example, mesh)
  return Program(config, topology, mesh, steps, state, batch)


def compile_step(program: Program, say: Callable[[str], None]) -> Compiled:
  """Compiles it for its devices; `say` hears now and then for how long.

  Raises:
    jax.errors.JaxRuntimeError: the compiler failed for another reason than memory.
  """
  begin = time.monotonic()
  step = models.trainer(program.steps).make_step(program.steps, program.mesh)
  everywhere = jax.sharding.NamedSharding(program.mesh, jax.sharding.PartitionSpec())
  key = jax.eval_shape(lambda: jax.random.key(0))
  key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=everywhere)
  with _progress(say):
    lowered = step.lower(program.state, program.batch, key)
    try:
      compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
      overrun = _overrun(str(error))
      if overrun is None:
        raise
      return Compiled('', None, None, overrun, time.monotonic() - begin)
  flops = (compiled.cost_analysis() or {}).get('flops')
  return Compiled(
    compiled.as_text(),
    compiled.memory_analysis(),
    flops,
    None,
    time.monotonic() - begin,
  )


class _Described(NamedTuple):
  """A recorded set of which no more is known than its environment."""

  spec: EnvironmentSpec


def _described(config: RunConfig) -> RunData:
  """A run's data as far as their environments say."""
  if not config.data.environments:
    raise UserError(
      'data.environments: expected the environments of the target and the sources, '
      'found none. Name them: preflight reads no dataset.'
    )
  sets = [_Described(spec) for spec in described.environment_specs(config)]
  vocabulary = specs.joint_vocabulary([each.spec for each in sets])
  return RunData(sets[0], tuple(sets[1:]), None, vocabulary)


@contextlib.contextmanager
def _progress(say: Callable[[str], None]) -> Iterator[None]:
  """Says every half minute that it goes on; the compiler itself says nothing."""
  begin, done = time.monotonic(), threading.Event()

  def talk():
    while not done.wait(_PATIENCE):
      say(f'still compiling, {time.monotonic() - begin:.0f} s')

  thread = threading.Thread(target=talk, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()


def _overrun(message: str) -> tuple[float, float] | None:
  """(needed, there) in bytes, if the compiler says that memory does not suffice."""
  found = _TOO_LARGE.search(message)
  if not found:
    return None
  used, used_unit, there, unit = found.groups()
  return float(used) * _UNITS[used_unit], float(there) * _UNITS[unit]
