"""How fast batches come out of a pool, and out of RL Unplugged's shards."""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from alpt_jax import specs
from alpt_jax.benchmark import ceilings
from alpt_jax.data.mixture import Mixture, Stream
from alpt_jax.data.shards import recorded_runs
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets
from alpt_jax.experiment.recorded import PoolSet, RecordedSet, View
from alpt_jax.experiment.shard_set import ShardSet
from alpt_jax.types import Batch

# How often the memory is looked at: it goes up and down by a tenth.
_LOOKS = 200


@dataclasses.dataclass(frozen=True)
class InputFigures:
  """What reading batches cost.

  Attributes:
    windows_per_cpu_s: windows per CPU-second of this process, all its threads.
    windows_per_s: windows per second of wall time.
    spread: half the distance of the quartiles of `windows_per_s`, over tenths of
      the batches.
    first_batch_s: wall time of the first batch.
    first_batch_cpu_s: its CPU time.
    growth_mb: memory of its own, mean over the last quarter of the batches, over that
      after the first; mapped files do not count, as a pool's pages are the system's
      to drop.
    settled_growth_mb: the same over the mean of the second quarter: buffers are full
      by then.
    window_bytes: of one row of a batch.
  """

  windows_per_cpu_s: float
  windows_per_s: float
  spread: float
  first_batch_s: float
  first_batch_cpu_s: float
  growth_mb: float
  settled_growth_mb: float
  window_bytes: int

  def of_copy(self, rate: float) -> float:
    """Share of `ceilings.host_copy_rate` at which windows were put together.

    Each is read and written once at least.
    """
    return 2 * self.window_bytes * self.windows_per_s / rate


def measure_section(
  section: str, folders: Sequence[str], *lengths: int
) -> dict[str, float]:
  """All figures of section `pool` or `stream`, beside a large copy's rate.

  Args:
    section: which.
    folders: datasets, or what holds files of RL Unplugged.
    *lengths: what `measure` takes behind the sets.
  """
  with tempfile.TemporaryDirectory() as cache:
    if section == 'pool':
      sets = open_pools(folders)
    else:
      sets = open_shards(folders, pathlib.Path(cache))
    found = measure(sets, *lengths)
  rate = ceilings.host_copy_rate()
  figures = dataclasses.asdict(found)
  return {**figures, 'copy_gb_per_s': rate / 1e9, 'of_copy': found.of_copy(rate)}


def open_pools(folders: Sequence[str]) -> list[RecordedSet]:
  """The pools of dataset folders."""
  return [PoolSet(datasets.open_dataset(folder)) for folder in folders]


def open_shards(folders: Sequence[str], cache: pathlib.Path) -> list[RecordedSet]:
  """All games of RL Unplugged in `folders` or below them; scanned.

  Raises:
    UserError: a folder holds no such files.
  """
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow

  sets = []
  for given in map(pathlib.Path, folders):
    places = sorted({path.parent for path in given.rglob('run_*')})
    runs_of = {place: runs for place in places if (runs := recorded_runs(place))}
    if not runs_of:
      raise UserError(
        f'{given}: expected files run_<r>-<i>-of-<n> of RL Unplugged there or below, '
        'found none. Record with --shards.'
      )
    for folder, runs in runs_of.items():
      manifest = rl_unplugged.scan(str(folder.parent), folder.name, cache, runs=runs)
      sets.append(ShardSet(manifest, str(folder.parent), cache))
  return sets


def measure(
  sets: Sequence[RecordedSet],
  window_length: int,
  batch_size: int,
  num_batches: int,
  first_step: int = 0,
) -> InputFigures:
  """Reads `num_batches` batches that mix all `sets` in equal shares.

  Args:
    sets: one per game.
    window_length: T, transitions of a window; it has T + 1 frames.
    batch_size: windows per batch.
    num_batches: how many.
    first_step: where to begin, as a resumed run does.
  """
  mixture = _mixture(sets, window_length, batch_size)
  cpu, wall = time.process_time(), time.perf_counter()
  batch = mixture.batch(first_step)
  first_cpu, first_wall = time.process_time() - cpu, time.perf_counter() - wall
  memory = [own_mb()]
  cpu, walls = time.process_time(), [time.perf_counter()]
  for number in range(1, num_batches):
    mixture.batch(first_step + number)
    walls.append(time.perf_counter())
    if number % max(1, num_batches // _LOOKS) == 0:
      memory.append(own_mb())
  cpu = time.process_time() - cpu
  growth, settled_growth = growths(memory)
  rates = batch_size / np.array(
    [np.diff(part).mean() for part in _tenths(np.array(walls))]
  )
  low, middle, high = np.percentile(rates, [25, 50, 75])
  return InputFigures(
    windows_per_cpu_s=batch_size * (num_batches - 1) / cpu,
    windows_per_s=float(middle),
    spread=float(high - low) / 2,
    first_batch_s=first_wall,
    first_batch_cpu_s=first_cpu,
    growth_mb=growth,
    settled_growth_mb=settled_growth,
    window_bytes=_num_bytes(batch) // batch_size,
  )


def growths(memory: Sequence[float]) -> tuple[float, float]:
  """The last quarter's mean less the first figure, and less the second quarter's."""
  quarter = len(memory) // 4
  last = np.mean(memory[-max(1, quarter) :])
  settled = np.mean(memory[quarter : 2 * quarter] or memory[-1:])
  return float(last - memory[0]), float(last - settled)


def _tenths(times: np.ndarray) -> Iterator[np.ndarray]:
  """Successive stretches of time stamps, two at least in each."""
  bounds = np.linspace(0, len(times) - 1, min(10, len(times) - 1) + 1).astype(int)
  for first, last in zip(bounds[:-1], bounds[1:], strict=True):
    yield times[first : last + 1]


def _num_bytes(batch: Batch) -> int:
  return sum(array.nbytes for array in (*batch.window, *batch[1:]))


def _mixture(sets, window_length: int, batch_size: int) -> Mixture:
  vocabulary = specs.joint_vocabulary([recorded.spec for recorded in sets])
  streams = [
    Stream(
      name=f'source {index}',
      windows=recorded.windows(View(vocabulary, index, window_length, 0), None, False),
      share=Fraction(1),
      idm_weight=1.0,
      policy_weight=1.0,
      relabel=False,
    )
    for index, recorded in enumerate(sets)
  ]
  return Mixture(streams, batch_size, seed=0)


def own_mb(status: str = '/proc/self/status') -> float:
  """Resident memory of this process that is no file's, in MB; NaN where unknown."""
  try:
    lines = pathlib.Path(status).read_text().splitlines()
  except OSError:
    return float('nan')
  kb = (line.split()[1] for line in lines if line.startswith('RssAnon:'))
  return float(next(kb, 'nan')) / 1024
