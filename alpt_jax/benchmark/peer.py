"""A transformer that others wrote, for scale: GPT-2 of the `transformers` package.

Where PyTorch and that package are installed; neither is asked for by this project.
"""

import importlib.util
import os

from alpt_jax.benchmark.machine import num_cores
from alpt_jax.benchmark.programs import Program
from alpt_jax.models import embedding
from alpt_jax.models.decision_transformer import DecisionTransformer

PEER = 'GPT-2 (transformers)'
_NEEDED = ('torch', 'transformers')


def programs(
  policy: DecisionTransformer, rows: int
) -> tuple[dict[str, Program], tuple[str, ...]]:
  """The peer of a decision transformer, or the line that says why there is none.

  Forward and backward pass of as many layers, as wide, over as many tokens, given as
  vectors: without embeddings, heads, losses and optimiser, all of which our step has.
  Every layer is causal, without the blocks of a frame, which costs the same.

  Args:
    policy: whose size is taken; only its fields are read.
    rows: sequences in a batch.
  """
  for name in _NEEDED:
    if importlib.util.find_spec(name) is None:
      return {}, (f'{PEER}: not measured: {name} is not installed.',)
  return {PEER: _gpt2(policy, rows)}, ()


def _gpt2(policy: DecisionTransformer, rows: int) -> Program:
  # Threads that wait for their next turn must not spin while JAX has its own.
  os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
  import torch
  import transformers

  tokens = num_tokens(policy)
  torch.set_num_threads(num_cores())
  # As JAX has it: on a GPU products of float32 are of TF32.
  torch.set_float32_matmul_precision('high')
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  config = transformers.GPT2Config(
    vocab_size=1,
    n_positions=tokens,
    n_embd=policy.width,
    n_layer=policy.num_layers,
    n_head=policy.num_heads,
    resid_pdrop=policy.dropout,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    use_cache=False,
    bos_token_id=None,
    eos_token_id=None,
  )
  model = transformers.GPT2Model(config).to(device).train()
  inputs = torch.randn(rows, tokens, policy.width, device=device)
  is_half = policy.dtype == 'bfloat16'

  def run():
    with torch.autocast(device, torch.bfloat16, enabled=is_half):
      outputs = model(inputs_embeds=inputs).last_hidden_state
    model.zero_grad(set_to_none=True)
    outputs.float().square().mean().backward()
    if device == 'cuda':
      torch.cuda.synchronize()

  return Program(run, flops=rows * gpt2_flops(policy), counts={'windows': rows})


def num_tokens(policy: DecisionTransformer) -> int:
  """N of a decision transformer's sequence: each transition's patches and three."""
  spec, patch = policy.observation_spec, policy.patch_size
  return policy.context * (embedding.num_observation_tokens(spec, patch) + 3)


def gpt2_flops(policy: DecisionTransformer) -> float:
  """Operations of the peer's forward and backward pass, of one sequence.

  As models/flops.py counts: 12 D^2 multiply-adds a token in projections and MLP, 2 N D
  in attention, and a backward pass is two forward passes.
  """
  tokens, width = num_tokens(policy), policy.width
  multiply_adds = tokens * (12 * width**2 + 2 * tokens * width)
  return 3 * 2.0 * policy.num_layers * multiply_adds
