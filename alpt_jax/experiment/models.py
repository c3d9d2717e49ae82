"""A run's models, built from its config; `trained_models.py` reads checkpoints."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alpt_jax import methods
from alpt_jax.acting import policy as acting_policy
from alpt_jax.acting.rollout import Player
from alpt_jax.baselines import cql
from alpt_jax.baselines.cql import Q_NETWORK, CQLConfig, CQLState
from alpt_jax.baselines.quantile_network import QuantileNetwork
from alpt_jax.errors import UserError
from alpt_jax.experiment import mixing
from alpt_jax.experiment.config import RunConfig, from_record
from alpt_jax.methods import IDM, POLICY
from alpt_jax.models import embedding, flops
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.specs import EnvironmentSpec, ObservationSpec
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.optimizer import OptimizerConfig
from alpt_jax.training.step import (
  StepConfig,
  TrainState,
  abstract_state,
  init_state,
  make_joint_step,
)
from alpt_jax.types import Window


class Origin(NamedTuple):
  """What a checkpoint says of itself, enough to rebuild its models without its data.

  Attributes:
    config: of the run that wrote it.
    environment: its target.
    vocabulary: its joint action names.
    return_range: (low, high) of its return tokens.
  """

  config: RunConfig
  environment: EnvironmentSpec
  vocabulary: tuple[str, ...]
  return_range: tuple[int, int]

  def to_dict(self) -> dict[str, Any]:
    """As it is saved beside the parameters."""
    return {
      'config': self.config.to_dict(),
      'environment': self.environment.to_dict(),
      'vocabulary': list(self.vocabulary),
      'return_range': list(self.return_range),
    }


# What `build` returns, and what it trains.
Steps = StepConfig | CQLConfig
State = TrainState | CQLState


class Trainer(NamedTuple):
  """How what `build` returned begins, learns and plays.

  Attributes:
    init_state: `(steps, window, seed, mesh) -> state`, where it lives on the mesh.
    abstract_state: `(steps, window)` -> the state's shapes.
    make_step: `(steps, mesh)` -> jitted `step(state, batch, key) -> (state, metrics)`.
    policy_name: of the model that plays, among the state's parameters.
    make_decide: `(steps, config)` -> how it chooses, see `rollout.Player.decide_fn`.
  """

  init_state: Callable
  abstract_state: Callable
  make_step: Callable
  policy_name: str
  make_decide: Callable


_TRAINERS = {
  StepConfig: Trainer(
    init_state,
    abstract_state,
    make_joint_step,
    POLICY,
    lambda steps, config: acting_policy.make_decide(steps.policy, config.acting),
  ),
  CQLConfig: Trainer(
    cql.init_state,
    cql.abstract_state,
    cql.make_cql_step,
    Q_NETWORK,
    lambda steps, config: cql.make_decide(steps.network, config.cql.epsilon),
  ),
}


def trainer(steps: Steps) -> Trainer:
  """The functions of a run's models."""
  return _TRAINERS[type(steps)]


def checkpoint_folder(workdir: str | pathlib.Path) -> pathlib.Path:
  """Where a run keeps its checkpoints."""
  return pathlib.Path(workdir) / 'checkpoints'


def read_origin(workdir: str | pathlib.Path, step: int | None = None) -> Origin:
  """Reads what a run's checkpoint (default: the last) says of itself."""
  fields = Checkpoints(checkpoint_folder(workdir), writable=False).description(step)
  return Origin(
    config=from_record(fields['config']),
    environment=EnvironmentSpec.from_dict(fields['environment']),
    vocabulary=tuple(fields['vocabulary']),
    return_range=tuple(fields['return_range']),
  )


