"""Programs of a cluster that note how they were called and answer as they were told."""

import json
import os
import pathlib
import shlex
import stat
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

_STUB = """#!{python} -ES
import json, os, pathlib, shlex, sys
folder = pathlib.Path({folder!r})
name = os.path.basename(sys.argv[0])
with open(folder / 'calls', 'a') as calls:
  calls.write(shlex.join([name, *sys.argv[1:]]) + '\\n')
for path in sorted(folder.glob('answers/' + name + '-*')):
  part, replies = json.loads(path.read_text())
  if part in ' '.join(sys.argv[1:]):
    stdout, stderr, code = replies[0]
    if len(replies) > 1:
      path.write_text(json.dumps([part, replies[1:]]))
    sys.stdout.write(stdout)
    sys.stderr.write(stderr)
    sys.exit(code)
"""


class StubPrograms:
  """A folder of stubs, to stand first on PATH; without an answer one succeeds."""

  def __init__(self, folder: pathlib.Path, *names: str):
    self.folder = folder
    self.bin = folder / 'bin'
    (folder / 'answers').mkdir(parents=True)
    self.bin.mkdir()
    for name in names:
      self.add(self.bin / name)
    self._num_answers = 0

  def add(self, path: pathlib.Path) -> None:
    """Puts a stub where a program is called by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_STUB.format(python=sys.executable, folder=str(self.folder)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

  def answer(self, name: str, part: str, *replies: tuple[str, str, int]) -> None:
    """Replies (stdout, stderr, exit code) to calls that contain `part`, in turn.

    The last one is given again and again; of two that fit the first counts.
    """
    path = self.folder / 'answers' / f'{name}-{self._num_answers:03}'
    path.write_text(json.dumps([part, replies]))
    self._num_answers += 1

  @property
  def calls(self) -> list[str]:
    """The commands so far, as a shell would take them."""
    path = self.folder / 'calls'
    return path.read_text().splitlines() if path.exists() else []

  def environment(self, **settings: str) -> dict[str, str]:
    """Nothing of the tester's own settings; the stubs first on PATH."""
    return {
      'PATH': f'{self.bin}:{os.environ["PATH"]}',
      'HOME': str(self.folder),
      'PYTHON': sys.executable,
      **settings,
    }

  def run(self, script: str, *arguments: str, **settings: str):
    """Runs a file of launch/ by its path there; not from the project folder."""
    return subprocess.run(
      [ROOT / 'launch' / script, *arguments],
      env=self.environment(**settings),
      cwd=self.folder,
      capture_output=True,
      text=True,
    )


def joined(*words: str) -> str:
  """A command as `calls` has it."""
  return shlex.join(words)
