"""The decision transformer without any saving: what speed is measured against.

Every layer at every token, three projections, the mask spelled out; written after the
description of Lee et al.'s notebook, for images. It takes the parameters that
`alpt_jax.models.decision_transformer.DecisionTransformer` has.

  python tests/plain_decision_transformer.py --width=512 --layers=6 --cores=1

prints what a training step, and a decision for 16 environments, take beside it.
"""

import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import tiny_models as tiny

from alpt_jax.acting.policy import ActingConfig, make_decide
from alpt_jax.benchmark import acting, ceilings, machine
from alpt_jax.benchmark.measured import measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.training_steps import step_program
from alpt_jax.models.decision_transformer import DecisionTransformer, Predictions
from alpt_jax.specs import ObservationSpec
from alpt_jax.training.step import StepConfig, init_state

SCREEN = ObservationSpec('image', (84, 84, 1), 'uint8')
ATARI_RETURNS = (-20, 100)


class PlainDecisionTransformer(DecisionTransformer):
  """The same fields, parameters and predictions, computed plainly."""

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
    """As `DecisionTransformer.__call__`, for images and a model that sees returns."""
    params, patches = self.variables['params'], self._num_patches()
    # The return of the first transition that is no padding is shown, no other.
    steps = jnp.arange(self.context)
    shown = steps == valid.argmax(1)[:, None]
    extra = [
      params['return_emb']['embedding'].astype(self.dtype)[return_tokens],
      jnp.where(
        is_known[..., None],
        params['action_emb']['table']['embedding'].astype(self.dtype)[actions],
        params['action_emb']['unknown'].astype(self.dtype),
      ),
      params['reward_emb']['embedding'].astype(self.dtype)[reward_tokens],
    ]
    tokens = jnp.concatenate(
      [self._patches_of(observations, params), jnp.stack(extra, axis=2)], axis=2
    )
    batch, context, stride, width = tokens.shape
    tokens = tokens.reshape(batch, context * stride, width)
    tokens = tokens + params['positional_embeddings']
    step, kind = np.divmod(np.arange(context * stride), stride)
    is_empty = (kind == patches) & ~shown[:, step]
    tokens = jnp.where(is_empty[..., None], 0, tokens)
    mask = _mask(step, kind, patches) & (valid[:, step] & ~is_empty)[:, None]
    tokens = self._transformer(tokens, mask, params['sequence'], deterministic)
    tokens = tokens.reshape(batch, context, stride, width)
    return Predictions(
      returns=_dense(tokens[:, :, patches - 1], params['ret_linear']),
      actions=_dense(tokens[:, :, patches], params['act_linear']),
      rewards=_dense(tokens[:, :, patches + 1], params['rew_linear']),
    )

  def _num_patches(self) -> int:
    height, width, _ = self.observation_spec.shape
    return (height // self.patch_size) * (width // self.patch_size)

  def _patches_of(self, observations, params):
    """`[B, C, P, D]`."""
    batch, context, height, width, channels = observations.shape
    side = self.patch_size
    pixels = observations.astype(self.dtype) / 255
    pixels = pixels.reshape(
      batch, context, height // side, side, width // side, side, channels
    )
    pixels = pixels.transpose(0, 1, 2, 4, 3, 5, 6)
    pixels = pixels.reshape(batch, context, self._num_patches(), -1)
    params = params['observation']
    return _dense(pixels, params['image_emb'], self.dtype) + params['image_pos_enc']

  def _transformer(self, tokens, mask, params, deterministic):
    """All tokens through all layers: `[B, N, D]`."""
    for layer in range(self.num_layers):
      normed = _norm(tokens, params[f'h{layer}_ln_1'])
      update = self._attention(normed, mask, params[f'h{layer}_attn'])
      tokens = tokens + self._dropped(update, deterministic)
      normed = _norm(tokens, params[f'h{layer}_ln_2'])
      hidden = _dense(normed, params[f'h{layer}_mlp_in'], self.dtype)
      hidden = jax.nn.gelu(hidden, approximate=True)
      update = _dense(hidden, params[f'h{layer}_mlp_out'], self.dtype)
      tokens = tokens + self._dropped(update, deterministic)
    return _norm(tokens, params['ln_f'])

  def _attention(self, tokens, mask, params):
    batch, length, width = tokens.shape
    split = (batch, length, self.num_heads, width // self.num_heads)
    query, key, value = (
      _dense(tokens, params[name], self.dtype).reshape(split)
      for name in ('query', 'key', 'value')
    )
    scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) / np.sqrt(split[-1])
    scores = jnp.where(mask[:, None], scores.astype(jnp.float32), -1e30)
    weights = jax.nn.softmax(scores).astype(self.dtype)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, value)
    return _dense(mixed.reshape(tokens.shape), params['linear'], self.dtype)

  def _dropped(self, update, deterministic):
    if deterministic or not self.dropout:
      return update
    kept = 1 - self.dropout
    mask = jax.random.bernoulli(self.make_rng('dropout'), kept, update.shape)
    return jnp.where(mask, update / kept, 0)


