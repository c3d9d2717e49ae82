"""Environments in words: the joint vocabulary and the JSON form."""

import json

import pytest
import tiny

from alpt_jax import specs
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol

MAZE = tiny.tiny_spec('maze', ('down', 'right', 'up', 'left'), (0, 2))
GAME = tiny.tiny_spec('game', ('jump', 'duck', 'left'), (-5, 1))
# Pong's minimal action set, in its own order.
PONG = tiny.tiny_spec('pong', ('NOOP', 'FIRE', 'RIGHT', 'LEFT'), (-20, 22))
ALE = ('NOOP', 'FIRE', 'UP', 'RIGHT', 'LEFT', 'DOWN')  # the first six


def test_ale_has_eighteen_actions_in_its_own_order():
  assert len(specs.ALE_ACTIONS) == len(set(specs.ALE_ACTIONS)) == 18
  assert tuple(specs.ALE_ACTIONS[:6]) == ALE
  assert specs.ALE_ACTIONS[-1] == 'DOWNLEFTFIRE'


def test_a_maze_run_has_four_actions_in_sorted_order():
  assert specs.joint_vocabulary([MAZE]) == ('down', 'left', 'right', 'up')


def test_shared_names_are_one_action():
  expected = ('down', 'duck', 'jump', 'left', 'right', 'up')
  assert specs.joint_vocabulary([MAZE, GAME]) == expected
  assert specs.joint_vocabulary([GAME, MAZE]) == expected


def test_with_atari_all_eighteen_names_come_first():
  expected = (*specs.ALE_ACTIONS, 'down', 'left', 'right', 'up')
  assert specs.joint_vocabulary([MAZE, PONG]) == expected
  assert specs.joint_vocabulary([PONG]) == tuple(specs.ALE_ACTIONS)


def test_a_grown_vocabulary_keeps_every_old_index():
  old = specs.joint_vocabulary([MAZE])
  grown = specs.joint_vocabulary([GAME], old)
  assert grown == ('down', 'left', 'right', 'up', 'duck', 'jump')
  assert specs.joint_vocabulary([MAZE], grown) == grown  # nothing new, nothing lost
  # Even an order that no rule gives.
  unsorted = ('up', 'left')
  assert specs.joint_vocabulary([GAME], unsorted) == (*unsorted, 'duck', 'jump')


def test_a_vocabulary_that_meets_atari_gets_all_of_it_in_ale_order():
  old = specs.joint_vocabulary([MAZE])
  grown = specs.joint_vocabulary([PONG, GAME], old)
  assert grown == (*old, *specs.ALE_ACTIONS, 'duck', 'jump')
  assert specs.joint_vocabulary([PONG], specs.ALE_ACTIONS) == tuple(specs.ALE_ACTIONS)


def test_own_numbers_are_found_in_the_vocabulary_by_name():
  vocabulary = specs.joint_vocabulary([MAZE])
  # Own order down right up left; joint order down left right up.
  indices = specs.action_indices(MAZE, vocabulary)
  assert indices.tolist() == [0, 2, 3, 1] and indices.dtype == 'int32'


def test_only_an_environments_own_actions_are_allowed():
  vocabulary = specs.joint_vocabulary([MAZE, GAME])
  # down duck jump left right up
  assert specs.allowed_actions(GAME, vocabulary).tolist() == [
    False, True, True, True, False, False,
  ]  # fmt: skip
  assert specs.allowed_actions(PONG, specs.ALE_ACTIONS).sum() == 4


def test_the_joint_return_range_holds_every_range():
  assert specs.joint_return_range([MAZE]) == (0, 2)
  assert specs.joint_return_range([MAZE, GAME, PONG]) == (-20, 22)


@pytest.mark.parametrize(
  'observation',
  [
    ObservationSpec('image', (84, 84, 1), 'uint8'),
    ObservationSpec('integers', (2,), 'uint8', (20, 20)),
    ObservationSpec('vector', (3,), 'float32'),
  ],
)
def test_a_spec_survives_json(observation):
  spec = EnvironmentSpec('x', ('b', 'a'), observation, (-1, 5), Protocol(500))
  found = EnvironmentSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
  assert found == spec and hash(found) == hash(spec)


def test_a_protocol_writes_only_what_differs_from_the_defaults():
  """A dataset recorded before a field existed keeps its manifest's hash."""
  assert Protocol(500).to_dict() == {'max_episode_steps': 500}
  assert Protocol(9, sticky_actions=0.25).to_dict() == {
    'max_episode_steps': 9,
    'sticky_actions': 0.25,
  }


def test_protocols_are_compared_field_by_field():
  recorded, scored = specs.RL_UNPLUGGED_PROTOCOL, specs.ATARI_EVALUATION_PROTOCOL
  assert recorded.differences(scored, specs.SEEN_FIELDS) == []
  assert recorded.differences(scored) == [
    'max_episode_steps 27000, not 2500',
    'sticky_actions 0.25, not 0.0',
  ]


def test_steps_that_take_another_time_are_other_steps():
  def seen(here, there):
    return Protocol(9, *here[:1], frame_rate=here[1]).seen_differences(
      Protocol(900, *there[:1], sticky_actions=0.25, frame_rate=there[1])
    )

  # 60 / 4 = 15 steps a second; 30 / 4 = 7.5.
  assert seen((4, 60), (4, 30)) == [
    'frame_rate 60 / frame_skip 4 (15 steps a second), not '
    'frame_rate 30 / frame_skip 4 (7.5 steps a second)'
  ]
  assert seen((4, 60), (4, 59.94)) == []
  assert seen((4, 60), (4, 0)) == [] == seen((4, 0), (4, 60))
  # As long, but other frames are left out.
  assert seen((4, 60), (2, 30)) == ['frame_skip 4, not 2']
  assert Protocol(9).seen_differences(Protocol(9, max_pool=True)) == [
    'max_pool False, not True'
  ]


def test_a_protocol_without_a_clock_is_written_as_before_there_was_one():
  assert 'frame_rate' not in specs.RL_UNPLUGGED_PROTOCOL.to_dict()
  assert Protocol(9, frame_rate=30.0).to_dict() == {
    'max_episode_steps': 9,
    'frame_rate': 30.0,
  }


def test_an_atari_game_has_its_minimal_actions_in_ale_order():
  spec = specs.atari_spec('Freeway', specs.RL_UNPLUGGED_PROTOCOL)
  assert spec.action_names == ('NOOP', 'UP', 'DOWN')
  assert specs.atari_game(spec) == 'Freeway'
  assert EnvironmentSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
  assert len(specs.ATARI_GAMES) == 46
  everything = [specs.atari_spec(g, spec.protocol) for g in specs.ATARI_GAMES]
  assert specs.joint_vocabulary(everything) == specs.ALE_ACTIONS
  with pytest.raises(UserError, match="'Brakout' has no table .* 'Breakout'"):
    specs.atari_spec('Brakout', spec.protocol)


def test_actions_that_only_fire_tells_apart_are_merged():
  names = ('NOOP', 'FIRE', 'RIGHT', 'LEFT', 'RIGHTFIRE', 'LEFTFIRE')
  assert specs.fire_merged(names) == (0, 0, 2, 3, 2, 3)
  assert specs.fire_merged(('down', 'up')) == (0, 1)
  # Without a NOOP a FIRE stands for itself.
  assert specs.fire_merged(('UP', 'FIRE')) == (0, 1)
