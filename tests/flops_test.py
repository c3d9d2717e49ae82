"""Operations worked out by hand for models 8 wide, and beside XLA's own count."""

import functools

import jax
import jax.numpy as jnp
import pytest
import tiny_models as tiny

from alpt_jax.baselines.quantile_network import QuantileNetwork
from alpt_jax.models import flops
from alpt_jax.specs import ObservationSpec
from alpt_jax.types import RowUse

SCREEN = ObservationSpec('image', (84, 84, 1), 'uint8')


def test_an_idm_that_is_shown_frames():
  # 5 observations of 3 numbers and 4 slots: 9 tokens of width 8.
  #   embedding             5 * 3 * 8                  =   120
  #   block 1: projections  (4 + 8) * 9 * 8 * 8        = 6,912
  #            attention    2 * 9 * 9 * 8              = 1,296
  #   block 2: k, v         2 * 9 * 64                 = 1,152
  #            q, out, MLP  (2 + 8) * 4 slots * 64     = 2,560
  #            attention    2 * 4 * 9 * 8              =   576
  #   head                  4 slots * 8 * 4 actions    =   128
  model = tiny.tiny_idm(num_layers=2)
  blocks = 6_912 + 1_296 + 1_152 + 2_560 + 576
  assert flops.forward_flops(model) == 2 * (120 + blocks + 128)


def test_the_last_block_of_a_pair_is_computed_for_its_slot_alone():
  # 4 sequences of 4 patches and a slot; a patch is 2 x 2 pixels and their changes.
  #   embedding             4 * 4 * 8 * 8              = 1,024
  #   block 1: projections  12 * 5 * 64                = 3,840
  #            attention    2 * 5 * 5 * 8              =   400
  #   block 2: k, v         2 * 5 * 64                 =   640
  #            q, out, MLP  (2 + 8) * 1 * 64           =   640
  #            attention    2 * 1 * 5 * 8              =    80
  #   head                  4 * 8 * 4                  =   128
  model = tiny.tiny_idm(tiny.IMAGE, form='pair', num_layers=2)
  blocks = 3_840 + 400 + 640 + 640 + 80
  assert flops.forward_flops(model) == 2 * (1_024 + 4 * blocks + 128)


def test_the_last_block_of_differences_is_computed_for_the_slots_alone():
  # One sequence of 4 * 4 patches and 4 slots.
  #   block 1: projections  12 * 20 * 64               = 15,360
  #            attention    2 * 20 * 20 * 8            =  6,400
  #   block 2: k, v         2 * 20 * 64                =  2,560
  #            q, out, MLP  10 * 4 * 64                =  2,560
  #            attention    2 * 4 * 20 * 8             =  1,280
  model = tiny.tiny_idm(tiny.IMAGE, form='difference', num_layers=2)
  blocks = 15_360 + 6_400 + 2_560 + 2_560 + 1_280
  assert flops.forward_flops(model) == 2 * (1_024 + blocks + 128)


@pytest.mark.parametrize(('sees_returns', 'classes'), [(True, 13), (False, 8)])
def test_a_policy(sees_returns, classes):
  # 3 transitions of an observation, return, action and reward, but for the last: 11
  # tokens, of which 9 are read.
  #   embedding             3 * 3 * 8                  =    72
  #   block 1: projections  12 * 11 * 64               = 8,448
  #            attention    2 * 11 * 11 * 8            = 1,936
  #   block 2: k, v         2 * 11 * 64                = 1,408
  #            q, out, MLP  10 * 9 * 64                = 5,760
  #            attention    2 * 9 * 11 * 8             = 1,584
  #   heads                 3 * 8 * (5 returns + 4 actions + 4 rewards)
  model = tiny.tiny_policy(num_layers=2, sees_returns=sees_returns)
  blocks = 8_448 + 1_936 + 1_408 + 5_760 + 1_584
  expected = 2 * (72 + blocks + 3 * 8 * classes)
  assert flops.forward_flops(model) == expected


