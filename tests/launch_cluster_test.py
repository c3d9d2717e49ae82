"""What the launch scripts of all clusters have in common."""

import re
import subprocess
import sys

import pytest
from stub_programs import ROOT, StubPrograms

_LAUNCH = ROOT / 'launch'
_CLUSTERS = ('tpu_vm', 'gke', 'slurm')
_SOURCED = ('settings.sh', 'startup.sh')
_SCRIPTS = [
  _LAUNCH / 'local.sh',
  *sorted(
    path
    for cluster in _CLUSTERS
    for path in (_LAUNCH / cluster).glob('*.sh')
    if path.name not in _SOURCED
  ),
]


def name_of(path):
  return str(path.relative_to(_LAUNCH))


@pytest.mark.parametrize('script', _SCRIPTS, ids=name_of)
def test_without_arguments_a_script_shows_its_header(tmp_path, script):
  programs = StubPrograms(tmp_path)
  result = programs.run(name_of(script))
  assert result.returncode == 2
  assert result.stdout == ''
  header = script.read_text().splitlines()[1:]
  assert result.stderr.splitlines()[0] == header[0].removeprefix('# ')
  assert f'./launch/{name_of(script)}' in result.stderr
  assert 'set -euo pipefail' not in result.stderr


@pytest.mark.parametrize(
  'script, arguments, program',
  [
    ('tpu_vm/create.sh', ['a', '--', 'x'], 'git'),
    ('gke/submit.sh', ['a', '--', 'x'], 'kubectl'),
    ('gke/xpk.sh', ['a', '--', 'x'], 'xpk'),
    ('gke/image.sh', ['build'], 'docker'),
  ],
)
def test_a_program_that_is_missing_is_named(tmp_path, script, arguments, program):
  """PATH holds what the scripts themselves need, and no cluster's program."""
  programs = StubPrograms(tmp_path)
  for name in ('bash', 'dirname', 'sed', 'env'):
    found = subprocess.run(['which', name], capture_output=True, text=True)
    (programs.bin / name).symlink_to(found.stdout.strip())
  settings = dict.fromkeys('ZONE ACCELERATOR_TYPE BUCKET IMAGE CLUSTER PROJECT'.split())
  settings = {name: 'x' for name in settings} | {'RECORDS': str(tmp_path)}
  settings |= {'PROCESSES': '4', 'PATH': str(programs.bin)}
  result = programs.run(script, *arguments, **settings)
  assert result.returncode == 2
  assert f'error: {program}: no such program on PATH.' in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1


def test_launchers_need_the_standard_library_only():
  """They run on a laptop, a login node and a host that has nothing installed yet."""
  modules = 'local slurm slurm_task gke tpu_vm tpu_watch tpu_worker'.split()
  program = ''.join(f'import alpt_jax.launching.{name}\n' for name in modules)
  result = subprocess.run(
    [sys.executable, '-S', '-c', program], cwd=ROOT, capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr


def test_a_python_that_is_too_old_is_passed_over(tmp_path):
  """`python3` says that it is too old; PYTHON, too."""
  programs = StubPrograms(tmp_path, 'kubectl', 'python3')
  programs.answer('python3', '', ('', '', 1))
  (programs.bin / 'python3.11').symlink_to(sys.executable)
  settings = {'IMAGE': 'i', 'BUCKET': 'b', 'PYTHON': 'python3'}
  result = programs.run('gke/submit.sh', 'a', '--dry-run', '--', 'x', **settings)
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('script', _SCRIPTS, ids=name_of)
def test_scripts_keep_to_what_the_bash_of_macos_knows(script):
  """Bash 3.2: no associative arrays, no mapfile, no ${x,,}, no &>>."""
  newer = r'declare -A|mapfile|readarray|\$\{\w+(,,|\^\^)|&>>|\$\{\w+@'
  assert not re.search(newer, script.read_text())


def test_every_script_is_explained():
  text = (ROOT / 'docs' / 'clusters.md').read_text()
  for script in _SCRIPTS:
    assert f'launch/{name_of(script)}' in text, script
