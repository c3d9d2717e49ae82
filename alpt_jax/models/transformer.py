"""The one transformer that both models run on; only the mask tells them apart."""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Large and finite: a row whose keys are all masked gives a uniform average that
# nobody reads, where minus infinity would give NaN and poison its gradient.
_MASKED = -1e30


class Attention(nn.Module):
  """Multi-head attention with an explicit mask.

  Attributes:
    num_heads: heads of width D / num_heads.
    init_scale: variance scale of the four projections.
    dtype: of the computation; parameters stay float32, softmax in float32.
  """

  num_heads: int
  init_scale: float
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens, mask):
    """`tokens [B, N, D]`, `mask [B or 1, N, N]` bool, True = may see -> [B, N, D].

    Three projections, not a fused one: the split cost 20 % on a CPU.
    """
    width = tokens.shape[-1]
    split = (*tokens.shape[:-1], self.num_heads, width // self.num_heads)

    def project(name):
      return nn.Dense(
        width,
        kernel_init=_scaled_init(self.init_scale),
        dtype=self.dtype,
        name=name,
      )

    query, key, value = (
      project(name)(tokens).reshape(split) for name in ('query', 'key', 'value')
    )
    scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / jnp.sqrt(split[-1])
    scores = jnp.where(mask[:, None], scores.astype(jnp.float32), _MASKED)
    weights = jax.nn.softmax(scores).astype(self.dtype)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, value).reshape(tokens.shape)
    return project('linear')(mixed)


class Transformer(nn.Module):
  """Pre-LayerNorm GPT-2 blocks and a final LayerNorm, as Lee et al. (2022) have it.

  Attributes:
    num_layers: number of blocks.
    num_heads: per block.
    dropout: rate on the output of attention and of the MLP, nowhere else.
    dtype: of the computation; parameters and LayerNorms stay float32.
  """

  num_layers: int
  num_heads: int
  dropout: float = 0.0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens, mask, deterministic: bool):
    """`tokens [B, N, D]`, `mask [B or 1, N, N]` bool -> `[B, N, D]` float32."""
    scale = 2.0 / self.num_layers
    width = tokens.shape[-1]
    for layer in range(self.num_layers):
      normed = _norm(f'h{layer}_ln_1')(tokens)
      attention = Attention(self.num_heads, scale, self.dtype, name=f'h{layer}_attn')
      update = attention(normed, mask)
      tokens += nn.Dropout(self.dropout)(update, deterministic)
      hidden = nn.Dense(
        4 * width,
        kernel_init=_scaled_init(scale),
        dtype=self.dtype,
        name=f'h{layer}_mlp_in',
      )(_norm(f'h{layer}_ln_2')(tokens))
      update = nn.Dense(
        width,
        kernel_init=_scaled_init(scale),
        dtype=self.dtype,
        name=f'h{layer}_mlp_out',
      )(jax.nn.gelu(hidden, approximate=True))
      tokens += nn.Dropout(self.dropout)(update, deterministic)
    return _norm('ln_f')(tokens)


def _scaled_init(scale: float):
  return nn.initializers.variance_scaling(scale, 'fan_in', 'truncated_normal')


def _norm(name: str) -> nn.LayerNorm:
  # The plain two-pass variance, as the notebook computes it.
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
