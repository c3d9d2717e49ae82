"""Which runs a run goes back to: what they knew of its target, and what they taught."""

import pathlib
from typing import Any

from alpt_jax import methods
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.records import read_record

ALL_LABELS = 'all'


def budget(config: RunConfig) -> int | str:
  """How many of the target's actions a run knows; 0: those recorded; or 'all'."""
  return ALL_LABELS if methods.get(config.method).all_labelled else config.data.labels


def knowledge(config: RunConfig, data: RunData) -> dict[str, Any]:
  """What a run knows of which environment's actions, for `identity.json`."""
  return {
    'environment': data.target.spec.name,
    'phase': config.phase,
    'sources': [source.spec.name for source in data.sources],
    'labels': budget(config),
    'label_hash': data.labels.hash,
  }


def ancestry(initial: str) -> list[dict[str, Any]]:
  """What the run in folder `initial` and its ancestors knew, and of which data.

  Raises:
    UserError: the folder holds no run.
  """
  path = pathlib.Path(initial) / 'identity.json'
  if not path.is_file():
    raise UserError(f'{initial}: not a run folder, identity.json is missing.')
  identity = read_record(path)
  names = ('environment', 'phase', 'sources', 'labels', 'label_hash', 'data_hash')
  own = {name: identity.get(name) for name in (*names, 'recordings')}
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
        'data.labels, data.segment_length, data.heldout_share, data.audit_share and '
        'seed.'
      )


def check_taught(config: RunConfig, base: RunConfig) -> None:
  """Refuses a start from a run whose models are not those that the method inherits.

  A run may come from another method where that taught them the same: the actions
  recorded in the sources are the same lesson for any DT, but a DT that has learnt
  relabelled actions is no start for a method without an IDM (section 5.2). Of a
  finetuned run only the models that it had inherited itself were ever pretrained.

  Args:
    config: of a run that starts from another one, `config.initial`.
    base: the other run's.

  Raises:
    UserError: the base is of a method without pretraining, has no such model, began
      it afresh in its finetuning, or taught it otherwise than any phase of this method
      does.
  """
  method, place = methods.get(config.method), f'{config.initial}: method {base.method}'
  if not methods.get(base.method).is_pretrained:
    raise UserError(
      f'{place} has no pretraining, which method {config.method} starts from. Start '
      f'from a run of {config.method}.'
    )
  for model in method.inherits:
    found = methods.taught(base.method, base.phase, model)
    if not found:
      raise UserError(
        f'{place} trained no {model} in phase {base.phase}, which method '
        f'{config.method} starts from. Start from a run that did.'
      )
    if base.phase == 'finetune' and model not in methods.get(base.method).inherits:
      raise UserError(
        f'{place} began its {model} afresh in phase finetune, and method '
        f'{config.method} starts from a pretrained one. Start from a run of '
        f'{config.method}, or of phase sources.'
      )
    known = [methods.taught(config.method, phase, model) for phase in method.phases]
    if found not in known:
      lesson = ', '.join(f'{part} ({actions})' for part, actions in found.items())
      raise UserError(
        f'{place} in phase {base.phase} trained its {model} on {lesson}, which method '
        f'{config.method} never does. Start from a run of {config.method}, or of '
        'phase sources.'
      )
