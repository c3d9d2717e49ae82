"""How fast batches come out of pools, packed sets and RL Unplugged's shards."""

import dataclasses
import multiprocessing
import pathlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from alpt_jax import specs
from alpt_jax.benchmark import ceilings
from alpt_jax.data.mixture import Mixture, Stream
from alpt_jax.data.packed import PackedPool, open_packed, write_packed
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
    windows_per_s: windows per second of wall time, median.
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
    seconds: wall time of all batches but the first.
  """

  windows_per_cpu_s: float
  windows_per_s: float
  spread: float
  first_batch_s: float
  first_batch_cpu_s: float
  growth_mb: float
  settled_growth_mb: float
  window_bytes: int
  seconds: float

  def of_copy(self, rate: float) -> float:
    """Share of `ceilings.host_copy_rate` at which windows were put together.

    Each is read and written once at least.
    """
    return 2 * self.window_bytes * self.windows_per_s / rate


def measure_section(
  section: str,
  folders: Sequence[str],
  window_length: int,
  batch_size: int,
  num_batches: int,
  first_step: int = 0,
  num_processes: int = 1,
) -> dict[str, float]:
  """All figures of section `pool`, `packed` or `stream`, beside a large copy's rate.

  Args:
    section: which.
    folders: datasets, or what holds files of RL Unplugged.
    window_length: as `measure`.
    batch_size: as `measure`.
    num_batches: as `measure`.
    first_step: as `measure`.
    num_processes: if more than one, so many also read at once, each as a host of its
      own, and what they read together is compared with what one reads so.
  """
  lengths = window_length, batch_size, num_batches, first_step
  with tempfile.TemporaryDirectory() as cache:
    found = measure(OPENERS[section](folders, pathlib.Path(cache)), *lengths)
    together = {}
    if num_processes > 1:
      reading = section, folders, cache, lengths
      one, all_of_them = (_together(*reading, n) for n in (1, num_processes))
      together = {
        'processes': num_processes,
        'together_windows_per_s': all_of_them[0],
        'together_windows_per_cpu_s': all_of_them[1],
        'together_of_one': all_of_them[0] / one[0],
        'together_of_one_per_cpu_s': all_of_them[1] / one[1],
      }
  rate = ceilings.host_copy_rate()
  figures = {**dataclasses.asdict(found), **together}
  return {**figures, 'copy_gb_per_s': rate / 1e9, 'of_copy': found.of_copy(rate)}


def _together(section, folders, cache, lengths, num_processes) -> tuple[float, float]:
  """Windows per second and per CPU-second of several new processes."""
  context = multiprocessing.get_context('spawn')
  barrier = context.Barrier(num_processes)
  with context.Pool(num_processes, _remember, (barrier,)) as pool:
    reading = (section, folders, cache, lengths)
    tasks = [(*reading, host, num_processes) for host in range(num_processes)]
    found = pool.starmap(_read_as_host, tasks, chunksize=1)
  _, batch_size, num_batches, _ = lengths
  num_windows = num_processes * batch_size * (num_batches - 1)
  cpu_s = sum(num_windows / num_processes / each.windows_per_cpu_s for each in found)
  return num_windows / max(each.seconds for each in found), num_windows / cpu_s


def _remember(barrier) -> None:
  global _barrier  # of this process, which only reads as a host
  _barrier = barrier


def _read_as_host(section, folders, cache, lengths, host, num_hosts):
  """What one of several processes does; they begin together."""
  try:
    sets = OPENERS[section](folders, pathlib.Path(cache))
    return measure(sets, *lengths, host, num_hosts, _barrier.wait)
  except threading.BrokenBarrierError:
    return None  # another failed, and says why
  except BaseException:
    _barrier.abort()
    raise


def open_pools(folders: Sequence[str], cache: pathlib.Path) -> list[RecordedSet]:
  """The pools of dataset folders.

  Raises:
    UserError: a folder holds a packed set.
  """
  del cache
  pools = [datasets.open_dataset(folder) for folder in folders]
  for folder, pool in zip(folders, pools, strict=True):
    if isinstance(pool, PackedPool):
      raise UserError(
        f'{folder}: expected a pool, found a packed set. Measure section packed, or '
        'convert it with bin/convert --form=pool.'
      )
  return [PoolSet(pool) for pool in pools]


def open_packed_sets(folders: Sequence[str], cache: pathlib.Path) -> list[RecordedSet]:
  """The packed sets of dataset folders; of a pool, what it becomes in `cache`."""
  sets = []
  for number, folder in enumerate(folders):
    pool = datasets.open_dataset(folder)
    if not isinstance(pool, PackedPool):
      place = cache / f'packed-{number}'
      if not place.exists():
        write_packed(place, pool.spec, map(pool.episode, range(pool.num_episodes)))
      pool = open_packed(place)
    sets.append(PoolSet(pool))
  return sets


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


OPENERS = {'pool': open_pools, 'packed': open_packed_sets, 'stream': open_shards}


def measure(
  sets: Sequence[RecordedSet],
  window_length: int,
  batch_size: int,
  num_batches: int,
  first_step: int = 0,
  host: int = 0,
  num_hosts: int = 1,
  ready_fn: Callable[[], object] = lambda: None,
) -> InputFigures:
  """Reads `num_batches` batches that mix all `sets` in equal shares.

  Args:
    sets: one per game.
    window_length: T, transitions of a window; it has T + 1 frames.
    batch_size: windows per batch that this process reads.
    num_batches: how many.
    first_step: where to begin, as a resumed run does.
    host: which of the hosts that share batches this is, from 0.
    num_hosts: how many there are.
    ready_fn: called after the first batch.
  """
  mixture = _mixture(sets, window_length, batch_size, host, num_hosts)
  cpu, wall = time.process_time(), time.perf_counter()
  batch = mixture.batch(first_step, host, num_hosts)
  first_cpu, first_wall = time.process_time() - cpu, time.perf_counter() - wall
  memory = [own_mb()]
  ready_fn()
  cpu, walls = time.process_time(), [time.perf_counter()]
  for number in range(1, num_batches):
    mixture.batch(first_step + number, host, num_hosts)
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
    seconds=walls[-1] - walls[0],
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


def _mixture(
  sets, window_length: int, batch_size: int, host: int, num_hosts: int
) -> Mixture:
  vocabulary = specs.joint_vocabulary([recorded.spec for recorded in sets])
  streams = [
    Stream(
      name=f'source {index}',
      windows=recorded.windows(
        View(vocabulary, index, window_length, 0, host, num_hosts), None, False
      ),
      share=Fraction(1),
      idm_weight=1.0,
      policy_weight=1.0,
      relabel=False,
    )
    for index, recorded in enumerate(sets)
  ]
  return Mixture(streams, batch_size * num_hosts, seed=0)


def own_mb(status: str = '/proc/self/status') -> float:
  """Resident memory of this process that is no file's, in MB; NaN where unknown."""
  try:
    lines = pathlib.Path(status).read_text().splitlines()
  except OSError:
    return float('nan')
  kb = (line.split()[1] for line in lines if line.startswith('RssAnon:'))
  return float(next(kb, 'nan')) / 1024
