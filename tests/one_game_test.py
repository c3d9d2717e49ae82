"""A game that somebody else steps is played as `rollout.play` plays it."""

import numpy as np
import pytest
import tiny_line
from tiny_line import LINE, Line

from alpt_jax.acting.one_game import OneGame
from alpt_jax.acting.rollout import OneByOne, play
from alpt_jax.errors import UserError

SEED, PLACES, MOST_STEPS = 3, (2, 0, 5), 12


@pytest.fixture(scope='module')
def player():
  return tiny_line.player()


def played_by_us(player, greedy):
  """The actions of an episode from each place."""
  traces = [[] for _ in PLACES]

  def start(place, trace):
    environment = Line(place, trace)
    return lambda: (environment, environment.reset())

  starts = [start(*pair) for pair in zip(PLACES, traces, strict=True)]
  play(
    player,
    [OneByOne(starts)],
    len(PLACES),
    max_steps=MOST_STEPS,
    seed=SEED,
    greedy=[greedy] * len(PLACES),
  )
  return traces


@pytest.mark.parametrize('greedy', [False, True])
def test_the_same_seed_plays_the_same_episodes(player, greedy):
  game, traces = OneGame(player, SEED, greedy), []
  for place in PLACES:
    environment = Line(place, [])
    game.begin(environment.reset().observation)
    trace = []
    while len(trace) < MOST_STEPS:
      trace.append(LINE.action_names.index(game.act()))
      step = environment.step(trace[-1])
      if step.last():
        break
      game.see(step.observation, step.reward)
    traces.append(trace)
  assert traces == played_by_us(player, greedy)
  assert greedy or len({tuple(trace) for trace in traces}) > 1


def test_what_is_asked_or_shown_out_of_turn_is_refused(player):
  game, seen = OneGame(player), np.zeros(3, np.float32)
  for out_of_turn in (game.act, lambda: game.see(seen, 0.0)):
    with pytest.raises(UserError):
      out_of_turn()
  game.begin(seen)
  game.act()
  with pytest.raises(UserError, match='found neither'):
    game.act()
  game.see(seen, 0.0)
  with pytest.raises(UserError, match='expected act'):
    game.see(seen, 0.0)


def test_an_observation_of_another_form_is_refused(player):
  with pytest.raises(UserError, match=r'expected float32 \[3\], found uint8 \[3\]'):
    OneGame(player).begin(np.zeros(3, np.uint8))
