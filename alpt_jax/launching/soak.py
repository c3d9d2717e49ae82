"""Kills processes of a training, again and again, and looks whether it shows.

  python -m alpt_jax.launching.soak --kills=25 --out=DIR [--seed=0] [--processes=2]

A small run is trained once undisturbed. Then the same is trained under
`launch/local.sh` and killed five times on its way, and once more, until there were so
many kills: SIGKILL to one of its processes, drawn at random, at a moment drawn at
random. Nobody helps: the supervisor starts the run again. Every run must end by itself
with exit code 0, the undisturbed run's train state (parameters, moments of the
optimiser, step) bit for bit, and its rows of metrics.

Exit codes: 0 all did; 1 one did not; 2 what was given is wrong. What was killed when,
and what became of it, is printed and kept in DIR/kills.md.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import open_trained
from alpt_jax.launching.commands import Parser, exit_code
from alpt_jax.launching.moments import (
  COMPILE,
  END,
  EVALUATION,
  SAVE,
  START,
  STEP,
  last_row,
  moment,
  resumed_step,
  starts,
)
from alpt_jax.training.loop import Schedule

_ROOT = pathlib.Path(__file__).parents[2]
_PER_RUN = 5  # kills
# How long a process may take to come to a moment, and a run to its end.
_PATIENCE = 600.0  # seconds
_POLL = 0.005
SCHEDULE = Schedule(60, log_every=1, evaluate_every=15, checkpoint_every=10)
_TRAINING = (
  '--config.model.width=32',
  '--config.model.num_heads=2',
  '--config.model.num_layers=1',
  '--config.model.dropout=0.1',
  '--config.optimizer.name=lamb',
  '--config.training.batch_size=16',
  *(f'--config.training.{k}={v}' for k, v in dataclasses.asdict(SCHEDULE).items()),
  '--config.evaluation.num_transitions=64',
  '--config.evaluation.num_episodes=4',
)
_DATASETS = (1000, 2000)  # layouts of configs/maze.py's target and its source
# Numbers of a row that are the machine's, not the run's.
_OF_THE_MACHINE = re.compile(r'seconds|per_second|bytes|utilization')

# Up to how many seconds after it was seen a run is killed in a moment.
_DELAYS = {START: 8.0, COMPILE: 4.0, STEP: 1.0, SAVE: 0.2, EVALUATION: 1.0, END: 0.3}


@dataclasses.dataclass(frozen=True)
class Kill:
  """One kill: in which run, of which process, at what moment, at or after what step."""

  run: str
  process: int
  moment: str
  step: int


class _Killed:
  """A run under the supervisor whose processes are killed."""

  def __init__(self, workdir: pathlib.Path, supervisor: subprocess.Popen):
    self._workdir = workdir
    self._supervisor = supervisor

  def kill(self, process: int, aim: str, draw: random.Random) -> Kill | None:
    """Kills a process at a moment; None where the run ended before."""
    end = time.monotonic() + _PATIENCE
    delay = draw.uniform(0.0, _DELAYS[aim])
    seen, pids = 0, {}
    while time.monotonic() < end:
      if self._supervisor.poll() is not None:
        return None
      num_starts = len(starts(self._workdir))
      if num_starts != seen or process not in pids:
        seen, pids = num_starts, self._pids()
      elif moment(self._workdir, SCHEDULE) == aim:
        time.sleep(delay)
        delay /= 2  # it was over, then sooner after the next time
        if moment(self._workdir, SCHEDULE) == aim:
          kill = Kill(self._workdir.name, process, aim, last_row(self._workdir)[1])
          return kill if self._shoot(pids[process]) else None
      time.sleep(_POLL)
    raise RunFailed(
      f'{self._workdir}: did not come to its next {aim} within {_PATIENCE:g} s; its '
      'logs say more.'
    )

  def _shoot(self, pid: int) -> bool:
    """Whether the run starts again for it; at its end a process may be gone already."""
    before = len(starts(self._workdir))
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
    while self._supervisor.poll() is None:
      if len(starts(self._workdir)) > before:
        return True
      time.sleep(_POLL)
    return False

  def _pids(self) -> dict[int, int]:
    """Number of a process in the run -> that in the system, of the present start."""
    # ww: whole lines, however narrow a terminal it thinks it writes to.
    command = ['ps', '-axww', '-o', 'pid=,ppid=,command=']
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
      pid, parent, command = line.split(None, 2)
      flag = re.search(r'--process_id=(\d+)', command)
      if int(parent) == self._supervisor.pid and flag:
        found[int(flag[1])] = int(pid)
    return found


@contextlib.contextmanager
def supervised(
  workdir: pathlib.Path, data: pathlib.Path, num_processes: int
) -> Iterator[subprocess.Popen]:
  """The run under `launch/local.sh`, one device each; asked to stop behind the block.

  What local.sh says is in `WORKDIR.log`.
  """
  launcher = [_ROOT / 'launch' / 'local.sh', f'{num_processes}']
  # Not the patience of real life: it doubles with each restart.
  options = [f'--restarts={_PER_RUN + 5}', '--backoff=0.1', '--kill-grace=1']
  training = [sys.executable, '-m', 'alpt_jax.bin.pretrain']
  training += [f'--config=configs/maze.py:labels=20,root={data}', *_TRAINING]
  environment = {
    **os.environ,
    'DEVICES_PER_PROCESS': '1',
    # Each run compiles for itself, but not at its every start.
    'JAX_COMPILATION_CACHE_DIR': f'{workdir}-compiled',
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  with open(workdir.with_suffix('.log'), 'wb') as log:
    process = subprocess.Popen(
      [*launcher, *options, '--', *training, f'--workdir={workdir}'],
      stdout=log,
      stderr=subprocess.STDOUT,
      env=environment,
      cwd=_ROOT,
    )
    try:
      yield process
    finally:
      process.terminate()
      process.wait()


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """In what two finished runs differ: leaves of their last states, rows of metrics."""
  found = differing_leaves(open_trained(one)[1], open_trained(other)[1])
  return found + (['metrics.jsonl'] if numbers(one) != numbers(other) else [])


def differing_leaves(one, other) -> list[str]:
  """Paths of the leaves of two trees of one form that differ in a bit."""
  pairs = zip(
    jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
  )
  return [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for (path, leaf), twin in pairs
    if np.asarray(leaf).tobytes() != np.asarray(twin).tobytes()
  ]


def numbers(workdir: pathlib.Path) -> list[dict]:
  """The rows of metrics, without what is the machine's and not the run's."""
  rows = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
  return [
    {name: value for name, value in row.items() if not _OF_THE_MACHINE.search(name)}
    for row in rows
  ]


@dataclasses.dataclass
class Soak:
  """Undisturbed runs and killed ones, side by side in a folder."""

  folder: pathlib.Path
  num_processes: int
  draw: random.Random
  kills: list[Kill] = dataclasses.field(default_factory=list)
  verdicts: list[str] = dataclasses.field(default_factory=list)
  num_bad: int = 0

  @property
  def _data(self) -> pathlib.Path:
    return self.folder / 'data'

  @property
  def _undisturbed(self) -> pathlib.Path:
    return self.folder / 'undisturbed'

  def run(self, num_kills: int) -> None:
    """Does it all; the results stand in `kills`, `verdicts` and `num_bad`."""
    for layout in _DATASETS:
      name = f'maze/blocked:20/{layout}'
      folder = self._data / f'maze-blocked-20-{layout}-position'
      record(Recording(name, episodes=12), folder, rlds=False)
    with supervised(self._undisturbed, self._data, self.num_processes) as process:
      code = process.wait(_PATIENCE)
    if code:
      raise RunFailed(f'{self._undisturbed}: ended with {code}, undisturbed.')
    while len(self.kills) < num_kills:
      workdir = self.folder / f'run-{len(self.verdicts) + 1}'
      self._disturb(workdir, min(_PER_RUN, num_kills - len(self.kills)))
      self.save()

  def _disturb(self, workdir: pathlib.Path, num_kills: int) -> None:
    """One run, so often killed: at each kind of moment once."""
    middle = [STEP, SAVE, EVALUATION]
    self.draw.shuffle(middle)
    # Later starts find their programs compiled. Behind the end there is nothing.
    is_early = self.draw.random() < 0.5
    aims = [*([START] if is_early else []), COMPILE, *middle]
    aims += [] if is_early else [END]
    kills = []
    with supervised(workdir, self._data, self.num_processes) as process:
      killed = _Killed(workdir, process)
      for aim in aims[:num_kills]:
        kill = killed.kill(self.draw.randrange(self.num_processes), aim, self.draw)
        if kill:
          kills.append(kill)
          print(f'{kill.run}: process {kill.process}, {kill.moment}', flush=True)
      try:
        code = process.wait(_PATIENCE)
      except subprocess.TimeoutExpired:
        code = None
    self.kills += kills
    self._judge(workdir, code, len(kills))
    if not kills:
      raise RunFailed(f'{workdir}: ended before it was killed; its logs say more.')

  def _judge(self, workdir: pathlib.Path, code: int | None, num_kills: int) -> None:
    begun = [resumed_step(said) or 0 for said in starts(workdir)]
    is_done = code == 0
    differing = differences(self._undisturbed, workdir) if is_done else ['not done']
    self.num_bad += bool(differing)
    same = f'NOT the same: {", ".join(differing)}' if differing else 'the same bits'
    ended = f'exit code {"none, it hangs" if code is None else code}'
    self.verdicts.append(
      f'{workdir.name}: {num_kills} kills, {len(begun)} starts, from steps '
      f'{", ".join(map(str, begun))}; {ended}; {same}'
    )
    print(self.verdicts[-1], flush=True)

  def save(self) -> None:
    """Writes `kills.md`."""
    lines = ['| kill | run | process | moment | last step in the metrics |']
    lines += ['|---|---|---|---|---|']
    lines += [
      f'| {number} | {kill.run} | {kill.process} | {kill.moment} | {kill.step} |'
      for number, kill in enumerate(self.kills, 1)
    ]
    lines += ['', *(f'- {verdict}' for verdict in self.verdicts)]
    (self.folder / 'kills.md').write_text('\n'.join(lines) + '\n')


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  parser = Parser('soak --kills=N --out=DIR [--seed=S] [--processes=P]', __doc__)
  parser.add_argument('--kills', type=int, default=25)
  parser.add_argument('--out', required=True, metavar='DIR')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--processes', type=int, default=2)
  options = parser.parse_args(arguments)
  folder = pathlib.Path(options.out).absolute()
  if options.kills < 1 or options.processes < 2:
    parser.error('expected --kills >= 1 and --processes >= 2')
  if folder.exists() and any(folder.iterdir()):
    raise UserError(f'--out: {folder}: not empty. Name a new folder.')
  folder.mkdir(parents=True, exist_ok=True)
  # As if it were an error: the run under way is ended, too.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  soak = Soak(folder, options.processes, random.Random(options.seed))
  soak.run(options.kills)
  print((folder / 'kills.md').read_text())
  return 1 if soak.num_bad else 0


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
