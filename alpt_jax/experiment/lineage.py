"""Which runs a run goes back to, and what of its target's actions those knew."""

import pathlib
from typing import Any

from alpt_jax import methods
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.records import read_record

ALL_LABELS = 'all'


def knowledge(config: RunConfig, data: RunData) -> dict[str, Any]:
  """What a run knows of which environment's actions, for `identity.json`."""
  all_labelled = methods.get(config.method).all_labelled
  return {
    'environment': data.target.spec.name,
    'phase': config.phase,
    'sources': [source.spec.name for source in data.sources],
    'labels': ALL_LABELS if all_labelled else config.data.labels,
    'label_hash': data.labels.hash,
  }


def ancestry(initial: str) -> list[dict[str, Any]]:
  """`knowledge` of the run in folder `initial` and of all that it goes back to.

  Raises:
    UserError: the folder holds no run.
  """
  path = pathlib.Path(initial) / 'identity.json'
  if not path.is_file():
    raise UserError(f'{initial}: not a run folder, identity.json is missing.')
  identity = read_record(path)
  names = ('environment', 'phase', 'sources', 'labels', 'label_hash')
  own = {name: identity.get(name) for name in names}
  return [own, *identity.get('ancestry', ())]


def check(initial: str, data: RunData) -> None:
  """Refuses a start from runs that knew more of the target's actions than this one.

  Environments are compared by name: the same game, recorded or read in another way,
  is still the same game. A run of the sources alone knew no action of its target,
  whatever labels were drawn for it.

  Raises:
    UserError: one of them had the target as a labelled source, knew all its actions,
      or drew other labels.
  """
  name = data.target.spec.name
  for before in ancestry(initial):
    if name in (before['sources'] or ()):
      raise UserError(
        f'{initial}: was trained on {name} as a fully labelled source, so no action '
        'of it is hidden. Choose another target.'
      )
    if before['environment'] != name or before['phase'] == 'sources':
      continue
    if before['labels'] == ALL_LABELS:
      raise UserError(
        f'{initial}: was trained with all labels of {name}, so none is hidden. '
        'Start from another run.'
      )
    if before['label_hash'] != data.labels.hash:
      raise UserError(
        f'{initial}: was trained with other labels of {name} ({before["label_hash"]}, '
        f'here {data.labels.hash}), so the budgets would add up. Use the same dataset, '
        'data.labels, data.segment_length, data.heldout_share and seed.'
      )
