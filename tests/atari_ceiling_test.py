"""What can be seen of an action: the arithmetic on paper, the effects in games."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.envs import atari, atari_ceiling

_ROOT = pathlib.Path(__file__).parents[1]
PLAIN = specs.ATARI_EVALUATION_PROTOCOL
# Two states, four actions. In the first, 0 and 1 look alike; in the second, 0 and 3.
EFFECTS = np.array([[0, 0, 2, 3], [0, 1, 2, 0]])


def test_uniform_actions_are_told_as_often_as_there_are_effects():
  # Three of four effects in both states.
  assert atari_ceiling.ceiling(EFFECTS) == pytest.approx(0.75)


def test_among_actions_that_look_alike_the_likeliest_is_named():
  # First state: .4 of {0, 1}, then .2 and .1, together .7. Second: .4 of {0, 3},
  # then .3 and .2, together .9. Their mean is .8.
  probabilities = [0.4, 0.3, 0.2, 0.1]
  assert atari_ceiling.ceiling(EFFECTS, probabilities) == pytest.approx(0.8)
  counts = [4, 3, 2, 1]  # of any size
  assert atari_ceiling.ceiling(EFFECTS, counts) == pytest.approx(0.8)


def test_merged_actions_need_not_be_told_apart():
  # 0 with 1, and 2 with 3. First state: nothing else is mixed up, 1. Second: {0, 3}
  # are still mixed, .4 of .5, and .3 and .2 are seen: .9. Their mean is .95.
  probabilities, merged = [0.4, 0.3, 0.2, 0.1], (0, 0, 2, 2)
  found = atari_ceiling.ceiling(EFFECTS, probabilities, merged)
  assert found == pytest.approx(0.95)
  # Uniform: (2 + 1 + 1) / 4 and 3 / 4.
  assert atari_ceiling.ceiling(EFFECTS, merged=merged) == pytest.approx(0.875)


def test_shares_alike_counts_states():
  assert atari_ceiling.shares_alike(EFFECTS).tolist() == [
    [1, 0.5, 0, 0.5],
    [0.5, 1, 0, 0],
    [0, 0, 1, 0],
    [0.5, 0, 0, 1],
  ]


def test_a_blocked_move_looks_like_no_move():
  environment = atari.Atari(specs.atari_spec('Freeway', PLAIN))
  environment.reset()
  for _ in range(10):
    environment.step(0)
  # NOOP, UP, DOWN: the chicken waits at the lower edge.
  assert atari_ceiling.effects(environment).tolist() == [0, 1, 0]


def test_looking_changes_nothing():
  looked, other = (atari.Atari(specs.atari_spec('Breakout', PLAIN)) for _ in range(2))
  looked.reset(), other.reset()
  for action in np.random.default_rng(0).integers(4, size=40):
    atari_ceiling.effects(looked)
    one, two = looked.step(action), other.step(action)
    assert np.array_equal(one.observation, two.observation)
    assert one.step_type == two.step_type


def test_firing_is_mostly_invisible_and_moving_is_not():
  spec = specs.atari_spec('SpaceInvaders', specs.RL_UNPLUGGED_PROTOCOL)
  effects, num_taken = atari_ceiling.sampled_effects(spec, 25)
  assert effects.shape == (25, 6)
  # Looked after 5, 10, ..., 125 steps; one more was taken after the last look.
  assert num_taken.sum() == 126
  alike = atari_ceiling.shares_alike(effects)
  noop, fire, right, left = (
    spec.action_names.index(name) for name in ('NOOP', 'FIRE', 'RIGHT', 'LEFT')
  )
  assert alike[noop, fire] > 0.6 > alike[right, left]
  exact = atari_ceiling.ceiling(effects)
  merged = specs.fire_merged(spec.action_names)
  assert 0.25 < exact < atari_ceiling.ceiling(effects, merged=merged) < 1


def test_states_are_reproduced_by_the_seed():
  spec = specs.atari_spec('Breakout', PLAIN)
  one, again, other = (
    atari_ceiling.sampled_effects(spec, 15, seed).first_alike for seed in (1, 1, 2)
  )
  assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_what_can_be_seen_depends_on_who_plays():
  spec = specs.atari_spec('Breakout', PLAIN)
  by_chance = atari_ceiling.sampled_effects(spec, 60)
  by_script = atari_ceiling.sampled_effects(spec, 60, epsilon=0.0)
  # Who follows the ball is seldom at the edge.
  assert atari_ceiling.ceiling(by_script[0]) > atari_ceiling.ceiling(by_chance[0])


def test_a_schedule_goes_on_within_one_long_episode():
  spec = specs.atari_spec('Freeway', PLAIN)  # an episode is 2,048 steps
  by_chance = atari_ceiling.sampled_effects(spec, 60).num_taken
  scheduled = atari_ceiling.sampled_effects(spec, 60, epsilon=None).num_taken
  assert not np.array_equal(scheduled, by_chance)
  assert scheduled[1] > by_chance[1]  # UP


def run(*flags):
  command = [sys.executable, '-m', 'alpt_jax.bin.ceiling', *flags]
  return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300)


def test_the_program_prints_a_table_and_writes_it_where_asked(tmp_path):
  out = tmp_path / 'ceiling.json'
  done = run('--game=Freeway', '--states=3', f'--out={out}')
  assert done.returncode == 0, done.stderr
  assert 'uniform actions' in done.stdout and 'DOWN' in done.stdout
  known = json.loads(out.read_text())
  assert known['action_names'] == ['NOOP', 'UP', 'DOWN']
  assert known['num_states'] == 3 and np.shape(known['alike']) == (3, 3)
  # Freeway has no FIRE to merge.
  assert 0 < known['ceiling_uniform'] == known['ceiling_uniform_merged'] <= 1
  assert known['ceiling_played'] >= max(known['num_taken']) / sum(known['num_taken'])


def test_the_program_names_a_game_without_a_script():
  done = run('--game=Zaxxon', '--epsilon=0.5')
  assert done.returncode == 2
  assert "'Zaxxon' has no scripted player" in done.stderr
