"""How a decision transformer chooses: an optimistic return, then an action.

Lee et al. (2022), section 3.2 of the paper. A model that sees no returns (behaviour
cloning) chooses an action at once. Sampling is keyed by (evaluation seed, episode,
step), so an action does not depend on which other episodes stand in the batch.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from alpt_jax import returns
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.types import Array, Decision

# What becomes of the joint actions that an environment does not accept.
ILLEGAL = ('mask', 'noop')
# What stands before an episode's first transition.
PADDING = ('masked', 'notebook')


@dataclasses.dataclass(frozen=True)
class ActingConfig:
  """The choices of the acting protocol, with Lee et al.'s values as defaults.

  Attributes:
    kappa: optimism: kappa * (R - low) / (high - low) is added to the return
      logits before sampling (10 in their paper, 0 in their notebook).
    inverse_temperature: of the return logits (0.75).
    num_return_samples: the largest of so many samples is used (128).
    action_percentile: of the allowed actions' logits only those above this
      percentile stay (50); at 0 all of them.
    action_temperature: of the sampling among those (1).
    target_return: None for the optimistic return; a number asks for that return
      over the episode, less what has been received (ours).
    illegal: what becomes of actions that the environment does not accept: 'mask'
      takes them out before the percentile (ours); 'noop' chooses among all, as Lee
      et al. do, and whoever steps the environment plays NOOP in place of one that
      it does not accept. 'noop' needs an environment with a NOOP.
    padding: what stands before an episode's first transition: 'masked' is nothing,
      as in training; 'notebook' is frames of zeros with the known action 0 and no
      reward, which the model sees, as converted parameters of Lee et al. expect.
      Whoever builds the `History` sees to it.
  """

  kappa: float = 10.0
  inverse_temperature: float = 0.75
  num_return_samples: int = 128
  action_percentile: float = 50.0
  action_temperature: float = 1.0
  target_return: float | None = None
  illegal: str = 'mask'
  padding: str = 'masked'


class History(NamedTuple):
  """The last C transitions of each of B episodes, as the policy sees them.

  Fresh episodes are padded on the left, as windows are. The last transition is
  the one to be decided: its action is unknown and its reward token 0.
  """

  observations: Array  # [B, C, ...]
  actions: Array  # [B, C] int32, joint vocabulary
  is_known: Array  # [B, C] bool
  reward_tokens: Array  # [B, C] int32
  returns_to_go: Array  # [B, C] float32, read only with a target return
  valid: Array  # [B, C] bool
  allowed: Array  # [B, A] bool


@functools.cache
def make_decide(model: DecisionTransformer, config: ActingConfig):
  """Returns the jitted `decide(params, history, keys, greedy) -> Decision`.

  `keys` is `[B]` random keys; `greedy [B]` bool takes the likeliest action
  instead of a sample. One call decides for all environments.
  """
  return jax.jit(functools.partial(decide, model, config))


def decide(model, config: ActingConfig, params, history: History, keys, greedy):
  """One decision for every episode of a batch; see `make_decide`."""
  keys = jax.vmap(jax.random.split)(keys)
  if model.sees_returns:
    tokens, logits = _told_a_return(model, config, params, history, keys[:, 0])
    wanted = returns.dequantise(tokens, model.return_range[0])
  else:
    wanted, logits = None, _told_no_return(model, params, history)
  action = choose_action(logits, history.allowed, keys[:, 1], greedy, config)
  return Decision(action, wanted)


def _told_a_return(model, config: ActingConfig, params, history: History, keys):
  """`([B] return tokens, [B, A] action logits)`: first the return, then the action."""
  low, high = model.return_range
  prefix = model.apply(
    {'params': params},
    history.observations,
    history.valid,
    method=DecisionTransformer.prefix,
  )
  if config.target_return is None:
    tokens = optimistic_return(prefix.return_logits, keys, config)
  else:
    first = history.valid.argmax(1)[:, None]
    wanted = jnp.take_along_axis(history.returns_to_go, first, 1)[:, 0]
    tokens = returns.quantise(wanted, low, high)
  logits = model.apply(
    {'params': params},
    prefix,
    history.observations,
    tokens,
    history.actions,
    history.is_known,
    history.reward_tokens,
    history.valid,
    method=DecisionTransformer.action_logits,
  )
  return tokens, logits


def _told_no_return(model, params, history: History):
  """`[B, A]` action logits of one pass, where no return is chosen before it."""
  predictions = model.apply(
    {'params': params},
    history.observations,
    jnp.zeros_like(history.actions),  # return tokens, which it does not read
    history.actions,
    history.is_known,
    history.reward_tokens,
    history.valid,
  )
  return predictions.actions[:, -1]


def optimistic_return(logits, keys, config: ActingConfig):
  """`[B, R]` return logits -> `[B]` return tokens: the largest of many samples."""
  num_returns = logits.shape[-1]
  optimism = jnp.arange(num_returns) / max(num_returns - 1, 1)
  tilted = config.inverse_temperature * (logits + config.kappa * optimism)

  def sample(key, row):
    return jax.random.categorical(key, row, shape=(config.num_return_samples,)).max()

  return jax.vmap(sample)(keys, tilted).astype(jnp.int32)


def choose_action(logits, allowed, keys, greedy, config: ActingConfig):
  """`[B, A]` action logits -> `[B]` int32 actions, never one that is not allowed.

  Actions that the environment does not accept are taken out BEFORE the
  percentile, which is over the remaining ones. With `config.illegal` 'noop' they
  are not taken out, and may be what is returned.
  """
  if config.illegal == 'noop':
    allowed = jnp.ones_like(allowed)
  logits = jnp.where(allowed, logits.astype(jnp.float32), jnp.nan)
  kept = allowed
  if config.action_percentile:
    threshold = jnp.nanpercentile(logits, config.action_percentile, axis=-1)
    # Where several share the top score the threshold may equal it: keep those. (The
    # float just below the top is no threshold: below 0 it is flushed to 0.)
    top = jnp.nanmax(logits, axis=-1)
    kept &= (logits > threshold[:, None]) | (logits == top[:, None])
  logits = jnp.where(kept, logits / config.action_temperature, -jnp.inf)
  sampled = jax.vmap(jax.random.categorical)(keys, logits)
  return jnp.where(greedy, logits.argmax(-1), sampled).astype(jnp.int32)
