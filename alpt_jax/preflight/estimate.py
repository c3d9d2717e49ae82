"""What a compiled step needs: memory by kind, messages, time, input."""

from typing import NamedTuple

import jax
import numpy as np

from alpt_jax.experiment import models
from alpt_jax.preflight.collectives import Collective, read_collectives
from alpt_jax.preflight.program import Compiled, Program
from alpt_jax.training.step import StepConfig


class Memory(NamedTuple):
  """Bytes on each chip.

  `padding` is what the chip's layouts add to the arrays that are given, `outputs` what
  the results need beyond the buffers of the state that they reuse.
  """

  parameters: int
  moments: int
  batch: int
  padding: int
  temporaries: int
  outputs: int
  program: int

  @property
  def total(self) -> int:
    """All of it."""
    return sum(self)


class Traffic(NamedTuple):
  """The messages of one kind between groups of one size, per step.

  Attributes:
    kind: of the collective.
    group: chips that exchange among themselves.
    count: messages, each turn of a loop counted.
    payload: bytes of the arrays.
    sent: bytes that leave each chip.
    seconds: at full rate of the links; None where their rate is not known.
  """

  kind: str
  group: int
  count: int
  payload: int
  sent: float
  seconds: float | None


class Estimate(NamedTuple):
  """What there is to say of a program; None where it is not known.

  Attributes:
    num_parameters: model name -> how many.
    memory: per chip; None where the compiler found that it does not fit.
    needed: bytes per chip, also where it does not fit.
    available: bytes of memory per chip.
    traffic: the messages.
    unexpected: kinds of messages that training on such a mesh does not need.
    flops: of a step, on all chips.
    compute_seconds: they take at the assumed share of the peak.
    link_seconds: the messages take.
    window_bytes: of one row of the batch.
  """

  num_parameters: dict[str, int]
  memory: Memory | None
  needed: float
  available: float | None
  traffic: list[Traffic]
  unexpected: list[str]
  flops: float | None
  compute_seconds: float | None
  link_seconds: float | None
  window_bytes: int

  @property
  def fits(self) -> bool | None:
    """Whether the memory suffices; None if it is not known how much there is."""
    if self.memory is None:
      return False
    return None if self.available is None else self.needed <= self.available

  @property
  def limit(self) -> str | None:
    """'compute' or 'links', whichever takes longer."""
    if self.compute_seconds is None or self.link_seconds is None:
      return None
    return 'links' if self.link_seconds > self.compute_seconds else 'compute'

  @property
  def step_seconds(self) -> tuple[float, float] | None:
    """(all messages behind the arithmetic, none of them), a step's bounds."""
    if self.limit is None:
      return None
    both = self.compute_seconds, self.link_seconds
    return max(both), sum(both)


def estimate(
  program: Program, compiled: Compiled, num_flops: float | None, utilisation: float
) -> Estimate:
  """Adds up what the compiler found.

  Args:
    program: what was compiled.
    compiled: the result.
    num_flops: of a step on all chips; None if unknown.
    utilisation: share of the chips' peak that the arithmetic is taken to reach.
  """
  chip, num_chips = program.topology.chip, program.mesh.size
  state, batch = program.state, program.batch
  memory = None
  if compiled.memory is not None:
    memory = _memory(program, compiled.memory)
    needed, available = memory.total, chip and chip.memory
  else:
    needed, available = compiled.overrun
  traffic = _traffic(program, compiled.text) if compiled.text else []
  compute_seconds = link_seconds = None
  if chip and compiled.text:
    link_seconds = sum(each.seconds for each in traffic)
  if chip and num_flops:
    compute_seconds = num_flops / (num_chips * chip.peak_flops * utilisation)
  return Estimate(
    num_parameters={name: _count(tree) for name, tree in state.params.items()},
    memory=memory,
    needed=needed,
    available=available,
    traffic=traffic,
    unexpected=sorted({each.kind for each in traffic} - _expected(program)),
    flops=num_flops,
    compute_seconds=compute_seconds,
    link_seconds=link_seconds,
    window_bytes=_num_bytes(batch) // program.config.training.batch_size,
  )


def step_flops(program: Program) -> float | None:
  """Operations of a step on all chips, recomputed ones too; None for Q-learning."""
  per_window = models.flops_per_window(program.steps)
  return per_window and per_window.hardware * program.config.training.batch_size


def _expected(program: Program) -> set[str]:
  """Gradients and sums of losses are reduced; a split state is gathered, too.

  That may go round in a ring, in permutes that hide behind the product. Where a device
  has no whole groups of rows (`types.RowUse`), some rows change their device.
  """
  expected = {'all-reduce'}
  if program.mesh.shape['fsdp'] > 1:
    expected |= {'all-gather', 'reduce-scatter', 'collective-permute'}
  if not _holds_whole_groups(program):
    expected |= {'all-gather', 'all-to-all', 'collective-permute'}
  return expected


def _holds_whole_groups(program: Program) -> bool:
  if not isinstance(program.steps, StepConfig):
    return True
  parts = program.mesh.size * program.steps.microbatches
  return program.config.training.batch_size % (parts * program.steps.rows.group) == 0


def _memory(program: Program, account) -> Memory:
  state = program.state
  parameters, moments = _on_chip(state.params), _on_chip(state.opt_state)
  batch = _on_chip(program.batch)
  given = account.argument_size_in_bytes
  return Memory(
    parameters=parameters,
    moments=moments,
    batch=batch,
    padding=given - parameters - moments - batch,
    temporaries=account.temp_size_in_bytes,
    outputs=account.output_size_in_bytes - account.alias_size_in_bytes,
    program=account.generated_code_size_in_bytes,
  )


def _traffic(program: Program, text: str) -> list[Traffic]:
  """The program's messages, most bytes first."""
  topology, order = program.topology, list(program.mesh.devices.flat)
  kinds: dict[tuple[str, int], list[tuple[Collective, float | None]]] = {}
  for each in read_collectives(text):
    seconds, size = None, len(each.group) or len(order)
    if topology.chip:
      rate = topology.links(each.group, order) * topology.chip.link_bandwidth
      seconds = each.sent(len(order)) / rate
    kinds.setdefault((each.kind, size), []).append((each, seconds))
  found = [
    Traffic(
      kind=kind,
      group=size,
      count=sum(each.times for each, _ in parts),
      payload=sum(each.payload * each.times for each, _ in parts),
      sent=sum(each.sent(len(order)) for each, _ in parts),
      seconds=sum(seconds for _, seconds in parts) if topology.chip else None,
    )
    for (kind, size), parts in kinds.items()
  ]
  return sorted(found, key=lambda each: -each.sent)


def _on_chip(tree) -> int:
  """Bytes of the part of a tree that lies on one chip."""
  return sum(
    int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def _num_bytes(tree) -> int:
  return sum(
    int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
  )


def _count(tree) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
