"""Compiled programs, kept in a folder: what starts again compiles nothing anew."""

import contextlib
import glob
import os
import pathlib
import re
import sys
import time
import warnings

import jax

from alpt_jax.experiment import cluster

# Of a run: beside its checkpoints.
FOLDER = 'compiled'
# Seconds after which an entry is no longer being written.
_WRITTEN = 60
# What JAX warns of, and goes on: with the name of the program.
_WARNING = re.compile(
  r"Error (reading|writing) persistent compilation cache entry for '(.+?)': (.*)"
)
_PAST = {'reading': 'read', 'writing': 'written'}


def keep(folder: pathlib.Path) -> None:
  """Keeps compiled programs in `folder`, unless the user has decided otherwise.

  JAX's own settings come first: with JAX_COMPILATION_CACHE_DIR nothing is changed
  here, and JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Call it before anything
  is compiled, and once: a process has one folder.

  What a program was compiled from, for which kind of device or CPU and by which
  version, is its name there, so no other one is ever taken. Removing the folder costs
  time only. It is made when the first program is compiled; where it cannot be read or
  written, one line says so and programs are compiled as if it were not there. Of one
  run's processes only the lead writes. Who can write there can run code here.

  Args:
    folder: need not exist.
  """
  chosen = jax.config.jax_compilation_cache_dir
  if chosen is not None:
    if chosen:
      _watch(pathlib.Path(chosen))
    return
  jax.config.update('jax_compilation_cache_dir', str(folder.absolute()))
  # The many small programs of a start take as long as one large one.
  _set_by_default('jax_persistent_cache_min_compile_time_secs', 0.0)
  # They would bind every program to the folder's path, and a GPU's program could not
  # be compiled on a full disk. What was tuned is part of the compiled program.
  _set_by_default('jax_persistent_cache_enable_xla_caches', 'none')
  _watch(folder)


def _set_by_default(name: str, value) -> None:
  if name.upper() not in os.environ:
    jax.config.update(name, value)


def _watch(folder: pathlib.Path) -> None:
  """Turns JAX's warnings into one line, and removes programs cut off by a kill."""
  shown, said = warnings.showwarning, set()

  def show(message, *details, **named):
    found = _WARNING.match(str(message))
    if not found:
      shown(message, *details, **named)
      return
    action, program, reason = found.groups()
    if action == 'reading' and cluster.is_lead():
      _remove(folder, program)
    if action not in said:
      said.add(action)
      print(
        f'{folder}: compiled programs cannot be {_PAST[action]} ({reason}); they are '
        'compiled anew.',
        file=sys.stderr,
        flush=True,
      )

  warnings.showwarning = show


def _remove(folder: pathlib.Path, program: str) -> None:
  """JAX never writes over what is there, so the damaged one would stay.

  Not what another process may be writing: then that is what could not be read.
  """
  for path in folder.glob(f'{glob.escape(program)}-*'):
    with contextlib.suppress(OSError):
      if time.time() - path.stat().st_mtime > _WRITTEN:
        path.unlink()
