"""The one transformer that both models run on; only the mask tells them apart."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Large and finite: a row whose keys are all masked gives a uniform average that
# nobody reads, where minus infinity would give NaN and poison its gradient.
_MASKED = -1e30

# What later tokens need of earlier ones: keys and values of each layer, each
# `[B, N, H, D / H]`.
Kept = tuple[tuple[jax.Array, jax.Array], ...]


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
  def __call__(self, queries, tokens, mask, kept=None):
    """What each query reads from the tokens, and the tokens' keys and values.

    Three projections, not a fused one: the split cost 20 % on a CPU.

    Args:
      queries: `[B, Q, D]`.
      tokens: `[B, N, D]`.
      mask: `[B or 1, Q or 1, N]` bool, True = may see; `M + N` wide with `kept`.
      kept: keys and values of M further tokens, which stand in front.

    Returns:
      `[B, Q, D]`, and the keys and values of `tokens`, `[B, N, H, D / H]` each.
    """
    width = tokens.shape[-1]

    def project(name):
      return nn.Dense(
        width,
        kernel_init=_scaled_init(self.init_scale),
        dtype=self.dtype,
        name=name,
      )

    def heads(name, inputs):
      split = (*inputs.shape[:-1], self.num_heads, width // self.num_heads)
      return project(name)(inputs).reshape(split)

    query = heads('query', queries)
    new = key, value = heads('key', tokens), heads('value', tokens)
    if kept is not None:
      key, value = (jnp.concatenate(pair, 1) for pair in zip(kept, new, strict=True))
    scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / jnp.sqrt(query.shape[-1])
    scores = jnp.where(mask[:, None], scores.astype(jnp.float32), _MASKED)
    weights = jax.nn.softmax(scores).astype(self.dtype)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, value).reshape(queries.shape)
    return project('linear')(mixed), new


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

  def __call__(self, tokens, mask, deterministic: bool):
    """`tokens [B, N, D]`, `mask [B or 1, N or 1, N]` bool -> `[B, N, D]` float32."""
    return self.extend(tokens, mask, deterministic=deterministic)[0]

  @nn.compact
  def extend(
    self,
    tokens,
    mask,
    kept: Kept | None = None,
    rows: Sequence[int] | None = None,
    deterministic: bool = True,
  ) -> tuple[jax.Array, Kept]:
    """Runs tokens that may stand behind others whose keys and values were kept.

    The result is that of running all of them, as long as no token in front may see
    one behind it.

    Args:
      tokens: `[B, N, D]`.
      mask: `[B or 1, N or 1, M + N]` bool, the M tokens in front first.
      kept: what `extend` gave for those; None: there are none.
      rows: places among the N whose result is wanted, None: all. The last layer is
        computed only there, and for the others only their keys and values.
      deterministic: False applies dropout.

    Returns:
      `[B, N or len(rows), D]` float32, and what to keep of the N tokens.
    """
    new = []
    for layer in range(self.num_layers):
      normed = queries = _norm(f'h{layer}_ln_1')(tokens)
      if rows is not None and layer == self.num_layers - 1:
        rows = np.asarray(rows)
        tokens, queries = tokens[:, rows], queries[:, rows]
        mask = mask if mask.shape[1] == 1 else mask[:, rows]
      attention = Attention(
        self.num_heads, self._scale, self.dtype, name=f'h{layer}_attn'
      )
      update, keys_values = attention(
        queries, normed, mask, None if kept is None else kept[layer]
      )
      new.append(keys_values)
      tokens += nn.Dropout(self.dropout)(update, deterministic)
      update = self._mlp(_norm(f'h{layer}_ln_2')(tokens), f'h{layer}_mlp')
      tokens += nn.Dropout(self.dropout)(update, deterministic)
    return _norm('ln_f')(tokens), tuple(new)

  @property
  def _scale(self) -> float:
    return 2.0 / self.num_layers

  def _mlp(self, tokens, name: str):
    """`[B, N, D]` -> `[B, N, D]`, part of `extend`: it names the parameters."""
    width = tokens.shape[-1]

    def project(outputs, part):
      return nn.Dense(
        outputs,
        kernel_init=_scaled_init(self._scale),
        dtype=self.dtype,
        name=f'{name}_{part}',
      )

    return project(width, 'out')(
      jax.nn.gelu(project(4 * width, 'in')(tokens), approximate=True)
    )


def _scaled_init(scale: float):
  return nn.initializers.variance_scaling(scale, 'fan_in', 'truncated_normal')


def _norm(name: str) -> nn.LayerNorm:
  # The plain two-pass variance, as the notebook computes it.
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
