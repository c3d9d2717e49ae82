"""What configs/paper says to reports: its claims, its names, its arguments."""

import re

import pytest
from tiny_configs import CONFIGS, get_config

PARTS = {
  **dict.fromkeys(('figure2', 'figure3', 'figure4', 'figure6'), ('maze', 'atari')),
  **dict.fromkeys(('labels', 'table4'), ('maze', 'atari')),
  'figure5': ('maze',),
}
# Compared with the paper word by word (Venuto et al., 2023), where they stand so but
# for line breaks and italics. A sentence that is changed must be compared again.
VERBATIM = {
  'utilizing even one additional environment dataset of labelled data during IDM '
  'pretraining gives rise to substantial improvements in generating action labels',
  'pretraining ALPT on the source games results in substantial downstream performance '
  'improvements',
  'performance is not recovered under pretraining only the sequence model (DT5) on the '
  'action rich environments',
  'performance using DT1 and DT5-RET is poor',
  'target game performance improves with more source games',
  'a single pretrained model can be transferred to various target games',
  'Despite the disjoint action space, we still see benefits of pretraining',
  'allows us to solve the target task twice as fast compared to only training on the '
  'target maze',
  'Training on both tunneled and blocked mazes enables greater dataset diversity, '
  'which further improves generalization',
  'leading to even faster convergence on the target task',
  'this variant maintains strong performance compared to DT1-IDM',
  'suggesting that the main benefit of pretraining is the IDM',
}


def _configs(text=''):
  return {
    (name, part): get_config(f'paper/{name}', f'part={part},{text}')
    for name, parts in PARTS.items()
    for part in parts
  }


def test_every_experiment_is_looked_at_here():
  names = {path.stem for path in (CONFIGS / 'paper').glob('*.py')}
  assert names - {'experiment'} == set(PARTS)


def test_what_is_quoted_was_compared_with_the_paper():
  claims = [claim for config in _configs().values() for claim in config.claims]
  assert {claim['paper'] for claim in claims if claim['quoted']} == VERBATIM
  assert any(not claim['quoted'] for claim in claims)


def test_the_factor_is_the_sentences():
  """'Twice as fast' is 2 times as fast; no other sentence names a number."""
  for config in _configs().values():
    for claim in config.claims:
      assert claim['factor'] == (2 if 'twice as fast' in claim['paper'] else 1)


def test_enough_labels_are_compared_with_all_at_the_largest_budget():
  for size, budget in (('twin', 10_000), ('smoke', 20)):
    config = get_config('paper/labels', f'size={size}')
    (claim,) = (claim for claim in config.claims if claim['over'] == 'Oracle')
    assert (claim['labels'], claim['kind']) == (budget, 'not_lower')
    budgets = {int(re.search(r'labels=(\d+)', run[0])[1]) for run in config.runs}
    assert max(budgets) == budget


def test_results_of_other_data_have_another_name():
  usual = {key: config.experiment for key, config in _configs().items()}
  assert usual['figure2', 'atari'] == 'figure2-atari'
  for text, end in (
    ('data_seed=5', '-seed5'),
    ('rl_unplugged=/rlu', '-rl_unplugged'),
    ('size=smoke,data_seed=5', '-smoke-seed5'),
  ):
    for (name, part), config in _configs(text).items():
      size = '-smoke' if 'smoke' in text else ''
      # Every seed has mazes of its own, recorded and not read from elsewhere.
      expected = end if part == 'atari' else size
      assert config.experiment == usual[name, part] + expected


def test_mazes_do_not_read_what_is_said_of_games():
  usual = get_config('paper/figure5')
  config = get_config('paper/figure5', 'data_seed=5,rl_unplugged=/rlu')
  assert config.to_dict() == usual.to_dict()


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('figure5', 'targets=blocked', "targets: expected none.*found 'blocked'"),
    ('figure2', 'data_seed=x', "data_seed: expected a whole number, found 'x'"),
    ('figure2', 'seedz=3', "'seedz' is not known; did you mean 'seeds'"),
    (
      'figure2',
      'size=small',
      "size: expected one of twin, paper, smoke, found 'small'",
    ),
  ],
)
def test_an_argument_that_cannot_be_taken_is_refused_in_one_line(name, text, message):
  with pytest.raises(ValueError, match=message) as refusal:
    get_config(f'paper/{name}', text)
  assert '\n' not in str(refusal.value)


def test_a_base_that_serves_all_targets_is_the_same_whichever_are_asked_for():
  def bases(text):
    runs = get_config('paper/figure4', f'part=atari,size=paper,{text}').runs
    return [run for run in runs if 'phase=sources' in run[0]]

  assert bases('targets=Pong') == bases('')


def test_an_update_of_cql_costs_less_than_a_joint_step():
  for part in PARTS['table4']:
    config = get_config('paper/table4', f'part={part}')
    assert 0 < config.step_costs['cql'] < config.costs[0]
