"""A run's checkpoint as something that labels or plays, without the run's data."""

import pathlib
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from alpt_jax import methods
from alpt_jax.acting.rollout import Player
from alpt_jax.errors import UserError
from alpt_jax.experiment import models
from alpt_jax.experiment.models import Origin, State, Steps
from alpt_jax.labelling.labeller import Labeller, make_labeller
from alpt_jax.methods import IDM, POLICY
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints, digest


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
  steps, state = models.restore(workdir, origin, mesh, step)
  return Trained(origin, steps, state, int(state.step), digest(description), mesh)


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


def player_of(trained: Trained, place: str | pathlib.Path) -> Player:
  """The policy of a checkpoint, for the target of its run.

  Args:
    trained: the checkpoint.
    place: how the message names its run.

  Raises:
    UserError: the run trains none.
  """
  origin = trained.origin
  _check_has(origin, POLICY, place)
  return models.player(
    trained.steps, trained.state, origin.config, origin.vocabulary, origin.environment
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
