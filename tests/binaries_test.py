"""The programs in sequence, tiny, on a CPU, as a user runs them: real processes."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = (
  '--config.model.width=16',
  '--config.model.num_heads=2',
  '--config.model.num_layers=1',
  '--config.training.batch_size=16',
  '--config.evaluation.num_transitions=64',
  '--config.evaluation.num_episodes=4',
)


def run(name, *arguments, expect=0, cwd=_ROOT, **options):
  """Runs a binary to its end; returns its stdout and stderr."""
  result = subprocess.run(
    [sys.executable, '-m', f'alpt_jax.bin.{name}', *map(str, arguments)],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=400,
    **options,
  )
  assert result.returncode == expect, result.stdout + result.stderr
  return result.stdout, result.stderr


@pytest.fixture(scope='session')
def compiled(tmp_path_factory):
  """Environment variables with a compile cache that all binaries here share."""
  cache = tmp_path_factory.mktemp('compiled')
  environment = dict(os.environ, JAX_COMPILATION_CACHE_DIR=str(cache))
  environment['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
  for name in ('JAX_DISABLE_MOST_OPTIMIZATIONS', 'XLA_FLAGS'):
    environment.pop(name, None)
  return environment


@pytest.fixture(scope='session')
def recorded(tmp_path_factory, compiled):
  """Root folder of a recorded target, blocked and tunneled source, of seed 0."""
  root = tmp_path_factory.mktemp('data')
  for form, layout in (('blocked:20', 1000), ('blocked:20', 2000), ('tunneled', 3000)):
    name = f'maze/{form}/{layout}'
    folder = name.replace('/', '-').replace(':', '-') + '-position'
    options = (f'--environment={name}', f'--out={root / folder}', '--episodes=12')
    run('record', *options, '--norlds', env=compiled)
  return root


def final_leaves(workdir):
  """The train state's numbers of a finished run, read without our own code."""
  import jax
  import orbax.checkpoint as ocp

  step = max(
    int(p.name) for p in (workdir / 'checkpoints').iterdir() if p.name.isdigit()
  )
  checkpointer = ocp.StandardCheckpointer()
  tree = checkpointer.restore(workdir / 'checkpoints' / str(step) / 'state')
  return step, [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_recording_an_interrupted_dataset_never_looks_complete(tmp_path, compiled):
  """Killed while it plays: there is no folder of that name, and a second try works."""
  folder = tmp_path / 'maze'
  options = ('--environment=maze/tunneled/1', f'--out={folder}', '--norlds')
  command = [sys.executable, '-m', 'alpt_jax.bin.record', *options]
  process = subprocess.Popen(
    [*command, '--episodes=200000'],
    cwd=_ROOT,
    env=compiled,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  while not list(tmp_path.iterdir()):
    assert process.poll() is None
    time.sleep(0.05)
  time.sleep(0.5)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not folder.exists()
  run('record', *options, '--episodes=3', env=compiled)
  assert len(np.load(folder / 'pool' / 'lengths.npy')) == 3
  assert [path.name for path in tmp_path.iterdir()] == ['maze']


def test_the_wrong_maze_form_is_one_line_and_exit_code_2(tmp_path):
  _, stderr = run(
    'record', '--environment=maze/bloked/1', f'--out={tmp_path / "x"}', expect=2
  )
  assert "did you mean 'blocked'?" in stderr
  assert len(stderr.strip().splitlines()) == 1


def test_a_method_that_does_not_exist_is_one_line_and_exit_code_2(tmp_path):
  _, stderr = run(
    'pretrain',
    '--config=configs/maze.py:method=alpd',
    f'--workdir={tmp_path / "x"}',
    expect=2,
  )
  assert "'alpd' is not known; did you mean 'alpt'?" in stderr
  assert len(stderr.strip().splitlines()) == 1
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  ('wrong', 'hint'),
  [
    # One of our own, and one of the reader of flags.
    ('--config=configs/maze.py:lables=5', "did you mean 'labels'?"),
    ('--config=configs/maze.py --config.modle.width=5', 'Did you mean "model"'),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in (
        ('--config=configs/maze.py --config.model.widht=5', 'Did you mean "width"'),
        ('--config=configs/maze.py:sources=bloked', "did you mean 'blocked'?"),
        ('--config=configs/mace.py', 'configs/mace.py: no such file'),
        ('--config configs/mace.py', 'configs/mace.py: no such file'),
      )
    ),
  ],
)
def test_a_config_key_that_does_not_exist_is_one_line_and_exit_code_2(
  tmp_path, wrong, hint
):
  workdir = f'--workdir={tmp_path / "x"}'
  _, stderr = run('pretrain', *wrong.split(), workdir, expect=2)
  assert hint in stderr
  assert len(stderr.strip().splitlines()) == 1


def test_a_bucket_is_no_workdir(tmp_path):
  options = '--config=configs/maze.py', '--workdir=gs://bucket/run'
  _, stderr = run('pretrain', *options, expect=2)
  assert 'expected a folder, found gs://bucket/run. Mount the bucket' in stderr
  assert len(stderr.strip().splitlines()) == 1


