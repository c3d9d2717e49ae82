"""What preflight says: a page of plain text."""

from collections.abc import Iterator

from alpt_jax.preflight.estimate import Estimate
from alpt_jax.preflight.program import Compiled, Program

_UNKNOWN = 'not known'
# What each way to need less memory costs, in the order in which to try them.
_WAYS_OUT = (
  'larger execution.fsdp (links)',
  'execution.remat (a third more arithmetic)',
  'more execution.microbatches (time)',
  'a smaller batch',
  'more chips',
)


def report(
  program: Program, compiled: Compiled, found: Estimate, utilisation: float
) -> str:
  """The page; `utilisation` as `estimate` was given it."""
  parts = (
    _what(program, compiled, found),
    _memory(found),
    _messages(found),
    _time(program, found, utilisation),
    [verdict(found)],
  )
  return '\n\n'.join('\n'.join(part) for part in parts)


def verdict(found: Estimate) -> str:
  """Whether it fits and what limits it, in one line."""
  if found.fits is False:
    ways = ', '.join(_WAYS_OUT)
    return (
      f'does not fit: {_gigabytes(found.needed)} a chip, there are '
      f'{_gigabytes(found.available)}. Ways out: {ways}.'
    )
  if found.fits is None:
    fits = f'needs {_gigabytes(found.needed)} a device, whose memory is not known'
  else:
    share = found.needed / found.available
    fits = f'fits: {_gigabytes(found.needed)} a chip, {share:.0%} of its memory'
  if found.limit is None:
    return f'{fits}; speed: not known, as the device is in no table of ours'
  return f'{fits}; limited by {found.limit}'


def _what(program: Program, compiled: Compiled, found: Estimate) -> Iterator[str]:
  topology, config = program.topology, program.config
  kind = topology.chip.name if topology.chip else topology.devices[0].device_kind
  mesh = ' x '.join(f'{name} {size}' for name, size in program.mesh.shape.items())
  yield (
    f'{topology.name}: {len(topology.devices)} x {kind}, {topology.num_hosts} hosts; '
    f'mesh {mesh}'
  )
  sizes = ', '.join(
    f'{name} {n / 1e6:,.1f}M' for name, n in found.num_parameters.items()
  )
  total = sum(found.num_parameters.values())
  yield f'{config.title}: {total / 1e6:,.1f}M parameters ({sizes})'
  batch, execution = config.training.batch_size, config.execution
  yield (
    f'batch: {batch:,} windows a step, {batch // program.mesh.size:,} a chip, '
    f'microbatches {execution.microbatches}, remat {_on(execution.remat)}, '
    f'scan_layers {_on(config.model.scan_layers)}, {config.model.dtype}'
  )
  yield f'compiled in {compiled.seconds:.0f} s'


def _memory(found: Estimate) -> Iterator[str]:
  yield 'memory on each chip, MB'
  if found.memory is None:
    yield f'  {"the compiler found that it needs":34}{found.needed / 1e6:>12,.1f}'
  else:
    for name, size in (
      ('parameters', found.memory.parameters),
      ("optimiser's moments", found.memory.moments),
      ('batch', found.memory.batch),
      ('padding of these by the chip', found.memory.padding),
      ('temporaries: activations, gradients', found.memory.temporaries),
      ('results that reuse no buffer', found.memory.outputs),
      ('program', found.memory.program),
      ('in all', found.needed),
    ):
      yield f'  {name:36}{size / 1e6:>12,.1f}'
  there = _UNKNOWN if found.available is None else f'{found.available / 1e6:,.1f}'
  yield f'  {"of":36}{there:>12}'


def _messages(found: Estimate) -> Iterator[str]:
  if not found.traffic:
    yield 'messages: none'
    return
  yield (
    f'{"messages per step":20}{"among":>8}{"count":>8}{"arrays, MB":>13}'
    f'{"sent a chip, MB":>17}{"ms":>9}'
  )
  for each in found.traffic:
    time = '-' if each.seconds is None else f'{each.seconds * 1e3:,.2f}'
    yield (
      f'  {each.kind:18}{each.group:>8,}{each.count:>8,}{each.payload / 1e6:>13,.2f}'
      f'{each.sent / 1e6:>17,.2f}{time:>9}'
    )
  if found.unexpected:
    yield f'  not expected on such a mesh: {", ".join(found.unexpected)}'


def _time(program: Program, found: Estimate, utilisation: float) -> Iterator[str]:
  topology, chip = program.topology, program.topology.chip
  flops = _UNKNOWN if found.flops is None else f'{found.flops:.3g} FLOP'
  if chip is None or found.compute_seconds is None:
    yield f'compute  {flops} a step; the peak of these devices is {_UNKNOWN}'
  else:
    yield (
      f'compute  {flops} a step at {utilisation:.0%} of {chip.peak_flops / 1e12:,.0f} '
      f'TFLOP/s a chip (assumed): {found.compute_seconds * 1e3:,.1f} ms'
    )
  if found.link_seconds is not None:
    yield (
      f'links    {chip.link_bandwidth / 1e9:,.0f} GB/s each, all of them busy: '
      f'{found.link_seconds * 1e3:,.1f} ms'
    )
  if found.step_seconds is None:
    return
  least, most = found.step_seconds
  yield (
    f'step     {least * 1e3:,.1f} ms if all messages hide behind arithmetic, '
    f'{most * 1e3:,.1f} ms if none does'
  )
  windows = program.config.training.batch_size / least / topology.num_hosts
  yield (
    f'input    each host must give {windows:,.0f} windows/s, '
    f'{windows * found.window_bytes / 1e6:,.1f} MB/s'
  )
  yield f'peak, memory and links of {chip.name}: {chip.source}'


def _gigabytes(size: float) -> str:
  return f'{size / 1e9:,.2f} GB'


def _on(flag: bool) -> str:
  return 'on' if flag else 'off'
