"""What a training step computes, counted on paper: floating-point operations a window.

Matrix products alone, which is where nearly all of it goes, each multiply-add as two
operations; nothing of norms, softmax, GELU and table look-ups. The attention of a mask
is counted whole, as it is computed.
"""

from typing import NamedTuple

from alpt_jax import returns
from alpt_jax.models.decision_transformer import DecisionTransformer
from alpt_jax.models.embedding import num_observation_tokens
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.types import EVERY_ROW, RowUse

# Each transition of the policy's context is its patches, a return, action and reward.
_EXTRA = 3


class StepFlops(NamedTuple):
  """Operations of one training step, per window of the batch.

  Attributes:
    model: what the method asks for: the forward and backward passes, and the labels.
    hardware: with what rematerialisation computes a second time.
  """

  model: float
  hardware: float


class _Forward(NamedTuple):
  """Multiply-adds of a forward pass of one window."""

  ends: int  # embeddings of observations, and heads
  blocks: int
  unread: int  # of the blocks: products whose result no backward pass reads


def forward_flops(model: InverseDynamics | DecisionTransformer) -> float:
  """Operations of one window's forward pass, of which only fields are read."""
  forward = _forward(model)
  return 2.0 * (forward.ends + forward.blocks)


def step_flops(idm, policy, rows: RowUse = EVERY_ROW) -> StepFlops | None:
  """Operations of a joint training step, per window.

  A backward pass counts as two forward passes, which for the first layer, whose input
  needs no gradient, is a little too much (0.2 % of the paper's IDM): the convention of
  MFU (Chowdhery et al., 2022, appendix B).

  Args:
    idm: the labeller, or None for a method without one.
    policy: the decision transformer, or None where the IDM is trained alone.
    rows: which of a batch's rows each model learns from, and the labeller labels, a few
      of which may have no weight; none is labelled where there is only one model.

  Returns:
    None for other models, which nobody has counted.
  """
  total = again = 0.0
  for model, (begin, end) in ((idm, rows.idm), (policy, rows.policy)):
    if model is None:
      continue
    if not isinstance(model, InverseDynamics | DecisionTransformer):
      return None
    share, forward = (end - begin) / rows.group, _forward(model)
    total += share * 3 * forward_flops(model)
    again += share * 2.0 * model.remat * (forward.blocks - forward.unread)
  if idm is not None and policy is not None:
    begin, end = rows.relabelled
    total += (end - begin) / rows.group * forward_flops(idm)
  return StepFlops(total, total + again)


def decision_flops(policy: DecisionTransformer) -> float:
  """Operations of one environment's decision, of a policy that sees returns.

  First the patches of the first frame (`DecisionTransformer.prefix`); then, which see
  those too, the other frames, C - 1 actions, C - 1 rewards and two returns. Either ends
  in one row of the last layer.
  """
  context, patches = policy.context, _patches(policy)
  tokens = (context - 1) * (patches + 2) + 2
  low, high = policy.return_range
  # The first frame is embedded once for each of the two.
  ends = _observations(policy, context + 1)
  ends += policy.width * (high - low + policy.num_actions)
  prefix, _ = _blocks(policy, patches, 1)
  rest, _ = _blocks(policy, tokens, 1, kept=patches)
  return 2.0 * (ends + prefix + rest)


def sequences(model: InverseDynamics | DecisionTransformer) -> tuple[int, int]:
  """(sequences of a window, N) of what a model's blocks see; only fields are read."""
  patches = _patches(model)
  if isinstance(model, DecisionTransformer):
    # The last reward is left out.
    return 1, model.context * (patches + _EXTRA) - 1
  if model.form == 'pair':
    return model.num_transitions, patches + 1
  return 1, _frames(model) * patches + model.num_transitions


def _forward(model) -> _Forward:
  return _of_idm(model) if isinstance(model, InverseDynamics) else _of_policy(model)


def _of_idm(idm: InverseDynamics) -> _Forward:
  length, (count, tokens) = idm.num_transitions, sequences(idm)
  # Changes are further channels beside the pixels.
  channels = 1 if idm.form == 'frames' else 2
  ends = _observations(idm, _frames(idm), channels)
  ends += length * idm.width * idm.num_actions
  blocks, unread = _blocks(idm, tokens, length // count)
  return _Forward(ends, count * blocks, count * unread)


def _frames(idm: InverseDynamics) -> int:
  """Of a window; changes spare the last one."""
  return idm.num_transitions + (idm.form == 'frames')


def _of_policy(policy: DecisionTransformer) -> _Forward:
  low, high = policy.return_range
  classes = policy.num_actions + returns.NUM_REWARD_TOKENS
  classes += (high - low) * policy.sees_returns
  ends = _observations(policy, policy.context) + policy.context * policy.width * classes
  # Of each transition three tokens are read.
  _, tokens = sequences(policy)
  return _Forward(ends, *_blocks(policy, tokens, policy.context * 3))


def _patches(model) -> int:
  return num_observation_tokens(model.observation_spec, model.patch_size)


def _observations(model, frames: int, channels: int = 1) -> int:
  """Multiply-adds that embed the frames; of images, `channels` times their own."""
  spec = model.observation_spec
  inputs = spec.shape[-1]
  if spec.kind == 'image':
    inputs *= channels * model.patch_size**2
  return frames * _patches(model) * inputs * model.width


def _blocks(model, tokens: int, rows: int, kept: int = 0) -> tuple[int, int]:
  """Multiply-adds of one sequence's blocks, and of those the unread ones.

  `kept` further tokens stand in front, whose keys and values are known.

  The last block is computed for `rows` of its tokens only, but for keys and values.
  The product that ends a block is only added to what came in: gradients do not ask for
  its value.
  """
  width, blocks, unread = model.width, 0, 0
  for queries in [tokens] * (model.num_layers - 1) + [rows]:
    keys_and_values = 2 * tokens * width**2
    query_and_output = 2 * queries * width**2
    scores_and_mixing = 2 * queries * (tokens + kept) * width
    mlp_out = 4 * queries * width**2
    blocks += keys_and_values + query_and_output + scores_and_mixing + 2 * mlp_out
    unread += mlp_out
  return blocks, unread
