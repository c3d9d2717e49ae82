"""Whose a run folder is while it trains: two trainers would mix their checkpoints.

The trainer writes `owner.json`, whole or not at all, and counts up a beat in it. A
newcomer that finds one does not trust clocks or file locks, which network disks and
buckets keep badly:

  on the same machine  the process is looked up: running, the newcomer is refused; gone
                       (killed, say), the newcomer takes the folder at once
  on another machine   the beat is watched for a while: it counts, refused; it stands,
                       the newcomer takes the folder

An owner that was asleep for so long that its folder was taken finds out at its next
beat, and at its next save. Process 0 alone owns a run of several processes.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.partial import PARTIAL, writer_name

OWNER = 'owner.json'
# A beat is written over the one before, so the file never changes its length.
_LENGTH = 1024
_PROC = pathlib.Path('/proc')  # Linux alone has it
# Newcomers that come together take turns; nobody loses so often by chance.
_TRIES = 20
# Seconds after which a folder that others may have wanted too is surely one's own.
_SETTLING = 0.5


class FolderTaken(UserError):
  """Another trainer is at work in the folder, and stays its owner."""


class FolderLost(RunFailed):
  """Another trainer took the folder of this one."""


class Owner:
  """This process as the owner of a run folder, see `owning`."""

  def __init__(self, workdir: pathlib.Path):
    self._path = workdir / OWNER
    self._lock = threading.Lock()  # the beat and `check` use one file
    self._fields = {
      'id': uuid.uuid4().hex,
      'machine': _machine(),
      'host': socket.gethostname(),
      'process': os.getpid(),
      'began': _began(os.getpid()) or '',
      'beat': 0,
    }
    self._loser_of: str | None = None  # whose the folder is now

  def check(self) -> None:
    """Looks whether the folder is still this process's; for the loop, at each save.

    Raises:
      FolderLost: another trainer took it.
    """
    with self._lock:
      self._look()
    if self._loser_of is not None:
      raise FolderLost(
        f'{self._path.parent}: another trainer took this folder ({self._loser_of}). '
        'This one has stopped, so as not to mix their checkpoints.'
      )

  def take(self, patience: float) -> None:
    """Makes the folder this process's own, see `owning`."""
    mine, is_contended = _to_bytes(self._fields), False
    for _ in range(_TRIES):
      is_there = _create(self._path, mine) or _read(self._path) == mine
      if is_there and (not is_contended or self._is_settled()):
        return
      is_contended = True
      found = _read(self._path)
      if found not in (None, mine):
        _refuse_the_living(self._path, found, patience)
        _set_aside(self._path, found)
    raise FolderTaken(
      f'{self._path}: other trainers want this folder too. Start one of them.'
    )

  def _is_settled(self) -> bool:
    """Whether the record still stands after newcomers had time to disturb it.

    One that found the dead owner too may have moved this record instead, and may have
    been too late to put it back.
    """
    time.sleep(_SETTLING)
    return _read(self._path) == _to_bytes(self._fields)

  def beat(self) -> None:
    """Shows that this process lives."""
    with self._lock, contextlib.suppress(OSError):  # the next beat may reach the disk
      if self._look():
        self._fields['beat'] += 1
        # In place: of a file that was set aside a moment ago only that is changed,
        # never the newcomer's.
        with open(self._path, 'r+b', buffering=0) as file:
          if _parse(file.read()).get('id') == self._fields['id']:
            file.seek(0)
            file.write(_to_bytes(self._fields))

  def release(self) -> None:
    """Removes the file, if it is still this process's."""
    with self._lock, contextlib.suppress(OSError):
      if self._look():
        self._path.unlink()

  def _look(self) -> bool:
    """Whether the file still names this process, as far as the disk tells."""
    with contextlib.suppress(OSError):
      found = _read(self._path)
      if found is None:
        self._loser_of = f'{OWNER} is gone'
      elif _parse(found).get('id') != self._fields['id']:
        self._loser_of = _who(found)
    return self._loser_of is None


@contextlib.contextmanager
def owning(
  workdir: str | os.PathLike, *, beat: float = 10.0, patience: float = 30.0
) -> Iterator[Owner]:
  """Owns a run folder inside the block, which it is created for; process 0 only.

  Args:
    workdir: the run folder.
    beat: seconds between two beats.
    patience: seconds for which another machine's beat is watched; several beats.

  Raises:
    FolderTaken: another trainer is at work there; its process and machine are named.
  """
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  owner = Owner(workdir)
  owner.take(patience)
  stop = threading.Event()

  def keep_beating():
    while not stop.wait(beat):
      owner.beat()

  thread = threading.Thread(target=keep_beating, name='owner', daemon=True)
  thread.start()
  try:
    yield owner
  finally:
    stop.set()
    thread.join()
    owner.release()


