"""Ctrl-C ends a program, even where Python or an extension drops what it raises."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from tiny_processes import ROOT

_LOST = """
  for _ in range(2):
    try:
      os.kill(os.getpid(), signal.SIGINT) if not lost else time.sleep(30)
    except KeyboardInterrupt:
      lost.append(1)  # as a callback of the garbage collector loses it
  time.sleep(30)
"""
_CLEANING = """
  try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
  finally:
    time.sleep(1.5)  # three times as long as until the next one
    try:
      raise ValueError
    except ValueError:
      time.sleep(1)
    print('clean', flush=True)
"""
_FAILING = """
  try:
    raise ValueError
  except ValueError:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
"""


@pytest.mark.parametrize(
  'body, said',
  [
    (_LOST, ''),
    pytest.param(_CLEANING, 'clean\n', marks=pytest.mark.slow),
    pytest.param(_FAILING, '', marks=pytest.mark.slow),
  ],
)
def test_an_interrupt_ends_a_program_and_lets_it_clean_up(body, said):
  program = f"""
import os, signal, time
from alpt_jax.experiment import cli
lost = []
def main(argv):
{textwrap.indent(textwrap.dedent(body), '  ')}
cli.run(main)
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=100,
  )
  assert done.returncode == 128 + signal.SIGINT, done.stdout + done.stderr
  assert (done.stdout, done.stderr) == (said, 'stopped: at once, without a save\n')
