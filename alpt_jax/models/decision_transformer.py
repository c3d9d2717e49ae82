"""The Multi-Game Decision Transformer (Lee et al., 2022): the policy."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from alpt_jax import returns
from alpt_jax.models import embedding
from alpt_jax.models.transformer import Transformer
from alpt_jax.specs import ObservationSpec

# Behind the observation's patches, each transition has three more tokens.
_RETURN, _ACTION, _REWARD = range(3)
_EXTRA = 3


class Predictions(NamedTuple):
  """Logits for every transition of a context of C transitions."""

  returns: jax.Array  # [B, C, R], from what is seen up to the observation
  actions: jax.Array  # [B, C, A], from that and the return
  rewards: jax.Array  # [B, C, 4], from that and the action


def first_valid(valid):
  """`[B, C]` bool: True at the first transition of each context, the unpadded one.

  The only one whose return the model is given (`single_return_token`).
  """
  return valid & (valid.cumsum(1) == 1)


class DecisionTransformer(nn.Module):
  """Models returns, actions and rewards in turn, each from all that came before.

  Each transition of the context is P + 3 tokens, P patches of its observation:

    o_0 patches | R_0 | a_0 | r_0 | o_1 patches | R_1 | a_1 | r_1 | ...
            |      |     |                  |
         return  action reward          (return logits are read at the last patch,
                                         action logits at R, reward logits at a)

  A token sees all earlier tokens, and the patches of a frame see each other. The
  returns after the first transition are hidden as keys and emptied, their places
  still ask (the notebook's `single_return_token`); padding is hidden.

  Attributes:
    num_actions: A.
    return_range: (low, high); R = high - low return tokens.
    observation_spec: the form of the observations.
    context: C, transitions per context (Lee et al.: 4).
    width, num_layers, num_heads, dropout: the transformer's (Table 3).
    patch_size: for images.
    dtype: of the computation.
  """

  num_actions: int
  return_range: tuple[int, int]
  observation_spec: ObservationSpec
  context: int = 4
  width: int = 512
  num_layers: int = 6
  num_heads: int = 8
  dropout: float = 0.1
  patch_size: int = 14
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    low, high = self.return_range
    self.observation = embedding.ObservationEmbedding(
      self.observation_spec, self.width, self.patch_size, self.dtype
    )
    self.return_emb = embedding.token_embedding(
      high - low, self.width, self.dtype, None
    )
    self.action_emb = embedding.ActionEmbedding(
      self.num_actions, self.width, self.dtype
    )
    self.reward_emb = embedding.token_embedding(
      returns.NUM_REWARD_TOKENS, self.width, self.dtype, None
    )
    self.positions = embedding.position_embedding(
      self, self.context * self._stride, self.width
    )
    self.sequence = Transformer(
      self.num_layers, self.num_heads, self.dropout, self.dtype
    )
    self.ret_linear = nn.Dense(high - low)
    self.act_linear = nn.Dense(self.num_actions)
    self.rew_linear = nn.Dense(returns.NUM_REWARD_TOKENS)

  @property
  def _patches(self) -> int:
    return embedding.num_observation_tokens(self.observation_spec, self.patch_size)

  @property
  def _stride(self) -> int:
    """Tokens per transition."""
    return self._patches + _EXTRA

  def __call__(
    self,
    observations,
    return_tokens,
    actions,
    is_known,
    reward_tokens,
    valid,
    deterministic: bool = True,
  ) -> Predictions:
    """Predictions for every transition of the context.

    Args:
      observations: `[B, C, ...]`, those that the transitions start from.
      return_tokens: `[B, C]` int32; read only at the first valid transition.
      actions: `[B, C]` int32; read only where `is_known`.
      is_known: `[B, C]` bool, False where the action is missing.
      reward_tokens: `[B, C]` int32.
      valid: `[B, C]` bool, False on padding.
      deterministic: False applies dropout with the 'dropout' random key.
    """
    batch, context = valid.shape
    first = first_valid(valid)
    frames = self.observation(observations)
    extra = jnp.stack(
      [
        self.return_emb(return_tokens),
        self.action_emb(actions, is_known),
        self.reward_emb(reward_tokens),
      ],
      axis=2,
    )
    tokens = jnp.concatenate([frames, extra], axis=2)
    tokens = tokens.reshape(batch, context * self._stride, self.width)
    tokens += self.positions
    # Emptied with their place: the notebook masks after it has added positions.
    tokens *= self._is_filled(first)[..., None]
    tokens = self.sequence(tokens, self._mask(first, valid), deterministic)
    tokens = tokens.reshape(batch, context, self._stride, self.width)
    last_patch = self._patches - 1
    return Predictions(
      returns=self.ret_linear(tokens[:, :, last_patch]),
      actions=self.act_linear(tokens[:, :, self._patches + _RETURN]),
      rewards=self.rew_linear(tokens[:, :, self._patches + _ACTION]),
    )

  def first_return(self, observations, valid):
    """`[B, R]` return logits of the first valid transition, at a fraction of the cost.

    Exactly `__call__(...).returns` there: the patches of the first frame see
    nothing but each other, so no other token is computed.

    Args:
      observations: `[B, C, ...]`.
      valid: `[B, C]` bool, at least one True per row.
    """
    place = valid.argmax(1)
    index = place.reshape(-1, *[1] * (observations.ndim - 1))
    frame = jnp.take_along_axis(observations, index, axis=1)
    tokens = self.observation(frame)[:, 0]
    within = place[:, None] * self._stride + jnp.arange(self._patches)
    tokens += self.positions[within]
    mask = jnp.ones((1, self._patches, self._patches), bool)
    return self.ret_linear(self.sequence(tokens, mask, True)[:, -1])

  def _is_filled(self, first):
    """`[B, N]` bool: False for every return but the first."""
    place = jnp.arange(self.context * self._stride)
    is_return = place % self._stride == self._patches + _RETURN
    return ~is_return | first[:, place // self._stride]

  def _mask(self, first, valid):
    """`[B, N, N]` bool: who sees whom."""
    place = jnp.arange(self.context * self._stride)
    step, kind = place // self._stride, place % self._stride
    is_patch = kind < self._patches
    causal = place[:, None] >= place[None, :]
    same_frame = (
      (step[:, None] == step[None, :]) & is_patch[:, None] & is_patch[None, :]
    )
    shown = valid[:, step] & self._is_filled(first)
    return (causal | same_frame)[None] & shown[:, None, :]
