"""Preflight: what it reads off a compiled program, what it says, what it refuses."""

import collections
import importlib.util
import os
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from binaries_test import _ROOT
from tiny_configs import get_config

from alpt_jax.errors import UserError
from alpt_jax.experiment.config import from_mapping
from alpt_jax.preflight import program, topologies
from alpt_jax.preflight.collectives import read_collectives
from alpt_jax.preflight.estimate import Estimate, estimate, step_flops
from alpt_jax.preflight.program import Compiled, compile_step, prepare
from alpt_jax.preflight.report import report, verdict
from alpt_jax.preflight.topologies import HERE, KNOWN, Topology, open_topology
from alpt_jax.training import chips

# As XLA prints them, on a mesh of 4 x 2 chips. The first loop turns three times. The
# second counts by twos up to the limit in its condition, and what it gathers is printed
# in each of the three fusions that it overlaps with.
TEXT = """\
HloModule jit_step, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  ROOT %sum = f32[] add(%x, %x)
}

%all-reduce-scatter.1 (p: f32[16,8]) -> f32[8,8] {
  %p = f32[16,8]{1,0:T(8,128)} parameter(0)
  %ar.9 = f32[16,8]{1,0:T(8,128)} all-reduce(%p), replica_groups=mesh['a'=4,'b'=2] {'b'}
  ROOT %slice = f32[8,8]{1,0:T(8,128)} dynamic-slice(%ar.9)
}

%body (s: (s32[], bf16[8,8])) -> (s32[], bf16[8,8]) {
  %s = (s32[], bf16[8,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %ag = (bf16[8,8], bf16[16,8]{1,0}) all-gather-start(%s), replica_groups=[4,2]<=[8]
  %agd = bf16[16,8]{1,0} all-gather-done(%ag)
  %fusion.1 = f32[8,8]{1,0} fusion(%agd), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %t = (s32[], bf16[8,8]{1,0}) tuple(%s)
}

%condition (s: (f32[4], u32[])) -> pred[] {
  %limit = u32[]{:T(128)} constant(10)
  %turn = u32[] get-tuple-element(%s), index=1
  ROOT %less = pred[]{:T(512)} compare(%turn, %limit), direction=LT
}

%start (p: f32[4]) -> (f32[4], f32[16]) {
  %all.1 = f32[16] all-gather(%p), replica_groups=[2,4]<=[8], attributes={chain_id="0"}
  ROOT %c.1 = (f32[4], f32[16]) custom-call(%all.1), \
custom_call_target="AsyncCollectiveStart"
}

%between (p: f32[4]) -> f32[16] {
  ROOT %all.2 = f32[16] all-gather(%p), replica_groups=[2,4]<=[8], a={chain_id="0"}
}

%done (p: f32[4]) -> f32[16] {
  %all.3 = f32[16] all-gather(%p), replica_groups=[2,4]<=[8], attributes={chain_id="0"}
  ROOT %c.3 = f32[16] custom-call(%all.3), custom_call_target="AsyncCollectiveDone"
}

%body.2 (s: (f32[4], u32[])) -> (f32[4], u32[]) {
  %cp = (f32[4], f32[4]) collective-permute-start(%s), source_target_pairs={{0,1}}
  %cpd = f32[4]{0} collective-permute-done(%cp)
  %two = u32[] constant(2)
  %turn = u32[]{:T(128)} get-tuple-element(%s), index=1
  %next = u32[]{:T(128)} add(%turn, %two), metadata={op_name="f(x)"}
  ROOT %t.2 = (f32[4]{0:T(128)}, /*index=1*/u32[]) tuple(%cpd, /*index=1*/%next)
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %w = s32[] while(%a), body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %while.2 = (f32[4], u32[]) while(%a), condition=%condition, body=%body.2
  %f.1 = (f32[4], f32[16]) fusion(%a), kind=kCustom, calls=%start
  %f.2 = f32[16] fusion(%a), kind=kCustom, calls=%between
  %f.3 = f32[16] fusion(%a), kind=kCustom, calls=%done
  %one = f32[4]{0} all-reduce(%a), replica_groups={{0},{1}}, to_apply=%add
  %two = (f32[4]{0:T(128)}, /*index=1*/f32[]) all-reduce(%a), replica_groups={{0,2,4,6}}
}
"""


