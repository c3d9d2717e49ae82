"""Ctrl-C in the midst of an evaluation whose episodes take turns, in real processes."""

import json
import signal
import subprocess
import sys
import time

import pytest
from tiny_processes import ROOT, environment, metrics, rows, saved

from alpt_jax.experiment.recording_atari import AtariRecording, record_atari
from alpt_jax.training.checkpoint import Checkpoints

pytestmark = pytest.mark.slow

# A program as the machine of an accelerator runs it: two groups of episodes take turns,
# whatever plays. `turns` receives the number of the group at each of its steps.
_TAKING_TURNS = """
import importlib, sys
from alpt_jax.experiment import atari_arena, cli
name, turns = sys.argv[1:3]
del sys.argv[1:3]
step = atari_arena.SideBySide.step
def noted(self, *arguments):
  with open(turns, 'a') as file:
    file.write(str(int(self._first_episode > 0)))
  return step(self, *arguments)
atari_arena.SideBySide.step = noted
atari_arena.default_stages = lambda: 2
cli.run(importlib.import_module(f'alpt_jax.bin.{name}').main)
"""
# Evaluated after steps 2 and 4; an episode lasts 200 steps, a second or more.
_SMALL = (
  '--config.model.width=16',
  '--config.model.num_heads=2',
  '--config.model.num_layers=1',
  '--config.training.batch_size=16',
  '--config.training.num_steps=4',
  '--config.training.log_every=1',
  '--config.training.evaluate_every=2',
  '--config.training.checkpoint_every=0',
  '--config.evaluation.num_transitions=16',
  '--config.evaluation.num_episodes=4',
  '--config.evaluation.max_steps=200',
)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  """Starts a program whose evaluations take turns; ended with the tests."""
  cache, started = tmp_path_factory.mktemp('compiled'), []

  def launch(name, turns, *options):
    words = [sys.executable, '-c', _TAKING_TURNS, name, turns, *options]
    started.append(
      subprocess.Popen(
        list(map(str, words)),
        cwd=ROOT,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
    return started[-1]

  yield launch
  for process in started:
    process.kill()
    process.communicate()


@pytest.fixture(scope='module')
def train(tmp_path_factory, start):
  """Starts a training, or goes on with it: `(workdir, turns) -> process`."""
  root = tmp_path_factory.mktemp('data')
  recording = AtariRecording('atari/Freeway', transitions=400, max_episode_steps=40)
  record_atari(recording, root / 'atari-Freeway', say=lambda line: None)
  text = f'target=Freeway,method=dt1-idm,phase=joint,labels=100,root={root}'
  options = f'--config=configs/atari.py:{text}', *_SMALL
  return lambda workdir, turns: start(
    'pretrain', turns, *options, f'--workdir={workdir}'
  )


@pytest.fixture(scope='module')
def straight(tmp_path_factory, train):
  """The folder of a run that nothing stopped."""
  folder = tmp_path_factory.mktemp('straight')
  finish(train(folder / 'run', folder / 'turns'), 0)
  # 200 in either group, and again after step 4.
  assert (folder / 'turns').read_text() == 400 * '01'
  return folder / 'run'


def wait_for_turns(turns, count, process):
  """Until both groups have stepped so often, over all evaluations."""
  deadline = time.monotonic() + 200
  while not turns.exists() or turns.stat().st_size < 2 * count:
    assert time.monotonic() < deadline
    assert process.poll() is None, process.communicate()
    time.sleep(0.005)


def finish(process, expect):
  """What it wrote to stderr."""
  stdout, stderr = process.communicate(timeout=120)
  assert process.returncode == expect, stdout + stderr
  return stderr


def evaluations(workdir):
  return [{**row, 'elapsed_seconds': None} for row in metrics(workdir, 'evaluation')]


def test_ctrl_c_while_groups_take_turns_saves_and_the_same_again_loses_nothing(
  straight, train, tmp_path
):
  """Once in each of its two evaluations, the second one after the last step."""
  workdir, turns = tmp_path / 'run', tmp_path / 'turns'
  for step, evaluated in ((2, []), (4, [2])):
    before = turns.stat().st_size if turns.exists() else 0
    process = train(workdir, turns)
    # Half of an evaluation, behind the one that was cut off.
    wait_for_turns(turns, before // 2 + 200 * len(evaluated) + 100, process)
    process.send_signal(signal.SIGINT)
    said = finish(process, 42)
    assert said.splitlines()[-1] == (
      f'stopped: SIGINT at step {step}: saved. Run the same again.'
    )
    assert saved(workdir)[-1] == step
    assert rows(workdir) == list(range(1, step + 1))
    assert rows(workdir, 'evaluation') == evaluated
    assert json.loads((workdir / 'status.json').read_text())['state'] == 'stopped'
  finish(train(workdir, turns), 0)
  assert evaluations(workdir) == evaluations(straight)
  for name in ('idm_loss', 'policy_loss'):
    found, expected = (
      [row[name] for row in metrics(folder)] for folder in (workdir, straight)
    )
    assert len(found) == 4 and found == expected
  found, expected = (
    # With a fingerprint of every leaf.
    Checkpoints(folder / 'checkpoints', writable=False).description(4)['leaves']
    for folder in (workdir, straight)
  )
  assert found == expected


def test_ctrl_c_while_a_run_is_scored_leaves_no_scores(straight, start, tmp_path):
  before = sorted(path.name for path in straight.iterdir())
  process = start('evaluate', tmp_path / 'turns', f'--run={straight}')
  wait_for_turns(tmp_path / 'turns', 100, process)
  process.send_signal(signal.SIGINT)
  assert finish(process, 130) == 'stopped: at once, without a save\n'
  assert sorted(path.name for path in straight.iterdir()) == before