def _refuse_the_living(path: pathlib.Path, found: bytes, patience: float) -> None:
  """Raises `FolderTaken` if the owner lives; returns when it is dead or has left."""
  record, who = _parse(found), _who(found)
  refusal = FolderTaken(
    f'{path.parent}: another trainer is at work there, {who}. Wait until it ends, or '
    'choose another --workdir.'
  )
  if record.get('machine') == _machine():
    if _is_running(record.get('process'), record.get('began')):
      raise refusal
    return
  print(
    f'{path.parent}: was left by {who}, or it still trains there: watching for '
    f'{patience:g} s',
    flush=True,
  )
  end = time.monotonic() + patience
  while time.monotonic() < end:
    time.sleep(min(1.0, patience / 10))
    now = _read(path)
    if now is None:
      return
    if now != found:
      raise refusal
  print(f'{path.parent}: taken over from {who}, which gave no sign of life', flush=True)


def _create(path: pathlib.Path, content: bytes) -> bool:
  """Writes a file that is not there; False if it is."""
  partial = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}-{uuid.uuid4().hex}')
  partial.write_bytes(content)
  try:
    os.link(partial, path)
  except FileExistsError:
    # A network disk may ask its server twice, and be told of its own success.
    return _read(path) == content
  except OSError:  # no hard links there, as in a bucket
    return _create_exclusively(path, content)
  finally:
    partial.unlink()
  return True


def _create_exclusively(path: pathlib.Path, content: bytes) -> bool:
  """The same where a file cannot have two names; for a moment it stands empty."""
  try:
    with open(path, 'xb') as file:
      file.write(content)
  except FileExistsError:
    return False
  return True


def _set_aside(path: pathlib.Path, found: bytes) -> None:
  """Removes exactly the record that was found; of several newcomers one succeeds."""
  if _read(path) != found:
    return
  aside = path.with_name(f'{path.name}.{PARTIAL}{writer_name()}-{uuid.uuid4().hex}')
  try:
    path.rename(aside)
  except FileNotFoundError:
    return
  moved = aside.read_bytes()
  if moved != found:  # a faster newcomer's: back
    _create(path, moved)
  aside.unlink()


def _read(path: pathlib.Path) -> bytes | None:
  """The content, None if there is no such file."""
  try:
    return path.read_bytes()
  except FileNotFoundError:
    return None


def _to_bytes(fields: dict[str, Any]) -> bytes:
  return (json.dumps(fields).ljust(_LENGTH - 1) + '\n').encode()


def _parse(content: bytes) -> dict[str, Any]:
  """The fields; {} of a file that is not whole."""
  try:
    fields = json.loads(content)
  except ValueError:
    return {}
  return fields if isinstance(fields, dict) else {}


def _who(content: bytes) -> str:
  fields = _parse(content)
  if not fields:
    return 'an unknown process'
  return f'process {fields.get("process")} on {fields.get("host")}'


def _machine() -> str:
  """Within which a process number means one process: machine, its boot, container."""
  try:
    boot = (_PROC / 'sys/kernel/random/boot_id').read_text().strip()
    container = os.readlink(_PROC / 'self/ns/pid')
  except OSError:
    boot, container = f'{uuid.getnode():x}', ''
  return f'{socket.gethostname()} {boot} {container}'.strip()


def _is_running(process: Any, began: Any) -> bool:
  """Whether a process of this machine lives that began then; numbers are used again."""
  if not isinstance(process, int) or process < 1:
    return False
  now = _began(process)
  return now is not None and (now == began or not now or not began)


def _began(process: int) -> str | None:
  """When a process began, in the system's words: '' if it hides that, None if gone."""
  if not _exists(process):
    return None
  found = _ask_proc(process) or _ask_ps(process)
  if not found:
    return '' if _exists(process) else None
  state, began = found
  return None if state[0] in 'ZX' else began  # dead, but nobody has asked how it died


def _exists(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # another user's
    return True
  return True


def _ask_proc(process: int) -> tuple[str, str] | None:
  """(state, ticks after boot), see proc(5); its name before them may hold anything."""
  try:
    fields = (_PROC / f'{process}/stat').read_text().rpartition(')')[2].split()
    return fields[0], fields[19]
  except (OSError, IndexError):
    return None


def _ask_ps(process: int) -> tuple[str, str] | None:
  """(state, date)."""
  command = ['ps', '-o', 'stat=', '-o', 'lstart=', '-p', str(process)]
  try:
    found = subprocess.run(
      command,
      capture_output=True,
      text=True,
      env={**os.environ, 'LC_ALL': 'C', 'TZ': 'UTC'},
    )
  except OSError:
    return None
  state, _, began = found.stdout.strip().partition(' ')
  return (state, began.strip()) if state else None