def test_messages_are_read_off_a_compiled_program():
  *rest, chained = read_collectives(TEXT)
  assert chained == ('all-gather', 16 * 4, (0, 1, 2, 3), 1, 'all.1')
  found = {each.kind: each for each in rest}
  assert len(found) == len(rest) == 4
  assert found['all-gather'].payload == 16 * 8 * 2
  assert found['all-gather'].times == 3
  assert found['all-gather'].group == (0, 1)
  assert found['reduce-scatter'].payload == 16 * 8 * 4
  assert found['reduce-scatter'].times == 3
  assert found['reduce-scatter'].group == (0, 1)
  assert found['collective-permute'].payload == 4 * 4
  assert found['collective-permute'].times == 5
  # 4 + 1 floats; the group of one chip alone sends nothing.
  assert found['all-reduce'].payload == 5 * 4
  assert found['all-reduce'].group == (0, 2, 4, 6)


def test_bytes_that_a_chip_sends():
  sent = {
    each.kind: each.sent(8) for each in read_collectives(TEXT) if each.name != 'all.1'
  }
  # Of 256 bytes among two chips each has half and sends it, three times.
  assert sent['all-gather'] == 3 * 128
  assert sent['reduce-scatter'] == 3 * 256
  assert sent['collective-permute'] == 5 * 16
  # Twice three quarters of 20 bytes: reduced in parts, then gathered.
  assert sent['all-reduce'] == 2 * 15


@pytest.mark.parametrize(
  'groups, first',
  [
    ('{{0,2},{1,3}}', (0, 2)),
    ('[2,4]<=[8]', (0, 1, 2, 3)),
    ('[2,4]<=[4,2]T(1,0)', (0, 2, 4, 6)),
    ("mesh['a'=4,'b'=2] {'a'}", (0, 2, 4, 6)),
    ("mesh['a'=4,'b'=2] {'b'}", (0, 1)),
    ("mesh['a'=4,'b'=2] {'a','b'}", tuple(range(8))),
    ("mesh['a'=8] {'a':(1)2}", (0, 4)),
    ("mesh['a'=8] {'a':(2)4}", (0, 1, 2, 3)),
    ("mesh['a'=1,'b'=2,'c'=2], device_ids=([2,2]T(1,0)) {'c'}", (0, 2)),
    ("mesh['a'=1,'b'=2,'c'=2], device_ids=([2,2]T(1,0)) {'b'}", (0, 1)),
    ('{}', ()),
  ],
)
def test_every_way_to_write_groups_is_understood(groups, first):
  line = f'  %r = f32[2]{{0}} all-reduce(%a), replica_groups={groups}, to_apply=%add'
  text = f'ENTRY %main (a: f32[2]) -> f32[2] {{\n{line}\n}}\n'
  (found,) = read_collectives(text)
  assert found.group == first


@pytest.mark.parametrize('number', ['constant(10)', 'constant(2)'])
def test_a_loop_of_unknown_length_is_not_counted_as_if_it_were_known(number):
  text = TEXT.replace(number, 'parameter(1)')
  with pytest.raises(ValueError, match='body.2 turns'):
    read_collectives(text)


# Topologies.


def placed(shape, chip='TPU v4'):
  """A slice whose devices know nothing but their places."""
  places = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), -1)
  devices = [types.SimpleNamespace(coords=list(place)) for place in places]
  return Topology('x', devices, chips.find(chip), 1, shape)


def links(shape, group=()):
  topology = placed(shape)
  return topology.links(group, topology.devices)


def test_links_by_the_shape_of_the_slice():
  assert links((8, 8)) == 2  # rows without an end to end link
  assert links((16, 16)) == 4
  assert links((8, 16)) == 3
  assert links((2, 2, 4)) == 3
  assert links((4, 4, 4)) == 6
  assert links((2, 2, 1)) == 2


def test_links_of_a_group_are_those_of_the_axes_along_which_it_lies():
  assert links((16, 16), tuple(range(16))) == 2  # one row
  assert links((16, 16), tuple(range(0, 256, 16))) == 2  # one column
  assert links((16, 16), tuple(range(32))) == 4  # two rows


def test_an_unknown_slice_is_answered_with_the_known_ones():
  with pytest.raises(UserError, match="unknown 'v4:2x2x3'; did you mean") as error:
    open_topology('v4:2x2x3')
  assert all(name in str(error.value) for name in (HERE, *KNOWN))
  assert '\n' not in str(error.value)


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
  def fail(*arguments, **options):
    raise RuntimeError('JAX TPU support not installed; cannot generate TPU topology.')

  monkeypatch.setattr(topologies.topologies, 'get_topology_desc', fail)
  with pytest.raises(UserError, match=r"pip install 'alpt-jax\[tpu\]'"):
    open_topology('v4:2x2x1')


