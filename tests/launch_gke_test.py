"""launch/gke: an image, a JobSet, xpk's line."""

import json

import pytest
from stub_programs import ROOT, StubPrograms, joined

_SETTINGS = {
  'IMAGE': 'place/alpt:1',
  'BUCKET': 'gs://mine',
  'CLUSTER': 'cluster',
  'PROJECT': 'project',
  'ZONE': 'zone',
}
_COMMAND = ['python', '-m', 'alpt_jax.bin.pretrain', '--config=configs/maze.py:a "b']
_TRAINING = [
  *_COMMAND,
  '--workdir=/mnt/alpt/runs/run-1',
  '--distributed=on',
  '--expect_processes=4',
]


@pytest.fixture
def cloud(tmp_path):
  return StubPrograms(tmp_path, 'docker', 'kubectl', 'xpk')


def call(cloud, script, *arguments, **settings):
  records = str(cloud.folder / 'with space')
  settings = {**_SETTINGS, 'RECORDS': records, **settings}
  return cloud.run(f'gke/{script}.sh', *arguments, **settings)


def lines_of(text):
  """Lines without indentation; those with a value as (name, value)."""
  pairs = (line.strip().lstrip('- ').partition(': ') for line in text.splitlines())
  return {name: value for name, _, value in pairs}


def test_submit_fills_in_the_jobset_and_applies_it(cloud):
  result = call(cloud, 'submit', 'run-1', '--', *_COMMAND)
  assert result.returncode == 0, result.stderr
  path = cloud.folder / 'with space' / 'run-1' / 'jobset.yaml'
  assert cloud.calls == [joined('kubectl', 'apply', f'--filename={path}')]
  lines = lines_of(path.read_text())
  assert lines['name'] == 'bucket'  # of the volume, the last name of the file
  assert json.loads(lines['command']) == _TRAINING
  assert json.loads(lines['image']) == 'place/alpt:1'
  assert json.loads(lines['bucketName']) == 'mine'
  # 2 x 2 x 4 chips, 4 to a host.
  assert lines['parallelism'] == lines['completions'] == '4'
  assert '$' not in path.read_text()


def test_only_a_clean_stop_or_a_crash_starts_again(cloud):
  """By exit code; without FailJobSet, JobSet would start the others again, too."""
  result = call(cloud, 'submit', 'run-1', '--dry-run', '--', *_COMMAND, GRACE='300')
  lines = lines_of(result.stdout)
  assert json.loads(lines['values']) == [42, *range(127, 256)]
  assert lines['operator'] == 'NotIn'
  assert lines['action'] == 'FailJob'
  assert '- action: FailJobSet\n      onJobFailureReasons: [PodFailurePolicy]' in (
    result.stdout
  )
  assert lines['backoffLimit'].startswith('0 ')
  assert lines['restartPolicy'] == 'Never'
  assert lines['maxRestarts'] == '100'
  assert lines['terminationGracePeriodSeconds'] == '300'
  assert cloud.calls == []
  assert not (cloud.folder / 'with space').exists()


def test_kubernetes_finds_no_variable_of_its_own_in_the_command(cloud):
  result = call(cloud, 'submit', 'run-1', '--dry-run', '--', 'x', '$(HOME)')
  assert json.loads(lines_of(result.stdout)['command'])[1] == '$$(HOME)'


def test_xpk_gets_the_same_training(cloud):
  result = call(cloud, 'xpk', 'run-1', '--', *_COMMAND)
  assert result.returncode == 0, result.stderr
  assert cloud.calls == [
    joined(
      *'xpk workload create --workload=run-1 --cluster=cluster'.split(),
      *'--project=project --zone=zone --tpu-type=v4-32 --num-slices=1'.split(),
      *'--docker-image=place/alpt:1 --max-restarts=100'.split(),
      '--termination-grace-period-seconds=180',
      f'--command=cd /opt/alpt && {joined(*_TRAINING)}',
    )
  ]


def test_the_image_is_built_for_the_cloud_s_machines_and_pushed(cloud):
  assert call(cloud, 'image', 'push').returncode == 0
  build = joined(
    *'docker build --platform=linux/amd64 --tag=place/alpt:1'.split(),
    '--build-arg=EXTRAS=[tpu]',
    f'--file={ROOT}/launch/gke/Dockerfile',
    str(ROOT),
  )
  assert cloud.calls == [build, 'docker push place/alpt:1']
  (cloud.folder / 'calls').unlink()
  cloud.answer('docker', 'build', ('', 'no space\n', 1))
  result = call(cloud, 'image', 'push')
  assert result.returncode == 1
  assert cloud.calls == [build]  # what could not be built is not pushed


def test_what_the_image_copies_is_there():
  """A file that was renamed would be noticed only by whoever builds it."""
  for line in (ROOT / 'launch' / 'gke' / 'Dockerfile').read_text().splitlines():
    if line.startswith('COPY'):
      for name in line.split()[1:-1]:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
  'script, arguments, settings, said',
  [
    ('submit', ['Run', '--', 'x'], {}, "expected NAME of a-z, 0-9 and '-'"),
    ('submit', ['run-1'], {}, 'expected a command behind --'),
    ('submit', ['run-1', '--', 'x'], {'IMAGE': ''}, 'IMAGE: not set. Expected an'),
    ('submit', ['run-1', '--', 'x'], {'TOPOLOGY': '2by2'}, 'TOPOLOGY: expected for'),
    (
      'submit',
      ['run-1', '--', 'x'],
      {'CHIPS': '3'},
      'divisor of the 16 chips of 2x2x4',
    ),
    ('submit', ['run-1', '--', 'x', '--workdir=a'], {}, 'gives --workdir itself'),
    ('xpk', ['run-1', '--', 'x'], {'CLUSTER': ''}, 'CLUSTER: not set'),
    ('image', ['pull'], {}, 'expected build or push. Usage: image.sh'),
  ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
  cloud, script, arguments, settings, said
):
  result = call(cloud, script, *arguments, **settings)
  assert result.returncode == 2
  assert said in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1
  assert cloud.calls == []
