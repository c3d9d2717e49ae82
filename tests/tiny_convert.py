"""bin/convert as a process, what it is given, and what it left."""

import subprocess
import sys

from alpt_jax.experiment.recording import Recording, record


def record_maze(tmp_path_factory):
  """The folder of a maze with four episodes."""
  folder = tmp_path_factory.mktemp('convert') / 'maze'
  record(Recording('maze/tunneled/9', episodes=4), folder, rlds=False)
  return folder


def names(folder):
  """What a folder holds, sorted."""
  return sorted(path.name for path in folder.iterdir())


def program(*args, **options):
  """bin/convert's end."""
  command = [sys.executable, '-m', 'alpt_jax.bin.convert', *args]
  return subprocess.run(command, capture_output=True, text=True, **options)
