"""Atari: the protocol step by step, and that both ways to play are one game."""

import dataclasses

import ale_py
import numpy as np
import pytest

from alpt_jax import specs
from alpt_jax.area_resize import AreaResize
from alpt_jax.envs import atari
from alpt_jax.errors import UserError

PLAIN = specs.ATARI_EVALUATION_PROTOCOL  # draws nothing
NOOP = 0


def spec(game, **changes):
  return specs.atari_spec(game, dataclasses.replace(PLAIN, **changes))


def drawn(game, num_actions, seed=0):
  """Random own actions of a game."""
  size = len(spec(game).action_names)
  return np.random.default_rng(seed).integers(size, size=num_actions)


def play(environment, actions):
  """`[N, ...]` observations, `[N]` rewards, `[N]` discounts of N further steps."""
  steps = [environment.step(action) for action in actions]
  return [np.stack([step[field] for step in steps]) for field in (3, 1, 2)]


def same(one, other):
  return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# What is seen.


def test_a_pixel_is_the_mean_of_the_area_it_covers():
  # 5 x 2 pixels to 2 x 1: each takes two and a half rows. Means of the rows: 15, 15,
  # 60, 0, 100; (15 + 15 + 60 / 2) / 2.5 = 24 and (60 / 2 + 0 + 100) / 2.5 = 52.
  picture = np.array([[10, 20], [15, 15], [50, 70], [0, 0], [0, 200]], np.uint8)
  assert AreaResize((5, 2), (2, 1))(picture).tolist() == [[24], [52]]


def test_an_area_of_one_colour_keeps_it():
  for colour in (0, 1, 127, 254, 255):
    picture = np.full((210, 160), colour, np.uint8)
    assert (AreaResize((210, 160), (84, 84))(picture) == colour).all()


def test_an_observation_pools_the_last_two_of_four_frames():
  emulator = ale_py.ALEInterface()
  emulator.setFloat('repeat_action_probability', 0.0)
  emulator.loadROM(ale_py.roms.get_rom_path('space_invaders'))
  emulator.reset_game()
  resize = AreaResize((210, 160), (84, 84))
  environment = atari.Atari(spec('SpaceInvaders'))
  first = environment.reset().observation
  assert first.shape == (84, 84, 1) and first.dtype == np.uint8
  assert np.array_equal(first[..., 0], resize(emulator.getScreenGrayscale()))
  flickered = 0
  for action in drawn('SpaceInvaders', 60):
    frames = []
    for _ in range(4):
      emulator.act(emulator.getMinimalActionSet()[action])
      frames.append(emulator.getScreenGrayscale())
    pooled = resize(np.maximum(frames[2], frames[3]))
    flickered += not np.array_equal(pooled, resize(frames[3]))
    assert np.array_equal(environment.step(action).observation[..., 0], pooled)
  assert flickered  # else this would not tell pooling from the last frame


def test_ram_lives_and_colours_are_those_of_the_moment():
  environment = atari.Atari(spec('Breakout'))
  environment.reset()
  assert environment.lives == 5
  assert environment.ram.shape == (128,) and environment.ram.dtype == np.uint8
  assert environment.screen().shape == (210, 160, 3)
  right = environment.environment_spec.action_names.index('RIGHT')
  paddle = environment.ram[72]
  environment.step(right)
  assert environment.ram[72] > paddle


# The same game in both.


@pytest.mark.parametrize('game', ['Breakout', 'SpaceInvaders', 'Carnival'])
def test_one_and_many_show_the_same_bit_for_bit(game):
  """Against the vector environment's own resize; Carnival has a taller screen."""
  batch = atari.AtariBatch(spec(game), [3, 4], num_threads=1)
  ones = [atari.Atari(spec(game), seed) for seed in (3, 4)]
  first = batch.reset()
  for row, one in enumerate(ones):
    assert np.array_equal(first[row], one.reset().observation)
  compared, ended = 0, np.zeros(2, bool)
  actions = np.stack([drawn(game, 350, seed) for seed in (3, 4)], axis=1)
  for action in actions:
    both = batch.step(action)
    for row in np.flatnonzero(~ended):
      step = ones[row].step(action[row])
      assert both.rewards[row] == step.reward
      assert both.discounts[row] == step.discount
      assert both.is_last[row] == step.last()
      ended[row] = step.last()
      if not ended[row]:  # the terminal picture is the one place where they differ
        assert np.array_equal(both.observations[row], step.observation)
        compared += 1
  assert compared > 300


