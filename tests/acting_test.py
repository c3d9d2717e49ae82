"""Acting: the bookkeeping of training, optimistic returns, sampled actions, scores."""

import dataclasses

import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_line
import tiny_models

from alpt_jax import returns, specs
from alpt_jax.acting import rollout, scores
from alpt_jax.acting.policy import (
  ActingConfig,
  History,
  choose_action,
  decide,
  make_decide,
  optimistic_return,
)
from alpt_jax.acting.rollout import EpisodeScore, OneByOne, Player, play
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.models.decision_transformer import DecisionTransformer, Prefix
from alpt_jax.types import Decision

# A recorded episode, replayed, shows the policy what training showed it.

# The tiny environment's own order is down, left, right, up.
VOCABULARY = ('wait', 'up', 'right', 'left', 'down')
# Raw rewards; clipped: 0, 1, -1, 0, -1/2, 0, 1, so the return is 1/2.
REWARDS = ([0, 3, -1, 0, -0.5, 0, 1], [0, 0, -7], [2, 0, 0, 0, -2])


class Replay(dm_env.Environment):
  """Plays back a recorded episode; only its own actions are accepted."""

  def __init__(self, episode):
    self._episode = episode
    self._step = 0

  def reset(self):
    self._step = 0
    return dm_env.restart(self._episode.observations[0])

  def step(self, action):
    episode, step = self._episode, self._step
    assert action == episode.actions[step]
    self._step += 1
    last = self._step == len(episode.actions)
    return dm_env.TimeStep(
      dm_env.StepType.LAST if last else dm_env.StepType.MID,
      float(episode.rewards[step]),
      float(episode.discounts[step]),
      episode.observations[self._step],
    )

  def observation_spec(self):
    raise NotImplementedError

  def action_spec(self):
    raise NotImplementedError


def recorded_pool():
  lengths = [len(rewards) for rewards in REWARDS]
  episodes = [
    episode._replace(rewards=np.array(rewards, np.float32))
    for episode, rewards in zip(tiny.tiny_episodes(lengths), REWARDS, strict=True)
  ]
  return tiny.pool_of(episodes)


class Tape:
  """A decision that repeats the record and keeps every history that it is shown."""

  def __init__(self, pool):
    self._pool = pool
    self._joint = specs.action_indices(pool.spec, VOCABULARY)
    self.seen = {}

  def __call__(self, params, history, keys, greedy):
    # The observation names its own place: [episode + 1, step, 7].
    places = history.observations[:, -1, :2] - np.array([1, 0])
    actions = []
    for row, (episode, step) in enumerate(places.tolist()):
      shown = History(*(np.array(field[row]) for field in history))
      self.seen.setdefault((episode, step), shown)
      ends = self._pool.starts[episode] + min(step, self._pool.lengths[episode] - 1)
      actions.append(self._joint[self._pool.actions[ends]])
    return Decision(np.array(actions), np.zeros(len(actions), np.int32))


CONTEXT = 4


def replay(episodes, num_slots):
  """Replays episodes towards the return of the first; what was seen, and scores."""
  pool = recorded_pool()
  tape = Tape(pool)
  own_return = float(pool.returns_to_go[pool.starts[episodes[0]]])
  player = Player(
    decide_fn=tape,
    context=CONTEXT,
    params=None,
    config=ActingConfig(target_return=own_return),
    vocabulary=VOCABULARY,
    spec=pool.spec,
  )

  def start(episode):
    environment = Replay(pool.episode(episode))
    return lambda: (environment, environment.reset())

  results = play(
    player,
    [OneByOne([start(episode) for episode in episodes])],
    len(episodes),
    max_steps=100,
    seed=0,
    greedy=[False] * len(episodes),
    num_slots=num_slots,
  )
  return pool, tape.seen, results


def assert_shown_as_in_training(pool, episode, step, shown):
  """A history equals the window that ends there, but for what is not yet known."""
  read = WindowReader(pool, VOCABULARY, 0, CONTEXT + 1)
  window = read(np.array([pool.starts[episode] + step]))
  window = jax.tree.map(lambda rows: rows[0], window)
  tokens = returns.reward_tokens(window.rewards, window.discounts)
  # The policy reads the last transitions and never the last observation.
  np.testing.assert_array_equal(shown.observations, window.observations[1:-1])
  np.testing.assert_array_equal(shown.valid, window.valid[1:])
  np.testing.assert_array_equal(shown.allowed, window.allowed)
  np.testing.assert_array_equal(shown.actions[:-1], window.actions[1:-1])
  np.testing.assert_array_equal(shown.is_known[:-1], window.is_labelled[1:-1])
  np.testing.assert_array_equal(shown.reward_tokens[:-1], tokens[1:-1])
  assert (shown.actions[-1], shown.is_known[-1], shown.reward_tokens[-1]) == (0, 0, 0)


