"""Several processes as one training run: how they find each other, and that they agree.

Cloud TPU, GKE, Slurm and Open MPI are recognised by `jax.distributed`; elsewhere each
process is told by flags. Process 0 leads: it alone writes metrics and records, and
evaluates. All of them compute, read their part of the data and save.
"""

import hashlib
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from alpt_jax.errors import PeerLost, RunFailed, UserError
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.identity import circumstances

# A file that one process wrote may take a while to be seen through NFS or a bucket.
_SHARED_WITHIN = 20.0  # seconds
_MODES = ('auto', 'on', 'off')


def define_flags() -> None:
  """Defines the flags that `start` reads; of binaries that train."""
  flags.DEFINE_enum(
    'distributed',
    'auto',
    _MODES,
    'auto: where Cloud TPU, GKE, Slurm or Open MPI started several processes, or '
    'flags say so; on: fail without them.',
  )
  flags.DEFINE_string('coordinator', '', 'HOST:PORT of process 0, by hand.')
  flags.DEFINE_integer('num_processes', None, 'Of the run, by hand.', lower_bound=1)
  flags.DEFINE_integer('process_id', None, 'Of this one, by hand.', lower_bound=0)
  flags.DEFINE_integer(
    'expect_processes',
    None,
    'Refuse to train with another number of processes.',
    lower_bound=1,
  )


def start(workdir: pathlib.Path, config: RunConfig) -> None:
  """Joins the other processes, as the flags say, and checks that they agree.

  Call it before any JAX computation.

  Raises:
    UserError: the flags do not fit together, there is no cluster though there should
      be, another number of processes came, they do not share the folder, or were
      started with different configs or versions.
    PeerLost: the others could not be reached.
  """
  values = flags.FLAGS
  by_hand = {
    'coordinator': values.coordinator or None,
    'num_processes': values.num_processes,
    'process_id': values.process_id,
  }
  _join(values.distributed, by_hand)
  expected, found = values.expect_processes, jax.process_count()
  if expected is not None and found != expected:
    raise UserError(
      f'--expect_processes: expected {expected} processes, found {found}. Start one '
      'on every host, at the same time, with --distributed=on.'
    )
  if jax.distributed.is_initialized():  # also a single process, if Slurm started it
    devices = jax.local_devices()
    if hint := idle_gpus(devices[0].platform, len(devices), os.environ):
      print(hint, file=sys.stderr, flush=True)
  if found > 1:
    print(f'process {jax.process_index()} of {found}', flush=True)
    _check_shared(workdir)
    check_agreed(config=config.to_dict(), **circumstances())


def _join(mode: str, by_hand: Mapping[str, Any]) -> None:
  missing = [f'--{name}' for name, value in by_hand.items() if value is None]
  if mode == 'off':
    if len(missing) < len(by_hand):
      raise UserError('--distributed=off: contradicts the other flags. Leave them out.')
    return
  if 0 < len(missing) < len(by_hand):
    raise UserError(f'{", ".join(missing)}: missing. Give all of a process, or none.')
  if not missing and by_hand['process_id'] >= by_hand['num_processes']:
    raise UserError(
      f'--process_id: expected 0 to {by_hand["num_processes"] - 1}, found '
      f'{by_hand["process_id"]}.'
    )
  coordinator = by_hand['coordinator'] or ''
  if not missing and not re.fullmatch(r'.+:\d+', coordinator):
    raise UserError(f'--coordinator: expected HOST:PORT, found {coordinator}.')
  try:
    jax.distributed.initialize(
      by_hand['coordinator'], by_hand['num_processes'], by_hand['process_id']
    )
  except ValueError as error:
    if not missing:
      raise UserError(f'--coordinator and its like: JAX says: {error}') from error
    if mode == 'on':  # and JAX found no cluster
      raise UserError(
        '--distributed=on: no cluster was found (Cloud TPU, GKE, Slurm or Open MPI). '
        'Give --coordinator, --num_processes and --process_id.'
      ) from error
  except RuntimeError as error:
    raise PeerLost(
      'the other processes could not be reached '
      f'({str(error).splitlines()[0]}). Are all of them started, and is the '
      'coordinator reachable from every host? --distributed=off trains with this '
      'process alone.'
    ) from error


