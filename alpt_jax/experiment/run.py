"""One training run, from its config to its last checkpoint."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable

import jax

from alpt_jax import specs
from alpt_jax.data.labels import load_labels, save_labels
from alpt_jax.errors import Preempted, UserError
from alpt_jax.experiment import cluster, datasets, lineage, models, trained_models
from alpt_jax.experiment.config import RunConfig, claim_workdir, read_config
from alpt_jax.experiment.evaluation import Evaluator
from alpt_jax.experiment.identity import write_identity
from alpt_jax.experiment.models import Origin, State, checkpoint_folder
from alpt_jax.experiment.owner import FolderLost, owning
from alpt_jax.experiment.records import read_record, write_record
from alpt_jax.training import chips, sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter
from alpt_jax.training.profiling import ProfiledSteps, Profiler
from alpt_jax.training.timing import StepTimes
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
    self.mesh = models.make_mesh(config) if trained is None else _one_device()
    if self._base:
      lineage.check(config.initial, self.data)
      lineage.check_taught(config, self._base.config)
    # With several processes the lead evaluates, see `_scores`.
    self.evaluator = None
    cluster.lead_does(self._open_evaluator)

  def _open_evaluator(self) -> None:
    self.evaluator = Evaluator(self.config, self.data, self.step_config)

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
    return models.example_window(
      self._observation, len(self.data.vocabulary), self.config.model.num_transitions
    )

  def fresh_state(self) -> State:
    """Step 0: from the seed, or from the initial run's last checkpoint."""
    begin = models.trainer(self.step_config).init_state
    state = begin(self.step_config, self.example, self.config.seed, self.mesh)
    if self.config.initial:
      if not is_done(pathlib.Path(self.config.initial)):
        print(f'{self.config.initial}: not finished; its last checkpoint is taken')
      state = trained_models.inherit(
        state,
        self.config,
        self._base,
        self.data.vocabulary,
        self._observation,
        self.mesh,
      )
    return sharding.place_state(state, self.mesh)

  def restore(self, checkpoints: Checkpoints, step: int | None = None) -> State:
    """The state of one of the run's own checkpoints, by default the last."""
    shapes = models.placed_shapes(self.step_config, self.example, self.mesh)
    return checkpoints.restore(shapes, step)

  def train(
    self, workdir: pathlib.Path, profiled: ProfiledSteps | None = None
  ) -> State:
    """Trains to the end of the schedule, from the last checkpoint if there is one.

    With several processes each of them calls it.

    Args:
      workdir: the run's folder.
      profiled: steps to look at with the profiler.

    Raises:
      UserError: the folder holds another run.
      RunFailed, Preempted: see `training.loop.fit`.
    """
    workdir = pathlib.Path(workdir).absolute()
    cluster.check_agreed(data=self.data.hash, labels=self.data.labels.hash)
    with self._owned(workdir) as check_owner:
      checkpoints = Checkpoints(
        checkpoint_folder(workdir), keep=self.config.training.keep_checkpoints
      )
      resumed = checkpoints.latest_step
      is_new = resumed is None
      state = self.fresh_state() if is_new else self.restore(checkpoints)
      with self._recorded(workdir, resumed) as writer:
        state = self._fit(workdir, state, checkpoints, writer, check_owner, profiled)
      checkpoints.close()
      cluster.meet()  # the lead may have been evaluating for long
    return state

  @contextlib.contextmanager
  def _owned(self, workdir: pathlib.Path):
    """Makes the folder this run's and, meanwhile, this trainer's alone.

    Yields what the lead must call before it saves, to know that it still is.
    """
    checks = []
    with contextlib.ExitStack() as stack:

      def claim():
        checks.append(stack.enter_context(owning(workdir)).check)
        claim_workdir(workdir, self.config)
        write_identity(workdir, self.config, self.data)
        self._keep_labels(workdir / 'labels.json')

      cluster.lead_does(claim)
      yield checks[0] if checks else lambda: None

  @contextlib.contextmanager
  def _recorded(self, workdir: pathlib.Path, resumed: int | None):
    """Yields the lead's metric writer, None elsewhere; keeps status.json true."""
    writers = []

    def begin():
      if resumed is not None:
        print(f'{workdir.name}: goes on from step {resumed:,}', flush=True)
      devices = f'{self.mesh.size} x {jax.devices()[0].device_kind}'
      print(f'{workdir.name}: {self.config.title} on {devices}', flush=True)
      for remark in datasets.remarks(self.data):
        print(remark, flush=True)
      writers.append(MetricWriter(workdir, resumed or 0))
      write_status(workdir, 'running')

    def finish():
      writers[0].close()
      write_status(workdir, 'done')

    # A full disk ends all processes, not one that the others would wait for.
    cluster.lead_does(begin)
    try:
      yield writers[0] if writers else None
    except FolderLost:
      raise  # what stands there is its new owner's
    except BaseException as error:
      ended = 'stopped' if isinstance(error, Preempted) else 'failed'
      with contextlib.suppress(OSError):  # a full disk must not hide the error
        for writer in writers:
          write_status(workdir, ended, str(error) or type(error).__name__)
          writer.close()
      raise
    cluster.lead_does(finish)

  def _fit(
    self,
    workdir: pathlib.Path,
    state: State,
    checkpoints: Checkpoints,
    writer: MetricWriter | None,
    check_owner: Callable[[], None],
    profiled: ProfiledSteps | None,
  ) -> State:
    """Trains from `state` on; the lead has the writer."""
    training = self.config.training
    schedule = Schedule(
      training.num_steps,
      training.log_every,
      training.evaluate_every,
      training.checkpoint_every,
    )
    make_step = models.trainer(self.step_config).make_step
    step = int(state.step)
    was_cut_off = (
      step > 0
      and schedule.is_due(step, schedule.evaluate_every)
      and not (writer and writer.has('evaluation', step))
    )
    return fit(
      state,
      step_fn=make_step(self.step_config, self.mesh),
      batch_fn=self._batch_fn(),
      key=sharding.make_key(self.config.seed, self.mesh),
      schedule=schedule,
      checkpoints=checkpoints,
      description=self.origin.to_dict(),
      writer=writer,
      evaluate_fn=self._scores,
      times=self._times(),
      profiler=Profiler(profiled, workdir),
      before_save=check_owner,
      evaluate_first=cluster.lead_says(was_cut_off),
      title=workdir.name,
      shown=_SHOWN,
    )

  def _times(self) -> StepTimes:
    """Measures the steps, beside what the chips could do where they are known."""
    flops = models.flops_per_window(self.step_config)
    chip = chips.find(jax.devices()[0].device_kind)
    return StepTimes(
      self.config.training.batch_size,
      flops_per_window=flops and flops.model,
      peak_flops=chip and chip.peak_flops * self.mesh.size,
    )

  def _scores(self, step: int, state: State) -> dict[str, float]:
    """The evaluation, on the first device of the lead; {} on the other processes."""
    state = state._replace(params=sharding.on_one_device(state.params, self.mesh))
    return self.evaluator(step, state) if self.evaluator else {}

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


def _one_device():
  """Scoring takes no more, on however many the run was trained."""
  return sharding.make_mesh(devices=jax.local_devices()[:1])


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
