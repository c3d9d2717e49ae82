"""Real trainings of seconds, in one or two processes on this machine's CPU."""

import json
import os
import pathlib
import subprocess
import sys
import time

from alpt_jax.launching.supervisor import free_port

ROOT = pathlib.Path(__file__).parents[1]
_SMALL = (
  '--config.model.width=16',
  '--config.model.num_heads=2',
  '--config.model.num_layers=1',
  '--config.training.batch_size=16',
  '--config.training.num_steps=100000',
  '--config.training.log_every=1',
  '--config.training.evaluate_every=0',
  '--config.training.checkpoint_every=0',
  '--config.evaluation.num_transitions=64',
  '--config.evaluation.num_episodes=4',
)


def environment(cache, devices=1):
  """Programs compiled once for all; so many devices of the CPU for each process."""
  return {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }


def command(data, workdir, *options, phase='joint'):
  """That of a training that goes on until it is stopped, unless options differ."""
  binary = 'finetune' if phase == 'finetune' else 'pretrain'
  program = [sys.executable, '-m', f'alpt_jax.bin.{binary}', f'--workdir={workdir}']
  program += [f'--config=configs/maze.py:root={data},labels=20,phase={phase}', *_SMALL]
  return [*program, *map(str, options)]


def launch(data, cache, workdir, *options, count=1, devices=1, own=None, phase='joint'):
  """So many processes of one training, without a supervisor.

  `own`: process -> options of that one alone.
  """
  flags = ['--distributed=on', f'--coordinator=127.0.0.1:{free_port()}']
  flags += [f'--num_processes={count}']
  processes = []
  for index in range(count):
    words = command(data, workdir, *options, phase=phase)
    words += (own or {}).get(index, ())
    words += [*flags, f'--process_id={index}'] if count > 1 else []
    processes.append(popen(words, cache, devices))
  return processes


def launching(data, cache):
  """For a fixture: yields `launch`, and ends what is left of the processes."""
  started = []

  def launch_processes(*arguments, **options):
    processes = launch(data, cache, *arguments, **options)
    started.extend(processes)
    return processes

  yield launch_processes
  for process in started:
    process.kill()
    process.communicate()


def popen(words, cache, devices=1):
  """A program whose output is kept for `finish`."""
  return subprocess.Popen(
    words,
    cwd=ROOT,
    env=environment(cache, devices),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(processes, expect=0):
  """Waits for all; returns what each wrote."""
  said = []
  for process in processes:
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == expect, stdout + stderr
    said.append(stdout + stderr)
  return said


def metrics(workdir, kind='train'):
  """The rows of metrics of a kind, but for one that is being written."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().split('\n')[:-1] if path.exists() else []
  return [row for row in map(json.loads, lines) if row['kind'] == kind]


def rows(workdir, kind='train'):
  """Their steps."""
  return [row['step'] for row in metrics(workdir, kind)]


def wait_for_step(workdir, step, processes):
  """Until the row of a step is there."""
  deadline = time.monotonic() + 200
  while step not in rows(workdir):
    assert time.monotonic() < deadline
    assert all(process.poll() is None for process in processes)
    time.sleep(0.02)


def saved(workdir):
  """Steps of the complete checkpoints."""
  folder = workdir / 'checkpoints'
  return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