def idle_gpus(platform: str, count: int, environ: Mapping[str, str]) -> str:
  """What to say where Slurm gave a node more GPUs than its processes drive; else ''.

  Args:
    platform: of this process's devices.
    count: of them.
    environ: the process's.
  """
  given = environ.get('SLURM_GPUS_ON_NODE', '')
  # Of the first node, '2(x4)' or '2,1'; the others rarely have another number.
  tasks = re.match(r'\d+', environ.get('SLURM_STEP_TASKS_PER_NODE', ''))
  if platform != 'gpu' or not given.isdigit() or tasks is None:
    return ''
  driven = count * int(tasks[0])
  if driven >= int(given):
    return ''
  return (
    f'warning: {driven} of the {given} GPUs of this node are driven: JAX gives each '
    'Slurm task one. Start a task per GPU, or export '
    f'JAX_LOCAL_DEVICE_IDS={",".join(map(str, range(int(given))))} for a task per node.'
  )


def is_lead() -> bool:
  """Whether this is the process that writes and evaluates."""
  return jax.process_index() == 0


def _check_shared(workdir: pathlib.Path) -> None:
  """Raises `UserError` on every process unless all of them see one folder."""
  nonce = np.frombuffer(os.urandom(8), np.uint32)
  nonce = np.asarray(multihost_utils.broadcast_one_to_all(nonce))
  path = workdir / f'.seen-by-all-{nonce.tobytes().hex()}'
  if is_lead():
    workdir.mkdir(parents=True, exist_ok=True)
    path.touch()
  multihost_utils.sync_global_devices('written')
  deadline = time.monotonic() + _SHARED_WITHIN
  while not (sees := path.exists()) and time.monotonic() < deadline:
    time.sleep(0.2)
  blind = _where(not sees)
  if is_lead():
    path.unlink()
  if blind:
    raise UserError(
      f'--workdir: {workdir}: processes {blind} do not see what process 0 wrote there. '
      'Give a folder that all hosts share (NFS, or a bucket that is mounted).'
    )


def check_agreed(**facts: Any) -> None:
  """Finds out whether all processes were given the same.

  Raises:
    UserError: on every process, naming what differs, and on which processes.
  """
  if jax.process_count() == 1:
    return
  digests = [hashlib.sha256(repr(fact).encode()).digest() for fact in facts.values()]
  mine = np.frombuffer(b''.join(digests), np.uint32).reshape(len(facts), -1)
  everyone = np.asarray(
    multihost_utils.process_allgather(mine)
  )  # [processes, facts, 8]
  differs = (everyone != everyone[0]).any(axis=-1)
  for index, (name, fact) in enumerate(facts.items()):
    others = np.flatnonzero(differs[:, index]).tolist()
    if others:
      raise UserError(
        f'{name}: processes {others} have another than process 0; this is process '
        f'{jax.process_index()} with {fact}. Start all with the same code, config and '
        'data.'
      )


def lead_does(function: Callable[[], None]) -> None:
  """Calls a function on process 0 while the others wait; fails everywhere or nowhere.

  Raises:
    UserError, RunFailed, OSError: what the function raised there; on the others
      `RunFailed`.
  """
  error = None
  if is_lead():
    try:
      function()
    except (UserError, RunFailed, OSError) as raised:
      error = raised
  is_bad = lead_says(error is not None)
  if error is not None:
    raise error
  if is_bad:
    raise RunFailed('process 0 could not go on; its output says why.')


def lead_says(value: bool) -> bool:
  """What process 0 has found, on every process."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def meet() -> None:
  """Waits until every process is here, for as long as that takes.

  Before they end: JAX aborts processes that others leave alone for five minutes.
  """
  lead_says(True)


def _where(holds: bool) -> list[int]:
  """The processes on which something holds."""
  everyone = multihost_utils.process_allgather(np.asarray(holds))
  return np.flatnonzero(np.asarray(everyone)).tolist()
