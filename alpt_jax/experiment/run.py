"""One training run, from its config to its last checkpoint."""

import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

from alpt_jax import methods, specs
from alpt_jax.data.labels import save_labels
from alpt_jax.errors import Preempted, UserError
from alpt_jax.experiment import datasets
from alpt_jax.experiment.config import RunConfig, claim_workdir, read_config
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.evaluation import Evaluator
from alpt_jax.experiment.identity import write_identity
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.models.vocabulary import grow
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter
from alpt_jax.training.optimizer import OptimizerConfig
from alpt_jax.training.step import (
  StepConfig,
  TrainState,
  abstract_state,
  init_state,
  make_joint_step,
)
from alpt_jax.types import Window

# What the progress line shows; metrics.jsonl holds everything.
_SHOWN = (
  'idm_loss',
  'policy_loss',
  'idm_accuracy',
  'success_sampled',
  'success_greedy',
)


def step_config(
  config: RunConfig, data: RunData, return_range: tuple[int, int]
) -> StepConfig:
  """Models and optimisers of a run; equal for runs that can share programs."""
  model = config.model
  shared: dict[str, Any] = {
    'num_actions': len(data.vocabulary),
    'observation_spec': data.target.spec.observation,
    'width': model.width,
    'num_layers': model.num_layers,
    'num_heads': model.num_heads,
    'dropout': model.dropout,
    'patch_size': model.patch_size,
    'dtype': np.dtype(jax.numpy.dtype(model.dtype)),
  }
  has_idm = methods.get(config.method).has_idm
  fields = vars(config.optimizer)
  is_cosine = config.optimizer.schedule == 'cosine'
  return StepConfig(
    idm=InverseDynamics(num_transitions=model.num_transitions, **shared)
    if has_idm
    else None,
    policy=DecisionTransformer(
      return_range=return_range, context=model.context, **shared
    ),
    optimizer=OptimizerConfig(
      num_steps=config.training.num_steps if is_cosine else 0, **fields
    ),
    relabelling=config.training.relabelling,
    confidence_weighting=config.training.confidence_weighting,
    loss_normalisation=config.training.loss_normalisation,
  )


