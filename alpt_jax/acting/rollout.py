"""Many episodes at once: environments step on the host, decisions are batched.

A fixed number of slots keeps the compiled shape; as an episode ends, the next
one takes its slot. What an episode does depends on its own number and the seed
alone, not on its slot. The device is never waited for but to read the actions.
"""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import dm_env
import jax
import numpy as np

from alpt_jax import returns, specs
from alpt_jax.acting.memory import News, blank, remember
from alpt_jax.acting.policy import ActingConfig
from alpt_jax.errors import UserError
from alpt_jax.types import Array, Decision

# Starts one episode: returns the environment and its first time step.
StartFn = Callable[[], tuple[dm_env.Environment, dm_env.TimeStep]]
# Told of every decision: episode, step, joint action, return-to-go asked for if any.
DecisionFn = Callable[[int, int, int, int | None], None]


class EpisodeScore(NamedTuple):
  """How one episode went; the reward of its terminal step counts."""

  raw_return: float
  num_steps: int
  terminated: bool  # ended by itself, not cut off


class Moment(NamedTuple):
  """What the environments of S slots answer; rows of resting slots mean nothing."""

  observations: Array  # [S, ...]
  rewards: Array  # [S] float32, raw
  discounts: Array  # [S] float32, 0 when the episode has terminated
  is_last: Array  # [S] bool


class Stage(Protocol):
  """The environments of a batch of slots."""

  def start(self, slot: int, episode: int) -> Array:
    """Puts a fresh episode into a slot; returns its first observation."""

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    """Acts in all running slots, of which there is one: `[S]` int, `[S]` bool.

    Actions are the environment's own. Devices that were handed work go on with it.
    """


class OneByOne:
  """A `Stage` of single environments, stepped one after the other."""

  def __init__(self, starts: Sequence[StartFn]):
    """Takes a function for every episode; stages may share them."""
    self._starts = starts
    self._environments: dict[int, dm_env.Environment] = {}

  def start(self, slot: int, episode: int) -> np.ndarray:
    self._environments[slot], first = self._starts[episode]()
    return np.asarray(first.observation)

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    steps = {
      slot: self._environments[slot].step(int(actions[slot]))
      for slot in np.flatnonzero(running).tolist()
    }
    slots, size = list(steps), len(actions)
    shown = np.stack([timestep.observation for timestep in steps.values()])
    observations = np.zeros((size, *shown.shape[1:]), shown.dtype)
    observations[slots] = shown
    rewards, discounts = np.zeros(size, np.float32), np.ones(size, np.float32)
    rewards[slots] = [timestep.reward for timestep in steps.values()]
    discounts[slots] = [timestep.discount for timestep in steps.values()]
    is_last = np.ones(size, bool)
    is_last[slots] = [timestep.last() for timestep in steps.values()]
    return Moment(observations, rewards, discounts, is_last)


@dataclasses.dataclass(frozen=True)
class Player:
  """A policy ready to play one environment.

  Attributes:
    decide_fn: `(params, history, keys, greedy) -> Decision`, as `policy.make_decide`
      makes it of a decision transformer and `baselines.cql` of a Q-network.
    context: C, the transitions that it is shown.
    params: its parameters.
    config: the acting protocol.
    vocabulary: the joint vocabulary that it was trained with.
    spec: of the environment to be played.
  """

  decide_fn: Callable[..., Decision]
  context: int
  params: object
  config: ActingConfig
  vocabulary: tuple[str, ...]
  spec: specs.EnvironmentSpec


@dataclasses.dataclass
class TimeSpent:
  """Where the time of `play` goes, in seconds of its own thread.

  What the others do meanwhile, which is the point of several stages, is not seen: a
  device that decides while environments step is not waited for.

  Attributes:
    asking: handing news and a decision to the device.
    waiting: for decisions.
    stepping: in the environments.
    calls: decisions for a group of slots.
    decisions: for a slot whose episode was under way.
  """

  asking: float = 0.0
  waiting: float = 0.0
  stepping: float = 0.0
  calls: int = 0
  decisions: int = 0


def play(
  player: Player,
  stages: Sequence[Stage],
  num_episodes: int,
  *,
  max_steps: int,
  seed: int,
  greedy: Sequence[bool],
  num_slots: int = 64,
  decision_fn: DecisionFn | None = None,
  spent: TimeSpent | None = None,
) -> list[EpisodeScore]:
  """Plays `num_episodes` episodes once each and returns their scores in order.

  With several stages the slots are cut into as many groups, which take turns: while
  the device decides for one, the environments of another step. What an episode does
  is the same for any number of stages.

  Args:
    player: the policy.
    stages: the environments, of a group of slots each.
    num_episodes: may be 0.
    max_steps: an episode is cut off after so many agent steps.
    seed: of the sampled returns and actions.
    greedy: per episode, whether the likeliest action is taken.
    num_slots: episodes that are under way at most, rounded up to as many in each stage.
    decision_fn: told of every decision, before it is acted upon.
    spent: what is spent is added there.
  """
  size = math.ceil(min(num_slots, num_episodes) / len(stages))
  spent = TimeSpent() if spent is None else spent
  key = jax.random.key(seed)
  groups = [_Group(player, stage, size, key, max_steps, spent) for stage in stages]
  waiting = collections.deque(range(num_episodes))
  scores: dict[int, EpisodeScore] = {}

  def start_next(group, slot):
    if waiting:
      episode = waiting.popleft()
      group.start(slot, episode, greedy[episode])

  for group in groups:
    for slot in range(size):
      start_next(group, slot)
  for group in groups:
    group.ask()
  while any(group.is_asking for group in groups):
    for group in groups:
      if not group.is_asking:
        continue
      # The device goes on to the other groups' decisions, which are in its queue.
      actions = group.hear(decision_fn)
      for slot, score in group.step(actions).items():
        scores[int(group.episodes[slot])] = score
        start_next(group, slot)
      group.ask()
  return [scores[episode] for episode in range(num_episodes)]