def test_the_reward_of_the_terminal_step_counts():
  # Who stands still in Pong loses 21 points, the last one with the game.
  one, batch = atari.Atari(spec('Pong')), atari.AtariBatch(spec('Pong'), [0])
  step, total = one.reset(), 0.0
  batch.reset()
  batch_total = 0.0
  while not step.last():
    step = one.step(NOOP)
    total += step.reward
    both = batch.step([NOOP])
    batch_total += both.rewards[0]
    assert both.is_last[0] == step.last()
  assert (step.reward, step.discount, total) == (-1, 0, -21)
  assert (both.rewards[0], both.discounts[0], batch_total) == (-1, 0, -21)


def test_an_episode_is_cut_off_with_discount_one():
  capped = spec('SpaceInvaders', max_episode_steps=7)
  one, batch = atari.Atari(capped), atari.AtariBatch(capped, [0, 1])
  one.reset(), batch.reset()
  for left in reversed(range(7)):
    step, both = one.step(NOOP), batch.step([NOOP] * 2)
    assert step.last() == both.is_last.all() == both.is_last.any() == (left == 0)
    # The cut makes no difference to what is seen.
    assert np.array_equal(both.observations, np.stack([step.observation] * 2))
  assert step.discount == 1 and both.discounts.tolist() == [1, 1]
  assert one.step(NOOP).first()


def test_a_lost_life_ends_the_episode_only_where_the_protocol_says_so():
  fire = 1  # serves the ball, which a still paddle misses
  ending, going_on = spec('Breakout', life_loss_ends=True), spec('Breakout')
  one, other = atari.Atari(ending), atari.Atari(going_on)
  batch = atari.AtariBatch(ending, [0])
  one.reset(), other.reset(), batch.reset()
  for _ in range(100):
    step, unbothered, both = one.step(fire), other.step(fire), batch.step([fire])
    assert step.last() == both.is_last[0]
    if step.last():
      break
  assert step.discount == both.discounts[0] == 0 and one.lives == 4
  assert unbothered.mid() and other.lives == 4
  assert one.reset().first() and one.lives == 5


def test_an_ended_episode_stays_ended():
  batch = atari.AtariBatch(spec('Breakout', life_loss_ends=True), [0, 1])
  batch.reset()
  for _ in range(200):  # the second never serves: no ball, no loss
    step = batch.step([1, NOOP])
    if step.is_last[0]:
      break
  kept = step.is_last.copy()
  later = [batch.step([99, NOOP]) for _ in range(50)]  # its action is not read
  assert kept.tolist() == [True, False]
  assert all(step.is_last.tolist() == [True, False] for step in later)
  assert all(step.rewards[0] == 0 for step in later)
  assert all(step.discounts.tolist() == [0, 1] for step in later)
  batch.reset()
  assert not batch.step([NOOP, NOOP]).is_last.any()


# What is drawn.


def test_a_seed_reproduces_a_whole_sequence_of_episodes():
  sticky = spec('Breakout', sticky_actions=0.25, max_noops=30, max_episode_steps=40)
  actions = drawn('Breakout', 120)  # three episodes, with the resets between them

  def sequence(seed):
    return play(atari.Atari(sticky, seed), actions)

  assert same(sequence(0), sequence(0))
  assert not same(sequence(0), sequence(1))


def test_episodes_differ_where_something_is_drawn():
  environment = atari.Atari(spec('Freeway', max_noops=30))
  firsts = {environment.reset().observation.tobytes() for _ in range(8)}
  assert len(firsts) > 3
  environment = atari.Atari(spec('Freeway'))
  assert len({environment.reset().observation.tobytes() for _ in range(3)}) == 1


def test_seeds_reproduce_a_batch_whatever_stands_beside_it():
  sticky = spec('Breakout', sticky_actions=0.25, max_noops=30)
  actions = drawn('Breakout', 60)

  def sequence(seeds, num_threads):
    batch, found = atari.AtariBatch(sticky, seeds, num_threads), []
    for _ in range(2):
      found.append(batch.reset())
      found += [batch.step([action] * len(seeds)).observations for action in actions]
    return np.stack(found, axis=1)

  one, other = sequence([5, 6], 1), sequence([6, 7, 5], 2)
  assert np.array_equal(one[0], other[2]) and np.array_equal(one[1], other[0])
  assert not np.array_equal(one[0], one[1])
  assert not np.array_equal(one[0, :61], one[0, 61:])  # the second episode is another


def test_both_start_after_zero_to_max_noops_frames():
  environment = atari.Atari(spec('Freeway'))
  emulator = environment._emulator
  environment.reset()
  resize, possible = AreaResize((210, 160), (84, 84)), []
  for _ in range(3):  # after 0, 1 and 2 frames; each moves some car
    possible.append(resize(emulator.getScreenGrayscale()).tobytes())
    emulator.act(ale_py.Action.NOOP)
  two = spec('Freeway', max_noops=2)
  environment = atari.Atari(two)
  ones = {environment.reset().observation.tobytes() for _ in range(20)}
  many = {first.tobytes() for first in atari.AtariBatch(two, range(6)).reset()}
  assert len(set(possible)) == 3 and ones == many == set(possible)