def _mask(step, kind, patches):
  """`[N, N]` bool: earlier tokens, and the patches of one frame all of each other."""
  place = np.arange(len(step))
  is_patch = kind < patches
  one_frame = step[:, None] == step[None, :]
  return (place[:, None] >= place[None, :]) | (
    one_frame & is_patch[:, None] & is_patch[None, :]
  )


def _dense(inputs, params, dtype=jnp.float32):
  kernel, bias = params['kernel'].astype(dtype), params['bias'].astype(dtype)
  return inputs.astype(dtype) @ kernel + bias


def _norm(inputs, params):
  inputs = inputs.astype(jnp.float32)
  centred = inputs - inputs.mean(-1, keepdims=True)
  variance = jnp.square(centred).mean(-1, keepdims=True)
  return centred / jnp.sqrt(variance + 1e-5) * params['scale'] + params['bias']


def plain_of(model: DecisionTransformer) -> PlainDecisionTransformer:
  """The plain model with the fields of another."""
  names = [field.name for field in dataclasses.fields(DecisionTransformer)]
  fields = {n: getattr(model, n) for n in names if n not in ('parent', 'name')}
  return PlainDecisionTransformer(**fields)


def step_programs(model: DecisionTransformer, rows: int) -> dict[str, Program]:
  """A training step of a model and of its plain form, optimiser and losses included."""
  window = tiny.random_window(SCREEN, rows, 5)
  batch = jax.device_put(tiny.batch_of(window))
  optimizer = tiny.tiny_optimizer(name='lamb', learning_rate=3e-4, clip=1.0)
  ours = StepConfig(idm=None, policy=model, optimizer=optimizer)
  plain = dataclasses.replace(ours, policy=plain_of(model))
  found = {}
  for name, steps in (('DT step', ours), ('plain DT step', plain)):
    # The plain model only reads parameters: ours makes them.
    found[name] = step_program(steps, init_state(ours, batch.window, 0), batch)
  return found


def acting_programs(model: DecisionTransformer) -> dict[str, Program]:
  """A decision for 16 environments, and the two passes of the plain form for it."""
  window = tiny.random_window(SCREEN, acting.NUM_ENVIRONMENTS, 5)
  history, config = acting.history_of(window, model.context), ActingConfig()
  rows = len(history.valid)
  tokens = np.zeros(history.valid.shape, np.int32)
  params = jax.jit(model.init)(
    jax.random.key(0), history.observations, tokens, *history[1:4], history.valid
  )['params']
  rest = (history, jax.random.split(jax.random.key(1), rows), np.zeros(rows, bool))
  decide = compiled_for(make_decide(model, config), params, *rest)
  passes = acting.TwoPasses(plain_of(model), config, params, *rest)
  return {
    'decision': Program(
      lambda: np.asarray(decide(params, *rest).action), **account_of(decide)
    ),
    'two plain passes': Program(
      lambda: np.asarray(passes(params, *rest).action), **account_of(*passes.compiled)
    ),
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  for name, default in (
    ('width', 512),
    ('layers', 6),
    ('batch_size', 8),
    ('repeats', 9),
    ('cores', 0),
  ):
    parser.add_argument(f'--{name}', type=int, default=default)
  parser.add_argument('--dropout', type=float, default=0.0)
  parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
  given = parser.parse_args()
  machine.use_cores(given.cores)
  model = DecisionTransformer(
    num_actions=tiny.NUM_ACTIONS,
    return_range=ATARI_RETURNS,
    observation_spec=SCREEN,
    width=given.width,
    num_layers=given.layers,
    num_heads=max(1, given.width // 64),
    dropout=given.dropout,
    dtype=jnp.dtype(given.dtype),
  )
  limits = ceilings.programs(given.dtype)
  for programs in (step_programs(model, given.batch_size), acting_programs(model)):
    ours, plain = programs
    compared = {f'{ours} / {plain}': ([ours], [plain])}
    print(measure(programs, limits, given.repeats, compared).table(), flush=True)


if __name__ == '__main__':
  main()