@pytest.mark.parametrize('episode', range(len(REWARDS)))
def test_a_replayed_episode_shows_the_policy_its_training_windows(episode):
  pool, seen, _ = replay([episode], num_slots=1)
  assert sorted(seen) == [(episode, step) for step in range(len(REWARDS[episode]))]
  for (_, step), shown in seen.items():
    assert_shown_as_in_training(pool, episode, step, shown)
    first = pool.starts[episode]
    left = pool.returns_to_go[first + max(step - CONTEXT + 1, 0) : first + step + 1]
    expected = np.concatenate([np.zeros(CONTEXT - len(left)), left])
    np.testing.assert_array_equal(shown.returns_to_go, expected)


def test_an_episode_in_a_used_slot_shows_nothing_of_the_one_before():
  pool, seen, _ = replay([0, 1, 2], num_slots=2)
  assert len(seen) == sum(len(rewards) for rewards in REWARDS)
  for (episode, step), shown in seen.items():
    assert_shown_as_in_training(pool, episode, step, shown)


def test_scores_are_raw_in_order_and_include_the_terminal_reward():
  _, _, results = replay([0, 1, 2], num_slots=2)
  assert results == [
    EpisodeScore(2.5, 7, True),  # 3 - 1 - 0.5 + 1
    EpisodeScore(-7.0, 3, True),
    EpisodeScore(0.0, 5, True),
  ]


# What a decision is made of.


class Fake:
  """A model that says what it is told to and keeps what it is asked."""

  return_range = (-2, 3)
  sees_returns = True
  action_logits = (0.0, 9.0, 5.0)

  def apply(self, variables, *inputs, method):
    rows = len(inputs[-1])
    if method is DecisionTransformer.prefix:
      # Sampled returns: nothing but the token 3.
      logits = jnp.tile(jnp.array([-1e9, -1e9, -1e9, 0.0, -1e9]), (rows, 1))
      return Prefix(logits, kept=())
    assert method is DecisionTransformer.action_logits
    self.given_return = inputs[2]
    return jnp.tile(jnp.array(self.action_logits), (rows, 1))


def history_of(valid, returns_to_go):
  rows, context = np.shape(valid)
  return History(
    observations=np.zeros((rows, context, 3), np.float32),
    actions=np.zeros((rows, context), np.int32),
    is_known=np.zeros((rows, context), bool),
    reward_tokens=np.zeros((rows, context), np.int32),
    returns_to_go=np.array(returns_to_go, np.float32),
    valid=np.array(valid),
    allowed=np.array([[True, False, True]] * rows),
  )


def keys(count, seed=0):
  return jax.random.split(jax.random.key(seed), count)


def test_a_decision_follows_the_optimistic_return():
  model, given = Fake(), history_of([[False, True]], [[0, 0]])
  chosen = decide(model, ActingConfig(kappa=0.0), {}, given, keys(1), np.array([True]))
  assert model.given_return.tolist() == [3]
  assert chosen.return_to_go.tolist() == [1]  # token 3 of returns from -2
  assert chosen.action.tolist() == [2]  # 1 is likelier and not allowed


def test_a_target_return_is_that_of_the_first_transition_in_sight():
  model = Fake()
  given = history_of([[False, True], [True, True]], [[0, 2], [-1, 1]])
  config = ActingConfig(target_return=2.0)
  chosen = decide(model, config, {}, given, keys(2), np.array([True, True]))
  assert chosen.return_to_go.tolist() == [2, -1]
  assert model.given_return.tolist() == [4, 1]


