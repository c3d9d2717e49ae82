"""LAMB or AdamW with warm-up, clipping and decay where it belongs."""

import dataclasses
import functools

import jax
import optax

from alpt_jax.models.layers import is_stacked

NAMES = ('lamb', 'adamw')
SCHEDULES = ('constant', 'cosine')
# As optax.lamb has it; the paper is silent.
_LAMB_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Table 3 of the paper, for one model; `num_steps` ends a cosine schedule.

  Attributes:
    name: 'lamb' (the paper) or 'adamw'.
    learning_rate: at the end of the warm-up.
    warmup_steps: linear from 0, so the first step of a warm-up changes nothing; 0
      for the full rate from the first step.
    schedule: after the warm-up: 'constant' (the paper) or 'cosine' down to 0.
    num_steps: of the whole run; read by 'cosine' only.
    weight_decay: on matrices; not on biases, norms and embeddings.
    clip: global gradient norm above which a model's gradients are scaled down.
    b1, b2: decay of the moments.
  """

  name: str
  learning_rate: float
  warmup_steps: int
  schedule: str
  num_steps: int
  weight_decay: float
  clip: float
  b1: float
  b2: float


def decays(params):
  """Tree of bool: True for the kernels of dense layers, the only decayed leaves."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key == 'kernel', params
  )


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
  """Builds the update rule of one model."""
  if config.schedule == 'cosine':
    learning_rate = optax.warmup_cosine_decay_schedule(
      0.0,
      config.learning_rate,
      config.warmup_steps,
      max(config.num_steps, config.warmup_steps + 1),
    )
  elif config.warmup_steps:
    learning_rate = optax.linear_schedule(
      0.0, config.learning_rate, config.warmup_steps
    )
  else:
    learning_rate = config.learning_rate
  rule = {'lamb': _lamb, 'adamw': optax.adamw}[config.name]
  return optax.chain(
    optax.clip_by_global_norm(config.clip),
    rule(
      learning_rate,
      b1=config.b1,
      b2=config.b2,
      weight_decay=config.weight_decay,
      mask=decays,
    ),
  )


def _lamb(learning_rate, *, b1, b2, weight_decay, mask):
  """`optax.lamb`, its trust ratio that of a layer also where layers are stacked."""
  return optax.chain(
    optax.scale_by_adam(b1=b1, b2=b2, eps=_LAMB_EPSILON),
    optax.add_decayed_weights(weight_decay, mask),
    _scale_by_trust_ratio(),
    optax.scale_by_learning_rate(learning_rate),
  )


def _scale_by_trust_ratio() -> optax.GradientTransformation:
  """The trust ratio of each leaf, or of each of the layers that one holds.

  Without this, one ratio over all layers would take the place of one for each.
  """
  rule = optax.scale_by_trust_ratio()

  def update(updates, state, params):
    def scale(path, change, param):
      own = functools.partial(_scaled, rule, state)
      return (jax.vmap(own) if is_stacked(path) else own)(change, param)

    return jax.tree_util.tree_map_with_path(scale, updates, params), state

  return optax.GradientTransformation(rule.init, update)


def _scaled(rule: optax.GradientTransformation, state, change, param):
  return rule.update(change, state, param)[0]