def test_a_chip_is_found_by_what_jax_calls_it():
  assert chips.find('TPU v5 lite').peak_flops == 197e12
  assert chips.find('TPU v5').name == 'TPU v5p'
  assert chips.find('cpu') is None
  kinds = [kind for chip in chips.CHIPS for kind in chip.device_kinds]
  assert len(kinds) == len(set(kinds))


# Programs.


def tiny_maze(**execution):
  """configs/maze.py, tiny, without data."""
  fields = get_config('maze', '')
  fields.model.update({'width': 16, 'num_heads': 2, 'num_layers': 1})
  fields.training.update({'batch_size': 16})
  fields.execution.update(execution)
  return from_mapping(fields)


def test_the_batch_has_the_shapes_of_a_run_of_the_config():
  made = prepare(tiny_maze(), open_topology(HERE))
  assert made.batch.window.observations.shape == (16, 6, 4)
  assert made.batch.window.allowed.shape == (16, 4)
  assert made.batch.relabel.dtype == bool
  assert made.mesh.size == jax.device_count()


def test_what_cannot_be_shared_out_is_refused():
  two = placed((2, 1), 'TPU v5e')
  with pytest.raises(UserError, match='execution.fsdp: expected a divisor of the 2'):
    prepare(tiny_maze(fsdp=3), two)
  with pytest.raises(UserError, match='batch_size: expected a multiple of 32'):
    prepare(tiny_maze(microbatches=16), two)


def test_environments_must_be_named():
  fields = get_config('maze', '')
  fields.data.environments = ()
  with pytest.raises(UserError, match='data.environments: expected'):
    prepare(from_mapping(fields), open_topology(HERE))


def page(config, account, **fields):
  """The report of a program that the compiler answered with `account`."""
  here = open_topology(HERE)._replace(chip=chips.find('TPU v5e'))
  made = prepare(config, here)
  compiled = Compiled(TEXT, account, None, None, 1.0)._replace(**fields)
  found = estimate(made, compiled, step_flops(made), 0.5)
  return found, report(made, compiled, found, 0.5)


def account(**sizes):
  names = ('argument', 'temp', 'output', 'alias', 'generated_code')
  return types.SimpleNamespace(
    **{f'{name}_size_in_bytes': sizes.get(name, 0) for name in names}
  )


def test_memory_is_what_is_given_and_made_less_what_is_reused():
  sizes = {'argument': 9e9, 'temp': 4e9, 'output': 8e9, 'alias': 7e9}
  found, text = page(tiny_maze(), account(**sizes))
  assert found.needed == 9e9 + 4e9 + (8e9 - 7e9)
  assert found.fits
  assert 'fits: 14.00 GB a chip, 88% of its memory' in text
  found, _ = page(tiny_maze(), account(**{**sizes, 'temp': 7e9}))
  assert found.fits is False  # 17 of 16


def test_what_does_not_fit_is_said_with_the_ways_out():
  error = 'RESOURCE_EXHAUSTED: ... Used 20.5G of 15.75G hbm. Exceeded hbm capacity'
  overrun = program._overrun(error)
  assert overrun == (20.5 * 2**30, 15.75 * 2**30)
  found, text = page(tiny_maze(), None, text='', overrun=overrun)
  assert found.fits is False
  assert 'does not fit: 22.01 GB a chip, there are 16.91 GB' in text
  assert 'execution.remat' in text


def test_the_time_of_a_step_has_two_limits():
  found, text = page(tiny_maze(), account(argument=1e6))
  assert found.compute_seconds == found.flops / (1 * 197e12 * 0.5)
  # 384 + 768 + 80 + 30 bytes, see above, and 48 of the chain, at 50 GB/s.
  assert found.link_seconds == pytest.approx(1310 / 50e9)
  assert found.limit == 'compute'
  assert found.step_seconds[1] == found.link_seconds + found.compute_seconds
  assert f'each host must give {16 / found.compute_seconds:,.0f} windows/s' in text
  assert text.endswith('limited by compute')
  slow = found._replace(link_seconds=2 * found.compute_seconds)
  assert slow.limit == 'links'
  assert slow.step_seconds == (slow.link_seconds, 1.5 * slow.link_seconds)


def test_messages_that_the_mesh_does_not_need_are_named():
  found, text = page(tiny_maze(), account())
  assert found.unexpected == ['all-gather', 'collective-permute', 'reduce-scatter']
  assert 'not expected on such a mesh: all-gather, collective-permute, red' in text


