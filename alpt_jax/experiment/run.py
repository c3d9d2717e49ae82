"""One training run, from its config to its last checkpoint."""

import contextlib
import dataclasses
import os
import pathlib

import jax

from alpt_jax import specs
from alpt_jax.data.labels import load_labels, save_labels
from alpt_jax.errors import Preempted, UserError
from alpt_jax.experiment import datasets, lineage, models
from alpt_jax.experiment.config import RunConfig, claim_workdir, read_config
from alpt_jax.experiment.evaluation import Evaluator
from alpt_jax.experiment.identity import write_identity
from alpt_jax.experiment.models import Origin, State, checkpoint_folder
from alpt_jax.experiment.records import read_record, write_record
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter
from alpt_jax.types import Window

# What the progress line shows; metrics.jsonl holds everything.
_SHOWN = frozenset(
  {
    *('idm_loss', 'policy_loss', 'idm_accuracy'),
    *('success_sampled', 'success_greedy', 'score'),
  }
)


class Run:
  """A run with its data and models in place, ready to train or to be scored."""

  def __init__(self, config: RunConfig, trained: Origin | None = None):
    """Opens the data and builds the models; reads, writes nothing.

    Args:
      config: of the run.
      trained: what the run's own checkpoint says of itself, to score it: the
        sources' datasets are then not needed. None to train.

    Raises:
      UserError: a dataset or the initial checkpoint does not fit.
    """
    self.config = config
    self._base = None  # what the initial run's checkpoint says of itself
    if config.initial and trained is None:
      self._base = models.read_origin(config.initial)
    origin = trained or self._base
    vocabulary = origin.vocabulary if origin else ()
    self.data = datasets.load(config, vocabulary, with_sources=trained is None)
    self.origin = Origin(
      config,
      self.data.target.spec,
      self.data.vocabulary,
      self._return_range(origin),
    )
    self.step_config = models.build(
      config,
      self._observation,
      len(self.data.vocabulary),
      self.origin.return_range,
    )
    self.mesh = sharding.make_mesh()
    if config.training.batch_size % self.mesh.size:
      raise UserError(
        f'training.batch_size: expected a multiple of the {self.mesh.size} devices, '
        f'found {config.training.batch_size}.'
      )
    if self._base:
      lineage.check(config.initial, self.data)
      lineage.check_taught(config, self._base.config)
    self.evaluator = Evaluator(config, self.data, self.step_config)

  def _return_range(self, origin: Origin | None) -> tuple[int, int]:
    """That of a checkpoint, which cannot grow, or the one the data need."""
    low, high = specs.joint_return_range(self.data.specs)
    if origin is None:
      return low, high
    if low < origin.return_range[0] or high > origin.return_range[1]:
      raise UserError(
        f'{self.config.initial}: was trained for returns {origin.return_range}, the '
        f'target needs {(low, high)}. Pretrain with an environment of that range.'
      )
    return origin.return_range

  @property
  def _observation(self) -> specs.ObservationSpec:
    return self.data.target.spec.observation

  @property
  def example(self) -> Window:
    """One window of the run's shapes."""
    return self.data.example(self.config.model.num_transitions)

  def fresh_state(self) -> State:
    """Step 0: from the seed, or from the initial run's last checkpoint."""
    begin = models.trainer(self.step_config).init_state
    state = begin(self.step_config, self.example, self.config.seed)
    if self.config.initial:
      if not is_done(pathlib.Path(self.config.initial)):
        print(f'{self.config.initial}: not finished; its last checkpoint is taken')
      state = models.inherit(
        state,
        self.config,
        self._base,
        self.data.vocabulary,
        self._observation,
        self.example,
        self.mesh,
      )
    return jax.device_put(state, sharding.state_shardings(state, self.mesh))

  def restore(self, checkpoints: Checkpoints, step: int | None = None) -> State:
    """The state of one of the run's own checkpoints, by default the last."""
    shapes = models.placed_shapes(self.step_config, self.example, self.mesh)
    return checkpoints.restore(shapes, step)

  def train(self, workdir: pathlib.Path) -> State:
    """Trains to the end of the schedule, from the last checkpoint if there is one.

    Raises:
      UserError: the folder holds another run.
      RunFailed, Preempted: see `training.loop.fit`.
    """
    workdir = pathlib.Path(workdir).absolute()
    claim_workdir(workdir, self.config)
    write_identity(workdir, self.config, self.data)
    self._keep_labels(workdir / 'labels.json')
    training = self.config.training
    checkpoints = Checkpoints(
      checkpoint_folder(workdir), keep=training.keep_checkpoints
    )
    resumed = checkpoints.latest_step
    if resumed is None:
      state = self.fresh_state()
    else:
      state = self.restore(checkpoints)
      print(f'{workdir.name}: goes on from step {resumed:,}', flush=True)
    writer = MetricWriter(workdir, resumed or 0)
    write_status(workdir, 'running')
    devices = f'{self.mesh.size} x {jax.devices()[0].device_kind}'
    print(f'{workdir.name}: {self.config.title} on {devices}', flush=True)
    try:
      state = fit(
        state,
        step_fn=models.trainer(self.step_config).make_step(self.step_config),
        batch_fn=self._batch_fn(),
        key=jax.random.key(self.config.seed),
        schedule=Schedule(
          training.num_steps,
          training.log_every,
          training.evaluate_every,
          training.checkpoint_every,
        ),
        checkpoints=checkpoints,
        description=self.origin.to_dict(),
        writer=writer,
        evaluate_fn=self.evaluator,
        title=workdir.name,
        shown=_SHOWN,
      )
    except BaseException as error:
      ended = 'stopped' if isinstance(error, Preempted) else 'failed'
      with contextlib.suppress(OSError):  # a full disk must not hide the error
        write_status(workdir, ended, str(error) or type(error).__name__)
        writer.close()
      raise
    writer.close()
    checkpoints.close()
    write_status(workdir, 'done')
    return state

  def _keep_labels(self, path: pathlib.Path) -> None:
    """Writes the label file, or finds the one that the run was begun with."""
    if not path.is_file():
      save_labels(path, self.data.labels)
    elif load_labels(path) != self.data.labels:
      raise UserError(
        f'{path}: other labels than this config draws. Choose another --workdir.'
      )

  def _batch_fn(self):
    host, num_hosts = jax.process_index(), jax.process_count()
    mixture = datasets.make_mixture(self.config, self.data, host, num_hosts)

    def batch(step: int):
      return sharding.place_batch(mixture.batch(step, host, num_hosts), self.mesh)

    return batch


