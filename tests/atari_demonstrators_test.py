"""Scripted Atari players: what they read, what they do at random, what they score."""

import dataclasses

import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.envs import atari_demonstrators as demonstrators
from alpt_jax.envs.atari import Atari
from alpt_jax.errors import UserError

PROTOCOL = specs.RL_UNPLUGGED_PROTOCOL


def memory(**values):
  """128 bytes, given as `_<place>=value`, all others 0."""
  ram = np.zeros(128, np.uint8)
  for place, value in values.items():
    ram[int(place[1:])] = value
  return ram


def player(game, epsilon, seed=0):
  return demonstrators.EpsilonScript(specs.atari_spec(game, PROTOCOL), epsilon, seed)


@pytest.mark.parametrize('game', demonstrators.SCRIPTED_GAMES)
def test_whatever_the_memory_holds_a_script_names_an_action_of_its_game(game):
  names = specs.atari_spec(game, PROTOCOL).action_names
  play = demonstrators.script(game)
  memories = np.random.default_rng(0).integers(256, size=(2000, 128), dtype=np.uint8)
  # Small numbers too: a coordinate is seldom above 160.
  for ram in np.concatenate([memories, memories // 2, memories // 8]):
    assert play(ram.tobytes()) in names


def test_breakout_puts_the_middle_of_its_paddle_under_the_ball():
  # The paddle from 100 to 116, its middle at 108; the dead zone reaches 8 further.
  for ball_x, expected in ((117, 'RIGHT'), (116, 'NOOP'), (100, 'NOOP'), (99, 'LEFT')):
    ram = memory(_72=100, _99=ball_x, _101=150)
    assert demonstrators.script('Breakout')(ram.tobytes()) == expected
  assert demonstrators.script('Breakout')(bytes(128)) == 'FIRE'  # no ball in play


def test_freeway_lets_a_car_of_the_next_lane_pass():
  # At height 6 four steps up, 10 to 22, reach into the lowest lane (6 to 22), whose
  # car moves right by .75 a step; the chicken is hit by a car from 38 to 54.
  cars = dict.fromkeys((f'_{lane}' for lane in range(109, 118)), 100)
  for car_x, expected in ((45, 'NOOP'), (54, 'UP'), (36, 'NOOP'), (34, 'UP')):
    ram = memory(_14=6, _108=car_x, **cars)
    assert demonstrators.script('Freeway')(ram.tobytes()) == expected


def test_asterix_does_not_enter_a_lane_where_a_lyre_is_near():
  # In lane 3 at 80; a prize (108) in lane 5 at 90, nothing (11) elsewhere. Kinds are
  # stored backwards from byte 18, objects' places forwards from byte 42.
  kinds = dict.fromkeys((f'_{place}' for place in range(11, 19)), 11)
  ram = memory(**{**kinds, '_13': 108}, _41=80, _39=3, _47=90)
  assert demonstrators.script('Asterix')(ram.tobytes()) == 'DOWNRIGHT'
  ram[18 - 4], ram[42 + 4] = 204, 100  # a lyre in the lane between
  assert demonstrators.script('Asterix')(ram.tobytes()) == 'RIGHT'
  ram[42 + 4] = 115  # and further away
  assert demonstrators.script('Asterix')(ram.tobytes()) == 'DOWNRIGHT'


def test_seaquest_surfaces_for_air_only_with_a_diver():
  # An enemy ahead on the right in its own lane, which it faces.
  ram = memory(_70=40, _97=105, _102=10, _30=100)
  assert demonstrators.script('Seaquest')(ram.tobytes()) == 'FIRE'
  ram[62] = 1
  assert demonstrators.script('Seaquest')(ram.tobytes()) == 'UP'


def test_the_sweep_of_space_invaders_starts_anew_with_every_script():
  play = demonstrators.script('SpaceInvaders')
  places = (60, 112, 60, 38, 60)
  found = [play(memory(_28=place).tobytes()) for place in places]
  assert found == ['RIGHTFIRE', 'LEFTFIRE', 'LEFTFIRE', 'RIGHTFIRE', 'RIGHTFIRE']
  play(memory(_28=112).tobytes())
  fresh = demonstrators.script('SpaceInvaders')
  assert fresh(memory(_28=60).tobytes()) == 'RIGHTFIRE'


def test_a_game_without_a_script_is_refused_unless_play_is_random():
  message = "'Qbert' has no scripted player.*Known: Asterix, Breakout"
  with pytest.raises(UserError, match=message):
    player('Qbert', 0.5)
  random = player('Qbert', 1.0)
  assert {random.action(memory()) for _ in range(200)} == set(range(6))
  with pytest.raises(UserError, match=message):
    random.begin_episode(0.9)


def test_a_misspelt_game_is_told_what_was_meant():
  with pytest.raises(UserError, match="did you mean 'Breakout'"):
    demonstrators.script('Brekout')


def test_epsilon_must_be_a_probability():
  with pytest.raises(UserError, match='epsilon: expected 0 to 1, found -0.1'):
    player('Breakout', -0.1)


def test_epsilon_0_is_the_script():
  # Without a ball Breakout's script always fires, its action 1.
  scripted = player('Breakout', 0.0)
  assert {scripted.action(memory()) for _ in range(500)} == {1}


def test_epsilon_1_is_random_play_that_sees_nothing():
  # Memory makes no difference, and the four actions are equally frequent: of 24,000
  # steps, 12,000 draws of 2 steps on average, a share's standard deviation is
  # sqrt(.25 * .75 / 12,000 * (1 + 1/6)) = .0043; the bound is 5 of them.
  one, other = player('Breakout', 1.0), player('Breakout', 1.0)
  chosen = [one.action(memory()) for _ in range(24_000)]
  assert chosen[:500] == [other.action(memory(_101=150)) for _ in range(500)]
  assert np.abs(np.bincount(chosen, minlength=4) / 24_000 - 0.25).max() < 0.022


def test_a_random_action_is_held_for_1_to_3_steps():
  # Breakout's script fires all the time here, so every run of another action is a
  # random one. At epsilon .01 two of them touch once in about 100 times.
  holding = player('Breakout', 0.01)
  chosen = np.array([holding.action(memory()) for _ in range(100_000)])
  ends = np.flatnonzero(np.diff(chosen)) + 1
  runs = [run for run in np.split(chosen, ends) if run[0] != 1]
  lengths = np.bincount([len(run) for run in runs], minlength=4)
  # About 735 runs, a share's standard deviation .017.
  assert len(runs) > 600
  assert lengths[4:].sum() < 0.03 * len(runs)
  assert np.abs(lengths[1:4] / len(runs) - 1 / 3).max() < 0.08


def test_a_new_episode_lets_go_of_what_was_held():
  """Epsilon 0 is at once the script alone."""
  for seed in range(20):
    changing = player('Breakout', 1.0, seed)
    changing.action(memory())
    changing.begin_episode(0.0)
    assert changing.action(memory()) == 1


def test_the_schedule_falls_in_a_straight_line():
  found = [demonstrators.epsilon_schedule(share) for share in (0, 0.25, 1)]
  assert found == [1, 0.75, 0]


def test_the_last_episode_is_cut_off_and_each_has_the_epsilon_of_its_start(monkeypatch):
  # 25 transitions in episodes of at most 10: 10, 10 and 5, which start at 0, .4 and
  # .8 of the recording.
  protocol = dataclasses.replace(PROTOCOL, max_episode_steps=10)
  environment = Atari(specs.atari_spec('Freeway', protocol), 0)
  playing = demonstrators.EpsilonScript(environment.environment_spec, 0.0, 0)
  epsilons = []
  monkeypatch.setattr(playing, 'begin_episode', epsilons.append)
  episodes = list(demonstrators.record_episodes(environment, playing, 25))
  assert [len(episode.actions) for episode in episodes] == [10, 10, 5]
  assert [len(episode.observations) for episode in episodes] == [11, 11, 6]
  assert all((episode.discounts == 1).all() for episode in episodes)
  assert epsilons == pytest.approx([1, 0.6, 0.2])
  list(demonstrators.record_episodes(environment, playing, 5, epsilon=0.3))
  assert epsilons[-1] == 0.3


def test_the_script_of_breakout_beats_random_play():
  """In 250 transitions without sticky actions."""

  def score(epsilon):
    protocol = dataclasses.replace(PROTOCOL, max_episode_steps=250, sticky_actions=0.0)
    environment = Atari(specs.atari_spec('Breakout', protocol), 0)
    playing = demonstrators.EpsilonScript(environment.environment_spec, epsilon, 0)
    episodes = demonstrators.record_episodes(environment, playing, 250, epsilon)
    return sum(episode.rewards.sum() for episode in episodes)

  assert score(0.0) >= 4
  assert score(0.0) > 2 * score(1.0)
