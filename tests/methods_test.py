"""The methods of Table 2, and what is said of unknown words."""

import dataclasses

import pytest

from alpt_jax import methods
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.methods import IDM, POLICY, Use


def test_dt1_learns_from_the_labelled_part_alone_and_without_an_idm():
  for phase in ('joint', 'finetune'):
    assert methods.parts('dt1', phase) == {'labelled': Use(idm=False, policy=True)}
  assert not methods.get('dt1').has_idm
  assert methods.get('dt1-idm').has_idm


def test_alpt_pretrains_on_everything_and_finetunes_on_the_target():
  recorded = Use(idm=True, policy=True)
  relabelled = Use(idm=False, policy=True, relabel=True)
  target = {'labelled': recorded, 'target': relabelled}
  for phase in ('pretrain', 'joint'):
    assert methods.parts('alpt', phase) == {'source': recorded, **target}
  assert methods.parts('alpt', 'finetune') == target


def test_dt1_idm_is_alpt_without_sources():
  for phase in ('joint', 'finetune'):
    expected = dict(methods.parts('alpt', phase))
    expected.pop('source', None)
    assert methods.parts('dt1-idm', phase) == expected


RECORDED_BY_THE_POLICY = Use(idm=False, policy=True)
RECORDED_BY_THE_IDM = Use(idm=True, policy=False)


def test_dt5_is_one_dt_on_all_labelled_data_and_then_on_the_targets_labels():
  """Section 5.2: "all labelled datasets combined from both the source and target"."""
  method = methods.get('dt5')
  labels = {'labelled': RECORDED_BY_THE_POLICY}
  both = {'source': RECORDED_BY_THE_POLICY, **labels}
  assert method.phases == {
    'sources': {'source': RECORDED_BY_THE_POLICY},
    'pretrain': both,
    'joint': both,
    'finetune': labels,
  }
  assert method.inherits == (POLICY,)


def test_dt5_ret_is_dt5_that_reads_the_unlabelled_part_too_without_guesses():
  """Section 5.2: pretrained "on all available data", then the target's alone."""
  target = {'target': RECORDED_BY_THE_POLICY}
  for phase, parts in methods.get('dt5').phases.items():
    expected = dict(parts) if phase == 'sources' else {**parts, **target}
    assert methods.parts('dt5-ret', phase) == expected
  assert methods.get('dt5-ret').inherits == (POLICY,)
  assert not methods.get('dt5-ret').has_idm


def test_of_alpt_only_the_idm_can_be_pretrained():
  """Appendix A: the IDM's data are ALPT's in every phase, the DT starts at the end."""
  assert methods.get('alpt-idm').phases == {
    'sources': {'source': RECORDED_BY_THE_IDM},
    'pretrain': {'source': RECORDED_BY_THE_IDM, 'labelled': RECORDED_BY_THE_IDM},
    'finetune': methods.parts('alpt', 'finetune'),
  }
  assert methods.get('alpt-idm').inherits == (IDM,)
  assert methods.get('alpt').inherits == (IDM, POLICY)
  for phase in methods.get('alpt-idm').phases:
    expected = methods.taught('alpt', phase, IDM)
    assert methods.taught('alpt-idm', phase, IDM) == expected


def test_cloning_is_dt1_without_returns():
  bc, dt1 = methods.get('bc'), methods.get('dt1')
  assert dataclasses.replace(bc, sees_returns=True) == dt1
  sighted = [name for name, method in methods.METHODS.items() if method.sees_returns]
  assert sighted == [name for name in methods.METHODS if name not in ('bc', 'cql')]


def test_cql_learns_from_what_cloning_learns_from():
  """Appendix C: 10,000 labelled frames, which are the target's."""
  cql, bc = methods.get('cql'), methods.get('bc')
  assert dataclasses.replace(cql, is_q_learning=False) == bc
  learners = [name for name, method in methods.METHODS.items() if method.is_q_learning]
  assert learners == ['cql']


def test_what_was_taught_tells_guesses_from_records():
  assert methods.taught('alpt', 'pretrain', POLICY) == {
    'source': 'recorded',
    'labelled': 'recorded',
    'target': 'relabelled',
  }
  assert methods.taught('dt5-ret', 'finetune', POLICY)['target'] == 'recorded'
  assert methods.taught('alpt', 'sources', POLICY) == {'source': 'recorded'}
  assert methods.taught('dt5', 'sources', IDM) == {}


def test_only_the_oracle_sees_all_labels():
  all_labelled = [n for n, method in methods.METHODS.items() if method.all_labelled]
  assert all_labelled == ['oracle']


@pytest.mark.parametrize('name', list(methods.METHODS))
def test_a_methods_flags_agree_with_its_parts(name):
  method = methods.get(name)
  uses = [use for parts in method.phases.values() for use in parts.values()]
  assert set(method.phases) <= {'sources', 'pretrain', 'joint', 'finetune'}
  # Who is pretrained inherits models that its pretraining trains.
  assert method.is_pretrained == ('pretrain' in method.phases)
  for phase in {'sources', 'pretrain'} & set(method.phases):
    assert all(methods.taught(name, phase, model) for model in method.inherits)
  # Only guesses of an IDM can stand in, and it never learns from them.
  assert not any(use.relabel and (use.idm or not method.has_idm) for use in uses)


@pytest.mark.parametrize(
  'word, meant', [('aplt', 'alpt'), ('dt1idm', 'dt1-idm'), ('ALPT', 'alpt')]
)
def test_an_unknown_method_is_named_with_what_was_meant(word, meant):
  expected = f"method '{word}' is not known; did you mean '{meant}'\\? Known: alpt"
  with pytest.raises(UserError, match=expected):
    methods.get(word)
  with pytest.raises(UserError, match=expected):
    methods.parts(word, 'joint')


def test_a_word_like_none_of_them_gets_the_list_alone():
  with pytest.raises(UserError) as caught:
    methods.get('zzz')
  assert str(caught.value) == (
    f"method 'zzz' is not known. Known: {', '.join(sorted(methods.METHODS))}."
  )


def test_an_unknown_phase_is_named_with_the_known_ones():
  expected = "method 'dt1' has no phase 'pretrain': expected one of joint, finetune."
  with pytest.raises(UserError, match=expected):
    methods.parts('dt1', 'pretrain')


def test_a_suggestion_keeps_its_own_capitals():
  assert did_you_mean('breakuot', ['Breakout', 'Pong']) == (
    "; did you mean 'Breakout'? Known: Breakout, Pong"
  )
