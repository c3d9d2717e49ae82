"""A program that is measured, with what is known of it beforehand."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Program:
  """What `timing.take_turns` calls, and what its time is compared with.

  Attributes:
    run: starts one call.
    flops: operations of a call that its task asks for, counted on paper; None: it is no
      arithmetic.
    moved: bytes that cannot but cross the memory: what it reads, and what it gives.
    memory: bytes that it holds at its peak, arguments and results included.
    counts: what a call gets through, by name: {'windows': 256}.
  """

  run: Callable[[], Any]
  flops: float | None = None
  moved: int | None = None
  memory: int | None = None
  counts: dict[str, int] = dataclasses.field(default_factory=dict)


def compiled_for(function, *arguments) -> jax.stages.Compiled:
  """A jitted function, compiled for arguments of which only the shapes are read."""
  return function.lower(*arguments).compile()


def account_of(*compiled: jax.stages.Compiled) -> dict[str, int]:
  """`moved` and `memory` of a `Program` that runs these, one after the other.

  By the compiler's own account of buffers, which is exact and of this program alone,
  where devices and systems know only the most that any program so far has held.
  """
  moved, memory = 0, 0
  for each in compiled:
    account = each.memory_analysis()
    given, made = account.argument_size_in_bytes, account.output_size_in_bytes
    moved += given + made
    held = given + made - account.alias_size_in_bytes + account.temp_size_in_bytes
    memory = max(memory, held)
  return {'moved': moved, 'memory': memory}
