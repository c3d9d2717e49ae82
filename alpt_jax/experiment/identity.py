"""Who a run is: written beside its checkpoints and on every result row."""

import dataclasses
import datetime
import importlib.metadata
import pathlib
import subprocess

import jax

from alpt_jax.errors import UserError
from alpt_jax.experiment import lineage
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.recordings import digests_in
from alpt_jax.experiment.records import read_record, write_record

_PACKAGES = ('alpt-jax', 'jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def write_identity(workdir: pathlib.Path, config: RunConfig, data: RunData) -> None:
  """Writes `identity.json`; a run resumed by other code or elsewhere adds to it.

  Raises:
    UserError: the run was begun on other data or other labels.
  """
  path = workdir / 'identity.json'
  now = {'data_hash': data.hash, 'label_hash': data.labels.hash}
  if path.is_file():
    before = read_record(path)
    for field, value in now.items():
      if before.get(field) != value:
        raise UserError(
          f'{path}, field {field}: this run was begun on {before.get(field)}, found '
          f'{value}: a dataset was recorded anew since. Choose another --workdir.'
        )
    _note_resumption(path, before, config)
    return
  identity = {
    'experiment': config.experiment,
    'target': config.target,
    'method': config.title,
    'seed': config.seed,
    'config_hash': config.hash,
    **now,
    **lineage.knowledge(config, data),
    **_recorded(data),
    **_made_of(config),
    'ancestry': lineage.ancestry(config.initial) if config.initial else [],
    **_at_start(config),
    'started': _now(),
  }
  write_record(path, identity)


def _recorded(data: RunData) -> dict:
  """How the actions of a target that has only some of them are used; else {}."""
  num_recorded = int(data.target.index.is_labelled.sum())
  if num_recorded == data.target.index.num_transitions:
    return {}
  audited = sum(length for _, _, length in data.labels.audited)
  return {
    'recorded_labels': {
      'all': num_recorded,
      'trained_on': data.labels.budget,
      'audited': audited,
    }
  }


def _made_of(config: RunConfig) -> dict:
  """Of which files each dataset was converted, in the order of `data_hash`; else {}.

  Converted anew with others they have another hash: this tells what is in both.
  """
  found = [digests_in(folder) for folder in (config.data.target, *config.data.sources)]
  return {'recordings': found} if any(found) else {}


def _note_resumption(path: pathlib.Path, identity: dict, config: RunConfig) -> None:
  """Appends to `resumed` what is not as it was when the run was last begun."""
  latest = {}
  for stage in (identity, *identity.get('resumed', ())):
    latest |= stage
  changed = {
    name: value
    for name, value in _at_start(config).items()
    if latest.get(name) != value
  }
  if changed:
    resumed = [*identity.get('resumed', ()), {**changed, 'at': _now()}]
    write_record(path, {**identity, 'resumed': resumed})


def _at_start(config: RunConfig) -> dict:
  """What may be another thing each time that a run is started."""
  return {**circumstances(), 'execution': dataclasses.asdict(config.execution)}


def circumstances() -> dict:
  """What a run's bits may depend on beside its config and data."""
  return {
    'git_commit': _git_commit(),
    'versions': {name: _version(name) for name in _PACKAGES},
    'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
  }


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')


def _version(name: str) -> str:
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def _git_commit() -> str:
  """The commit of the source, with '+changes' when it was edited."""
  source = pathlib.Path(__file__).parent
  command = ['git', '-C', str(source), 'describe', '--always', '--exclude=*']
  command += ['--dirty=+changes']
  try:
    result = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
  return result.stdout.strip()
