"""N processes of one training on this machine, ended together and started again.

Each of several processes gets the flags by which it finds the others
(`experiment/cluster.py`); a single one runs as it was given. The first that ends badly
ends the group, for a training cannot go on without one of its processes; the group
starts again from its last checkpoint when that may help. Exit codes, of a process and
of the supervisor: 0 done; 42 stopped after a clean save; 1 failed; 2 what was given is
wrong; 128 and more crashed. 42 and crashes start again.

Standard library only: it must outlive whatever its children do.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

DONE, FAILED, USER_ERROR, PREEMPTED, CRASHED = 0, 1, 2, 42, 128
# Of processes that the supervisor ended itself.
_OURS = (CRASHED + signal.SIGTERM, CRASHED + signal.SIGKILL)
# How a start begins in a log, and the line by which a program says why it ends.
_START = '--- start'
_VERDICTS = ('error: ', 'failed: ', 'stopped: ', 'lost: ')
_POLL = 0.05  # seconds between two looks at the processes
_MAX_BACKOFF = 60.0  # seconds


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is run, and how patiently.

  Attributes:
    num_processes: started together.
    command: what each runs, before the flags that differ.
    logs: folder of `process-0.log` and so on; each start appends.
    restarts: how often in a row the group is started again at most. A start that
      lasted `steady` seconds begins a new row: it did not fail at once.
    steady: seconds.
    devices: of the CPU, for each process; None leaves the choice to JAX.
    backoff: seconds before the first restart, doubled for each further one.
    stop_grace: seconds that a group asked to stop, or saving, is granted.
    kill_grace: seconds from TERM to KILL for those left by a crash. Short: they wait
      in a collective for a process that is gone.
  """

  num_processes: int
  command: tuple[str, ...]
  logs: pathlib.Path
  restarts: int = 5
  steady: float = 600.0
  devices: int | None = None
  backoff: float = 1.0
  stop_grace: float = 150.0
  kill_grace: float = 5.0

  def commands(self, port: int) -> list[list[str]]:
    """The command of each process; process 0 is the coordinator, on `port`.

    One process has nobody to find: its command may be any.
    """
    if self.num_processes == 1:
      return [list(self.command)]
    common = (
      '--distributed=on',
      f'--coordinator=127.0.0.1:{port}',
      f'--num_processes={self.num_processes}',
    )
    return [
      [*self.command, *common, f'--process_id={index}']
      for index in range(self.num_processes)
    ]

  def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the processes' environment has beside, or instead of, the inherited one."""
    if self.devices is None:
      return {}
    flag = f'--xla_force_host_platform_device_count={self.devices}'
    given = inherited.get('XLA_FLAGS', '')  # of two equal flags the last counts
    return {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'{given} {flag}'.strip()}


def may_restart(code: int) -> bool:
  """Whether the same command may do better: preempted or crashed."""
  return code == PREEMPTED or code >= CRASHED


def worst(codes: Sequence[int]) -> int:
  """The exit code that says why a group ended, of those seen at the same moment.

  A user error or a kill from outside is a cause. Failures and aborts may follow from
  another's; a clean stop says least.
  """
  aborted = CRASHED + signal.SIGABRT

  def rank(code):
    if code == USER_ERROR:
      return 0
    if code >= CRASHED:
      return 3 if code == aborted else 1
    return 4 if code == PREEMPTED else 2

  bad = [code for code in codes if code != DONE]
  return min(bad, key=rank) if bad else DONE


