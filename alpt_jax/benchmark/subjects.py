"""What is measured: a run's own models and batches, though nothing was recorded.

The models are those that `experiment/models.py` builds from the files in `configs/`,
the batches come out of `experiment/datasets.py` and hold the shares of rows that a run
has; only what is on the screens is noise, and its recordings lie in memory.
"""

import dataclasses
import importlib
import zlib

import jax
import numpy as np

from alpt_jax import specs
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment import datasets, described, models
from alpt_jax.experiment.config import RunConfig, from_mapping
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.recorded import PoolSet
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.training.step import StepConfig
from alpt_jax.types import Batch

# Size -> the file in configs/ and its arguments. A target and one source everywhere, so
# that 3/8 of the rows want a label: half of them are the target's, three quarters of
# those come without actions.
SIZES = {
  'tiny': ('maze', 'size=small,observation=position,sources=blocked'),
  'small': ('atari', 'size=small,phase=pretrain,sources=Breakout'),
  'paper': ('atari', 'size=paper,phase=pretrain,sources=Breakout'),
}
# Episodes of noise and their length: enough for labels and a held-out episode.
_NUM_EPISODES, _LENGTH = 4, 100
_LABELS = 50


@dataclasses.dataclass(frozen=True)
class Subject:
  """Models and the data that they are measured on.

  Attributes:
    config: of a run of ALPT that trains both models at once.
    data: noise.
    steps: both models.
  """

  config: RunConfig
  data: RunData
  steps: StepConfig

  def batch(self, rows: int | None = None) -> Batch:
    """A batch of the run, or of so many `rows`, on the default device."""
    training = self.config.training
    training = dataclasses.replace(training, batch_size=rows or training.batch_size)
    config = dataclasses.replace(self.config, training=training)
    return jax.device_put(datasets.make_mixture(config, self.data).batch(0))


def config_of(
  size: str,
  batch_size: int,
  dtype: str,
  remat: bool = False,
  scan_layers: bool = False,
) -> RunConfig:
  """The run's config of one of `SIZES`; its other settings are those in `configs/`.

  Raises:
    UserError: the size is not known, or the project folder, whose `configs/` say what
      the sizes are, is not the current one.
  """
  if size not in SIZES:
    raise UserError(
      f'--size: expected one of {", ".join(SIZES)}, found {size}'
      f'{did_you_mean(size, SIZES)}.'
    )
  name, arguments = SIZES[size]
  try:
    module = importlib.import_module(f'configs.{name}')
  except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] != 'configs':
      raise
    raise UserError(
      f'--size: expected configs/{name}.py, found no {error.name}. Run from the '
      'project folder.'
    ) from error
  config = module.get_config(arguments)
  config.training.batch_size = batch_size
  config.model.dtype = dtype
  config.model.scan_layers = scan_layers
  config.execution.remat = remat
  config.data.labels = _LABELS
  return from_mapping(config)


def prepare(config: RunConfig) -> Subject:
  """Models and noise for a config that names its environments."""
  found = described.environment_specs(config)
  target, *sources = (PoolSet(_noise(spec)) for spec in found)
  labels = datasets.draw_labels(config, target)
  vocabulary = specs.joint_vocabulary(found)
  steps = models.build(
    config,
    target.spec.observation,
    len(vocabulary),
    specs.joint_return_range(found),
  )
  return Subject(config, RunData(target, tuple(sources), labels, vocabulary), steps)


def _noise(spec: EnvironmentSpec) -> Pool:
  """Episodes of an environment in which everything is drawn at random."""
  number = zlib.crc32(spec.name.encode())
  rng = np.random.default_rng(number)
  count, form = _NUM_EPISODES * _LENGTH, spec.observation
  ends = np.arange(1, count + 1) % _LENGTH == 0
  values = form.num_values or 256
  pixels = rng.integers(0, values, (count + _NUM_EPISODES, *form.shape))
  return Pool(
    spec=spec,
    observations=pixels.astype(form.dtype),
    actions=rng.integers(0, len(spec.action_names), count).astype(np.int32),
    rewards=rng.integers(-1, 2, count).astype(np.float32),
    discounts=(~ends).astype(np.float32),
    lengths=np.full(_NUM_EPISODES, _LENGTH),
    is_labelled=np.ones(count, bool),
    manifest_hash=f'{number:016x}',
  )
