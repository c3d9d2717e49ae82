"""Which pretraining run serves which methods, each finetuned to the end."""

import jax
import pytest
import tiny_configs
import tiny_models

from alpt_jax import methods
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.run import Run, open_trained
from alpt_jax.methods import IDM, POLICY
from alpt_jax.training.step import init_state

pytestmark = pytest.mark.slow

# (method, phase) of the bases.
_BASES = (
  ('alpt', 'sources'),
  ('alpt', 'pretrain'),
  ('alpt-idm', 'sources'),
  ('alpt-idm', 'pretrain'),
  ('dt5', 'pretrain'),
  ('dt5-ret', 'pretrain'),
  ('bc', 'joint'),
  # Finetuned themselves, from the first of these.
  ('alpt', 'finetune'),
  ('alpt-idm', 'finetune'),
)
# Method -> the bases that it can be finetuned from.
_SERVED = {
  # The DT of a finetuned `alpt-idm` never saw a source.
  'alpt': {('alpt', 'sources'), ('alpt', 'pretrain'), ('alpt', 'finetune')},
  # Its IDM is trained as ALPT's is.
  'alpt-idm': {
    ('alpt', 'sources'),
    ('alpt', 'pretrain'),
    ('alpt-idm', 'sources'),
    ('alpt-idm', 'pretrain'),
    ('alpt', 'finetune'),
    ('alpt-idm', 'finetune'),
  },
  # The DT of `alpt` in phase sources has learnt recorded actions alone.
  'dt5': {('alpt', 'sources'), ('dt5', 'pretrain')},
  'dt5-ret': {('alpt', 'sources'), ('dt5-ret', 'pretrain')},
}


def _config(root, method, phase, base=None):
  fields = tiny_configs.tiny_maze(root, f'method={method},phase={phase}')
  # So that a step changes something.
  fields.optimizer.update({'warmup_steps': 0, 'schedule': 'constant'})
  fields.initial = str(root / '-'.join(base)) if base else ''
  return from_mapping(fields)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """The folder of two datasets, and of every base."""
  folder = tmp_path_factory.mktemp('pretraining')
  tiny_configs.record_mazes(folder)
  for method, phase in _BASES:
    base = _BASES[0] if phase == 'finetune' else None
    Run(_config(folder, method, phase, base)).train(folder / f'{method}-{phase}')
  return folder


@pytest.mark.parametrize('base', _BASES, ids='-'.join)
@pytest.mark.parametrize('method', _SERVED)
def test_a_method_inherits_the_bits_of_the_models_it_says_and_starts_others_afresh(
  root, method, base
):
  config = _config(root, method, 'finetune', base)
  if base not in _SERVED[method]:
    with pytest.raises(UserError, match=f'{base[0]}-{base[1]}: method {base[0]} '):
      Run(config)
    return
  run = Run(config)
  state = jax.device_get(run.fresh_state())
  fresh = jax.device_get(init_state(run.step_config, run.example, config.seed))
  _, trained = open_trained(root / '-'.join(base))
  assert set(methods.get(method).inherits) <= set(state.params)
  for name, tree in state.params.items():
    is_inherited = name in methods.get(method).inherits
    expected = trained.params[name] if is_inherited else fresh.params[name]
    tiny_models.assert_same_bits(tree, jax.device_get(expected))