def test_a_step_is_three_forward_passes_over_what_is_learnt_and_one_for_labels():
  idm, policy = tiny.tiny_idm(num_layers=2), tiny.tiny_policy(num_layers=2)
  forward_idm, forward_policy = flops.forward_flops(idm), flops.forward_flops(policy)
  joint = 3 * forward_idm + 3 * forward_policy
  every = flops.step_flops(idm, policy)
  assert every == (joint + forward_idm,) * 2
  # 5 of 8 rows teach the labeller, 3 want labels, 7 teach the policy.
  rows = RowUse(8, (0, 5), (5, 8), (1, 8))
  part = flops.step_flops(idm, policy, rows)
  expected = 5 / 8 * 3 * forward_idm + 3 / 8 * forward_idm + 7 / 8 * 3 * forward_policy
  assert part.model == part.hardware == expected
  # Nobody is labelled where there is only one.
  assert flops.step_flops(idm, None).model == 3 * forward_idm
  assert flops.step_flops(None, policy).model == 3 * forward_policy


def test_rematerialisation_is_work_of_the_hardware_and_not_of_the_model():
  # Per block all but the MLP's last product: (12 - 4) * 9 * 64 + 1,296, and in the
  # last one 2 * 9 * 64 + (10 - 4) * 4 * 64 + 2 * 4 * 9 * 8.
  plain = flops.step_flops(tiny.tiny_idm(num_layers=2), None)
  remat = flops.step_flops(tiny.tiny_idm(num_layers=2, remat=True), None)
  assert remat.model == plain.model
  assert remat.hardware - plain.hardware == 2 * (4_608 + 1_296 + 1_152 + 1_536 + 576)


def test_a_network_that_nobody_counted_has_no_number():
  assert flops.step_flops(None, QuantileNetwork(tiny.VECTOR, 4, 1, 2, 8, 1)) is None


# XLA counts every operation of a program that is not yet optimised: also norms, softmax
# and GELU, which at this width are a few percent.

MIDDLE = {'width': 256, 'num_heads': 2, 'num_layers': 3, 'patch_size': 14}


def xla_flops(function, *shapes):
  return jax.jit(function).lower(*shapes).cost_analysis()['flops']


def shape(*dimensions, dtype=jnp.int32):
  return jax.ShapeDtypeStruct(dimensions, dtype)


def middle_idm(**fields):
  """An IDM for screens and the shapes of its inputs, one window."""
  model = tiny.tiny_idm(SCREEN, num_transitions=5, **MIDDLE, **fields)
  inputs = (shape(1, 6, 84, 84, 1, dtype=jnp.uint8), shape(1, 5, dtype=jnp.bool))
  return model, inputs


def middle_policy():
  model = tiny.tiny_policy(SCREEN, **{**MIDDLE, 'context': 4})
  known, numbers = shape(1, 4, dtype=jnp.bool), shape(1, 4)
  screens = shape(1, 4, 84, 84, 1, dtype=jnp.uint8)
  return model, (screens, numbers, numbers, known, numbers, known)


def parameters(model, inputs):
  return jax.eval_shape(model.init, jax.random.key(0), *inputs)


@pytest.mark.parametrize(
  'make',
  [
    middle_policy,
    middle_idm,
    functools.partial(middle_idm, form='pair'),
    functools.partial(middle_idm, form='difference'),
  ],
)
def test_a_forward_pass_is_what_xla_counts(make):
  model, inputs = make()
  counted = xla_flops(model.apply, parameters(model, inputs), *inputs)
  assert flops.forward_flops(model) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize('remat', [False, True])
def test_a_gradient_is_what_xla_counts(remat):
  model, inputs = middle_idm(remat=remat)

  def loss(params, *inputs):
    return model.apply(params, *inputs).sum()

  counted = xla_flops(jax.grad(loss), parameters(model, inputs), *inputs)
  assert flops.step_flops(model, None).hardware == pytest.approx(counted, rel=0.05)
