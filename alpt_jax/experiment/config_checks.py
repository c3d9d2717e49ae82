"""What a well-typed config can still have wrong, each by the name of its field."""

import operator

from alpt_jax import methods, relabel
from alpt_jax.acting.policy import ILLEGAL, PADDING
from alpt_jax.errors import did_you_mean
from alpt_jax.models import inverse_dynamics
from alpt_jax.training import optimizer


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


def impossible(config) -> list[str]:
  """What is wrong with a `RunConfig` whose fields have the right types."""
  found = _Findings()
  _check_names(config, found)
  _check_bounds(config, found)
  _check_combinations(config, found)
  return found


def _check_names(config, found: _Findings) -> None:
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
    'evaluation.num_episodes evaluation.max_steps acting.num_return_samples '
    'cql.num_frames cql.num_quantiles cql.width cql.num_layers cql.target_period '
    'execution.fsdp execution.microbatches',
  ),
  '0 or more': (
    lambda value: value >= 0,
    'seed training.log_every training.evaluate_every training.checkpoint_every '
    'training.shift data.labels data.segment_length data.pool_policy_weight '
    'optimizer.warmup_steps optimizer.weight_decay evaluation.max_noops cql.alpha',
  ),
  'more than 0': (
    lambda value: value > 0,
    'optimizer.learning_rate optimizer.clip acting.inverse_temperature '
    'acting.action_temperature cql.huber cql.learning_rate cql.adam_epsilon',
  ),
  '0 to below 1': (
    lambda value: 0 <= value < 1,
    'model.dropout data.heldout_share data.audit_share evaluation.sticky_actions '
    'training.confidence_threshold cql.gamma cql.epsilon',
  ),
  'between 0 and 1, without either': (
    lambda value: 0 < value < 1,
    'data.labelled_share',
  ),
  '0 to below 100': (lambda value: 0 <= value < 100, 'acting.action_percentile'),
}


def _check_bounds(config, found: _Findings) -> None:
  for expected, (holds_fn, places) in _BOUNDS.items():
    for place in places.split():
      value = operator.attrgetter(place)(config)
      found.need(holds_fn(value), place, f'expected {expected}, found {value}')


def _check_combinations(config, found: _Findings) -> None:
  """Settings that contradict each other."""
  data, model = config.data, config.model
  if config.method in methods.METHODS:
    method = methods.METHODS[config.method]
    wants = 'source' in method.phases.get(config.phase, ())
    found.need(
      bool(data.sources) == wants,
      'data.sources',
      f'method {config.method} in phase {config.phase} takes '
      f'{"at least one source" if wants else "none"}, found {data.sources}'
      + (
        '; dt1-idm is the method without' if wants and config.phase == 'joint' else ''
      ),
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
      method.sees_returns or config.acting.target_return is None,
      'acting.target_return',
      f'method {config.method} sees no returns, found {config.acting.target_return}',
    )
    found.need(
      not method.is_q_learning or config.execution.microbatches == 1,
      'execution.microbatches',
      f'method {config.method} computes its batch at once, expected 1, found '
      f'{config.execution.microbatches}',
    )
    found.need(
      not method.is_q_learning or config.cql.num_frames <= model.num_transitions,
      'cql.num_frames',
      f'expected at most model.num_transitions {model.num_transitions}, found '
      f'{config.cql.num_frames}',
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
    data.labelled_share <= 0 or data.pool_policy_weight < 1 / data.labelled_share,
    'data.pool_policy_weight',
    'expected less than 1 / data.labelled_share, where nothing is left for the other '
    f'rows of the target, found {data.pool_policy_weight}',
  )
  batch_size, microbatches = config.training.batch_size, config.execution.microbatches
  found.need(
    microbatches < 1 or batch_size % microbatches == 0,
    'execution.microbatches',
    f'expected a divisor of training.batch_size {batch_size}, found {microbatches}',
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