class Supervisor:
  """Runs a plan to its end."""

  def __init__(self, plan: Plan):
    self._plan = plan
    self._processes: list[subprocess.Popen] = []
    self._num_signals = 0
    self._shown = 0  # bytes of process 0's log that have been printed

  def run(self) -> int:
    """Starts the group until it is done or beyond help; returns the exit code.

    SIGTERM, SIGINT and a terminal that is closed are passed on as SIGTERM: every
    process saves the same step and ends. A SIGINT after it kills. Call it in the
    main thread.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup stays nohup
      numbers.append(signal.SIGHUP)
    before = [signal.signal(number, self._on_signal) for number in numbers]
    try:
      return self._run_groups()
    finally:
      self._kill()
      for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)

  @property
  def was_asked_to_stop(self) -> bool:
    """Whether a signal came: then the exit code says little about the training."""
    return self._num_signals > 0

  def _run_groups(self) -> int:
    plan = self._plan
    start = in_a_row = 0
    while True:
      began = time.monotonic()
      code = self._run_group(start)
      if self._num_signals or not may_restart(code):
        return code
      if time.monotonic() - began >= plan.steady:
        in_a_row = 0
      if in_a_row == plan.restarts:
        _say(f'exit code {code} after {in_a_row} restarts in a row: gives up')
        return code
      delay = min(plan.backoff * 2**in_a_row, _MAX_BACKOFF)
      start, in_a_row = start + 1, in_a_row + 1
      _say(
        f'exit code {code}: starts again in {delay:g} s ({in_a_row} of {plan.restarts})'
      )
      self._sleep(delay)
      if self._num_signals:
        return code

  def _on_signal(self, number, frame):
    self._num_signals += 1
    if self._num_signals == 1:
      self._send(signal.SIGTERM)
    elif number == signal.SIGINT:  # queues and systemd may send SIGTERM twice
      self._send(signal.SIGKILL)

  def _run_group(self, restart: int) -> int:
    """One start of all processes, to the end of the last; returns why it ended."""
    self._plan.logs.mkdir(parents=True, exist_ok=True)
    self._shown = self._log(0).stat().st_size if self._log(0).exists() else 0
    self._processes = []
    environment = {**os.environ, **self._plan.environment(os.environ)}
    for index, command in enumerate(self._plan.commands(free_port())):
      with open(self._log(index), 'ab') as log:
        log.write(f'{_START} {restart}: {shlex.join(command)}\n'.encode())
        log.flush()
        # A session of its own: Ctrl-C reaches it once, through `_on_signal`.
        self._processes.append(
          subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
          )
        )
    if self._num_signals:  # it came before all were there to hear it
      self._send(signal.SIGTERM)
    code = self._watch()
    self._show()
    return code

  def _watch(self) -> int:
    """Waits for the group, or for its first bad exit and then ends the rest."""
    asked_at = None
    while None in (codes := self._codes()):
      if any(codes):  # neither None nor 0
        code = worst([code for code in codes if code is not None])
        self._report(codes)
        if code == PREEMPTED or self._num_signals:  # the others are saving, too
          self._wait(self._plan.stop_grace)
          code = worst([code for code in self._codes() if code is not None])
        self._end()
        # What follows from an error may end a moment before the one that has it.
        own = [code for code in self._codes() if code not in _OURS]
        return worst([code, *own])
      if self._num_signals:
        asked_at = asked_at or time.monotonic()
        if time.monotonic() - asked_at > self._plan.stop_grace:
          _say(f'not ended {self._plan.stop_grace:g} s after being asked: killed')
          self._kill()
      self._show()
      time.sleep(_POLL)
    self._report(codes)
    return worst(codes)

  def _end(self) -> None:
    self._send(signal.SIGTERM)
    self._wait(self._plan.kill_grace)
    self._kill()

  def _kill(self) -> None:
    self._send(signal.SIGKILL)
    for process in self._processes:
      process.wait()

  def _send(self, number: int) -> None:
    for process in self._processes:
      if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
          if number == signal.SIGKILL:  # with whatever it started
            os.killpg(process.pid, number)
          else:
            process.send_signal(number)

  def _wait(self, seconds: float) -> None:
    end = time.monotonic() + seconds
    while None in self._codes() and time.monotonic() < end:
      time.sleep(_POLL)

  def _sleep(self, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not self._num_signals:
      time.sleep(_POLL)

  def _codes(self) -> list[int | None]:
    """Exit codes as a shell counts them; None where it still runs."""
    codes = [process.poll() for process in self._processes]
    return [CRASHED - code if code is not None and code < 0 else code for code in codes]

  def _report(self, codes: Sequence[int | None]) -> None:
    """Says who ended badly, and the last line that it wrote."""
    self._show()
    for index, code in enumerate(codes):
      if code:
        said = last_words(self._log(index).read_text(errors='replace'))
        _say(f'process {index} ended with {code} ({self._log(index)}): {said}')

  def _log(self, index: int) -> pathlib.Path:
    return self._plan.logs / f'process-{index}.log'

  def _show(self) -> None:
    """Prints what process 0 has written since."""
    with open(self._log(0), 'rb') as log:
      log.seek(self._shown)
      text = log.read()
    self._shown += len(text)
    with contextlib.suppress(OSError):  # whoever read it has gone, or its disk is full
      sys.stdout.buffer.write(text)
      sys.stdout.flush()


def last_words(log: str) -> str:
  """The line of a log that says best why its process ended.

  One of ours if there is one since the last start; else the last, but for the frames
  that C++ writes when it aborts.
  """
  lines = log[log.rfind(_START) :].strip().splitlines() or ['']
  own = [line for line in lines if line.startswith(_VERDICTS)]
  plain = [line for line in lines if not re.match(r'\s*@ +0x', line)]
  return (own or plain or lines)[-1]


def free_port() -> int:
  """A TCP port that nothing listens on."""
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


def _say(text: str) -> None:
  with contextlib.suppress(OSError):  # as above
    print(f'supervisor: {text}', file=sys.stderr, flush=True)
