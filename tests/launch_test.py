"""The shell scripts: sound by shellcheck, honest about wrong arguments."""

import pathlib
import shutil
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SCRIPTS = [
  *sorted((_ROOT / 'launch').rglob('*.sh')),
  *sorted((_ROOT / 'launch').rglob('*.sbatch')),
  _ROOT / 'tests' / 'interop' / 'run.sh',
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


def fake_program(folder, name, text='exit 1'):
  """Puts a program in front of the real one; by default one that fails."""
  path = folder / name
  path.unlink(missing_ok=True)
  path.write_text(f'#!/usr/bin/env bash\n{text}\n')
  path.chmod(0o755)


@pytest.fixture
def make_rlds(tmp_path):
  """Runs tests/interop/run.sh where PATH holds no Python, on Linux and x86-64."""
  programs = tmp_path / 'programs'
  programs.mkdir()
  for name in ('bash', 'env', 'ln', 'mkdir', 'mv', 'rm'):
    (programs / name).symlink_to(shutil.which(name))
  fake_program(programs, 'uname', 'echo Linux x86_64')

  def run(**fakes):
    for name, text in fakes.items():
      fake_program(programs, name.replace('_', '.'), text)
    return subprocess.run(
      [_ROOT / 'tests' / 'interop' / 'run.sh'],
      capture_output=True,
      text=True,
      env={'PATH': str(programs), 'ALPT_RLDS': str(tmp_path / 'rlds')},
    )

  return run


def test_where_the_real_rlds_cannot_run_it_is_said_and_nothing_made(
  make_rlds, tmp_path
):
  result = make_rlds()
  assert result.returncode == 0
  assert result.stderr == (
    'the real rlds did not run: it needs Python 3.11, and there is none\n'
  )
  result = make_rlds(uname='echo Darwin arm64')
  assert result.returncode == 0
  assert 'did not run: it is not there for Darwin arm64' in result.stderr
  assert [path.name for path in tmp_path.iterdir()] == ['programs']


def test_an_installation_of_rlds_that_failed_is_not_taken_for_one(make_rlds, tmp_path):
  """`-m venv FOLDER` makes an environment whose pip fails, then one where it works."""
  python = 'if [ "$1" = -m ]; then mkdir -p "$3/bin"; ln -s {} "$3/bin/python"; fi'
  result = make_rlds(python3_11=python.format(shutil.which('false')))
  assert result.returncode == 1
  assert 'rlds==0.1.8 could not be installed' in result.stderr
  assert [path.name for path in tmp_path.iterdir()] == ['programs']
  result = make_rlds(python3_11=python.format(shutil.which('true')))
  assert result.returncode == 0
  assert (tmp_path / 'rlds' / 'bin' / 'python').is_symlink()