class _Group:
  """The slots of one stage: the host's part of what is remembered of them."""

  def __init__(
    self,
    player: Player,
    stage: Stage,
    size: int,
    key: Array,
    max_steps: int,
    spent: TimeSpent,
  ):
    self.episodes = np.zeros(size, np.int32)
    self._steps = np.zeros(size, np.int32)
    self._is_running = np.zeros(size, bool)
    self._greedy = np.zeros(size, bool)
    self._returns = np.zeros(size, np.float64)
    self._player, self._stage, self._key = player, stage, key
    self._max_steps, self._spent = max_steps, spent
    self._own_action = own_actions(player)
    form = player.spec.observation
    allowed = specs.allowed_actions(player.spec, player.vocabulary)
    self._history = blank(size, player.context, form, allowed)
    self._news = News(
      np.zeros((size, *form.shape), form.dtype),
      np.zeros(size, np.int32),
      np.zeros(size, np.float32),
      np.zeros(size, np.int32),
      self.episodes,
      self._steps,
    )
    self._decision: Decision | None = None

  @property
  def is_asking(self) -> bool:
    """Whether a decision is under way."""
    return self._decision is not None

  def start(self, slot: int, episode: int, greedy: bool) -> None:
    """Puts a fresh episode into a slot."""
    self.episodes[slot], self._steps[slot] = episode, 0
    self._is_running[slot], self._greedy[slot] = True, greedy
    self._returns[slot] = 0.0
    self._news.observations[slot] = self._stage.start(slot, episode)

  def ask(self) -> None:
    """Hands the device the news, and the next decision; waits for nothing."""
    if not self._is_running.any():
      return
    begin = time.perf_counter()
    # Copies: the arrays are written to while the device may still read them.
    news = News(*(array.copy() for array in self._news))
    player = self._player
    self._history, keys = remember(player.config, self._history, news, self._key)
    self._decision = player.decide_fn(
      player.params, self._history, keys, self._greedy.copy()
    )
    jax.copy_to_host_async(self._decision.action)
    self._spent.asking += time.perf_counter() - begin

  def hear(self, decision_fn: DecisionFn | None) -> np.ndarray:
    """`[S]` joint actions, as soon as they are decided."""
    begin = time.perf_counter()
    decision, self._decision = self._decision, None
    actions = np.asarray(decision.action)
    self._spent.waiting += time.perf_counter() - begin
    self._spent.calls += 1
    self._spent.decisions += int(self._is_running.sum())
    if decision_fn is not None:
      self._tell(decision, decision_fn)
    return actions

  def _tell(self, decision: Decision, decision_fn: DecisionFn) -> None:
    """Passes on what was decided in each running slot."""
    chosen, wanted = np.asarray(decision.action), [None] * len(self._steps)
    if decision.return_to_go is not None:
      wanted = np.asarray(decision.return_to_go).tolist()
    for slot in np.flatnonzero(self._is_running).tolist():
      place = int(self.episodes[slot]), int(self._steps[slot])
      decision_fn(*place, int(chosen[slot]), wanted[slot])

  def step(self, actions: np.ndarray) -> dict[int, EpisodeScore]:
    """Acts in every running slot; slot -> score of the episodes that it ended."""
    running = self._is_running
    begin = time.perf_counter()
    moment = self._stage.step(np.where(running, self._own_action[actions], 0), running)
    self._spent.stepping += time.perf_counter() - begin
    self._returns[running] += moment.rewards[running]
    self._steps[running] += 1
    over = running & (moment.is_last | (self._steps >= self._max_steps))
    self._is_running = running & ~over
    self._note(self._is_running, actions, moment)
    return {slot: self._score(slot, moment) for slot in np.flatnonzero(over).tolist()}

  def _note(self, slots: np.ndarray, actions: np.ndarray, moment: Moment) -> None:
    """Keeps what a step brought to some slots, `[S]` bool."""
    news, clipped = self._news, returns.clip_rewards(moment.rewards[slots])
    news.observations[slots] = moment.observations[slots]
    news.actions[slots] = actions[slots]
    news.rewards[slots] = clipped
    news.reward_tokens[slots] = returns.reward_tokens(clipped, moment.discounts[slots])

  def _score(self, slot: int, moment: Moment) -> EpisodeScore:
    terminated = bool(moment.is_last[slot] and moment.discounts[slot] == 0)
    return EpisodeScore(float(self._returns[slot]), int(self._steps[slot]), terminated)


def own_actions(player: Player) -> np.ndarray:
  """`[A]` the environment's own action for each joint one.

  An action that it does not accept, which `illegal='noop'` may choose, does nothing.

  Raises:
    UserError: `illegal='noop'` where there is no NOOP.
  """
  names = player.spec.action_names
  own = np.full(len(player.vocabulary), -1)
  if player.config.illegal == 'noop':
    if 'NOOP' not in names:
      raise UserError(
        f"acting.illegal: 'noop' needs an action NOOP, {player.spec.name} has "
        f"{', '.join(names)}. Use 'mask'."
      )
    own[:] = names.index('NOOP')
  own[specs.action_indices(player.spec, player.vocabulary)] = np.arange(len(names))
  return own