def test_a_sticky_action_is_sometimes_the_one_before():
  names = spec('Breakout').action_names
  actions = [names.index(name) for name in ('LEFT', 'RIGHT')] * 10
  paddles, batches = [], []
  for sticky in (0.0, 0.25):
    one = atari.Atari(spec('Breakout', sticky_actions=sticky))
    many = atari.AtariBatch(spec('Breakout', sticky_actions=sticky), [0])
    one.reset(), many.reset()
    paddles.append([one.step(action) and int(one.ram[72]) for action in actions])
    batches.append([many.step([action]).observations for action in actions])
  # Left and right again: the paddle returns, unless it is carried on.
  assert np.ptp(paddles[0]) < 5 < np.ptp(paddles[1])
  assert not same(*batches)


@pytest.mark.parametrize('game', ['Breakout', 'Seaquest'])
def test_going_back_to_a_moment_gives_the_same_future(game):
  environment = atari.Atari(spec(game, sticky_actions=0.25, max_episode_steps=60))
  environment.reset()
  play(environment, drawn(game, 30))
  moment, actions = environment.clone(), drawn(game, 30, seed=1)
  future = play(environment, actions)
  environment.reset()  # what happens in between does not matter
  play(environment, drawn(game, 20, seed=2))
  environment.restore(moment)
  assert same(play(environment, actions), future)
  assert environment.step(NOOP).first()  # 30 + 30 steps: cut off both times


# Names, and what is refused.


def test_capitals_inside_a_name_become_words():
  assert atari.rom_name('SpaceInvaders') == 'space_invaders'
  assert atari.rom_name('Pong') == 'pong'
  known = set(ale_py.roms.get_all_rom_ids())
  assert {atari.rom_name(game) for game in specs.ATARI_GAMES} <= known


@pytest.mark.parametrize('game', specs.ATARI_GAMES)
def test_the_action_table_is_the_emulators(game):
  emulator = ale_py.ALEInterface()
  emulator.loadROM(ale_py.roms.get_rom_path(atari.rom_name(game)))
  names = tuple(action.name for action in emulator.getMinimalActionSet())
  assert spec(game).action_names == names


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'resize': ''}, "resize: expected 'area', found ''"),
    ({'frame_skip': 0, 'max_pool': False}, 'frame_skip: expected 1 or more, found 0'),
    ({'frame_skip': 1}, 'max_pool: expected False at frame_skip 1, found True'),
    ({'max_episode_steps': 0}, 'max_episode_steps: expected 1 or more, found 0'),
    ({'max_noops': -1}, 'max_noops: expected 0 or more, found -1'),
    ({'sticky_actions': 1.5}, 'sticky_actions: expected 0 to 1, found 1.5'),
  ],
)
def test_a_protocol_that_cannot_be_played_is_refused(changes, message):
  for make in (atari.Atari, lambda spec: atari.AtariBatch(spec, [0])):
    with pytest.raises(UserError, match='atari/Pong, protocol.' + message):
      make(spec('Pong', **changes))


def test_a_spec_that_is_not_this_game_is_refused():
  pong = spec('Pong')
  maze = dataclasses.replace(pong, name='maze/blocked:20/7')
  with pytest.raises(UserError, match='expected an Atari game'):
    atari.Atari(maze)
  other = dataclasses.replace(pong, action_names=specs.ALE_ACTIONS)
  for make in (atari.Atari, lambda spec: atari.AtariBatch(spec, [0])):
    with pytest.raises(UserError, match='action_names: expected NOOP FIRE RIGHT'):
      make(other)
  colours = dataclasses.replace(pong.observation, shape=(84, 84, 3))
  with pytest.raises(UserError, match='one channel'):
    atari.Atari(dataclasses.replace(pong, observation=colours))


def test_an_action_the_game_does_not_have_is_named():
  environment = atari.Atari(spec('Freeway'))
  environment.reset()
  with pytest.raises(UserError, match=r'0 to 2 \(NOOP, UP, DOWN\), found 3'):
    environment.step(3)
  batch = atari.AtariBatch(spec('Freeway'), [0, 1])
  batch.reset()
  with pytest.raises(UserError, match='episode 1, step 0, .* found -1'):
    batch.step([0, -1])


def test_without_gymnasium_the_user_is_told_what_to_install(monkeypatch):
  monkeypatch.delattr(ale_py, 'AtariVectorEnv')
  with pytest.raises(UserError, match='pip install gymnasium'):
    atari.AtariBatch(spec('Pong'), [0])
  atari.Atari(spec('Pong')).reset()  # needs none
