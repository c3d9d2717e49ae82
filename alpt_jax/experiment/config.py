"""A run's configuration: the one schema that every file in `configs/` is held to.

The files in `configs/` are documents for people and import nothing of ours; this
is where their fields are checked, all of them, before anything is started.
"""

import dataclasses
import hashlib
import json
import operator
import pathlib
import typing
from collections.abc import Mapping
from typing import Any

from alpt_jax import methods, relabel
from alpt_jax.acting.policy import ILLEGAL, PADDING, ActingConfig
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment.records import read_record, write_record
from alpt_jax.models import inverse_dynamics
from alpt_jax.specs import Protocol
from alpt_jax.training import optimizer


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which recorded datasets, and how much of the target's actions is known."""

  target: str  # dataset folder
  sources: tuple[str, ...]  # dataset folders, fully labelled
  environments: tuple[str, ...]  # recorded in each, the target first; () if unknown
  observation: str  # form that they were recorded in; '' if unknown
  labels: int  # transitions of the target that keep their action
  segment_length: int  # labelled transitions in a row; 0: whole episodes
  heldout_share: float  # of the target's episodes, never trained on
  weights: tuple[float, ...]  # of target and sources in the batch; () for equal ones
  labelled_share: float  # of the target's rows, drawn from the labelled segments
  pool_policy_weight: float  # of those rows in the DT's loss; 0: D+ and D- uniform
  # Of RL Unplugged shards only:
  runs: tuple[int, ...]  # which of the recorded runs
  checkpoints: tuple[int, ...]  # which shards of each; () for all
  reward_lead: int  # how many steps early rewards are recorded; -1: as detected
  skip_bad_shards: bool  # leave damaged ones out, counted and named
  cache: str  # folder for manifests and for what is cut out of the shards


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The transformer of both models (Table 3)."""

  width: int
  num_layers: int
  num_heads: int
  dropout: float
  patch_size: int  # of image observations
  num_transitions: int  # T: the IDM's k
  idm_form: str  # how the IDM reads a window: 'frames', 'difference' or 'pair'
  context: int  # C: the DT's transitions
  dtype: str  # of the computation: 'float32' or 'bfloat16'


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long, how much at once, and when what is written."""

  num_steps: int
  batch_size: int
  relabelling: str
  confidence_weighting: bool
  loss_normalisation: str
  shift: int  # pixels by which the IDM's windows are shifted at random
  log_every: int
  evaluate_every: int
  checkpoint_every: int
  keep_checkpoints: int


