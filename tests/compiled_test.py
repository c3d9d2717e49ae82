"""Compiled programs are kept beside a run, and cost nothing but time when they are not.

Each `compiled_anew()` is a program that JAX has not seen in this process.
"""

import os
import shutil
import subprocess
import warnings

import jax
import numpy as np
import pytest
import tiny_processes
from jax.experimental.compilation_cache import compilation_cache

from alpt_jax.experiment import compiled
from alpt_jax.experiment.recording import Recording, record

_KINDS = 'hits', 'misses'
_EVENTS = []
_SETTINGS = (
  'jax_compilation_cache_dir',
  'jax_persistent_cache_min_compile_time_secs',
  'jax_persistent_cache_enable_xla_caches',
  'jax_enable_compilation_cache',
)
jax.monitoring.register_event_listener(lambda name, **_: _EVENTS.append(name))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
  """JAX as it is when a process begins, and afterwards as it was."""
  before = {name: getattr(jax.config, name) for name in _SETTINGS}
  for name in _SETTINGS:
    monkeypatch.delenv(name.upper(), raising=False)
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


def next_process(folder):
  """As it keeps its programs."""
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()
  compiled.keep(folder)


def compiled_anew():
  """Compiles 1 + ... + 9 squared; returns (found, written) programs."""
  _EVENTS.clear()
  squared = jax.jit(lambda x: (x * x).sum())(np.arange(10.0, dtype=np.float32))
  assert float(squared) == 285
  counts = [_EVENTS.count(f'/jax/compilation_cache/cache_{n}') for n in _KINDS]
  return tuple(counts)


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_a_small_program_is_kept_and_found_by_the_next_process(tmp_path):
  folder = tmp_path / 'run' / 'compiled'
  compiled.keep(folder)
  assert not folder.exists()  # until there is something
  assert compiled_anew() == (0, 1)
  kept = names(folder)
  next_process(folder)
  assert compiled_anew() == (1, 0)
  assert len(kept) == 1 and names(folder) == kept


def test_a_run_may_be_moved(tmp_path):
  compiled.keep(tmp_path / 'one')
  compiled_anew()
  shutil.move(tmp_path / 'one', tmp_path / 'two')
  next_process(tmp_path / 'two')
  assert compiled_anew() == (1, 0)


def test_without_the_folder_all_is_compiled_again(tmp_path):
  compiled.keep(tmp_path / 'one')
  compiled_anew()
  shutil.rmtree(tmp_path / 'one')
  next_process(tmp_path / 'one')
  assert compiled_anew() == (0, 1)


@pytest.mark.parametrize('wanted', ['own', ''])
def test_the_users_folder_comes_first(tmp_path, wanted):
  """JAX_COMPILATION_CACHE_DIR; empty, it means none."""
  own = str(tmp_path / wanted) if wanted else ''
  jax.config.update('jax_compilation_cache_dir', own)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  compiled.keep(tmp_path / 'ours')
  assert compiled_anew() == (0, 1 if wanted else 0)
  assert names(tmp_path) == ([wanted] if wanted else [])


def test_the_users_other_settings_come_first(tmp_path, monkeypatch):
  name = 'jax_persistent_cache_min_compile_time_secs'
  monkeypatch.setenv(name.upper(), '60')
  jax.config.update(name, 60.0)  # as JAX does when it is imported
  compiled.keep(tmp_path / 'one')
  assert compiled_anew() == (0, 0)


def test_what_is_turned_off_keeps_nothing(tmp_path):
  jax.config.update('jax_enable_compilation_cache', False)
  compiled.keep(tmp_path / 'one')
  assert compiled_anew() == (0, 0)
  assert not names(tmp_path)


@pytest.mark.parametrize('is_users', [False, True])
def test_a_program_cut_off_by_a_kill_is_said_and_replaced(tmp_path, capsys, is_users):
  compiled.keep(tmp_path)
  compiled_anew()
  (path,) = tmp_path.iterdir()
  whole = path.stat().st_size
  os.truncate(path, whole // 2)
  os.utime(path, (0, 0))
  next_process(tmp_path)
  if is_users:
    jax.config.update('jax_compilation_cache_dir', str(tmp_path))
    compiled.keep(tmp_path / 'ours')
  assert compiled_anew() == (0, 1)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'{tmp_path}: compiled programs cannot be read (')
  assert path.stat().st_size > whole // 2
  next_process(tmp_path)
  assert compiled_anew() == (1, 0)


def test_what_another_process_may_be_writing_is_left_alone(tmp_path, capsys):
  compiled.keep(tmp_path)
  compiled_anew()
  (path,) = tmp_path.iterdir()
  half = path.stat().st_size // 2
  os.truncate(path, half)
  next_process(tmp_path)
  compiled_anew()
  assert 'cannot be read' in capsys.readouterr().err
  assert path.stat().st_size == half


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
  (tmp_path / 'compiled').touch()  # a file in its place
  compiled.keep(tmp_path / 'compiled')
  for _ in range(3):
    assert compiled_anew() == (0, 0)
  (line,) = capsys.readouterr().err.splitlines()
  assert 'compiled programs cannot be read (FileExistsError' in line


def test_a_folder_that_is_lost_on_the_way_is_one_line(tmp_path, capsys):
  folder = tmp_path / 'compiled'
  compiled.keep(folder)
  assert compiled_anew() == (0, 1)
  shutil.rmtree(folder)
  folder.touch()
  for _ in range(3):
    compiled_anew()
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'{folder}: compiled programs cannot be written (NotADir')


def test_other_warnings_are_shown_as_ever(tmp_path):
  compiled.keep(tmp_path)
  with pytest.warns(UserWarning, match='something else'):
    warnings.warn('something else', stacklevel=1)


@pytest.mark.slow
def test_a_run_that_starts_again_compiles_nothing(tmp_path):
  for form, layout in (('blocked:20', 1000), ('blocked:20', 2000)):
    name = f'maze/{form}/{layout}'
    folder = name.replace('/', '-').replace(':', '-') + '-position'
    record(Recording(name, episodes=8), tmp_path / 'data' / folder, rlds=False)
  environment = dict(os.environ)
  for name in _SETTINGS:
    environment.pop(name.upper(), None)

  def start(words):
    subprocess.run(
      words, cwd=tiny_processes.ROOT, env=environment, check=True, timeout=300
    )
    return names(workdir / 'compiled')

  workdir = tmp_path / 'run'
  steps = '--config.training.num_steps=3', '--config.training.checkpoint_every=2'
  training = tiny_processes.command(tmp_path / 'data', workdir, *steps)
  kept = start(training)
  rows = tiny_processes.metrics(workdir)
  # Its last checkpoint is lost, and it goes on from the one before.
  shutil.rmtree(workdir / 'checkpoints' / '3')
  assert start(training) == kept
  # Bit by bit what it was, by programs that were compiled then.
  assert _numbers(tiny_processes.metrics(workdir)) == _numbers(rows)
  scoring = [*training[:2], 'alpt_jax.bin.evaluate', f'--run={workdir}']
  scored = start(scoring)
  assert start(scoring) == scored


def _numbers(rows):
  return [(row['step'], row['idm_loss'], row['policy_loss']) for row in rows]
