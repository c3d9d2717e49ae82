"""Section `attention`: the exact kernels that there are, at the models' shapes.

Ours, plain products, beside `jax.nn.dot_product_attention` as XLA compiles it and, on a
GPU, as cuDNN has it. Forward and backward pass of one layer without its projections.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from alpt_jax.benchmark.measured import Section, measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.models import flops
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.models.transformer import attend

OURS = 'products'


class Layer(NamedTuple):
  """What one layer of a model attends with, filled at random."""

  query: jax.Array  # [B, N, H, D / H]
  key: jax.Array
  value: jax.Array
  mask: jax.Array  # [1, N, N] or [B, 1, N] bool


def kernels() -> dict[str, Callable[..., Any]]:
  """Name -> `(query, key, value, mask) -> [B, N, H, D / H]`, those of this device."""
  found = {OURS: attend, 'jax.nn, XLA': functools.partial(_jax_nn, 'xla')}
  if jax.default_backend() == 'gpu':
    found['jax.nn, cuDNN'] = functools.partial(_jax_nn, 'cudnn')
  return found


def _jax_nn(implementation: str, query, key, value, mask):
  return jax.nn.dot_product_attention(
    query, key, value, mask=mask[:, None], implementation=implementation
  )


def layer_of(model, rows: int) -> Layer:
  """For `rows` windows of a DT, causal, or of an IDM, which sees all valid tokens."""
  count, tokens = flops.sequences(model)
  rows *= count
  split = model.num_heads, model.width // model.num_heads
  keys = jax.random.split(jax.random.key(0), 3)
  draw = functools.partial(jax.random.normal, dtype=jnp.dtype(model.dtype))
  query, key, value = (draw(each, (rows, tokens, *split)) for each in keys)
  if isinstance(model, DecisionTransformer):
    mask = jnp.tril(jnp.ones((1, tokens, tokens), bool))
  else:
    mask = jnp.ones((rows, 1, tokens), bool)
  return Layer(query, key, value, mask)


def both_ways(kernel: Callable[..., Any]):
  """Jitted `layer -> (outputs, gradients of query, key and value)`."""

  def loss(inputs, mask):
    outputs = kernel(*inputs, mask)
    return jnp.square(outputs.astype(jnp.float32)).mean(), outputs

  @jax.jit
  def passes(layer: Layer):
    gradients, outputs = jax.grad(loss, has_aux=True)(layer[:3], layer.mask)
    return outputs, gradients

  return passes


def measure_attention(
  subject: Subject, limits: Mapping[str, Program], repeats: int
) -> Section:
  """Every kernel for a batch of each model; cuDNN has none for float32.

  Args:
    subject: both models.
    limits: `ceilings.programs`.
    repeats: turns.
  """
  rows, programs, compared, notes = len(subject.batch().relabel), {}, {}, []
  for title, model in (('DT', subject.steps.policy), ('IDM', subject.steps.idm)):
    layer = layer_of(model, rows)
    for name, kernel in kernels().items():
      if 'cuDNN' in name and model.dtype == 'float32':
        notes.append(f'{title}, {name}: not measured: it has no float32.')
        continue
      programs[f'{title}, {name}'] = _program(kernel, layer, rows)
      if name != OURS:
        ratio = [f'{title}, {name}'], [f'{title}, {OURS}']
        compared[f'{title}: {name} / {OURS}'] = ratio
  section = measure(programs, limits, repeats, compared)
  return dataclasses.replace(section, notes=tuple(notes))


def _program(kernel: Callable[..., Any], layer: Layer, rows: int) -> Program:
  compiled = compiled_for(both_ways(kernel), layer)
  sequences, tokens, heads, size = layer.query.shape
  return Program(
    lambda: compiled(layer),
    # Scores and mixing; a backward pass is two forward passes.
    flops=3 * 2.0 * sequences * 2 * tokens**2 * heads * size,
    counts={'windows': rows},
    **account_of(compiled),
  )