@dataclasses.dataclass(frozen=True)
class OptimizerFields:
  """`OptimizerConfig` without what `training` already says."""

  name: str
  learning_rate: float
  warmup_steps: int
  schedule: str
  weight_decay: float
  clip: float
  b1: float
  b2: float


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """What is measured, always on the same transitions and pairs for a seed."""

  num_transitions: int  # hidden ones that the IDM is scored on
  num_episodes: int  # played with sampled actions; mazes again greedily
  max_steps: int  # agent steps that an episode is granted
  sticky_actions: float  # probability that an emulator frame repeats its action
  max_noops: int  # an episode begins with up to so many NOOPs

  def protocol_of(self, recorded: Protocol) -> Protocol:
    """How episodes are played, of an environment that was recorded so."""
    return dataclasses.replace(
      recorded,
      max_episode_steps=self.max_steps,
      sticky_actions=self.sticky_actions,
      max_noops=self.max_noops,
    )


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """One training run."""

  experiment: str
  title: str  # of the method, in tables
  method: str
  phase: str
  seed: int
  initial: str  # run folder whose last checkpoint it starts from; '' for none
  data: DataConfig
  model: ModelConfig
  training: TrainingConfig
  optimizer: OptimizerFields
  acting: ActingConfig
  evaluation: EvaluationConfig

  def to_dict(self) -> dict[str, Any]:
    """Plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @property
  def hash(self) -> str:
    """Identifies the configuration."""
    text = json.dumps(self.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_mapping(fields: Mapping[str, Any]) -> RunConfig:
  """Checks a config as `ml_collections` or JSON gives it and makes it typed.

  Raises:
    UserError: naming EVERY unknown, missing, mistyped or impossible field, with
      the closest known name, on one line.
  """
  problems: list[str] = []
  config = _build(RunConfig, fields, '', problems)
  if not problems:
    problems += _impossible(config)
  if problems:
    raise UserError('the config has errors: ' + '; '.join(problems))
  return config


def _build(kind, fields, prefix, problems):
  """Builds a (nested) dataclass, collecting what does not fit."""
  hints = typing.get_type_hints(kind)
  if not isinstance(fields, Mapping) and not hasattr(fields, 'items'):
    problems.append(f"{prefix[:-1]}: expected a section, found '{fields}'")
    return None
  fields = dict(fields.items())
  for name in fields:
    if name not in hints:
      problems.append(f'{prefix}{name}: unknown field{did_you_mean(name, hints)}')
  values = {}
  for name, hint in hints.items():
    if name not in fields:
      problems.append(f'{prefix}{name}: missing')
    elif dataclasses.is_dataclass(hint):
      values[name] = _build(hint, fields[name], f'{prefix}{name}.', problems)
    else:
      values[name] = _cast(fields[name], hint, f'{prefix}{name}', problems)
  return kind(**values) if len(values) == len(hints) else None


def _cast(value, hint, place, problems):
  """The value in its field's type; whole numbers may stand for floats."""
  if hint == float | None:
    if value is None:
      return None
    hint = float
  if typing.get_origin(hint) is tuple:
    kind = typing.get_args(hint)[0]
    kinds = (float, int) if kind is float else (kind,)
    if isinstance(value, (tuple, list)) and all(type(v) in kinds for v in value):
      return tuple(kind(v) for v in value)
  elif hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  elif type(value) is hint:
    return value
  name = getattr(hint, '__name__', str(hint))
  problems.append(f'{place}: expected {name}, found {value!r}')
  return value


class _Findings(list):
  """What is wrong with a config, field by field."""

  def need(self, condition: bool, place: str, text: str) -> None:
    """Notes `text` unless the condition holds."""
    if not condition:
      self.append(f'{place}: {text}')

  def one_of(self, value: str, known, place: str) -> None:
    """Notes a name that is not among the known ones."""
    self.need(
      value in known, place, f"'{value}' is not known{did_you_mean(value, known)}"
    )


def _impossible(config: RunConfig) -> list[str]:
  """What is well-typed and still cannot be."""
  found = _Findings()
  _check_names(config, found)
  _check_bounds(config, found)
  _check_combinations(config, found)
  return found


def _check_names(config: RunConfig, found: _Findings) -> None:
  """Settings that are one of a few words."""
  found.one_of(config.method, methods.METHODS, 'method')
  if config.method in methods.METHODS:
    phases = methods.METHODS[config.method].phases
    found.one_of(config.phase, phases, f'phase (of method {config.method})')
  for value, known, place in (
    (config.training.relabelling, relabel.MODES, 'training.relabelling'),
    (
      config.training.loss_normalisation,
      ('token', 'notebook'),
      'training.loss_normalisation',
    ),
    (config.optimizer.name, optimizer.NAMES, 'optimizer.name'),
    (config.optimizer.schedule, optimizer.SCHEDULES, 'optimizer.schedule'),
    (config.model.dtype, ('float32', 'bfloat16'), 'model.dtype'),
    (config.model.idm_form, inverse_dynamics.FORMS, 'model.idm_form'),
    (config.acting.illegal, ILLEGAL, 'acting.illegal'),
    (config.acting.padding, PADDING, 'acting.padding'),
  ):
    found.one_of(value, known, place)


# Fields that only make sense from a bound on, by what they are told.
_BOUNDS = {
  'at least 1': (
    lambda value: value > 0,
    'training.num_steps training.batch_size training.keep_checkpoints model.width '
    'model.num_layers model.patch_size evaluation.num_transitions '
    'evaluation.num_episodes evaluation.max_steps data.labels '
    'acting.num_return_samples',
  ),
  '0 or more': (
    lambda value: value >= 0,
    'seed training.log_every training.evaluate_every training.checkpoint_every '
    'training.shift data.segment_length data.pool_policy_weight '
    'optimizer.warmup_steps optimizer.weight_decay evaluation.max_noops',
  ),
  'more than 0': (
    lambda value: value > 0,
    'optimizer.learning_rate optimizer.clip acting.inverse_temperature '
    'acting.action_temperature',
  ),
  '0 to below 1': (
    lambda value: 0 <= value < 1,
    'model.dropout data.heldout_share evaluation.sticky_actions',
  ),
  'between 0 and 1, without either': (
    lambda value: 0 < value < 1,
    'data.labelled_share',
  ),
  '0 to below 100': (lambda value: 0 <= value < 100, 'acting.action_percentile'),
}


