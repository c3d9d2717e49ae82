"""launch/slurm: a training over nodes, an experiment over an array, and again."""

import os
import subprocess
import sys
import time

import pytest
from stub_programs import ROOT, StubPrograms, joined

from alpt_jax.experiment.cluster import idle_gpus
from alpt_jax.launching import slurm_task

_SLURM = ROOT / 'launch' / 'slurm'
_COMMAND = ['python', '-m', 'alpt_jax.bin.pretrain', '--config=configs/maze.py:a b']


@pytest.fixture
def cluster(tmp_path):
  """`python` is a stub, too: environment.sh installs with it."""
  (tmp_path / 'venv').mkdir()
  return StubPrograms(tmp_path, 'sbatch', 'srun', 'scontrol', 'python')


def call(cluster, script, *arguments, **settings):
  settings = {'VIRTUAL_ENV': str(cluster.folder / 'venv'), **settings}
  return cluster.run(f'slurm/{script}.sh', *arguments, **settings)


def submitted(cluster, *arguments, **settings):
  """The sbatch command of a dry run, without the settings before it."""
  result = call(cluster, 'submit', '--dry-run', *arguments, **settings)
  assert result.returncode == 0, result.stderr
  return result.stdout.splitlines()[-1]


def test_submit_installs_here_and_asks_for_the_nodes(cluster):
  workdir = cluster.folder / 'a run'
  command = [*_COMMAND, f'--workdir={workdir}']
  result = call(
    cluster, 'submit', '--time=12:00:00', '--', *command, NODES='2', GPUS='4'
  )
  assert result.returncode == 0, result.stderr
  install, submit = cluster.calls
  assert install.startswith('python -m pip install')
  assert install.endswith("--editable '.[cuda]'")
  assert submit == joined(
    *('sbatch', '--job-name=a run', '--nodes=2', '--ntasks-per-node=1'),
    '--gpus-per-node=4',
    f'--output={workdir}/logs/job-%j.log',
    f'--chdir={ROOT}',
    '--export=ALL',
    '--time=12:00:00',
    f'{_SLURM}/train.sbatch',
    *command,
    *('--distributed=on', '--expect_processes=2'),
  )
  assert (workdir / 'logs').is_dir()


def test_one_process_of_a_node_is_told_to_take_all_its_gpus(cluster):
  command = ('--', 'x', '--workdir=/run')
  node = submitted(cluster, *command, NODES='2', GPUS='4')
  assert ' JAX_LOCAL_DEVICE_IDS=0,1,2,3 sbatch ' in node
  gpu = submitted(cluster, *command, NODES='2', GPUS='4', TASKS='gpu')
  assert 'JAX_LOCAL_DEVICE_IDS' not in gpu
  assert '--ntasks-per-node=4' in gpu
  assert gpu.endswith('--expect_processes=8')
  assert '--gpus' not in submitted(cluster, *command, NODES='2')


def test_a_dry_run_shows_the_commands_and_does_nothing(cluster):
  workdir = cluster.folder / 'run'
  result = call(cluster, 'submit', '--dry-run', '--', 'x', f'--workdir={workdir}')
  install, submit = result.stdout.splitlines()
  assert install == f'env EXTRAS= bash -e {ROOT}/launch/environment.sh'
  assert submit == (
    f'env LOGS={workdir}/logs EXTRAS= RESTARTS=20 sbatch --job-name=run --nodes=1 '
    f'--ntasks-per-node=1 --output={workdir}/logs/job-%j.log --chdir={ROOT} '
    f'--export=ALL {_SLURM}/train.sbatch x --workdir={workdir} --distributed=on '
    '--expect_processes=1'
  )
  assert cluster.calls == []
  assert not workdir.exists()


def test_an_installation_that_fails_submits_nothing(cluster):
  cluster.answer('python', 'pip', ('', 'no such package\n', 1))
  workdir = cluster.folder / 'run'
  result = call(cluster, 'submit', '--', 'x', f'--workdir={workdir}')
  assert result.returncode == 1
  assert not any(line.startswith('sbatch') for line in cluster.calls)


