"""What more games cost: one recording under several names, mixed in equal shares."""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from alpt_jax import specs
from alpt_jax.benchmark import inputs
from alpt_jax.data.mixture import Mixture, Stream
from alpt_jax.errors import UserError
from alpt_jax.experiment.recorded import RecordedSet, View
from alpt_jax.experiment.shard_set import ShardSet

# What the paper trains on: a game, a few, and 41 (section 5.5).
COUNTS = (1, 8, 41)


@dataclasses.dataclass(frozen=True)
class Held:
  """What a process holds; NaN where the system does not tell.

  Attributes:
    own_mb: resident memory that is no file's.
    mapped_mb: resident pages of files, the system's to drop: a pool's.
    threads: of all libraries.
    files: open ones.
  """

  own_mb: float
  mapped_mb: float
  threads: float
  files: float


@dataclasses.dataclass(frozen=True)
class Turn:
  """Some batches, and what was held behind them."""

  cpu_s: float
  wall_s: float
  held: Held


def measure_games(
  folders: Sequence[str],
  counts: Sequence[int],
  window_length: int,
  batch_size: int,
  num_batches: int,
  store: str = 'stream',
  turns: int = 8,
) -> dict[str, float]:
  """Figures of every count of games, named `<count>_games_<what>`.

  Each count has a process of its own, as memory and threads are a process's; they take
  turns, so that what else the machine does meanwhile touches all alike. Behind the
  first turn, which is not counted, buffers are full. `of_fewest` is the windows per
  CPU-second beside those of the first count in the same turn, median; `growth_mb` is
  the memory of its own behind the last turn over that behind the first one counted;
  `first_batch_cpu_s` fills the buffers.

  Args:
    folders: one dataset, see `inputs.OPENERS`.
    counts: how many games; the first one is what others are compared with.
    window_length: T, transitions of a window.
    batch_size: windows per batch; at least the largest count.
    num_batches: how many each count reads, in `turns` turns.
    store: 'pool', 'packed' or 'stream'.
    turns: how many.

  Raises:
    UserError: no such data, or fewer rows than games.
  """
  if len(folders) != 1:
    raise UserError(f'--data: expected one folder for games, found {len(folders)}.')
  if batch_size < max(counts):
    raise UserError(
      f'--batch_size: expected a row for each of {max(counts)} games, found '
      f'{batch_size}.'
    )
  setting = folders[0], store, window_length, batch_size
  with contextlib.ExitStack() as stack:
    readers = [stack.enter_context(_reader(*setting, count)) for count in counts]
    firsts = [_ask(reader, 1) for reader in readers]
    each = max(1, num_batches // (turns + 1))
    found = [[_ask(reader, each) for reader in readers] for _ in range(turns + 1)][1:]
  figures = {}
  for index, count in enumerate(counts):
    mine = [turn[index] for turn in found]
    rates = [each * batch_size / turn.cpu_s for turn in mine]
    ratios = [turn[0].cpu_s / turn[index].cpu_s for turn in found]
    held = mine[-1].held
    figures |= {
      f'{count}_games_{name}': value
      for name, value in {
        'windows_per_cpu_s': float(np.median(rates)),
        'windows_per_s': each * batch_size / float(np.median([t.wall_s for t in mine])),
        'of_fewest': float(np.median(ratios)),
        'first_batch_cpu_s': firsts[index].cpu_s,
        **dataclasses.asdict(held),
        'growth_mb': held.own_mb - mine[0].held.own_mb,
      }.items()
    }
  return figures


@contextlib.contextmanager
def _reader(*setting) -> Iterator:
  """A process that reads: it is sent a number of batches, and sends back a turn."""
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe()
  process = context.Process(target=_serve, args=(theirs, *setting), daemon=True)
  process.start()
  theirs.close()
  try:
    yield ours
  finally:
    ours.close()
    process.join()


def _ask(reader, num_batches: int) -> Turn:
  reader.send(num_batches)
  answer = reader.recv()
  if isinstance(answer, UserError):
    raise answer
  return answer


def _serve(connection, folder, store, window_length, batch_size, count) -> None:
  """What the process of a count of games does, until the other end is closed."""
  with tempfile.TemporaryDirectory() as temporary, contextlib.suppress(EOFError):
    try:
      sets = under_names(folder, store, count, pathlib.Path(temporary))
      mixture = _mixed(sets, window_length, batch_size)
      step = 0
      while True:
        steps = range(step, step + connection.recv())
        connection.send(_timed(mixture, steps))
        step = steps.stop
    except UserError as error:
      connection.recv()
      connection.send(error)


def _timed(mixture: Mixture, steps: Sequence[int]) -> Turn:
  cpu, wall = time.process_time(), time.perf_counter()
  for step in steps:
    mixture.batch(step)
  return Turn(time.process_time() - cpu, time.perf_counter() - wall, held())


def under_names(
  folder: str, store: str, count: int, temporary: pathlib.Path
) -> list[RecordedSet]:
  """A dataset as so many that share nothing but the bytes on the disk.

  Shards are linked under other names, which gives each an order of its own.
  """
  opened = inputs.OPENERS[store]([folder], temporary)
  if len(opened) != 1:
    raise UserError(f'--data: expected one game in {folder}, found {len(opened)}.')
  (one,) = opened
  if not isinstance(one, ShardSet):
    return [
      one,
      *(inputs.OPENERS[store]([folder], temporary)[0] for _ in range(1, count)),
    ]
  return [_linked(one, temporary / 'names', f'game-{k}') for k in range(count)]


def _linked(one: ShardSet, root: pathlib.Path, name: str) -> ShardSet:
  """A set of shards whose files lie in the folder `name` of `root`."""
  (root / name).mkdir(parents=True)
  files = []
  for file in map(pathlib.PurePath, one.index.files):
    (root / name / file.name).symlink_to(pathlib.Path(one.folder, file).absolute())
    files.append(f'{name}/{file.name}')
  index = dataclasses.replace(one.index, files=tuple(files))
  return dataclasses.replace(one, index=index, folder=str(root))


def _mixed(sets: Sequence[RecordedSet], window_length: int, batch_size: int) -> Mixture:
  vocabulary = specs.joint_vocabulary([each.spec for each in sets])
  streams = [
    Stream(
      name=f'source {index}',
      windows=each.windows(
        View(vocabulary, index, window_length, num_streams=len(sets)), None, False
      ),
      share=Fraction(1),
      idm_weight=1.0,
      policy_weight=1.0,
      relabel=False,
    )
    for index, each in enumerate(sets)
  ]
  return Mixture(streams, batch_size, seed=0)


def held(process: str = '/proc/self') -> Held:
  """What this process holds."""
  folder = pathlib.Path(process)
  try:
    lines = (folder / 'status').read_text().splitlines()
    files = len(os.listdir(folder / 'fd'))
  except OSError:
    return Held(*[float('nan')] * 4)
  found = dict(line.split(':', 1) for line in lines if ':' in line)
  own, mapped, threads = (
    float(found.get(name, 'nan').split()[0])
    for name in ('RssAnon', 'RssFile', 'Threads')
  )
  return Held(own / 1024, mapped / 1024, threads, files)