def build(
  config: RunConfig,
  observation: ObservationSpec,
  num_actions: int,
  return_range: tuple[int, int],
) -> Steps:
  """Models and optimisers of a run; equal for runs that can share programs.

  Only those that its phase trains: where an IDM is pretrained alone, no policy.
  Q-learning has a network and an optimiser of its own.

  Raises:
    UserError: the observations are no images, which `model.idm_form` or
      `training.shift` asks for, or smaller than a patch.
  """
  if methods.get(config.method).is_q_learning:
    return _build_cql(config, observation, num_actions)
  model = config.model
  shared: dict[str, Any] = {
    'num_actions': num_actions,
    'observation_spec': observation,
    'width': model.width,
    'num_layers': model.num_layers,
    'num_heads': model.num_heads,
    'dropout': model.dropout,
    'patch_size': model.patch_size,
    'dtype': jnp.dtype(model.dtype),
    'scan_layers': model.scan_layers,
    'remat': config.execution.remat,
  }
  if not embedding.num_observation_tokens(observation, model.patch_size):
    height, width = observation.shape[:2]
    raise UserError(
      f'model.patch_size: expected at most the shorter side of images of {height} x '
      f'{width} pixels, found {model.patch_size}.'
    )
  if config.training.shift and observation.kind != 'image':
    raise UserError(
      'training.shift: expected 0 for observations of kind '
      f"'{observation.kind}', which have no pixels, found {config.training.shift}."
    )
  idm = policy = None
  if methods.taught(config.method, config.phase, IDM):
    idm = InverseDynamics(
      num_transitions=model.num_transitions, form=model.idm_form, **shared
    )
  if methods.taught(config.method, config.phase, POLICY):
    policy = DecisionTransformer(
      return_range=return_range,
      context=model.context,
      sees_returns=methods.get(config.method).sees_returns,
      **shared,
    )
  # Read by a cosine only; left out elsewhere, so that runs of any length are equal.
  is_cosine = config.optimizer.schedule == 'cosine'
  num_steps = config.training.num_steps if is_cosine else 0
  return StepConfig(
    idm=idm,
    policy=policy,
    optimizer=OptimizerConfig(num_steps=num_steps, **vars(config.optimizer)),
    relabelling=config.training.relabelling,
    confidence_weighting=config.training.confidence_weighting,
    confidence_threshold=config.training.confidence_threshold,
    loss_normalisation=config.training.loss_normalisation,
    shift=config.training.shift if idm else 0,
    microbatches=config.execution.microbatches,
    rows=mixing.row_use(config),
  )


def _build_cql(config: RunConfig, observation: ObservationSpec, num_actions: int):
  fields = config.cql
  network = QuantileNetwork(
    observation_spec=observation,
    num_actions=num_actions,
    context=fields.num_frames,
    num_quantiles=fields.num_quantiles,
    width=fields.width,
    num_layers=fields.num_layers,
  )
  return CQLConfig(
    network=network,
    alpha=fields.alpha,
    gamma=fields.gamma,
    huber=fields.huber,
    learning_rate=fields.learning_rate,
    adam_epsilon=fields.adam_epsilon,
    target_period=fields.target_period,
  )


def make_mesh(config: RunConfig, devices: Sequence[Any] | None = None) -> Mesh:
  """All devices, or those given, shared out as the config wants it.

  Raises:
    UserError: they cannot be.
  """
  devices = jax.devices() if devices is None else devices
  execution, num_devices = config.execution, len(devices)
  if num_devices % execution.fsdp:
    raise UserError(
      f'execution.fsdp: expected a divisor of the {num_devices} devices, found '
      f'{execution.fsdp}.'
    )
  rows = num_devices * execution.microbatches
  if config.training.batch_size % rows:
    parts = '' if execution.microbatches == 1 else ' times execution.microbatches'
    raise UserError(
      f'training.batch_size: expected a multiple of {rows}, the devices{parts}, found '
      f'{config.training.batch_size}.'
    )
  return sharding.make_mesh(execution.fsdp, devices)


def player(
  steps: Steps,
  state: State,
  config: RunConfig,
  vocabulary: tuple[str, ...],
  spec: EnvironmentSpec,
) -> Player:
  """The policy of a state.

  Args:
    steps: what `build` returned; its phase trains a policy.
    state: of it.
    config: of the run, for how it acts.
    vocabulary: the run's joint action names.
    spec: of the environment that is played.
  """
  how = trainer(steps)
  return Player(
    decide_fn=how.make_decide(steps, config),
    context=steps.policy.context,
    params=state.params[how.policy_name],
    config=config.acting,
    vocabulary=vocabulary,
    spec=spec,
  )


def flops_per_window(steps: Steps) -> flops.StepFlops | None:
  """What a step computes for each window; None where nobody has counted it."""
  if not isinstance(steps, StepConfig):
    return None
  return flops.step_flops(steps.idm, steps.policy, steps.rows)


def example_window(
  observation: ObservationSpec, num_actions: int, length: int
) -> Window:
  """One window of zeros, of the shapes that training reads."""
  shape = (1, length + 1, *observation.shape)
  return Window(
    observations=np.zeros(shape, observation.dtype),
    actions=np.zeros((1, length), np.int32),
    is_labelled=np.zeros((1, length), bool),
    rewards=np.zeros((1, length), np.float32),
    discounts=np.ones((1, length), np.float32),
    returns_to_go=np.zeros((1, length), np.float32),
    valid=np.ones((1, length), bool),
    allowed=np.ones((1, num_actions), bool),
    environment=np.zeros(1, np.int32),
  )


def placed_shapes(steps: Steps, example: Window, mesh) -> State:
  """Shapes and shardings of a train state."""
  shapes = trainer(steps).abstract_state(steps, example)
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    shapes,
    sharding.state_shardings(shapes, mesh),
  )