def test_a_model_without_returns_chooses_as_one_whole_pass_says():
  """Behaviour cloning: no return is drawn, so acting costs one pass of the model."""
  model = tiny_models.tiny_policy(sees_returns=False, num_actions=3)
  given = history_of([[False, True, True], [True] * 3], np.zeros((2, 3)))
  given = given._replace(observations=np.eye(3, dtype=np.float32)[[[0, 1, 2], [2] * 3]])
  inputs = given.observations, given.actions, given.actions, given.is_known
  inputs += given.reward_tokens, given.valid
  params = tiny_models.loud_params(model, *inputs)
  logits = jax.jit(model.apply)({'params': params}, *inputs).actions[:, -1]
  decide_fn = make_decide(model, ActingConfig())
  chosen = decide_fn(params, given, keys(2), np.array([True, True]))
  assert chosen.return_to_go is None
  expected = np.where(given.allowed, logits, -np.inf).argmax(-1)
  assert chosen.action.tolist() == expected.tolist()
  assert np.ptp(logits, axis=0).max() > 0.1  # the rows differ


# Optimistic returns: tokens 0 to 4.

NEVER = -1e9
draw_return = jax.jit(optimistic_return, static_argnums=2)


def returns_drawn(logits, num_keys=200, **fields):
  logits = jnp.tile(jnp.array(logits, jnp.float32), (num_keys, 1))
  return draw_return(logits, keys(num_keys), ActingConfig(**fields)).tolist()


def test_the_optimistic_return_is_the_largest_of_its_samples():
  even = [NEVER, 5, NEVER, 5, NEVER]
  # All of 128 fair draws miss token 3 once in 2 ** 128; one draw does half the time.
  assert set(returns_drawn(even, kappa=0.0)) == {3}
  assert set(returns_drawn(even, kappa=0.0, num_return_samples=1)) == {1, 3}


def test_kappa_raises_the_return():
  low = [0, NEVER, NEVER, NEVER, -40]
  assert set(returns_drawn(low, kappa=0.0)) == {0}
  # Token 4 stands at 4/5 of the range: 0.75 * -40 + 100 * 4/5 = 50 against 0.
  assert set(returns_drawn(low, kappa=100.0)) == {4}


def test_the_inverse_temperature_multiplies_the_logits():
  # Odds of 81 to 1 at 1/2: 9 to 1, within four deviations of 2,000 draws.
  logits = [0, NEVER, NEVER, NEVER, np.log(81)]
  drawn = returns_drawn(
    logits, 2000, kappa=0.0, inverse_temperature=0.5, num_return_samples=1
  )
  assert drawn.count(4) / 2000 == pytest.approx(0.9, abs=0.027)


# Actions.

choose = jax.jit(choose_action, static_argnums=4)


def actions_drawn(logits, allowed, greedy=False, num_keys=64, **fields):
  logits = jnp.tile(jnp.array(logits, jnp.float32), (num_keys, 1))
  allowed = jnp.tile(jnp.array(allowed, bool), (num_keys, 1))
  greedy = jnp.full(num_keys, greedy)
  drawn = choose(logits, allowed, keys(num_keys), greedy, ActingConfig(**fields))
  return set(drawn.tolist())


def test_only_allowed_actions_count_for_the_percentile():
  # Of 1, 2, 3, 4 the median is 2.5. With the forbidden 9 it would be 3, which alone
  # would leave 4.
  assert actions_drawn([9, 1, 2, 3, 4], [0, 1, 1, 1, 1]) == {3, 4}


@pytest.mark.parametrize(
  ('percentile', 'kept'), [(0, {0, 1, 2, 3}), (25, {1, 2, 3}), (50, {2, 3}), (75, {3})]
)
def test_the_percentile_is_interpolated_and_must_be_exceeded(percentile, kept):
  # Of 0, 1, 2, 3 the percentiles are 0.75, 1.5, 2.25; at 0 nothing is left out.
  drawn = actions_drawn(
    [0, 1, 2, 3], [1, 1, 1, 1], num_keys=512, action_percentile=float(percentile)
  )
  assert drawn == kept


def test_greedy_is_the_likeliest_allowed_action():
  assert actions_drawn([9, 1, 2, 4, 3], [0, 1, 1, 1, 1], greedy=True) == {3}


@pytest.mark.parametrize('score', [0.0, 1.0, -1.0, 1e-39, -1e-39, 1e3])
def test_a_tie_at_the_top_survives_and_lets_no_other_action_in(score):
  assert actions_drawn([99, score, score, score], [0, 1, 1, 1]) == {1, 2, 3}
  assert actions_drawn([99, score, score, score], [0, 1, 1, 1], greedy=True) == {1}


@pytest.mark.parametrize('score', [0.0, -5.0, 5.0])
def test_a_single_allowed_action_is_taken(score):
  assert actions_drawn([1.0, 2.0, score, 3.0], [0, 0, 1, 0]) == {2}


