"""The inverse dynamics model: which actions led from each observation to the next."""

import flax.linen as nn
import jax.numpy as jnp

from alpt_jax.models import embedding
from alpt_jax.models.transformer import Transformer
from alpt_jax.specs import ObservationSpec


class InverseDynamics(nn.Module):
  """P(a_t .. a_{t+k-1} | s_t .. s_{t+k}), equation 4 of the paper, k = T.

  Its input is the T + 1 observations of a window and NOTHING else: "the same
  model with a mask of ones" (Appendix B), taken literally, would show it the
  actions it predicts. Each transition has a read-out slot, a token without
  content but its place (ours):

    o_0 patches | o_1 patches | ... | o_T patches | slot_0 ... slot_{T-1}

  Every token sees every token that is not padding; logits[t] are read at slot t.

  Attributes:
    num_actions: A.
    observation_spec: the form of the observations.
    num_transitions: T (k in the paper: 5).
    width, num_layers, num_heads, dropout: the transformer's (Table 3).
    patch_size: for images.
    dtype: of the computation.
  """

  num_actions: int
  observation_spec: ObservationSpec
  num_transitions: int = 5
  width: int = 512
  num_layers: int = 6
  num_heads: int = 8
  dropout: float = 0.1
  patch_size: int = 14
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, observations, valid, deterministic: bool = True):
    """Scores of every action for every transition.

    Args:
      observations: `[B, T + 1, ...]`.
      valid: `[B, T]` bool, False on padding; a padded transition's observation
        is seen by no token and its logits mean nothing.
      deterministic: False applies dropout with the 'dropout' random key.

    Returns:
      `[B, T, A]` float32 logits over the whole joint vocabulary.
    """
    batch, num_slots = valid.shape
    frames = embedding.ObservationEmbedding(
      self.observation_spec, self.width, self.patch_size, self.dtype, name='observation'
    )(observations)
    per_frame = frames.shape[2]
    slots = jnp.zeros((batch, num_slots, self.width), frames.dtype)
    tokens = jnp.concatenate([frames.reshape(batch, -1, self.width), slots], axis=1)
    tokens += embedding.position_embedding(self, tokens.shape[1], self.width)
    seen = jnp.concatenate([valid, jnp.ones((batch, 1), bool)], axis=1)
    seen = jnp.concatenate([jnp.repeat(seen, per_frame, axis=1), valid], axis=1)
    tokens = Transformer(
      self.num_layers, self.num_heads, self.dropout, self.dtype, name='sequence'
    )(tokens, seen[:, None, :], deterministic)
    return nn.Dense(self.num_actions, name='act_linear')(tokens[:, -num_slots:])
