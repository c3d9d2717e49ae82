"""Section `evaluate`: every way plays the same, and what it took is accounted for."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from alpt_jax.acting.policy import History
from alpt_jax.benchmark import evaluating, stand_in, subjects
from alpt_jax.errors import UserError

pytestmark = pytest.mark.slow


def subject_of(size, **fields):
  config = subjects.config_of(size, 8, 'float32')
  model = dataclasses.replace(
    config.model, width=8, num_layers=1, num_heads=2, patch_size=42, **fields
  )
  return subjects.prepare(dataclasses.replace(config, model=model))


@pytest.fixture(scope='module')
def screens():
  return subject_of('small')


@pytest.fixture(scope='module')
def found(screens):
  return evaluating.measure_evaluation(screens, 'Freeway', 5, 1e-4, num_episodes=4)


def test_the_device_and_both_stand_ins_play_all_at_once_and_in_groups(found):
  ways = [(each.device, each.groups) for each in found.found]
  stand_ins = ['stand-in, 0.1 ms for 16', 'stand-in, 0.1 ms for any number']
  assert ways == [(name, n) for name in ('cpu', *stand_ins) for n in (1, 2)]


def test_groups_play_as_all_at_once_do(found):
  for one, two in zip(found.found[::2], found.found[1::2], strict=True):
    assert one.scores == two.scores
    np.testing.assert_array_equal(one.actions, two.actions)
    # Nobody loses Freeway so soon: four episodes of five steps.
    assert one.spent.decisions == two.spent.decisions == 4 * 5
    assert (one.spent.calls, two.spent.calls) == (5, 2 * 5)
    assert (one.actions >= 0).all()


def test_what_was_spent_adds_up_and_is_written(found):
  for each in found.found:
    shares = each.shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
  record = json.loads(json.dumps(found.record()))
  assert record['decisions'] == 20
  assert record['same actions, 2 groups'] == '20'
  assert record['same scores, 2 groups'] is True
  first = record['ways'][0]
  # 20 decisions: 16 of them take 16/20 of the time.
  assert first['seconds_per_16_decisions'] == pytest.approx(first['seconds'] * 0.8)
  assert first['emulator_cpu_seconds'] + first['own_cpu_seconds'] > 0
  assert record['ways'][1]['emulator_cpu_seconds'] is None
  table = found.table()
  assert 'cpu, 2 groups' in table and 'A stand-in is no device' in table


def test_no_stand_in_is_asked_for_with_no_time(screens):
  ways = evaluating.measure_evaluation(screens, 'Freeway', 2, 0.0, 2).found
  assert [each.device for each in ways] == ['cpu', 'cpu']


def test_a_stand_in_takes_turns_and_draws_allowed_actions_by_its_keys():
  slept, allowed = [], np.tile([False, True, False, True], (4, 1))
  history = History(*[None] * 6, allowed)
  keys = jax.random.split(jax.random.key(0), 4)
  with stand_in.StandIn(0.8, per_rows=16, sleep=slept.append) as decide:
    first, again = (decide(None, history, keys, None) for _ in range(2))
    actions = np.asarray(first.action)
    assert set(actions.tolist()) <= {1, 3}
    assert actions.tolist() == np.asarray(again.action).tolist()
  # Four of sixteen rows: a quarter of the time.
  assert slept == [0.8 / 4] * 2
  with stand_in.StandIn(0.8, sleep=slept.append) as decide:
    np.asarray(decide(None, history, keys, None).action)
  assert slept[2:] == [0.8]


def test_what_cannot_be_played_is_named(screens):
  with pytest.raises(UserError, match="--game: .* found Brakout; did you mean 'Breako"):
    evaluating.fresh_player(screens, 'Brakout', 5)
  with pytest.raises(UserError, match='expected a --size whose policy sees screens'):
    evaluating.fresh_player(subject_of('tiny'), 'Freeway', 5)