def test_a_low_temperature_takes_the_better_of_two_and_a_high_one_both():
  logits, allowed = [NEVER, NEVER, 1, 2], [1, 1, 1, 1]
  assert actions_drawn(logits, allowed, action_temperature=0.01) == {3}
  assert actions_drawn(logits, allowed, action_temperature=100.0) == {2, 3}


def test_with_noop_all_actions_are_chosen_from_and_count_for_the_percentile():
  # Of 9, 1, 2, 3, 4 the median is 3: 9, which is not allowed, and 4 remain.
  logits, allowed = [9, 1, 2, 3, 4], [0, 1, 1, 1, 1]
  drawn = actions_drawn(logits, allowed, illegal='noop', action_temperature=100.0)
  assert drawn == {0, 4}
  assert actions_drawn(logits, allowed, illegal='noop', greedy=True) == {0}


def test_a_choice_is_always_an_action_that_the_environment_accepts():
  rng = np.random.default_rng(0)
  for _ in range(20):
    logits = rng.choice([-3.0, 0.0, 0.0, 2.0], size=(64, 5)).astype(np.float32)
    allowed = rng.random((64, 5)) < 0.4
    allowed[np.arange(64), rng.integers(0, 5, 64)] = True
    greedy = rng.random(64) < 0.5
    drawn = choose(logits, allowed, keys(64), greedy, ActingConfig())
    assert allowed[np.arange(64), drawn].all()


# Whole episodes, played by a policy that knows nothing.


@pytest.fixture(scope='module')
def line_player():
  return tiny_line.player()


def play_line(player, places, num_slots=3, seed=0, max_steps=12, num_stages=1):
  """(scores, actions of each episode) of one episode from each place."""
  traces = [[] for _ in places]

  def start(place, trace):
    def begin():
      environment = tiny_line.Line(place, trace)
      return environment, environment.reset()

    return begin

  starts = [start(*pair) for pair in zip(places, traces, strict=True)]
  results = play(
    player,
    [OneByOne(starts) for _ in range(num_stages)],
    len(starts),
    max_steps=max_steps,
    seed=seed,
    greedy=[False] * len(starts),
    num_slots=num_slots,
  )
  return results, traces


PLACES = [4, 2, 7, 4, 0, 6, 4]


def test_an_episode_does_not_depend_on_the_number_of_slots(line_player):
  expected = play_line(line_player, PLACES, num_slots=3)
  assert play_line(line_player, PLACES, num_slots=64) == expected


def test_an_episode_does_not_depend_on_the_others(line_player):
  results, traces = play_line(line_player, PLACES)
  others = [4, 7, 7, 7, 0, 1, 4]  # the same at 0, 2, 4 and 6
  other_results, other_traces = play_line(line_player, others)
  for index in (0, 2, 4, 6):
    assert other_traces[index] == traces[index]
    assert other_results[index] == results[index]


def test_a_seed_repeats_itself_and_another_one_does_not(line_player):
  _, first = play_line(line_player, PLACES, seed=0)
  assert play_line(line_player, PLACES, seed=0)[1] == first
  assert play_line(line_player, PLACES, seed=1)[1] != first


def test_episodes_from_one_place_differ_as_their_samples_do(line_player):
  _, traces = play_line(line_player, [4, 4, 4])
  assert len({tuple(trace) for trace in traces}) > 1


def test_an_episode_is_cut_off_or_ends_by_itself(line_player):
  results, traces = play_line(line_player, PLACES, max_steps=5)
  for place, score, trace in zip(PLACES, results, traces, strict=True):
    assert score.num_steps == len(trace) <= 5
    for action in trace:
      place = int(np.clip(place + (-1, 1, 0, 2)[action], 0, 8))
    assert score.terminated == (place == 8)
    # -1 a step, and 5 for the one that reaches the goal.
    expected = 5 - (len(trace) - 1) if place == 8 else -5
    assert score.raw_return == expected
  assert {score.terminated for score in results} == {True, False}


def test_nothing_to_play_gives_no_scores(line_player):
  assert play_line(line_player, []) == ([], [])


def test_success_is_a_positive_return_in_time():
  results = [
    EpisodeScore(1.0, 50, True),
    EpisodeScore(1.0, 51, True),  # too late
    EpisodeScore(0.0, 10, True),  # no success
    EpisodeScore(0.5, 3, False),
  ]
  assert scores.success_share(results, within=50) == 2 / 4


