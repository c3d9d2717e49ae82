"""Which messages a compiled step sends between chips, read off its text.

XLA prints a program as computations of one instruction a line. A collective that
stands in the body of a loop is sent once for each turn of it.
"""

import dataclasses
import re
from typing import NamedTuple

import numpy as np

KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
  'collective-broadcast',
)

_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$')
_OPCODE = re.compile(r' ([a-z][\w\-]*)\(')
_ARRAY = re.compile(r'\b(pred|bf16|[a-z]\d+[a-z0-9]*)\[([\d,]*)\]')
_CALLED = re.compile(r'\b(?:calls|body|to_apply)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'\b(?:branch|called)_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'known_trip_count\W+n\W+(\d+)')
_CONDITION = re.compile(r'\bcondition=%?([\w.\-]+)')
_BODY = re.compile(r'\bbody=%?([\w.\-]+)')
_PLACE = re.compile(r' get-tuple-element\(.*\bindex=(\d+)')
_OPERAND = re.compile(r'%([\w.\-]+)')
_CONSTANT = re.compile(r' constant\((\d+)\)')
_LISTED = re.compile(r'(?:replica_groups|source_target_pairs)=\{\{([\d,]*)\}')
_IOTA = re.compile(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?')
_MESH = re.compile(r'replica_groups=mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}')
_ORDER = re.compile(r'device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\)')
_AXIS = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+)|=(\d+))?")
# How a TPU's reduce-scatter is printed: a fusion of an all-reduce and a slice.
_REDUCE_SCATTER = 'all-reduce-scatter'
# A collective that a TPU overlaps with several fusions is printed in each of them; in
# the first beside this.
_CHAINED = 'chain_id='
_CHAIN_STARTS = 'custom_call_target="AsyncCollectiveStart"'
# They name the computation that their start, or the first of them, has already called.
_LATER = ('async-done', 'async-update')


class Collective(NamedTuple):
  """One instruction that sends.

  Attributes:
    kind: one of KINDS.
    payload: bytes of the whole array, as each chip has it before or after.
    group: the first of the groups of chips that exchange among themselves, as places
      in the mesh; () for all chips.
    times: how often it runs in a step.
    name: of the instruction.
  """

  kind: str
  payload: int
  group: tuple[int, ...]
  times: int
  name: str

  def sent(self, num_chips: int) -> float:
    """Bytes per step that each chip sends, by the bandwidth-optimal algorithms."""
    size = len(self.group) or num_chips
    if self.kind in ('collective-permute', 'collective-broadcast'):
      return float(self.payload * self.times)
    ways = 2 if self.kind == 'all-reduce' else 1
    return ways * self.payload * self.times * (size - 1) / size


@dataclasses.dataclass
class _Computation:
  """Its collectives, and what it calls: (computation, how often)."""

  collectives: list[Collective] = dataclasses.field(default_factory=list)
  calls: list[tuple[str, int]] = dataclasses.field(default_factory=list)
  lines: list[str] = dataclasses.field(default_factory=list)


def read_collectives(text: str) -> list[Collective]:
  """All collectives of a program, `compiled.as_text()`.

  Those between groups of one chip send nothing and are left out.

  Raises:
    ValueError: the text has no entry computation, or a loop whose collectives cannot
      be counted, as it does not say how often it turns.
  """
  computations, entry = _parse(text)
  found: list[Collective] = []

  def visit(name: str, times: int, is_reduce_scatter: bool) -> None:
    is_reduce_scatter |= _REDUCE_SCATTER in name
    computation = computations.get(name, _Computation())
    for each in computation.collectives:
      kind = 'reduce-scatter' if is_reduce_scatter else each.kind
      found.append(each._replace(kind=kind, times=each.times * times))
    for called, turns in computation.calls:
      if turns == 0 and _sends(called, computations):
        raise ValueError(f'how often the loop {called} turns is not known')
      visit(called, times * turns, is_reduce_scatter)

  visit(entry, 1, False)
  return [each for each in found if len(each.group) != 1]


def _parse(text: str) -> tuple[dict[str, _Computation], str]:
  """The computations of a program by name, and the name of the first to run."""
  computations: dict[str, _Computation] = {}
  entry, current = '', _Computation()
  for line in text.splitlines():
    if head := _HEAD.match(line):
      current = computations.setdefault(head[2], _Computation())
      entry = head[2] if head[1] else entry
    elif _INSTRUCTION.match(line):
      current.lines.append(line)
  if not entry:
    raise ValueError('the text has no ENTRY computation')
  for computation in computations.values():
    for line in computation.lines:
      _read_instruction(line, computation, computations)
  return computations, entry


def _read_instruction(line: str, computation: _Computation, computations) -> None:
  """Adds to a computation what one of its instructions sends or calls."""
  match = _INSTRUCTION.match(line)
  name, rest = match[1], f' {match[2]}'
  opcode = _OPCODE.search(_without_layouts(rest))
  if opcode is None or opcode[1] in _LATER:
    return
  opcode = opcode[1]
  kind = opcode.removesuffix('-start')
  if kind in KINDS:
    if _CHAINED in rest and not any(
      _CHAIN_STARTS in line for line in computation.lines
    ):
      return
    result = rest.partition(f' {opcode}(')[0]
    group = _group(rest)
    payload = _payload(kind, opcode != kind, result, len(group))
    computation.collectives.append(Collective(kind, payload, group, 1, name))
    return
  times = _turns(rest, computations) if opcode == 'while' else 1
  computation.calls += [(called, times) for called in _CALLED.findall(rest)]
  for branches in _BRANCHES.findall(rest):
    names = [branch.strip().lstrip('%') for branch in branches.split(',')]
    computation.calls += [(branch, 1) for branch in names]


