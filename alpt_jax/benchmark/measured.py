"""Programs and the ceilings take turns; what comes of it, as a table and as JSON."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from alpt_jax.benchmark.ceilings import COPY, MATMUL
from alpt_jax.benchmark.programs import Program
from alpt_jax.benchmark.timing import Ratio, Timing, ratio, take_turns

_HEAD = f'{"":32}{"ms":>11}{"±":>9}{"CPU ms":>11}{"of limit":>14}{"GFLOP":>11}{"MB":>8}'


@dataclasses.dataclass(frozen=True)
class Limit:
  """The time that a call takes at least, at the ceilings of the same turns.

  Attributes:
    seconds: the larger of its operations over the matrix product's rate and the bytes
      that it moves over the copy's; median over the turns.
    by: which of the two it is, 'matmul' or 'copy'.
    reached: `seconds` over the time that it took; median over the turns. Above 1 where
      its data stay in a cache, which a large copy's do not.
  """

  seconds: float
  by: str
  reached: float


@dataclasses.dataclass(frozen=True)
class Measured:
  """A program, what it took, and what it could have taken."""

  program: Program
  timing: Timing
  limit: Limit

  def record(self) -> dict[str, Any]:
    """Plain numbers, by the names of the JSON."""
    seconds, program = self.timing.seconds, self.program
    rates = {f'{name}_per_s': count / seconds for name, count in program.counts.items()}
    return {
      'seconds': seconds,
      'spread': self.timing.spread,
      'cpu_seconds': self.timing.cpu_seconds,
      'repeats': len(self.timing.walls),
      'calls_per_repeat': self.timing.calls,
      'flops': program.flops,
      'flops_per_s': program.flops and program.flops / seconds,
      'moved_bytes': program.moved,
      'peak_bytes': program.memory,
      'limit_seconds': self.limit.seconds,
      'limit': self.limit.by,
      'of_limit': self.limit.reached,
      **rates,
    }

  def line(self, name: str) -> str:
    """A row of the table."""
    timing, program = self.timing, self.program
    rates = [
      f'{_rate(count / timing.seconds)} {unit}/s'
      for unit, count in program.counts.items()
    ]
    row = (
      f'{name:32}{1e3 * timing.seconds:12,.3f}{1e3 * timing.spread:11,.3f}'
      f'{1e3 * timing.cpu_seconds:12,.3f}{self.limit.reached:7.2f} {self.limit.by:6}'
      f'{_number(program.flops, 1e9, 2):>11}{_number(program.memory, 1e6, 0):>8}'
    )
    return '  '.join([row, *rates])


@dataclasses.dataclass(frozen=True)
class Section:
  """All that one section found.

  Attributes:
    programs: name -> what was measured, the ceilings first.
    ratios: what is compared -> how.
    facts: further figures by name.
    notes: what the reader must know, a line each.
  """

  programs: dict[str, Measured]
  ratios: dict[str, Ratio]
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()

  def record(self) -> dict[str, Any]:
    """Plain JSON types."""
    return {
      'programs': {name: each.record() for name, each in self.programs.items()},
      'ratios': {name: dataclasses.asdict(each) for name, each in self.ratios.items()},
      **self.facts,
      'notes': list(self.notes),
    }

  def table(self) -> str:
    """For people."""
    lines = [_HEAD, *(each.line(name) for name, each in self.programs.items())]
    for name, each in self.programs.items():
      if name == MATMUL:
        rate = each.program.flops / each.timing.seconds
        lines.append(f'ceiling: {rate / 1e9:,.1f} GFLOP/s, a large matrix product')
      if name == COPY:
        rate = each.program.moved / each.timing.seconds
        lines.append(f'ceiling: {rate / 1e9:,.1f} GB/s, a large copy, read and written')
    for name, each in self.ratios.items():
      lines.append(
        f'{name}: {each.value:.3f} ± {each.spread:.3f}, of CPU time {each.cpu:.3f}'
      )
    lines += [f'{name}: {value}' for name, value in self.facts.items()]
    return '\n'.join([*lines, *self.notes])


def measure(
  programs: Mapping[str, Program],
  limits: Mapping[str, Program],
  repeats: int,
  compared: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None,
) -> Section:
  """Lets programs and ceilings take turns.

  Args:
    programs: by name.
    limits: `ceilings.programs`.
    repeats: turns of each.
    compared: name of a ratio -> the programs above the line and those below it.
  """
  programs = {**limits, **programs}
  times = take_turns({name: each.run for name, each in programs.items()}, repeats)
  return Section(
    {
      name: Measured(each, times[name], limit_of(each, times[name], limits, times))
      for name, each in programs.items()
    },
    {
      name: ratio([times[each] for each in above], [times[each] for each in below])
      for name, (above, below) in (compared or {}).items()
    },
  )


def limit_of(
  program: Program,
  timing: Timing,
  limits: Mapping[str, Program],
  times: Mapping[str, Timing],
) -> Limit:
  """What a program could have taken, turn by turn.

  Args:
    program: what is compared with the ceilings.
    timing: its own times.
    limits: `ceilings.programs`.
    times: theirs, of the same turns.
  """
  multiply, copy = limits[MATMUL], limits[COPY]
  least = {
    MATMUL: [(program.flops or 0.0) / multiply.flops * t for t in times[MATMUL].walls],
    COPY: [(program.moved or 0) / copy.moved * t for t in times[COPY].walls],
  }
  by = max(least, key=lambda name: statistics.median(least[name]))
  both = [max(pair) for pair in zip(*least.values(), strict=True)]
  reached = [bound / wall for bound, wall in zip(both, timing.walls, strict=True)]
  return Limit(statistics.median(both), by, statistics.median(reached))


def _number(value: float | None, unit: float, digits: int) -> str:
  return '-' if value is None else f'{value / unit:,.{digits}f}'


def _rate(value: float) -> str:
  return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