def test_an_unknown_device_has_no_invented_peak():
  nothing = Estimate({}, None, 0.0, None, [], [], 1.0, None, None, 1)
  found = nothing._replace(memory=(0,))
  assert 'whose memory is not known; speed: not known' in verdict(found)
  assert found.step_seconds is None


# From end to end.


def run_preflight(*arguments, devices=4, expect=0):
  environment = dict(os.environ, JAX_PLATFORMS='cpu')
  environment['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={devices}'
  result = subprocess.run(
    [sys.executable, '-m', 'alpt_jax.bin.preflight', *arguments],
    cwd=_ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=400,
  )
  assert result.returncode == expect, result.stdout + result.stderr
  return result.stdout, result.stderr


_TINY = (
  '--config=configs/maze.py',
  '--config.model.width=16',
  '--config.model.num_heads=2',
  '--config.model.num_layers=1',
  '--config.training.batch_size=64',
)


@pytest.mark.slow
@pytest.mark.parametrize('microbatches', [1, 2])
def test_here_on_four_devices_gradients_are_reduced_and_nothing_else_is_sent(
  microbatches,
):
  """Eight groups of eight rows: two for each device, or one in each microbatch."""
  parts = f'--config.execution.microbatches={microbatches}'
  out, _ = run_preflight('--topology=here', *_TINY, parts)
  assert 'here: 4 x cpu, 1 hosts; mesh data 4 x fsdp 1' in out
  assert 'the peak of these devices is not known' in out
  kinds = {
    kind for kind in ('all-gather', 'reduce-scatter', 'all-to-all') if kind in out
  }
  assert 'all-reduce' in out and not kinds


@pytest.mark.slow
def test_a_split_state_is_gathered_and_no_activation_is_sent(tmp_path):
  text = tmp_path / 'step.txt'
  wide = ('--config.model.width=128', '--config.execution.fsdp=4', f'--text={text}')
  out, _ = run_preflight('--topology=here', *_TINY, *wide)
  assert 'mesh data 1 x fsdp 4' in out
  assert 'not expected' not in out
  found = read_collectives(text.read_text())
  # An MLP has two kernels of 128 x 512, the only leaves that are split, in each of two
  # models; what was gathered for the way forward serves on the way back. The few rows
  # of 128 would be less to send.
  gathered = [each.payload for each in found if each.kind == 'all-gather']
  assert gathered == [128 * 512 * 4] * 4


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2():
  out, errors = run_preflight('--topology=v4:9x9', *_TINY, expect=2)
  assert errors.startswith("error: --topology: unknown 'v4:9x9'")
  assert errors.count('\n') == 1


@pytest.fixture
def libtpu(monkeypatch):
  """The compiler of TPUs, installed or where launch/test.sh --all puts it."""
  folder = pathlib.Path(os.environ.get('ALPT_LIBTPU', 'nowhere'))
  if importlib.util.find_spec('libtpu') is None:
    if not folder.is_dir():
      pytest.skip('the compiler of TPUs is not installed')
    monkeypatch.syspath_prepend(folder)
  # As users compile, not as the other tests do.
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.mark.slow
@pytest.mark.parametrize('fsdp', [1, 2])
def test_the_compiler_of_tpus_sends_the_expected_messages_alone(libtpu, fsdp):
  # Wide enough that a kernel of the MLP, 2**16 numbers, is split over fsdp.
  config = get_config('maze', '')
  config.model.update({'width': 128, 'num_heads': 2, 'num_layers': 1})
  config.training.update({'batch_size': 256})
  config.execution.update({'fsdp': fsdp})
  made = prepare(from_mapping(config), open_topology('v4:2x2x1'))
  compiled = compile_step(made, print)
  sends = collections.defaultdict(list)
  for each in read_collectives(compiled.text):
    sends[each.kind].append(each.payload)
  found = estimate(made, compiled, step_flops(made), 0.4)
  assert found.fits
  assert found.unexpected == []
  if fsdp > 1:
    # The two kernels of each model's MLP, 128 x 512, travel as the chip multiplies
    # them, in bfloat16, and once their gradients in float32. No activation does.
    assert set(sends['all-gather']) == {2**16 * 2}
    assert sends['reduce-scatter'] == [2**16 * 4] * 4
    assert set(sends) == {'all-gather', 'reduce-scatter', 'all-reduce'}
    return
  assert set(sends) == {'all-reduce'}
  # Every parameter's gradient is reduced once, and little besides.
  sent = sum(each.payload for each in found.traffic)
  assert sent / found.memory.parameters == pytest.approx(1, abs=0.05)