def _without_layouts(text: str) -> str:
  """The text without `{1,0:T(8,128)}`, whose T would look like an opcode."""
  return re.sub(r'\{[^{}]*\}', '', text)


def _payload(kind: str, is_start: bool, result: str, group_size: int) -> int:
  """Bytes of the whole array, from the printed type of the result."""
  sizes = [_num_bytes(dtype, shape) for dtype, shape in _ARRAY.findall(result)]
  if is_start and kind == 'all-gather':
    sizes = sizes[len(sizes) // 2 :]  # the operands come first
  elif is_start and kind == 'collective-permute':
    sizes = sizes[1:2]
  factor = max(group_size, 1) if kind == 'reduce-scatter' else 1
  return sum(sizes) * factor


def _num_bytes(dtype: str, shape: str) -> int:
  bits = 8 if dtype == 'pred' else int(re.search(r'\d+', dtype)[0])
  return int(np.prod([int(size) for size in shape.split(',') if size])) * bits // 8


def _group(text: str) -> tuple[int, ...]:
  """The first group of chips that an instruction names, () for all of them.

  Listed, `{{0,1},{2,3}}`; as a reshaped and transposed sequence, `[2,2]<=[4]`; or by
  axes of a mesh, `mesh['a'=2,'b'=2] {'b'}`, or parts of them, `'b':(1)2`, whose chips
  may have another order, `device_ids=([2,2]T(1,0))`.
  """
  if listed := _LISTED.search(text):
    return tuple(int(chip) for chip in listed[1].split(','))
  if iota := _IOTA.search(text):
    chips = _sequence(iota[2], iota[3]).reshape(_integers(iota[1]))
    return tuple(chips[0].tolist())
  if mesh := _MESH.search(text):
    places = _group_of_mesh(_AXIS.findall(mesh[1]), _AXIS.findall(mesh[3]))
    if order := _ORDER.search(mesh[2]):
      chips = _sequence(order[1], order[2]).ravel()
      return tuple(chips[list(places)].tolist())
    return places
  return ()


def _group_of_mesh(axes, members) -> tuple[int, ...]:
  """The first group along `members`, axes of a mesh or parts `(before, size)`."""
  sizes = {name: int(size) for name, _, _, size in axes}
  strides = np.cumprod([1, *reversed(sizes.values())])[-2::-1]
  stride_of = dict(zip(sizes, strides, strict=True))
  places = np.zeros(1, int)
  for name, before, size, _ in members:
    part = int(size) if size else sizes[name]
    # A part of an axis varies slower than what is left of it behind.
    step = stride_of[name] * (sizes[name] // (int(before or 1) * part))
    places = (places[:, None] + step * np.arange(part)).ravel()
  return tuple(places.tolist())


def _sequence(sizes: str, order: str | None) -> np.ndarray:
  """0, 1, 2, ... as an array of `sizes`, its axes then in another order."""
  chips = np.arange(np.prod(_integers(sizes))).reshape(_integers(sizes))
  return chips.transpose(_integers(order)) if order else chips


def _integers(text: str | None) -> list[int]:
  return [int(number) for number in (text or '').split(',') if number]


def _turns(text: str, computations) -> int:
  """How often a loop turns; 0 if it is not known."""
  if known := _TRIPS.search(text):
    return int(known[1])
  # Otherwise its counter is compared with a number, and grows by another.
  condition = computations.get(_CONDITION.search(text)[1], _Computation())
  body = computations.get(_BODY.search(text)[1], _Computation())
  limits = [int(n) for line in condition.lines for n in _CONSTANT.findall(line)]
  stride = _stride(condition.lines, body.lines)
  return -(-limits[0] // stride) if len(limits) == 1 and stride else 0


def _stride(condition: list[str], body: list[str]) -> int:
  """By how much a body raises the counter that its condition reads; 0: not known."""
  defined = {match[1]: match[2] for match in map(_INSTRUCTION.match, body)}
  places = [int(place) for line in condition for place in _PLACE.findall(line)]
  results = [line.rpartition(' tuple(')[2] for line in body if ' ROOT ' in f' {line}']
  if len(places) != 1 or len(results) != 1:
    return 0
  operands = _OPERAND.findall(results[0].partition(')')[0])
  if places[0] >= len(operands):
    return 0
  total = defined.get(operands[places[0]], '')
  if ' add(' not in total:
    return 0
  terms = _OPERAND.findall(total.partition(' add(')[2].partition(')')[0])
  found = [_CONSTANT.search(f' {defined.get(term, "")}') for term in terms]
  numbers = [int(match[1]) for match in found if match]
  return numbers[0] if len(numbers) == 1 else 0


def _sends(name: str, computations: dict[str, _Computation]) -> bool:
  computation = computations.get(name, _Computation())
  return bool(computation.collectives) or any(
    _sends(called, computations) for called, _ in computation.calls
  )
