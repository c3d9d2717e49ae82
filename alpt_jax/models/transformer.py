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
# `[B, N, H, D / H]`; the same in both layouts of the parameters.
Kept = tuple[tuple[jax.Array, jax.Array], ...]

# Where the parameters of all blocks but the last lie where layers are scanned.
STACKED = 'blocks'


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
    mixed = attend(query, key, value, mask).reshape(queries.shape)
    return project('linear')(mixed), new


def attend(query, key, value, mask):
  """`[B, Q, H, D / H]` of as many queries and keys, `[B, N, ...]`: softmax in float32.

  `mask` is `[B or 1, Q or 1, N]`, True = may see. Plain products: on a CPU nothing else
  is as fast (benchmark/attention.py measures what there is).
  """
  scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / jnp.sqrt(query.shape[-1])
  scores = jnp.where(mask[:, None], scores.astype(jnp.float32), _MASKED)
  weights = jax.nn.softmax(scores).astype(query.dtype)
  return jnp.einsum('bhqk,bkhd->bqhd', weights, value)


class Dropout(nn.Module):
  """`nn.Dropout`, the same draws, whose mask is made once and kept.

  Attributes:
    rate: share that becomes 0; the rest is scaled up. At 0 nothing is drawn.
  """

  rate: float

  @nn.compact
  def __call__(self, inputs):
    if not self.rate:
      return inputs
    kept = 1.0 - self.rate
    mask = jax.random.bernoulli(self.make_rng('dropout'), kept, inputs.shape)
    # Without the barrier a TPU's compiler puts the generator, hundreds of operations,
    # into whatever reads the mask, forward and backward.
    mask = jax.lax.optimization_barrier(mask)
    return jnp.where(mask, inputs / kept, 0)


class Block(nn.Module):
  """One pre-LayerNorm block: attention, then an MLP, each added to what came in.

  Attributes:
    num_heads, dropout, dtype: the transformer's.
    init_scale: variance scale of all its projections.
    deterministic: False applies dropout.
    prefix: of its parameters' names.
    rows: places among the N whose result is wanted, None: all.
  """

  num_heads: int
  dropout: float
  dtype: jnp.dtype
  init_scale: float
  deterministic: bool
  prefix: str = ''
  rows: tuple[int, ...] | None = None

  @nn.compact
  def __call__(self, tokens, mask, kept=None):
    """As `Transformer.extend`, for one layer: `kept` is its own, (keys, values)."""
    normed = queries = _norm(f'{self.prefix}ln_1')(tokens)
    if self.rows is not None:
      rows = np.asarray(self.rows)
      tokens, queries = tokens[:, rows], queries[:, rows]
      mask = mask if mask.shape[1] == 1 else mask[:, rows]
    attention = Attention(
      self.num_heads, self.init_scale, self.dtype, name=f'{self.prefix}attn'
    )
    update, new = attention(queries, normed, mask, kept)
    tokens += self._dropout('drop_1')(update)
    update = self._mlp(_norm(f'{self.prefix}ln_2')(tokens))
    return tokens + self._dropout('drop_2')(update), new

  def _dropout(self, name: str):
    # Named, so that a block draws the same with and without rematerialisation.
    rate = 0.0 if self.deterministic else self.dropout
    return Dropout(rate, name=f'{self.prefix}{name}')

  def _mlp(self, tokens):
    """`[B, N, D]` -> `[B, N, D]`, part of `__call__`: it names the parameters."""
    width = tokens.shape[-1]

    def project(outputs, name):
      return nn.Dense(
        outputs,
        kernel_init=_scaled_init(self.init_scale),
        dtype=self.dtype,
        name=f'{self.prefix}mlp_{name}',
      )

    return project(width, 'out')(
      jax.nn.gelu(project(4 * width, 'in')(tokens), approximate=True)
    )


class Transformer(nn.Module):
  """Pre-LayerNorm GPT-2 blocks and a final LayerNorm, as Lee et al. (2022) have it.

  Two layouts of the parameters, which `models/layers.py` converts into each other: a
  block is `h0_ln_1`, `h0_attn`, ... of its own; or with `scan_layers` all but the last
  are one, `blocks`, each of whose leaves is stacked along a first axis, and are
  compiled once, not once each. The last stays apart: it may compute fewer rows.

  Attributes:
    num_layers: number of blocks.
    num_heads: per block.
    dropout: rate on the output of attention and of the MLP, nowhere else.
    dtype: of the computation; parameters and LayerNorms stay float32.
    scan_layers: the second layout.
    remat: keep no more than the input of each block for the backward pass and compute
      the block again there; the same numbers for less memory and a third more time.
  """

  num_layers: int
  num_heads: int
  dropout: float = 0.0
  dtype: jnp.dtype = jnp.float32
  scan_layers: bool = False
  remat: bool = False

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
    settings = {
      'num_heads': self.num_heads,
      'dropout': self.dropout,
      'dtype': self.dtype,
      'init_scale': 2.0 / self.num_layers,
      'deterministic': deterministic,
    }
    new = []
    if self.scan_layers and self.num_layers > 1:
      front = None if kept is None else kept[:-1]
      tokens, new = self._scanned(settings, tokens, mask, front)
    block_class = nn.remat(Block) if self.remat else Block
    for layer in range(len(new), self.num_layers):
      is_last = layer == self.num_layers - 1
      block = block_class(
        prefix=f'h{layer}_',
        rows=tuple(rows) if is_last and rows is not None else None,
        **settings,
      )
      # The layout without a level for the block, which checkpoints have.
      nn.share_scope(self, block)
      tokens, keys_values = block(tokens, mask, None if kept is None else kept[layer])
      new.append(keys_values)
    return _norm('ln_f')(tokens), tuple(new)

  def _scanned(self, settings, tokens, mask, kept: Kept | None):
    """`(tokens, kept)` after all blocks but the last, part of `extend`."""
    length = self.num_layers - 1
    # The loop itself keeps what is computed twice apart.
    block = nn.remat(Block, prevent_cse=False) if self.remat else Block
    blocks = nn.scan(
      block,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(nn.broadcast, 0),
      length=length,
    )(name=STACKED, **settings)
    if kept is not None:
      kept = jax.tree.map(lambda *layers: jnp.stack(layers), *kept)
    tokens, (keys, values) = blocks(tokens, mask, kept)
    return tokens, list(zip(keys, values, strict=True))


def _scaled_init(scale: float):
  return nn.initializers.variance_scaling(scale, 'fan_in', 'truncated_normal')


class LayerNorm(nn.Module):
  """`nn.LayerNorm` with the plain two-pass variance, as the notebook computes it.

  It goes on from the centred numbers that it squared, where Flax's goes back to the
  inputs: less memory is moved, and a training step on a CPU is a tenth faster.
  """

  @nn.compact
  def __call__(self, inputs):
    """`[..., D]` -> `[..., D]` float32."""
    width = inputs.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, width)
    bias = self.param('bias', nn.initializers.zeros, width)
    inputs = inputs.astype(jnp.float32)
    centred = inputs - inputs.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred / jnp.sqrt(variance + 1e-5) * scale + bias


def _norm(name: str) -> LayerNorm:
  return LayerNorm(name=name)