def test_a_config_is_read_in_the_project_folder_only(tmp_path):
  """Configs import each other by the folder's name."""
  options = f'--config={_ROOT / "configs" / "maze.py"}', f'--workdir={tmp_path / "x"}'
  environment = dict(os.environ, PYTHONPATH='', PYTHONSAFEPATH='1')
  _, stderr = run('pretrain', *options, expect=2, cwd=tmp_path, env=environment)
  assert stderr.strip().endswith('which is not here. Run from the project folder.')
  assert len(stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_pretrain_finetune_evaluate_report(tmp_path, recorded, compiled):
  options = (*_SMALL, '--config.training.num_steps=4')
  pretrained, tuned = tmp_path / 'runs' / 'pretrained', tmp_path / 'runs' / 'tuned'
  text = f'configs/maze.py:labels=40,root={recorded},method=alpt'
  run(
    'pretrain',
    f'--config={text},phase=pretrain,sources=blocked+tunneled',
    f'--workdir={pretrained}',
    *options,
    env=compiled,
  )
  run(
    'finetune',
    f'--config={text},phase=finetune',
    f'--from={pretrained}',
    f'--workdir={tuned}',
    *options,
    env=compiled,
  )
  stdout, _ = run('evaluate', f'--run={tuned}', '--step=4', env=compiled)
  assert 'success_greedy' in stdout
  scores = json.loads((tuned / 'scores.json').read_text())
  rows = [json.loads(line) for line in (tuned / 'metrics.jsonl').open()]
  evaluated = [row for row in rows if row['kind'] == 'evaluation'][-1]
  # The checkpoint scores what the run scored at its end.
  for name in ('idm_accuracy', 'success_sampled', 'success_greedy', 'optimal'):
    assert scores[name] == evaluated[name]
  assert (tuned / 'episode.gif').stat().st_size > 0
  # Another protocol than the run's own is refused by name, unless it is meant.
  other = '--protocol=max_episode_steps=3'
  _, stderr = run('evaluate', f'--run={tuned}', other, expect=2, env=compiled)
  assert '--protocol: max_episode_steps 3, not ' in stderr
  run('evaluate', f'--run={tuned}', other, '--other_protocol', env=compiled)
  scores = json.loads((tuned / 'scores.json').read_text())
  assert scores['protocol'] == {'max_episode_steps': 3}
  run('report', f'--runs={tmp_path}')
  with open(tmp_path / 'results.csv') as file:
    reported = list(csv.DictReader(file))
  assert {row['method'] for row in reported} == {
    'ALPT-Blocked+Tunneled (pretraining)',
    'ALPT-Blocked (finetuned)',
  }
  assert {row['labels'] for row in reported} == {'40'}
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert 'ALPT-Blocked' in page
  assert 'data:image/gif;base64' in page
  # Another architecture is refused by the name of its first differing leaf.
  config = json.loads((tuned / 'config.json').read_text())
  config['model']['width'] = 32
  (tuned / 'config.json').write_text(json.dumps(config))
  _, stderr = run('evaluate', f'--run={tuned}', expect=2, env=compiled)
  assert 'another architecture' in stderr
  assert 'First differing leaf: params/' in stderr
  assert 'float32 [' in stderr
  # A finished run's folder does not take another run.
  _, stderr = run(
    'pretrain',
    f'--config={text},phase=pretrain,seed=0,sources=blocked',
    f'--workdir={pretrained}',
    *options,
    expect=2,
    env=compiled,
  )
  assert 'data.sources' in stderr


@pytest.mark.slow
def test_kill_9_in_the_middle_and_the_same_command_again_give_the_same_bits(
  tmp_path, recorded, compiled
):
  options = (
    f'--config=configs/maze.py:labels=40,root={recorded}',
    *_SMALL,
    '--config.training.num_steps=400',
    '--config.training.checkpoint_every=20',
    '--config.training.evaluate_every=40',
    '--config.training.log_every=10',
  )
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  run('pretrain', *options, f'--workdir={whole}', env=compiled)
  command = [sys.executable, '-m', 'alpt_jax.bin.pretrain', *options]
  process = subprocess.Popen(
    [*command, f'--workdir={killed}'],
    cwd=_ROOT,
    env=compiled,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  # Killed once a checkpoint is complete and training goes on behind it.
  while not (killed / 'checkpoints' / '40').exists():
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.wait()
  stdout, _ = run('pretrain', *options, f'--workdir={killed}', env=compiled)
  assert 'goes on from step' in stdout
  step, expected = final_leaves(whole)
  step_again, found = final_leaves(killed)
  assert step == step_again == 400
  for one, other in zip(expected, found, strict=True):
    np.testing.assert_array_equal(one, other)

  def evaluations(folder):
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').open()]
    return [
      {k: v for k, v in row.items() if k != 'elapsed_seconds'}
      for row in rows
      if row['kind'] == 'evaluation'
    ]

  assert evaluations(killed) == evaluations(whole)


@pytest.mark.slow
def test_sigterm_saves_and_says_so_with_exit_code_42(tmp_path, recorded, compiled):
  options = (
    f'--config=configs/maze.py:labels=40,root={recorded}',
    *_SMALL,
    '--config.training.num_steps=100000',
    '--config.training.log_every=1',
    f'--workdir={tmp_path / "run"}',
  )
  process = subprocess.Popen(
    [sys.executable, '-m', 'alpt_jax.bin.pretrain', *options],
    cwd=_ROOT,
    env=compiled,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  metrics = tmp_path / 'run' / 'metrics.jsonl'
  while not (metrics.exists() and metrics.stat().st_size):
    assert process.poll() is None
    time.sleep(0.05)
  process.terminate()
  _, stderr = process.communicate(timeout=120)
  assert process.returncode == 42
  assert 'SIGTERM at step' in stderr
  saved = [p.name for p in (tmp_path / 'run' / 'checkpoints').iterdir()]
  assert len(saved) == 1
  assert f'step {saved[0]}:' in stderr


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 3 MB."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', str(disk)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('mounting a small file system needs root')
  yield disk
  subprocess.run(['umount', '--lazy', str(disk)], check=True)


@pytest.mark.slow
def test_a_disk_that_checkpoints_fill_is_one_line_with_the_last_good_step(
  small_disk, recorded, compiled
):
  """It takes some of these checkpoints and not all."""
  _, stderr = run(
    'pretrain',
    f'--config=configs/maze.py:labels=40,root={recorded}',
    f'--workdir={small_disk / "run"}',
    '--config.training.num_steps=400',
    '--config.training.checkpoint_every=20',
    '--config.training.keep_checkpoints=100',
    *_SMALL,
    '--config.model.width=64',
    expect=1,
    env=compiled,
  )
  (last,) = (line for line in stderr.splitlines() if line.startswith('failed: '))
  assert 'Last good step: ' in last
  assert 'Free some disk space' in last


@pytest.mark.slow
def test_a_disk_that_others_fill_ends_the_run_at_its_next_metrics(
  small_disk, recorded, compiled
):
  """The rest is filled up once the first checkpoint is there; none follows."""
  workdir = small_disk / 'run'
  process = subprocess.Popen(
    [
      sys.executable,
      '-m',
      'alpt_jax.bin.pretrain',
      f'--config=configs/maze.py:labels=40,root={recorded}',
      f'--workdir={workdir}',
      *_SMALL,
      '--config.training.num_steps=100000',
      '--config.training.log_every=1',
      '--config.training.evaluate_every=0',
      '--config.training.checkpoint_every=50',
    ],
    cwd=_ROOT,
    env=compiled,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  while not (workdir / 'checkpoints' / '50').exists():
    assert process.poll() is None
    time.sleep(0.02)
  with open(small_disk / 'others', 'wb', buffering=0) as file:
    try:
      while True:
        file.write(bytes(4096))
    except OSError:
      pass
  _, stderr = process.communicate(timeout=120)
  assert process.returncode == 1, stderr
  (last,) = (line for line in stderr.splitlines() if line.startswith('failed: '))
  assert 'Last good step: ' in last


def reproduce(config, out, *arguments, num_runs, **options):
  """Runs an experiment of one seed, evaluated at steps 4 and 8; returns its stdout."""
  arguments = f'--config={config}', f'--out={out}', *arguments
  stdout, _ = run('reproduce', *arguments, **options)
  header = (out / 'results.csv').read_text().splitlines()[0]
  wanted = 'experiment,target,method,labels,seed,step,idm_accuracy,success_sampled,'
  assert header.startswith(wanted + 'success_greedy')
  with open(out / 'results.csv') as file:
    rows = list(csv.DictReader(file))
  assert sorted({row['step'] for row in rows}) == ['4', '8']
  assert len(rows) == 2 * num_runs
  assert all(row['config_hash'] and row['label_hash'] for row in rows)
  # All methods of the seed saw the same labels and the same target.
  assert len({row['label_hash'] for row in rows}) == 1
  return stdout


@pytest.mark.slow
def test_the_smoke_quickstart_runs_from_nothing_to_its_report_and_again(
  tmp_path, compiled
):
  # 4 methods and the oracle.
  experiment = 'configs/quickstart.py:smoke', tmp_path
  first = reproduce(*experiment, num_runs=5, env=compiled)
  assert 'ALPT-Blocked+Tunneled' in first and 'done before' not in first
  again = reproduce(*experiment, num_runs=5, env=compiled)
  assert again.count('done before') == 5


@pytest.mark.slow
def test_two_methods_run_from_nothing_to_their_report(tmp_path):
  """The smoke quickstart without the others, and with smaller models."""
  config = tmp_path / 'smaller.py'
  config.write_text("""
from configs import quickstart


def get_config():
  config = quickstart.get_config('smoke')
  config.runs = config.runs[0], config.runs[2]
  config.overrides.model = {'width': 8, 'num_heads': 2, 'num_layers': 1}
  config.record.episodes = 12
  return config
""")
  stdout = reproduce(config, tmp_path / 'out', '--workers=1', num_runs=2)
  assert 'DT1' in stdout and 'ALPT-Blocked' in stdout
