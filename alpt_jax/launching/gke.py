"""A training on GKE: its image, its JobSet, or xpk's line for the same.

  python -m alpt_jax.launching.gke submit NAME [--dry-run] -- python -m ...

The command line of `launch/gke/*.sh`, which hold the settings. Standard library only.
"""

import json
import math
import pathlib
import re
import shlex
import string
import sys
from collections.abc import Sequence

from alpt_jax.errors import UserError
from alpt_jax.launching.commands import (
  Commands,
  Parser,
  exit_code,
  number,
  setting,
  split_command,
  training,
)
from alpt_jax.launching.supervisor import PREEMPTED

_ROOT = pathlib.Path(__file__).parents[2]
_FOLDER = _ROOT / 'launch' / 'gke'
_USAGES = {
  'image': 'image.sh (build | push) [--dry-run]',
  'submit': 'submit.sh NAME [--dry-run] -- COMMAND',
  'xpk': 'xpk.sh NAME [--dry-run] -- COMMAND',
}
# Those with which xpk starts a workload again: stopped after a clean save, or crashed.
RESTARTING_CODES = (PREEMPTED, *range(127, 256))


def _training(name: str, command: Sequence[str], num_processes: int) -> list[str]:
  if not command:
    raise UserError('expected a command behind --, found none.')
  return training(command, f'/mnt/alpt/runs/{name}', num_processes)


def jobset(name: str, command: Sequence[str]) -> str:
  """The JobSet of a training, as YAML; every value is JSON, which YAML contains.

  Raises:
    UserError: a setting is missing, or the slice does not divide into its hosts.
  """
  topology = setting('TOPOLOGY', 'a topology, e.g. 2x2x4', '2x2x4')
  chips = number('CHIPS', 'TPU chips of a host', '4')
  sides = topology.split('x')
  if not all(side.isdigit() and int(side) for side in sides):
    raise UserError(f"TOPOLOGY: expected for example 2x2x4, found '{topology}'.")
  num_chips = math.prod(map(int, sides))
  if not chips or num_chips % chips:
    raise UserError(
      f'CHIPS: expected a divisor of the {num_chips} chips of {topology}, found '
      f'{chips}.'
    )
  processes = num_chips // chips
  values = {
    'name': name,
    'namespace': setting('NAMESPACE', 'a namespace', 'default'),
    'max_restarts': number('RESTARTS', 'starts', '100'),
    'processes': processes,
    'restarting_codes': list(RESTARTING_CODES),
    'grace': number('GRACE', 'seconds', '180'),
    'service_account': setting('SERVICE_ACCOUNT', "one of Kubernetes'", 'default'),
    'accelerator': setting('ACCELERATOR', 'for example tpu-v4-podslice'),
    'topology': topology,
    'image': setting('IMAGE', 'an image with its tag'),
    # Kubernetes would read $(NAME) as a variable.
    'command': [
      word.replace('$(', '$$(') for word in _training(name, command, processes)
    ],
    'chips': chips,
    'bucket': setting('BUCKET', 'a bucket').removeprefix('gs://').strip('/'),
  }
  template = string.Template((_FOLDER / 'jobset.yaml').read_text())
  return template.substitute({key: json.dumps(value) for key, value in values.items()})


def submit(name: str, command: Sequence[str], commands: Commands) -> None:
  """Fills in the JobSet and gives it to the cluster of kubectl's configuration."""
  text = jobset(name, command)
  default = str(_ROOT / 'runs' / 'launch')
  records = pathlib.Path(setting('RECORDS', 'a folder', default)).absolute()
  path = records / name / 'jobset.yaml'
  commands.write(path, text)
  commands.run(['kubectl', 'apply', f'--filename={path}'])


def xpk(name: str, command: Sequence[str], commands: Commands) -> None:
  """The same through xpk, which restarts on `RESTARTING_CODES` by itself."""
  processes = number('PROCESSES', 'hosts of the slice', '4')
  words = _training(name, command, processes)
  commands.run(
    [
      *('xpk', 'workload', 'create', f'--workload={name}'),
      f'--cluster={setting("CLUSTER", "a cluster")}',
      f'--project={setting("PROJECT", "its project")}',
      f'--zone={setting("ZONE", "its zone")}',
      f'--tpu-type={setting("TPU_TYPE", "a slice, e.g. v4-32")}',
      '--num-slices=1',
      f'--docker-image={setting("IMAGE", "an image with its tag")}',
      f'--max-restarts={number("RESTARTS", "starts", "100")}',
      f'--termination-grace-period-seconds={number("GRACE", "seconds", "180")}',
      f'--command=cd /opt/alpt && {shlex.join(words)}',
    ]
  )


def image(verb: str, commands: Commands) -> None:
  """Builds the image of this checkout, for the machines of the cloud; pushes it."""
  name = setting('IMAGE', 'an image with its tag')
  commands.run(
    [
      *('docker', 'build', '--platform=linux/amd64', f'--tag={name}'),
      f'--build-arg=EXTRAS={setting("EXTRAS", "[NAME]", "[tpu]")}',
      f'--file={_FOLDER / "Dockerfile"}',
      str(_ROOT),
    ]
  )
  if verb == 'push':
    commands.run(['docker', 'push', name])


def main(arguments: Sequence[str]) -> int:
  """The command line; returns an exit code."""
  verb, *rest = arguments or ['']
  if verb not in _USAGES:
    raise UserError(f"expected one of {', '.join(_USAGES)}, found '{verb}'.")
  own, command = split_command(rest)
  parser = Parser(_USAGES[verb], None)
  parser.add_argument('name', metavar='NAME')
  parser.add_argument('--dry-run', action='store_true')
  options = parser.parse_args(own)
  commands = Commands(options.dry_run)
  if verb == 'image':
    if options.name not in ('build', 'push') or command:
      parser.error('expected build or push')
    image(options.name, commands)
    return 0
  # Kubernetes makes names of pods from it, 63 letters long at most.
  if not re.fullmatch('[a-z]([-a-z0-9]{0,38}[a-z0-9])?', options.name):
    parser.error(
      "expected NAME of a-z, 0-9 and '-', 40 letters at most, beginning with a letter; "
      f"found '{options.name}'"
    )
  {'submit': submit, 'xpk': xpk}[verb](options.name, command, commands)
  return 0


if __name__ == '__main__':
  sys.exit(exit_code(main, sys.argv[1:]))
