"""A run's checkpoint as something that labels, plays, or is a start for another run.

None of the run's datasets is needed.
"""

import pathlib
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from alpt_jax import methods
from alpt_jax.acting.rollout import Player
from alpt_jax.errors import UserError
from alpt_jax.experiment import models
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.models import Origin, State, Steps
from alpt_jax.labelling.labeller import Labeller, make_labeller
from alpt_jax.methods import IDM, POLICY
from alpt_jax.models import layers
from alpt_jax.models.vocabulary import grow
from alpt_jax.specs import EnvironmentSpec, ObservationSpec
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints, digest
from alpt_jax.training.step import TrainState


class Trained(NamedTuple):
  """A checkpoint.

  Attributes:
    origin: what it says of itself.
    steps: its models.
    state: their parameters, among others.
    step: which one it is.
    digest: identifies its content.
    mesh: the devices of this process that it lies on.
  """

  origin: Origin
  steps: Steps
  state: State
  step: int
  digest: str
  mesh: Mesh


def load(
  workdir: str | pathlib.Path, step: int | None = None, mesh: Mesh | None = None
) -> Trained:
  """Reads a run's checkpoint.

  Args:
    workdir: the run's folder.
    step: which one; default the last.
    mesh: of devices of this process; None: all of them.

  Raises:
    UserError: not a run folder, no such step, or unreadable.
  """
  checkpoints = Checkpoints(models.checkpoint_folder(workdir), writable=False)
  if step is None:  # and no later one, should its trainer write it meanwhile
    step = checkpoints.latest_step
  description = checkpoints.description(step)
  mesh = mesh or sharding.make_mesh(devices=jax.local_devices())
  origin = models.read_origin(workdir, step)
  steps, state = restore(workdir, origin, mesh, step)
  return Trained(origin, steps, state, int(state.step), digest(description), mesh)


def restore(
  workdir: str | pathlib.Path,
  origin: Origin,
  mesh: Mesh,
  step: int | None = None,
  length: int | None = None,
) -> tuple[Steps, State]:
  """The models of a run's checkpoint; none of its datasets is needed.

  Args:
    workdir: the run's folder.
    origin: what that checkpoint says of itself.
    mesh: where the state goes.
    step: which one; default the last.
    length: transitions of a window; default the run's.

  Raises:
    UserError: no such step, or unreadable.
  """
  observation, num_actions = origin.environment.observation, len(origin.vocabulary)
  steps = models.build(origin.config, observation, num_actions, origin.return_range)
  length = length or origin.config.model.num_transitions
  example = models.example_window(observation, num_actions, length)
  shapes = models.placed_shapes(steps, example, mesh)
  checkpoints = Checkpoints(models.checkpoint_folder(workdir), writable=False)
  return steps, checkpoints.restore(shapes, step)


def load_labeller(
  workdir: str | pathlib.Path, step: int | None = None, mesh: Mesh | None = None
) -> Labeller:
  """The inverse dynamics model of a run's checkpoint.

  Args:
    workdir, step, mesh: as in `load`.

  Raises:
    UserError: as `load`, or the run trains none.
  """
  return labeller_of(load(workdir, step, mesh), workdir)


def labeller_of(trained: Trained, place: str | pathlib.Path) -> Labeller:
  """The inverse dynamics model of a checkpoint.

  Args:
    trained: the checkpoint.
    place: how the message names its run.

  Raises:
    UserError: the run trains none.
  """
  origin = trained.origin
  _check_has(origin, IDM, place)
  return make_labeller(
    trained.steps.idm,
    trained.state.params[IDM],
    origin.vocabulary,
    origin.environment.protocol,
    trained.mesh,
  )


def load_player(
  workdir: str | pathlib.Path,
  step: int | None = None,
  mesh: Mesh | None = None,
  spec: EnvironmentSpec | None = None,
) -> Player:
  """The policy of a run's checkpoint.

  Args:
    workdir, step, mesh: as in `load`.
    spec: of the environment that is played; default the run's target.

  Raises:
    UserError: as `load`, or the run trains none.
  """
  return player_of(load(workdir, step, mesh), workdir, spec)


def player_of(
  trained: Trained, place: str | pathlib.Path, spec: EnvironmentSpec | None = None
) -> Player:
  """The policy of a checkpoint.

  Args:
    trained: the checkpoint.
    place: how the message names its run.
    spec: of the environment that is played; default the run's target.

  Raises:
    UserError: the run trains none.
  """
  origin = trained.origin
  _check_has(origin, POLICY, place)
  return models.player(
    trained.steps,
    trained.state,
    origin.config,
    origin.vocabulary,
    spec or origin.environment,
  )


# Model -> what it is called, and the runs that have one.
_CALLED = {
  IDM: ('inverse dynamics model, which labels', 'alpt, alpt-idm or dt1-idm'),
  POLICY: ('policy, which plays', 'another phase'),
}


def _check_has(origin: Origin, model: str, place: str | pathlib.Path) -> None:
  method, phase = origin.config.method, origin.config.phase
  if not methods.taught(method, phase, model):
    called, others = _CALLED[model]
    raise UserError(
      f'{place}: method {method} has no {called} (in its phase {phase}). Use a run of '
      f'{others}.'
    )


def inherit(
  state: TrainState,
  config: RunConfig,
  origin: Origin,
  vocabulary: tuple[str, ...],
  observation: ObservationSpec,
  mesh,
) -> TrainState:
  """Replaces fresh parameters by those of the initial run's last checkpoint.

  Of the models that the method inherits alone; the others stay fresh. Neither that
  run's datasets nor its environments are needed. The optimiser starts anew. Action
  names that it never saw get the fresh rows.

  Args:
    state: fresh, with the models of this run.
    config: of this run; `initial` is the other run's folder.
    origin: what that run's checkpoint says of itself; `lineage.check_taught` has
      passed it.
    vocabulary: this run's, which starts with the other's.
    observation: of this run's target.
    mesh: where the parameters go.

  Raises:
    UserError: the other run saw observations of another form, or has another
      architecture.
  """
  workdir, num_heads = config.initial, config.model.num_heads
  if origin.environment.observation != observation:
    raise UserError(
      f'{workdir}: was trained on observations {origin.environment.observation}, the '
      f'target has {observation}. Record the target in that form.'
    )
  if origin.config.model.num_heads != num_heads:
    raise UserError(
      f'{workdir}: was trained with model.num_heads {origin.config.model.num_heads}, '
      f'found {num_heads}. Use the same.'
    )
  length = config.model.num_transitions
  _, inherited = restore(workdir, origin, mesh, length=length)
  trained = _in_layout(config, origin.config, inherited.params)
  params = dict(state.params)
  for name in methods.get(config.method).inherits:
    params[name] = grow(trained[name], params[name], len(origin.vocabulary))
  new = vocabulary[len(origin.vocabulary) :]
  if new:
    print(f'new actions, with fresh rows: {", ".join(new)}', flush=True)
  return state._replace(params=params)


def _in_layout(config: RunConfig, origin: RunConfig, params):
  """Another run's parameters, its layers stacked or not as this run has them."""
  if config.model.scan_layers == origin.model.scan_layers:
    return params
  change = layers.stack_layers if config.model.scan_layers else layers.unstack_layers
  return change(params, config.model.num_layers)
