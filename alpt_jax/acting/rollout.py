"""Many episodes at once: environments step on the host, decisions are batched.

A fixed number of slots keeps the compiled shape; as an episode ends, the next
one takes its slot. What an episode does depends on its own number and the seed
alone, not on its slot.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import dm_env
import jax
import numpy as np

from alpt_jax import returns, specs
from alpt_jax.acting.policy import ActingConfig, History
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
    """Acts in all running slots: `[S]` int own actions, `[S]` bool."""


class OneByOne:
  """A `Stage` of single environments, stepped one after the other."""

  def __init__(self, starts: Sequence[StartFn]):
    self._starts = starts
    self._environments: dict[int, dm_env.Environment] = {}
    self._last: dict[int, np.ndarray] = {}  # slot -> what it shows while it rests

  def start(self, slot: int, episode: int) -> np.ndarray:
    self._environments[slot], first = self._starts[episode]()
    self._last[slot] = np.asarray(first.observation)
    return self._last[slot]

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    size = len(actions)
    rewards, discounts = np.zeros(size, np.float32), np.ones(size, np.float32)
    is_last = np.ones(size, bool)
    for slot in np.flatnonzero(running).tolist():
      timestep = self._environments[slot].step(int(actions[slot]))
      self._last[slot] = np.asarray(timestep.observation)
      rewards[slot], discounts[slot] = timestep.reward, timestep.discount
      is_last[slot] = timestep.last()
    observations = np.stack([self._last[slot] for slot in range(size)])
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


def play(
  player: Player,
  stage: Stage,
  num_episodes: int,
  *,
  max_steps: int,
  seed: int,
  greedy: Sequence[bool],
  num_slots: int = 64,
  decision_fn: DecisionFn | None = None,
) -> list[EpisodeScore]:
  """Plays `num_episodes` episodes once each and returns their scores in order.

  Args:
    player: the policy.
    stage: the environments.
    num_episodes: at least 1.
    max_steps: an episode is cut off after so many agent steps.
    seed: of the sampled returns and actions.
    greedy: per episode, whether the likeliest action is taken.
    num_slots: episodes that are decided for in one call.
    decision_fn: told of every decision, before it is acted upon.
  """
  batch = _Slots(player, stage, min(num_slots, num_episodes))
  waiting = list(range(num_episodes))[::-1]
  scores: list[EpisodeScore | None] = [None] * num_episodes
  for slot in range(batch.size):
    episode = waiting.pop()
    batch.start(slot, episode, greedy[episode])
  key = jax.random.key(seed)
  while batch.running.any():
    keys = _keys(key, batch.episodes, batch.num_steps)
    decision = player.decide_fn(player.params, batch.history(), keys, batch.greedy)
    if decision_fn is not None:
      batch.tell(decision, decision_fn)
    for slot, score in batch.step(np.asarray(decision.action), max_steps).items():
      scores[batch.episodes[slot]] = score
      if waiting:
        episode = waiting.pop()
        batch.start(slot, episode, greedy[episode])
  return scores


@jax.jit
def _keys(key, episodes, steps):
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  return jax.vmap(jax.random.fold_in)(fold(key, episodes), steps)


class _Slots:
  """The host's arrays behind a `History`, one row for each slot of a stage."""

  def __init__(self, player: Player, stage: Stage, size: int):
    context, spec = player.context, player.spec
    self.size = size
    self.episodes = np.zeros(size, np.int32)
    self.num_steps = np.zeros(size, np.int32)
    self.running = np.zeros(size, bool)
    self.greedy = np.zeros(size, bool)
    self._stage = stage
    self._returns = np.zeros(size, np.float64)
    self._own_action = _own_actions(player)
    self._is_padding_shown = player.config.padding == 'notebook'
    shape, dtype = spec.observation.shape, spec.observation.dtype
    self._observations = np.zeros((size, context, *shape), dtype)
    self._actions = np.zeros((size, context), np.int32)
    self._is_known = np.zeros((size, context), bool)
    self._reward_tokens = np.zeros((size, context), np.int32)
    self._returns_to_go = np.zeros((size, context), np.float32)
    self._target_return = player.config.target_return or 0.0
    self._valid = np.zeros((size, context), bool)
    allowed = specs.allowed_actions(spec, player.vocabulary)
    self._allowed = np.tile(allowed, (size, 1))

  def history(self) -> History:
    # Copies: the arrays are written to while the device may still read them.
    return History(*(array.copy() for array in self._per_transition()), self._allowed)

  def _per_transition(self) -> tuple[np.ndarray, ...]:
    """In the order of `History`'s fields."""
    return (
      self._observations,
      self._actions,
      self._is_known,
      self._reward_tokens,
      self._returns_to_go,
      self._valid,
    )

  def start(self, slot: int, episode: int, greedy: bool) -> None:
    """Puts a fresh episode into a slot: one observation, the rest padding."""
    self.episodes[slot], self.num_steps[slot] = episode, 0
    self.running[slot], self.greedy[slot] = True, greedy
    self._returns[slot] = 0.0
    for array in self._per_transition():
      array[slot] = 0
    self._valid[slot, -1] = True
    if self._is_padding_shown:
      self._is_known[slot, :-1] = self._valid[slot] = True
    self._observations[slot, -1] = self._stage.start(slot, episode)
    # Of shown padding too: nothing has been received there.
    self._returns_to_go[slot, self._valid[slot]] = self._target_return

  def tell(self, decision: Decision, decision_fn: DecisionFn) -> None:
    """Passes on what was decided in each running slot."""
    chosen, wanted = np.asarray(decision.action), [None] * self.size
    if decision.return_to_go is not None:
      wanted = np.asarray(decision.return_to_go).tolist()
    for slot in np.flatnonzero(self.running).tolist():
      place = int(self.episodes[slot]), int(self.num_steps[slot])
      decision_fn(*place, int(chosen[slot]), wanted[slot])

  def step(self, actions: np.ndarray, max_steps: int) -> dict[int, EpisodeScore]:
    """Acts in every running slot; slot -> score of the episodes that it ended."""
    own = np.where(self.running, self._own_action[actions], 0)
    moment = self._stage.step(own, self.running)
    running = np.flatnonzero(self.running)
    self._returns[running] += moment.rewards[running]
    self.num_steps[running] += 1
    over = moment.is_last | (self.num_steps >= max_steps)
    ended = running[over[running]]
    self._move_on(running[~over[running]], actions, moment)
    self.running[ended] = False
    return {slot: self._score(slot, moment) for slot in ended.tolist()}

  def _score(self, slot: int, moment: Moment) -> EpisodeScore:
    terminated = bool(moment.is_last[slot] and moment.discounts[slot] == 0)
    return EpisodeScore(
      float(self._returns[slot]), int(self.num_steps[slot]), terminated
    )

  def _move_on(self, slots: np.ndarray, actions: np.ndarray, moment: Moment) -> None:
    """Completes the last transition of some slots and opens the next one."""
    if not len(slots):
      return
    clipped = returns.clip_rewards(moment.rewards[slots])
    self._actions[slots, -1] = actions[slots]
    self._is_known[slots, -1] = True
    self._reward_tokens[slots, -1] = returns.reward_tokens(
      clipped, moment.discounts[slots]
    )
    left = returns.remaining(self._returns_to_go[slots, -1], clipped)
    for array in self._per_transition():
      array[slots, :-1] = array[slots, 1:]
      array[slots, -1] = 0
    self._observations[slots, -1] = moment.observations[slots]
    self._returns_to_go[slots, -1] = left
    self._valid[slots, -1] = True


def _own_actions(player: Player) -> np.ndarray:
  """`[A]` the environment's own action for each joint one.

  An action that it does not accept, which `illegal='noop'` may choose, does nothing.
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
