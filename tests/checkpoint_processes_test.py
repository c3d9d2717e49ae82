"""Checkpoints of several processes and devices: any of them reads what others wrote."""

import os
import pathlib
import resource
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax.errors import RunFailed
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.fingerprint import fingerprints

pytestmark = pytest.mark.slow


def numbers(step):
  """A state: two leaves that fsdp splits, one of 16 bits, and two small ones."""
  noise = np.random.default_rng(step)
  return {
    'bias': noise.normal(size=7).astype(np.float32),
    'half': noise.normal(size=(256, 512)).astype(jnp.bfloat16),
    'kernel': noise.normal(size=(512, 256)).astype(np.float32),
    'step': np.int32(step),
  }


def placed(step, mesh):
  """The same on a mesh, each process making its part."""
  return jax.tree.map(
    lambda leaf, where: jax.make_array_from_callback(
      np.shape(leaf), where, lambda index: np.asarray(leaf)[index]
    ),
    numbers(step),
    sharding.state_shardings(numbers(step), mesh),
  )


def shapes(mesh):
  """What to restore: shapes with their places."""
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(
      np.shape(leaf), np.asarray(leaf).dtype, sharding=where
    ),
    numbers(0),
    sharding.state_shardings(numbers(0), mesh),
  )


def assert_numbers(state, step, mesh):
  """Every part that this process holds is right, bit for bit, and in its place."""

  def check(found, expected, shape):
    assert found.sharding.is_equivalent_to(shape.sharding, found.ndim)
    for shard in found.addressable_shards:
      part = np.asarray(expected)[shard.index]
      assert np.asarray(shard.data).tobytes() == part.tobytes()

  jax.tree.map(check, state, numbers(step), shapes(mesh))


# What the processes do.


def save_alone(folder, fsdp):
  checkpoints = Checkpoints(folder)
  checkpoints.save(1, placed(1, sharding.make_mesh(fsdp)), {})
  checkpoints.close()


def restore_alone(folder, fsdp, step):
  mesh = sharding.make_mesh(fsdp)
  state = Checkpoints(folder, writable=False).restore(shapes(mesh))
  assert state['kernel'].is_fully_replicated == (fsdp == 1)
  assert_numbers(state, step, mesh)


def compare_fingerprints():
  expected = fingerprints(numbers(1))  # on one device
  for fsdp in (1, 2, 4):
    assert fingerprints(placed(1, sharding.make_mesh(fsdp))) == expected


def save_and_restore_together(folder, port, process):
  jax.distributed.initialize(f'localhost:{port}', 2, process)
  mesh = sharding.make_mesh(4)  # both processes hold parts of every large leaf
  checkpoints = Checkpoints(folder, keep=2)
  assert checkpoints.latest_step is None
  for step in (1, 2, 3):
    checkpoints.save(step, placed(step, mesh), {'at': step})
  checkpoints.wait()
  assert checkpoints.latest_step == 3
  assert_numbers(checkpoints.restore(shapes(mesh)), 3, mesh)
  assert_numbers(checkpoints.restore(shapes(mesh), 2), 2, mesh)
  checkpoints.close()


def restore_together(folder, port, process, step):
  jax.distributed.initialize(f'localhost:{port}', 2, process)
  mesh = sharding.make_mesh(2)
  checkpoints = Checkpoints(folder)
  assert_numbers(checkpoints.restore(shapes(mesh)), step, mesh)
  checkpoints.close()


def fail_to_save_on_one(folder, port, process):
  jax.distributed.initialize(f'localhost:{port}', 2, process)
  mesh = sharding.make_mesh(4)
  checkpoints = Checkpoints(folder)
  checkpoints.save(1, placed(1, mesh), {})
  checkpoints.wait()
  if process == 1:  # no large file can be written from now on: a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
  checkpoints.save(2, placed(2, mesh), {})
  while True:
    try:
      checkpoints.check()
    except RunFailed as error:
      print(error, flush=True)
      os._exit(1)
    time.sleep(0.1)


# Their start and end.


def start(function, *arguments, devices=1):
  """A process that calls one of the above."""
  tests = pathlib.Path(__file__).parent
  call = f'{function.__name__}(*{arguments!r})'
  return subprocess.Popen(
    [sys.executable, '-c', f'import checkpoint_processes_test as t; t.{call}'],
    env={
      **os.environ,
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': os.pathsep.join([str(tests), str(tests.parent)]),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(*processes):
  """All of them end well."""
  try:
    for process in processes:
      _, errors = process.communicate(timeout=300)
      assert process.returncode == 0, errors
  finally:
    for process in processes:
      process.kill()


def pair(function, folder, *arguments):
  """Two processes of two devices each."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  return [
    start(function, str(folder), port, process, *arguments, devices=2)
    for process in range(2)
  ]


def test_a_fingerprint_is_the_same_however_a_leaf_is_split():
  finish(start(compare_fingerprints, devices=4))


def test_what_four_devices_share_is_restored_on_one_and_on_two_by_two(tmp_path):
  finish(start(save_alone, str(tmp_path), 4, devices=4))
  finish(
    start(restore_alone, str(tmp_path), 1, 1, devices=1),
    start(restore_alone, str(tmp_path), 2, 1, devices=4),
  )


def test_what_two_processes_save_one_restores_and_the_other_way_round(tmp_path):
  half_written = tmp_path / 'two' / '0.orbax-checkpoint-tmp'
  half_written.mkdir(parents=True)
  finish(*pair(save_and_restore_together, tmp_path / 'two'))
  assert sorted(path.name for path in (tmp_path / 'two').iterdir()) == ['2', '3']
  finish(
    start(restore_alone, str(tmp_path / 'two'), 1, 3, devices=1),
    start(restore_alone, str(tmp_path / 'two'), 4, 3, devices=4),
  )
  finish(start(save_alone, str(tmp_path / 'one'), 1, devices=1))
  finish(*pair(restore_together, tmp_path / 'one', 1))


def test_a_process_whose_save_fails_says_so_though_the_other_waits_for_it(tmp_path):
  waiting, failing = pair(fail_to_save_on_one, tmp_path)
  try:
    output, errors = failing.communicate(timeout=120)
    assert failing.returncode == 1, errors
    message = output.splitlines()[-1]  # after those of the network
    assert message.startswith(f'{tmp_path}: a checkpoint could not be saved (')
    assert 'Last good step: 1.' in message
    assert waiting.poll() is None
  finally:
    for process in (waiting, failing):
      process.kill()
      process.communicate()
  assert Checkpoints(tmp_path, writable=False).latest_step == 1
