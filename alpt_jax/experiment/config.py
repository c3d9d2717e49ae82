"""A run's configuration: the one schema that every file in `configs/` is held to.

The files in `configs/` are documents for people and import nothing of ours; this
is where their fields are checked, all of them, before anything is started.
"""

import dataclasses
import hashlib
import json
import pathlib
import typing
from collections.abc import Mapping
from typing import Any

from alpt_jax.acting.policy import ActingConfig
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment.config_checks import impossible
from alpt_jax.experiment.records import read_record, write_record
from alpt_jax.specs import Protocol


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which recorded datasets, and how much of the target's actions is known."""

  target: str  # dataset folder
  sources: tuple[str, ...]  # dataset folders, which show all actions that they have
  environments: tuple[str, ...]  # recorded in each, the target first; () if unknown
  observation: str  # form that they were recorded in; '' if unknown
  labels: int  # transitions of the target that keep their action; 0: all recorded
  segment_length: int  # labelled transitions in a row; 0: whole episodes
  heldout_share: float  # of the target's episodes, never trained on
  audit_share: float  # of the labels, to judge guesses by, if only some are recorded
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
  scan_layers: bool  # all layers but the last as one, compiled once


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """How long, how much at once, and when what is written."""

  num_steps: int
  batch_size: int
  relabelling: str
  confidence_weighting: bool
  confidence_threshold: float  # guesses below it stay unknown; 0: none
  loss_normalisation: str
  shift: int  # pixels by which the IDM's windows are shifted at random
  log_every: int
  evaluate_every: int
  checkpoint_every: int
  keep_checkpoints: int


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
  """How a step is spread over memory and devices.

  No part of a run's identity: the numbers differ by rounding alone, but for the draw
  of the dropout, which depends on `microbatches`. A run may go on with other values.
  """

  fsdp: int  # devices that share one copy of the train state
  microbatches: int  # equal parts of a batch, computed one after the other
  remat: bool  # compute activations again in the backward pass instead of keeping them


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
class CQLFields:
  """What method `cql` learns by and with (Appendix C); no other method reads it."""

  num_frames: int  # stacked observations that the Q-network sees
  num_quantiles: int  # of each action's return
  width: int  # of the dense layers
  num_layers: int  # dense ones
  alpha: float  # weight of the conservative term
  gamma: float  # discount per agent step
  huber: float  # kappa of the quantile loss
  learning_rate: float  # of Adam, constant
  adam_epsilon: float
  target_period: int  # updates between two copies of the target network
  epsilon: float  # share of random actions while it is scored


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
  target: str  # of the target environment, in tables
  method: str
  phase: str
  seed: int
  initial: str  # run folder whose last checkpoint it starts from; '' for none
  data: DataConfig
  model: ModelConfig
  training: TrainingConfig
  execution: ExecutionConfig
  optimizer: OptimizerFields
  cql: CQLFields
  acting: ActingConfig
  evaluation: EvaluationConfig

  def to_dict(self) -> dict[str, Any]:
    """Plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @property
  def hash(self) -> str:
    """Identifies the configuration, wherever it is executed."""
    text = json.dumps(_identifying(self.to_dict()), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Fields that came after version 0.1.0, with what a run was like without them.
_ADDED = {
  'data': {'audit_share': 0.2},
  'model': {'scan_layers': False},
  'training': {'confidence_threshold': 0.0},
  'execution': {'fsdp': 1, 'microbatches': 1, 'remat': False},
}


def from_record(fields: Mapping[str, Any]) -> RunConfig:
  """The config that a run folder or a checkpoint holds, one of an earlier version too.

  Raises:
    UserError: as `from_mapping`; a field that this version lacks is named.
  """
  return from_mapping(_with_added(fields))


def _with_added(fields: Mapping[str, Any]) -> dict[str, Any]:
  """A recorded config with the fields that its version did not have."""
  fields = dict(fields)
  for section, added in _ADDED.items():
    found = fields.get(section, {})
    fields[section] = {**added, **found} if isinstance(found, Mapping) else found
  return fields


def _identifying(fields: Mapping[str, Any]) -> dict[str, Any]:
  """What tells two runs apart: all but how they are executed."""
  return {name: value for name, value in fields.items() if name != 'execution'}


def from_mapping(fields: Mapping[str, Any]) -> RunConfig:
  """Checks a config as `ml_collections` or JSON gives it and makes it typed.

  Raises:
    UserError: naming EVERY unknown, missing, mistyped or impossible field, with
      the closest known name, on one line.
  """
  problems: list[str] = []
  config = _build(RunConfig, fields, '', problems)
  if not problems:
    problems += impossible(config)
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
  name = str(hint) if typing.get_origin(hint) else hint.__name__
  problems.append(f'{place}: expected {name}, found {value!r}')
  return value


def claim_workdir(workdir: pathlib.Path, config: RunConfig) -> None:
  """Makes a folder this run's own, or finds that it already is.

  Raises:
    UserError: another run's config lies there; every differing key is named.
  """
  path = workdir / 'config.json'
  mine = config.to_dict()
  if path.is_file():
    theirs = _with_added(read_record(path))
    flat_mine, flat_theirs = (
      _flatten(_identifying(mine)),
      _flatten(_identifying(theirs)),
    )
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
    return from_record(read_record(path))
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