def open_trained(
  workdir: str | os.PathLike, step: int | None = None, **evaluation
) -> tuple[Run, State]:
  """Opens a run to score one of its checkpoints; only its target's data are needed.

  Args:
    workdir: the run's folder.
    step: which checkpoint; default the last.
    **evaluation: fields of the config's evaluation that shall differ.

  Raises:
    UserError: not a run folder, no such step, or another architecture.
  """
  config = read_config(pathlib.Path(workdir))
  scoring = dataclasses.replace(config.evaluation, **evaluation)
  config = dataclasses.replace(config, evaluation=scoring)
  run = Run(config, models.read_origin(workdir, step))
  labels = load_labels(pathlib.Path(workdir) / 'labels.json')
  if labels != run.data.labels:
    raise UserError(
      f'{workdir}: was trained with label file {labels.hash}, its target gives '
      f'{run.data.labels.hash} now: the dataset was recorded anew since. Restore it.'
    )
  checkpoints = Checkpoints(checkpoint_folder(workdir), writable=False)
  return run, run.restore(checkpoints, step)


def write_status(workdir: pathlib.Path, state: str, message: str = '') -> None:
  """Says in `status.json` whether a run is running, done, stopped or failed."""
  write_record(workdir / 'status.json', {'state': state, 'message': message})


def is_done(workdir: pathlib.Path) -> bool:
  """Whether a run folder says that its run is complete."""
  path = workdir / 'status.json'
  return path.is_file() and read_record(path).get('state') == 'done'
