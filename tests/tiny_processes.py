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


def environment(cache):
  """Programs compiled once for all; one device each."""
  return {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=1',
  }


def command(data, workdir, *options):
  """That of a training that goes on until it is stopped, unless options differ."""
  program = [sys.executable, '-m', 'alpt_jax.bin.pretrain', f'--workdir={workdir}']
  program += [f'--config=configs/maze.py:root={data},labels=20', *_SMALL]
  return [*program, *map(str, options)]


def launch(data, cache, workdir, *options, count=1):
  """So many processes of one training, without a supervisor."""
  flags = ['--distributed=on', f'--coordinator=127.0.0.1:{free_port()}']
  flags += [f'--num_processes={count}']
  return [
    popen(
      [
        *command(data, workdir, *options),
        *([*flags, f'--process_id={index}'] if count > 1 else []),
      ],
      cache,
    )
    for index in range(count)
  ]


def popen(words, cache):
  """A program whose output is kept for `finish`."""
  return subprocess.Popen(
    words,
    cwd=ROOT,
    env=environment(cache),
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


def rows(workdir, kind='train'):
  """Steps of the rows of metrics."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.exists() else []
  return [row['step'] for row in map(json.loads, lines) if row['kind'] == kind]


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