def test_an_array_shares_an_experiment_s_runs(cluster):
  arguments = ['--time=4:00:00', '--', 'figure5/maze', '--seeds', '5']
  result = call(cluster, 'submit_array', '--dry-run', *arguments, TASKS='4', CPUS='8')
  assert result.returncode == 0, result.stderr
  assert result.stdout.splitlines()[-1] == (
    'env EXTRAS= RESTARTS=20 sbatch --job-name=figure5-maze --array=0-3 --nodes=1 '
    f'--ntasks=1 --cpus-per-task=8 --output={ROOT}/runs/slurm/%x-%A-%a.log '
    f'--chdir={ROOT} --export=ALL --time=4:00:00 {_SLURM}/array.sbatch 4 figure5/maze '
    '--seeds 5 --workers 8'
  )
  result = call(cluster, 'submit_array', '--dry-run', '--', 'x', TASKS='4', GPUS='1')
  submit = result.stdout.splitlines()[-1]
  assert '--gpus-per-node=1' in submit
  assert '--workers' not in submit


def job(cluster, script, *arguments, **settings):
  """Runs a job's script as Slurm does: a copy, in the folder given by --chdir."""
  copy = cluster.folder / 'slurm_script'
  copy.write_text((_SLURM / script).read_text())
  settings = {
    'VIRTUAL_ENV': str(cluster.folder / 'venv'),
    'LOGS': str(cluster.folder / 'lo gs'),
    'SLURM_JOB_ID': '77',
    **settings,
  }
  return subprocess.run(
    ['bash', copy, *arguments],
    env=cluster.environment(**settings),
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


def of_slurm(cluster):
  return [line for line in cluster.calls if not line.startswith('python')]


@pytest.mark.parametrize(
  'highest, code, restarts, is_queued_again',
  [
    (0, 0, '0', False),
    (1, 1, '0', False),
    (2, 2, '0', False),
    (137, 1, '0', False),  # one failed, and the others were aborted
    (42, 42, '0', True),
    (42, 42, '99', True),  # preemptions are no fault of the training
    (134, 134, '19', True),
    (134, 134, '20', False),
  ],
)
def test_a_training_is_queued_again_where_that_may_help(
  cluster, highest, code, restarts, is_queued_again
):
  cluster.answer('srun', '', ('', '', highest))
  cluster.answer('python', 'slurm_task cause', (f'{code}\n', '', 0))
  result = job(cluster, 'train.sbatch', 'python', 'a b', SLURM_RESTART_COUNT=restarts)
  assert result.returncode == code, result.stderr
  log = f"'--output={cluster.folder}/lo gs/process-%t.log'"
  srun = f'srun --kill-on-bad-exit=1 --open-mode=append {log} '
  srun += f"python -m alpt_jax.launching.slurm_task run '{cluster.folder}/lo gs'"
  srun += " python 'a b'"
  again = ['scontrol requeue 77'] if is_queued_again else []
  assert of_slurm(cluster) == [srun, *again]


def test_a_task_of_an_array_does_its_share(cluster):
  cluster.answer('srun', '', ('', '', 42))
  arguments = ['4', 'figure5', '--seeds', '5']
  result = job(cluster, 'array.sbatch', *arguments, SLURM_ARRAY_TASK_ID='2')
  assert result.returncode == 42
  assert of_slurm(cluster) == [
    'srun --ntasks=1 ./launch/reproduce.sh figure5 --seeds 5 --shard 2/4',
    'scontrol requeue 77',
  ]


@pytest.mark.parametrize('script', ['train.sbatch', 'array.sbatch'])
def test_a_job_is_told_in_time_and_may_be_queued_again(script):
  lines = (_SLURM / script).read_text().splitlines()
  assert {'#SBATCH --requeue', '#SBATCH --open-mode=append'} <= set(lines)
  assert '#SBATCH --signal=TERM@180' in lines
  # sbatch reads no further than the first command.
  commands = [n for n, line in enumerate(lines) if line and not line.startswith('#')]
  assert max(n for n, line in enumerate(lines) if line[:7] == '#SBATCH') < commands[0]


@pytest.mark.parametrize(
  'script, arguments, settings, said',
  [
    ('submit', ['--', 'x'], {}, 'with --workdir=DIR'),
    ('submit', ['--', 'x', '--workdir=a'], {}, 'expected an absolute path, found a.'),
    ('submit', ['-p', 'gpu', '--', 'x'], {}, "'gpu': expected --OPTION=VALUE"),
    ('submit', ['--', 'x', '--workdir=/a'], {'TASKS': 'gpu'}, 'with GPUS=1 or more'),
    ('submit', ['--', 'x', '--workdir=/a'], {'GPUS': 'all'}, 'GPUS: expected GPUs'),
    ('submit_array', ['--', 'figure5'], {}, 'TASKS: not set'),
    ('submit_array', ['--time=1'], {'TASKS': '2'}, 'expected NAME [OPTIONS]'),
    ('submit_array', ['--', 'a'], {'TASKS': '2', 'GPUS': '4'}, 'GPUS of 0 or 1'),
  ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
  cluster, script, arguments, settings, said
):
  result = call(cluster, script, *arguments, **settings)
  assert result.returncode == 2
  assert said in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1
  assert cluster.calls == []


def task(folder, number, code):
  """One process of a job that ends with `code`."""
  environment = {**os.environ, 'SLURM_PROCID': str(number)}
  command = [sys.executable, '-m', 'alpt_jax.launching.slurm_task', 'run', folder]
  program = f'import os; os.kill(os.getpid(), {code - 128})'
  if code < 128:
    program = f'raise SystemExit({code})'
  return subprocess.run([*command, sys.executable, '-c', program], env=environment)


@pytest.mark.parametrize(
  'codes, highest, cause',
  [
    ((0, 0), 0, 0),
    ((42, 42), 42, 42),
    ((1, 137), 137, 137),  # a kill from outside explains the other's failure
    ((1, 134), 134, 1),  # an abort follows from it
    ((2, 134), 134, 2),
    ((), 137, 137),  # nobody had time to note anything
  ],
)
def test_a_jobs_exit_code_is_its_cause(tmp_path, codes, highest, cause):
  for number, code in enumerate(codes):
    assert task(tmp_path, number, code).returncode == code
  assert slurm_task.cause(tmp_path, highest) == cause
  assert list(tmp_path.iterdir()) == []


def test_a_task_passes_on_that_it_shall_stop(tmp_path):
  program = (
    'import signal, sys, time; signal.signal(15, lambda *_: sys.exit(42));'
    f'open({str(tmp_path / "ready")!r}, "w").close(); time.sleep(60)'
  )
  command = [sys.executable, '-m', 'alpt_jax.launching.slurm_task', 'run', tmp_path]
  process = subprocess.Popen([*command, sys.executable, '-c', program])
  deadline = time.monotonic() + 30
  while not (tmp_path / 'ready').exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
  process.terminate()
  assert process.wait(timeout=30) == 42


@pytest.mark.parametrize(
  'platform, count, environ, said',
  [
    ('gpu', 1, ('4', '1(x2)'), 'warning: 1 of the 4 GPUs of this node'),
    ('gpu', 1, ('4', '2'), 'warning: 2 of the 4'),
    ('gpu', 1, ('4', '4(x2)'), ''),
    ('gpu', 4, ('4', '1(x2)'), ''),
    ('cpu', 1, ('4', '1'), ''),
    ('gpu', 1, ('', '1'), ''),
  ],
)
def test_gpus_that_would_idle_are_named(platform, count, environ, said):
  names = ('SLURM_GPUS_ON_NODE', 'SLURM_STEP_TASKS_PER_NODE')
  hint = idle_gpus(platform, count, dict(zip(names, environ, strict=True)))
  assert hint.startswith(said) and bool(hint) == bool(said)
  assert not said or 'JAX_LOCAL_DEVICE_IDS=0,1,2,3' in hint