@pytest.mark.parametrize(
  ('method', 'base', 'reason'),
  [
    ('alpt', ('alpt-idm', 'pretrain'), f'trained no {POLICY} in phase pretrain'),
    ('alpt', ('alpt-idm', 'finetune'), f'began its {POLICY} afresh in phase finetune'),
    ('alpt', ('dt5', 'pretrain'), f'trained no {IDM} in phase pretrain'),
    ('alpt-idm', ('dt5-ret', 'pretrain'), f'trained no {IDM} in phase pretrain'),
    (
      'dt5',
      ('alpt', 'pretrain'),
      r'on source \(recorded\), labelled \(recorded\), target \(relabelled\), which',
    ),
    ('dt5-ret', ('alpt', 'pretrain'), r'target \(relabelled\), which method dt5-ret'),
    # Its DT has read all of the target's returns, those of dt5 have not.
    ('dt5', ('dt5-ret', 'pretrain'), r'target \(recorded\), which method dt5 never'),
    ('dt5', ('bc', 'joint'), 'has no pretraining'),
  ],
)
def test_a_base_that_does_not_serve_is_refused_with_the_reason(
  root, method, base, reason
):
  with pytest.raises(UserError, match=reason):
    Run(_config(root, method, 'finetune', base))


@pytest.mark.parametrize(
  ('method', 'base'),
  [
    ('dt5', ('dt5', 'pretrain')),
    ('dt5-ret', ('dt5-ret', 'pretrain')),
    ('alpt-idm', ('alpt-idm', 'pretrain')),
    ('alpt-idm', ('alpt', 'sources')),
    ('bc', None),
  ],
)
def test_a_method_is_finetuned_to_the_end_and_scored(root, tmp_path, method, base):
  config = _config(root, method, 'finetune', base)
  run = Run(config)
  start = jax.device_get(run.fresh_state())
  run.train(tmp_path)
  again, state = open_trained(tmp_path)
  assert int(state.step) == 2
  for name, tree in jax.device_get(state.params).items():
    moved = jax.tree.map(lambda old, new: (old != new).any(), start.params[name], tree)
    assert any(jax.tree.leaves(moved)), name
  scores = again.evaluator(2, state)
  assert 0 <= scores['success_sampled'] <= 1
  assert ('idm_accuracy' in scores) == methods.get(method).has_idm


def test_an_idm_that_is_pretrained_alone_is_scored_as_an_idm_and_does_not_play(root):
  for phase in ('sources', 'pretrain'):
    run, state = open_trained(root / f'alpt-idm-{phase}')
    assert list(state.params) == [IDM]
    assert not run.evaluator.can_play
    scores = run.evaluator(2, state)
    assert 0 <= scores['idm_accuracy'] <= 1
    assert not [name for name in scores if 'success' in name]


def test_on_sources_alone_an_idm_learns_what_it_learns_beside_a_dt(root):
  """The same rows, seed and keys; only the policy is left out."""
  (_, beside), (_, alone) = (
    open_trained(root / f'{method}-sources') for method in ('alpt', 'alpt-idm')
  )
  expected = tiny_models.leaf_items(beside.params[IDM])
  for name, array in tiny_models.leaf_items(alone.params[IDM]).items():
    # A key's bias has no gradient but rounding, which AdamW makes as large as any.
    if not name.endswith('attn/key/bias'):
      assert abs(array - expected[name]).max() < 1e-5, name


# Methods of one shape and one order of rows share one compiled step.


def _steps(root, method, phase='finetune'):
  is_started = methods.get(method).is_pretrained and phase == 'finetune'
  base = ('alpt', 'sources') if is_started else None
  return Run(_config(root, method, phase, base)).step_config


def test_methods_of_one_shape_and_order_of_rows_share_one_step(root):
  kinds = [
    # A quarter of the rows is labelled ones, the others get labels.
    {_steps(root, name) for name in ('dt1-idm', 'alpt', 'alpt-idm')},
    # Every row teaches both models, none gets a label.
    {_steps(root, 'oracle'), _steps(root, 'alpt', 'sources')},
    {_steps(root, name) for name in ('dt1', 'dt5', 'dt5-ret')}
    | {_steps(root, 'dt5', 'pretrain')},
    {_steps(root, 'alpt-idm', phase) for phase in ('sources', 'pretrain')},
    {_steps(root, 'bc', phase) for phase in ('joint', 'finetune')},
  ]
  assert [len(kind) for kind in kinds] == [1] * 5
  assert len(set.union(*kinds)) == 5