def test_every_decision_is_told_in_the_order_of_its_episode(line_player):
  told = {}

  def note(episode, step, action, wanted):
    assert step == len(told.setdefault(episode, []))
    assert tiny_line.LINE.return_range[0] <= wanted < tiny_line.LINE.return_range[1]
    told[episode].append(action)

  traces = [[] for _ in range(3)]

  def start(trace):
    def begin():
      environment = tiny_line.Line(4, trace)
      return environment, environment.reset()

    return begin

  stage = OneByOne([start(trace) for trace in traces])
  settings = {'max_steps': 12, 'seed': 0, 'greedy': [False] * 3, 'num_slots': 2}
  play(line_player, [stage], 3, decision_fn=note, **settings)
  assert [told[episode] for episode in range(3)] == traces


def test_of_a_model_without_returns_no_return_is_told(line_player):
  policy = tiny_models.tiny_policy(sees_returns=False)
  params = {k: v for k, v in line_player.params.items() if not k.startswith('ret')}
  told = []
  play(
    dataclasses.replace(
      line_player, decide_fn=make_decide(policy, line_player.config), params=params
    ),
    [OneByOne([lambda: (line := tiny_line.Line(4, []), line.reset())])],
    1,
    max_steps=3,
    seed=0,
    greedy=[False],
    decision_fn=lambda *what: told.append(what),
  )
  assert [(step, wanted) for _, step, _, wanted in told][:2] == [(0, None), (1, None)]


def test_atari_scores_lie_between_random_play_and_a_human():
  assert scores.human_normalised('Breakout', 1.7) == 0
  assert scores.human_normalised('Breakout', 30.5) == 1
  assert scores.human_normalised('Pong', -20.7 + 35.3 / 2) == pytest.approx(0.5)
  assert scores.human_normalised('Pooyan', 100.0) is None
  known = [g for g in specs.ATARI_GAMES if scores.reference_returns(g)]
  assert set(specs.ATARI_GAMES) - set(known) == {'Carnival', 'Pooyan'}


def test_returns_are_summed_up_over_episodes():
  results = [EpisodeScore(1.0, 10, True), EpisodeScore(5.0, 30, False)]
  assert scores.returns_summary(results) == {
    'mean': 3.0,
    'std': 2.0,
    'min': 1.0,
    'max': 5.0,
    'steps': 20.0,
  }


def test_padding_as_in_the_notebook_is_seen_as_zeros_with_known_actions(line_player):
  config = dataclasses.replace(
    line_player.config, padding='notebook', target_return=3.0
  )
  player = dataclasses.replace(line_player, config=config)

  shown = []

  def keep(params, history, keys, greedy):
    shown.append(history)
    return Decision(np.ones(1, np.int32))

  play(
    dataclasses.replace(player, decide_fn=keep),
    [OneByOne([lambda: (line := tiny_line.Line(4, []), line.reset())])],
    1,
    max_steps=2,
    seed=0,
    greedy=[False],
  )
  first, second = shown
  context = player.context
  assert first.valid.all()
  # Every action but the one to be decided is known, and 0.
  assert first.is_known[0].tolist() == [True] * (context - 1) + [False]
  assert not first.actions.any() and not first.observations[0, :-1].any()
  assert first.returns_to_go[0].tolist() == [3.0] * context
  # It moved to the right, for a reward of -1, which is to be made up for.
  assert second.valid.all() and second.is_known[0].tolist() == [True] * (
    context - 1
  ) + [False]
  assert second.actions[0].tolist() == [0] * (context - 2) + [1, 0]
  assert second.returns_to_go[0].tolist() == [3.0] * (context - 1) + [4.0]


def test_an_action_that_is_not_accepted_does_nothing_where_the_config_says_so():
  names = ('NOOP', 'left', 'right')
  spec = dataclasses.replace(tiny_line.LINE, action_names=names)
  config = ActingConfig(illegal='noop')
  vocabulary = ('NOOP', 'jump', 'left', 'right')
  player = Player(None, 1, None, config, vocabulary, spec)
  assert rollout.own_actions(player).tolist() == [0, 0, 1, 2]
  spec = dataclasses.replace(tiny_line.LINE, action_names=names[1:])
  with pytest.raises(UserError, match="acting.illegal: 'noop' needs an action NOOP"):
    rollout.own_actions(dataclasses.replace(player, spec=spec))
