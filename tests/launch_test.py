"""The shell scripts: sound by shellcheck, honest about wrong arguments."""

import pathlib
import shutil
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SCRIPTS = [
  *sorted((_ROOT / 'launch').rglob('*.sh')),
  *sorted((_ROOT / 'launch').rglob('*.sbatch')),
  _ROOT / '.ci' / 'run',
]


@pytest.mark.parametrize('script', _SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
  shellcheck = shutil.which('shellcheck')
  if shellcheck is None:
    pytest.skip('shellcheck is not installed')
  result = subprocess.run([shellcheck, '-x', script], capture_output=True, text=True)
  assert result.returncode == 0, result.stdout


def test_the_quickstart_names_an_argument_that_it_does_not_know(tmp_path):
  result = subprocess.run(
    [_ROOT / 'launch' / 'quickstart.sh', '--smok'],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert result.returncode == 2
  assert "unknown argument '--smok'" in result.stderr
  assert not list(tmp_path.iterdir())


def test_the_setup_names_a_python_that_is_too_old(tmp_path):
  """PATH holds one Python, of version 3.9 as far as it says."""
  for name in ('bash', 'dirname', 'cat', 'cksum', 'tr', 'env'):
    (tmp_path / name).symlink_to(shutil.which(name))
  for name in ('python3', 'python3.11', 'python3.12', 'python3.13'):
    old = tmp_path / name
    old.write_text('#!/usr/bin/env bash\nexit 1\n')
    old.chmod(0o755)
  copy = tmp_path / 'project'
  shutil.copytree(_ROOT / 'launch', copy / 'launch')
  result = subprocess.run(
    [copy / 'launch' / 'quickstart.sh'],
    capture_output=True,
    text=True,
    env={'PATH': str(tmp_path)},
  )
  assert result.returncode == 2
  assert 'Python 3.11 or newer is needed' in result.stderr
  assert not (copy / '.venv').exists()