class Run:
  """A run with its data and models in place, ready to train or to be scored."""

  def __init__(self, config: RunConfig):
    """Opens the data and builds the models; reads, writes nothing.

    Raises:
      UserError: a dataset or the initial checkpoint does not fit.
    """
    self.config = config
    origin = initial_description(config)
    self.data = datasets.load(config, tuple(origin.get('vocabulary', ())))
    wanted = specs.joint_return_range(self.data.specs)
    self.return_range = tuple(origin.get('return_range', wanted))
    if specs_outside(wanted, self.return_range):
      raise UserError(
        f'{config.initial}: was trained for returns {list(self.return_range)}, the '
        f'target needs {list(wanted)}. Pretrain with an environment of that range.'
      )
    self.mixture = datasets.make_mixture(config, self.data)
    self.step_config = step_config(config, self.data, self.return_range)
    self.mesh = sharding.make_mesh()
    self.evaluator = Evaluator(config, self.data, self.step_config)

  @property
  def description(self) -> dict[str, Any]:
    """What travels with the parameters."""
    return {
      'vocabulary': list(self.data.vocabulary),
      'return_range': list(self.return_range),
      'environment': self.data.target.spec.to_dict(),
      'config': self.config.to_dict(),
    }

  @property
  def example(self) -> Window:
    """One window of the run's shapes."""
    return jax.tree.map(lambda rows: rows[:1], self.mixture.batch(0).window)

  def abstract_state(self) -> TrainState:
    """Shapes and shardings of the train state."""
    shapes = abstract_state(self.step_config, self.example)
    return jax.tree.map(
      lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
      shapes,
      sharding.state_shardings(shapes, self.mesh),
    )

  def fresh_state(self) -> TrainState:
    """Step 0: from the seed, or from the initial run's last checkpoint."""
    state = init_state(self.step_config, self.example, self.config.seed)
    if self.config.initial:
      state = self._start_from(state)
    where = sharding.state_shardings(state, self.mesh)
    return jax.device_put(state, where)

  def _start_from(self, state: TrainState) -> TrainState:
    """Replaces fresh parameters by the initial run's, grown to new action names."""
    origin = Run(read_config(pathlib.Path(self.config.initial)))
    checkpoints = Checkpoints(_folder(self.config.initial), writable=False)
    restored = checkpoints.restore(origin.abstract_state())
    old, new = origin.data.vocabulary, self.data.vocabulary
    params = dict(state.params)
    for name in params:
      if name not in restored.params:
        raise UserError(
          f'{self.config.initial}: method {origin.config.method} trained no {name}, '
          f'which method {self.config.method} starts from.'
        )
      params[name] = grow(restored.params[name], params[name], len(old))
    if len(new) > len(old):
      print(f'new actions, with fresh rows: {", ".join(new[len(old) :])}', flush=True)
    return state._replace(params=params)

  def restore(self, workdir: pathlib.Path, step: int | None = None) -> TrainState:
    """The state of one of the run's own checkpoints."""
    checkpoints = Checkpoints(_folder(workdir), writable=False)
    return checkpoints.restore(self.abstract_state(), step)

  def train(self, workdir: pathlib.Path) -> TrainState:
    """Trains to the end of the schedule, from the last checkpoint if there is one.

    Raises:
      UserError: the folder holds another run.
      RunFailed, Preempted: see `training.loop.fit`.
    """
    workdir = pathlib.Path(workdir).absolute()
    claim_workdir(workdir, self.config)
    write_identity(workdir, self.config, self.data)
    save_labels(workdir / 'labels.json', self.data.labels)
    training = self.config.training
    checkpoints = Checkpoints(_folder(workdir), keep=training.keep_checkpoints)
    resumed = checkpoints.latest_step
    if resumed is None:
      state = self.fresh_state()
    else:
      state = checkpoints.restore(self.abstract_state())
      print(f'{workdir.name}: goes on from step {resumed:,}', flush=True)
    writer = MetricWriter(workdir, resumed or 0)
    write_status(workdir, 'running')
    devices = f'{self.mesh.size} x {jax.devices()[0].device_kind}'
    print(f'{workdir.name}: {self.config.title} on {devices}', flush=True)
    try:
      state = fit(
        state,
        step_fn=make_joint_step(self.step_config),
        batch_fn=self._placed_batch,
        key=jax.random.key(self.config.seed),
        schedule=Schedule(
          training.num_steps,
          training.log_every,
          training.evaluate_every,
          training.checkpoint_every,
        ),
        checkpoints=checkpoints,
        description=self.description,
        writer=writer,
        evaluate_fn=self.evaluator,
        title=workdir.name,
        shown=_SHOWN,
      )
    except BaseException as error:
      state_name = 'stopped' if isinstance(error, Preempted) else 'failed'
      write_status(workdir, state_name, str(error) or type(error).__name__)
      raise
    finally:
      writer.close()
    checkpoints.close()
    write_status(workdir, 'done')
    return state

  def _placed_batch(self, step: int):
    host, num_hosts = jax.process_index(), jax.process_count()
    return sharding.place_batch(self.mixture.batch(step, host, num_hosts), self.mesh)


def initial_description(config: RunConfig) -> dict[str, Any]:
  """What the checkpoint that a run starts from says of itself; {} for none."""
  if not config.initial:
    return {}
  return Checkpoints(_folder(config.initial), writable=False).description()


def specs_outside(wanted: tuple[int, int], known: tuple[int, int]) -> bool:
  """True when a return range is not inside another."""
  return wanted[0] < known[0] or wanted[1] > known[1]


def _folder(workdir: str | pathlib.Path) -> pathlib.Path:
  return pathlib.Path(workdir) / 'checkpoints'


def write_status(workdir: pathlib.Path, state: str, message: str = '') -> None:
  """Says in `status.json` whether a run is running, done, stopped or failed."""
  partial = workdir / 'status.json.partial'
  partial.write_text(json.dumps({'state': state, 'message': message}) + '\n')
  os.replace(partial, workdir / 'status.json')


def is_done(workdir: pathlib.Path) -> bool:
  """Whether a run folder says that its run is complete."""
  path = workdir / 'status.json'
  return path.is_file() and json.loads(path.read_text())['state'] == 'done'
