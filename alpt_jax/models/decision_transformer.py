"""The Multi-Game Decision Transformer (Lee et al., 2022): the policy."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax import returns
from alpt_jax.models import embedding
from alpt_jax.models.transformer import Kept, Transformer
from alpt_jax.specs import ObservationSpec

# Behind the observation's patches, each transition has three more tokens.
_RETURN, _ACTION, _REWARD = range(3)
_EXTRA = 3


class Predictions(NamedTuple):
  """Logits for every transition of a context of C transitions."""

  returns: jax.Array | None  # [B, C, R], from what is seen up to the observation
  actions: jax.Array  # [B, C, A], from that and the return, if it sees one
  rewards: jax.Array  # [B, C, 4], from that and the action


class Prefix(NamedTuple):
  """The first valid frame, read: what `action_logits` goes on from."""

  return_logits: jax.Array  # [B, R], of the first valid transition
  kept: Kept  # the keys and values of the frame's P patches


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

  With `sees_returns=False` the first return is hidden and emptied as well and none is
  predicted: behaviour cloning (ours). Actions are read at the same places, and rewards
  are seen and predicted as before.

  Attributes:
    num_actions: A.
    return_range: (low, high); R = high - low return tokens.
    observation_spec: the form of the observations.
    context: C, transitions per context (Lee et al.: 4).
    width, num_layers, num_heads, dropout: the transformer's (Table 3).
    patch_size: for images.
    dtype: of the computation.
    sees_returns: whether a return is shown and returns are predicted.
    scan_layers, remat: the transformer's, see there.
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
  sees_returns: bool = True
  scan_layers: bool = False
  remat: bool = False

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
      self.num_layers,
      self.num_heads,
      self.dropout,
      self.dtype,
      self.scan_layers,
      self.remat,
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
      return_tokens: `[B, C]` int32; read only at the first valid transition, and only
        if the model sees returns.
      actions: `[B, C]` int32; read only where `is_known`.
      is_known: `[B, C]` bool, False where the action is missing.
      reward_tokens: `[B, C]` int32.
      valid: `[B, C]` bool, False on padding.
      deterministic: False applies dropout with the 'dropout' random key.
    """
    batch, context = valid.shape
    shown = first_valid(valid) & self.sees_returns
    frames = self.observation(observations)
    extra = jnp.stack(
      [
        self._returns(return_tokens),
        self.action_emb(actions, is_known),
        self.reward_emb(reward_tokens),
      ],
      axis=2,
    )
    tokens = jnp.concatenate([frames, extra], axis=2)
    tokens = tokens.reshape(batch, context * self._stride, self.width)
    tokens += self.positions
    # Emptied with their place: the notebook masks after it has added positions.
    tokens *= self._is_filled(shown)[..., None]
    # The last reward comes after all that is predicted: nothing looks at it.
    tokens, mask = tokens[:, :-1], self._mask(shown, valid)[:, :-1, :-1]
    kinds = [self._patches - 1, self._patches + _RETURN, self._patches + _ACTION]
    starts = np.arange(context)[:, None] * self._stride
    read = (starts + kinds).ravel().tolist()
    tokens, _ = self.sequence.extend(tokens, mask, None, read, deterministic)
    tokens = tokens.reshape(batch, context, len(kinds), self.width)
    return Predictions(
      returns=self.ret_linear(tokens[:, :, 0]) if self.sees_returns else None,
      actions=self.act_linear(tokens[:, :, 1]),
      rewards=self.rew_linear(tokens[:, :, 2]),
    )

  def _returns(self, tokens):
    """`[B, C, D]` of `[B, C]` return tokens; nothing where none is seen."""
    if self.sees_returns:
      return self.return_emb(tokens)
    return jnp.zeros((*tokens.shape, self.width), self.dtype)

  def prefix(self, observations, valid) -> Prefix:
    """Reads the first valid frame, the part of a decision that needs no return.

    Only for a model that sees returns: another decides by `__call__` at once.

    Its `return_logits` are those of `__call__` there: the patches of the first frame
    see nothing but each other, so no other token is computed.

    Args:
      observations: `[B, C, ...]`.
      valid: `[B, C]` bool, padding on the left, at least one True per row.
    """
    first = valid.argmax(1)
    index = first.reshape(-1, *[1] * (observations.ndim - 1))
    frame = jnp.take_along_axis(observations, index, axis=1)
    tokens = self.observation(frame)[:, 0]
    places = first[:, None] * self._stride + jnp.arange(self._patches)
    tokens += self.positions[places]
    mask = jnp.ones((1, 1, self._patches), bool)
    last = self._patches - 1
    tokens, kept = self.sequence.extend(tokens, mask, rows=[last])
    return Prefix(self.ret_linear(tokens[:, 0]), kept)

  def action_logits(
    self,
    prefix: Prefix,
    observations,
    return_token,
    actions,
    is_known,
    reward_tokens,
    valid,
  ):
    """`[B, A]` action logits of the last transition, for acting.

    Those of `__call__`, at a fraction of the cost: the first valid frame comes from
    `prefix`, and tokens that the result does not depend on are left out, which are
    what follows the last return and the emptied returns but that one, which asks.
    (Ours; at 156 tokens with `prefix` .42 of the notebook's two passes.)

      P patches of each of frames 1 to C-1 | first return | C-1 actions |
      C-1 rewards | the last return's place

    A frame stands here for every transition but the first of the context, so one of
    them is the prefix again where there is padding: it is hidden.

    Args:
      prefix: of the same observations and `valid`.
      observations: `[B, C, ...]`.
      return_token: `[B]` int32, of the first valid transition.
      actions: `[B, C]` int32; read only where `is_known`, the last one never.
      is_known: `[B, C]` bool.
      reward_tokens: `[B, C]` int32, the last one is never read.
      valid: `[B, C]` bool, True at the last transition.
    """
    batch, context = valid.shape
    first = valid.argmax(1)[:, None]
    frames = self.observation(observations)[:, 1:]
    given = self.return_emb(return_token)[:, None]
    before = slice(0, context - 1)
    tokens = jnp.concatenate(
      [
        frames.reshape(batch, -1, self.width),
        given,
        self.action_emb(actions[:, before], is_known[:, before]),
        self.reward_emb(reward_tokens[:, before]),
        given,
      ],
      axis=1,
    )
    step, kind = self._continuation(first)
    place = step * self._stride + kind
    tokens += self.positions[place]
    # Emptied as in `__call__`, unless the last transition is also the first.
    asks = jnp.arange(tokens.shape[1]) == tokens.shape[1] - 1
    tokens *= ~(asks & (step != first))[..., None]
    shown = jnp.take_along_axis(valid, step, 1) & ~asks
    shown &= (kind >= self._patches) | (step != first)
    seen = _may_see(step, kind, self._patches) & shown[:, None, :]
    # Padding, which nothing else looks at, may see the prefix too.
    behind = jnp.ones((*seen.shape[:2], self._patches), bool)
    mask = jnp.concatenate([behind, seen], axis=2)
    last = tokens.shape[1] - 1
    tokens, _ = self.sequence.extend(tokens, mask, prefix.kept, rows=[last])
    return self.act_linear(tokens[:, 0])

  def _continuation(self, first):
    """`[B, N]` twice: transition and place therein of the tokens behind a prefix.

    `first [B, 1]` is the transition that the prefix belongs to.
    """
    patches = range(self._patches)
    last = self.context - 1
    layout = [(t, p) for t in range(1, last + 1) for p in patches]
    layout += [(-1, self._patches + _RETURN)]  # of the first transition
    layout += [(t, self._patches + _ACTION) for t in range(last)]
    layout += [(t, self._patches + _REWARD) for t in range(last)]
    layout += [(last, self._patches + _RETURN)]
    step, kind = np.array(layout).T
    step = jnp.where(step < 0, first, step)
    return step, jnp.broadcast_to(kind, step.shape)

  def _is_filled(self, shown):
    """`[B, N]` bool: False for every return but those `shown` (`[B, C]` bool)."""
    place = jnp.arange(self.context * self._stride)
    is_return = place % self._stride == self._patches + _RETURN
    return ~is_return | shown[:, place // self._stride]

  def _mask(self, shown, valid):
    """`[B, N, N]` bool: who sees whom; `shown` as in `_is_filled`."""
    place = jnp.arange(self.context * self._stride)[None]
    step, kind = place // self._stride, place % self._stride
    is_key = valid[:, step[0]] & self._is_filled(shown)
    return _may_see(step, kind, self._patches) & is_key[:, None, :]


def _may_see(step, kind, num_patches: int):
  """`[B or 1, N, N]` bool: may see whom, by transition and place therein."""
  earlier = step[:, :, None] > step[:, None, :]
  same = step[:, :, None] == step[:, None, :]
  is_patch = kind < num_patches
  before = kind[:, :, None] >= kind[:, None, :]
  both_patches = is_patch[:, :, None] & is_patch[:, None, :]
  return earlier | (same & (before | both_patches))