def _check_bounds(config: RunConfig, found: _Findings) -> None:
  for expected, (holds_fn, places) in _BOUNDS.items():
    for place in places.split():
      value = operator.attrgetter(place)(config)
      found.need(holds_fn(value), place, f'expected {expected}, found {value}')


def _check_combinations(config: RunConfig, found: _Findings) -> None:
  """Settings that contradict each other."""
  data, model = config.data, config.model
  if config.method in methods.METHODS:
    method = methods.METHODS[config.method]
    wants = method.uses_sources and config.phase != 'finetune'
    found.need(
      bool(data.sources) == wants,
      'data.sources',
      f'method {config.method} in phase {config.phase} takes '
      f'{"at least one source" if wants else "none"}, found {data.sources}',
    )
    found.need(
      bool(config.initial) or config.phase != 'finetune' or not method.is_pretrained,
      'initial',
      f'method {config.method} is finetuned from a pretraining run: give bin/finetune '
      'its folder as --from',
    )
    found.need(
      method.is_pretrained or not config.initial,
      'initial',
      f'method {config.method} starts from nothing, found {config.initial}',
    )
  found.need(
    config.phase == 'finetune' or not config.initial,
    'initial',
    f'only phase finetune starts from another run, this is {config.phase}',
  )
  found.need(
    data.reward_lead in (-1, 0, 1),
    'data.reward_lead',
    f'expected 0, 1, or -1 for what the screens say, found {data.reward_lead}',
  )
  found.need(
    len(data.environments) in (0, 1 + len(data.sources)),
    'data.environments',
    f'expected none or one for each dataset, found {data.environments}',
  )
  found.need(
    len(data.weights) in (0, 1 + len(data.sources))
    and all(w > 0 for w in data.weights),
    'data.weights',
    'expected none, or one above 0 for the target and each source, found '
    f'{data.weights}',
  )
  found.need(
    model.num_heads > 0 and model.width % model.num_heads == 0,
    'model.num_heads',
    f'expected a divisor of model.width {model.width}, found {model.num_heads}',
  )
  found.need(
    0 < model.context < model.num_transitions,
    'model.context',
    f'expected 1 to model.num_transitions - 1, found {model.context}',
  )


def claim_workdir(workdir: pathlib.Path, config: RunConfig) -> None:
  """Makes a folder this run's own, or finds that it already is.

  Raises:
    UserError: another run's config lies there; every differing key is named.
  """
  path = workdir / 'config.json'
  mine = config.to_dict()
  if path.is_file():
    theirs = read_record(path)
    flat_mine, flat_theirs = _flatten(mine), _flatten(theirs)
    keys = [
      f'{key} (there {flat_theirs.get(key)!r}, now {flat_mine.get(key)!r})'
      for key in sorted({*flat_mine, *flat_theirs})
      if flat_mine.get(key) != flat_theirs.get(key)
    ]
    if keys:
      raise UserError(
        f'{workdir}: holds another run; it differs in {", ".join(keys)}. Choose '
        'another --workdir, or remove this one.'
      )
    return
  workdir.mkdir(parents=True, exist_ok=True)
  write_record(path, mine)


def read_config(workdir: pathlib.Path) -> RunConfig:
  """The config of a run folder."""
  path = workdir / 'config.json'
  if not path.is_file():
    raise UserError(f'{workdir}: not a run folder, config.json is missing.')
  try:
    return from_mapping(read_record(path))
  except UserError as error:
    raise UserError(f'{path}: not a config of this version: {error}') from error


def _flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      flat |= _flatten(value, f'{prefix}{key}.')
    else:
      flat[f'{prefix}{key}'] = value
  return flat
