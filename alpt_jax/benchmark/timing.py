"""Times of programs that take turns, so that a busy moment of the machine hits all."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

# A turn shorter than this many seconds calls its program more than once, as often as
# fits: what is measured is then the program, not the clock and the first dispatch.
_TURN = 0.05
_MOST_CALLS = 1_000


@dataclasses.dataclass(frozen=True)
class Timing:
  """What a program took in each of its turns, per call.

  Attributes:
    walls: seconds of wall time.
    cpus: CPU-seconds of the process, all of its threads.
    calls: in each turn.
  """

  walls: tuple[float, ...]
  cpus: tuple[float, ...]
  calls: int

  @property
  def seconds(self) -> float:
    """Median of the wall times."""
    return statistics.median(self.walls)

  @property
  def spread(self) -> float:
    """Half the distance of their quartiles."""
    return half_range(self.walls)

  @property
  def cpu_seconds(self) -> float:
    """Median of the CPU times."""
    return statistics.median(self.cpus)


def take_turns(
  programs: Mapping[str, Callable[[], Any]],
  repeats: int,
  *,
  turn: float = _TURN,
  wall: Callable[[], float] = time.perf_counter,
  cpu: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
  """Calls every program, then every program again, and so on.

  Before that each is called twice: the first time it may be compiled, by the second
  it is known how often it fits into a turn. A turn begins with a call that does not
  count: what follows a program that needs little memory finds none that it may use at
  once, and took half as long again. The other calls of a turn are not waited for one by
  one, as a training loop does not either; a program whose result somebody needs before
  the next call waits for it itself.

  Args:
    programs: each starts its work and returns JAX arrays, or something else when it is
      done.
    repeats: turns of each.
    turn: seconds that a turn shall fill.
    wall: clock.
    cpu: clock of the process's CPU time.
  """
  calls = {}
  for name, program in programs.items():
    jax.block_until_ready(program())
    begin = wall()
    jax.block_until_ready(program())
    fits = turn / max(wall() - begin, 1e-9)
    calls[name] = max(1, min(_MOST_CALLS, math.ceil(fits)))
  walls: dict[str, list[float]] = {name: [] for name in programs}
  cpus: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(repeats):
    for name, program in programs.items():
      jax.block_until_ready(program())
      begin, cpu_begin, result = wall(), cpu(), None
      for _ in range(calls[name]):
        result = program()
      jax.block_until_ready(result)
      walls[name].append((wall() - begin) / calls[name])
      cpus[name].append((cpu() - cpu_begin) / calls[name])
  return {
    name: Timing(tuple(walls[name]), tuple(cpus[name]), calls[name])
    for name in programs
  }


@dataclasses.dataclass(frozen=True)
class Ratio:
  """How two times compare, turn by turn.

  Attributes:
    value: of wall times, median over the turns.
    spread: half the distance of the quartiles.
    cpu: the same of CPU times, which other work on the machine hardly changes.
  """

  value: float
  spread: float
  cpu: float


def ratio(above: Sequence[Timing], below: Sequence[Timing]) -> Ratio:
  """The sum of some programs' times over that of others, of the same turns."""
  walls = _quotients([t.walls for t in above], [t.walls for t in below])
  cpus = _quotients([t.cpus for t in above], [t.cpus for t in below])
  return Ratio(statistics.median(walls), half_range(walls), statistics.median(cpus))


def _quotients(above, below) -> list[float]:
  sums = [map(sum, zip(*part, strict=True)) for part in (above, below)]
  # A CPU clock ticks too slowly for a turn that is cut short in a test.
  return [top / max(bottom, 1e-9) for top, bottom in zip(*sums, strict=True)]


def half_range(values: Sequence[float]) -> float:
  """Half the distance of the quartiles; 0 of a single value."""
  if len(values) < 2:
    return 0.0
  low, _, high = statistics.quantiles(values, n=4, method='inclusive')
  return (high - low) / 2
