"""Many episodes at once: environments step on the host, decisions are batched.

A fixed number of slots keeps the compiled shape; as an episode ends, the next
one takes its slot. What an episode does depends on its own number and the seed
alone, not on its slot.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import dm_env
import jax
import numpy as np

from alpt_jax import returns, specs
from alpt_jax.acting.policy import ActingConfig, History, make_decide
from alpt_jax.models.decision_transformer import DecisionTransformer

# Starts one episode: returns the environment and its first time step.
StartFn = Callable[[], tuple[dm_env.Environment, dm_env.TimeStep]]


class EpisodeScore(NamedTuple):
  """How one episode went; the reward of its terminal step counts."""

  raw_return: float
  num_steps: int
  terminated: bool  # ended by itself, not cut off


@dataclasses.dataclass(frozen=True)
class Player:
  """A policy ready to play one environment.

  Attributes:
    model: the decision transformer; C transitions of context.
    params: its parameters.
    config: the acting protocol.
    vocabulary: the joint vocabulary that it was trained with.
    spec: of the environment to be played.
  """

  model: DecisionTransformer
  params: object
  config: ActingConfig
  vocabulary: tuple[str, ...]
  spec: specs.EnvironmentSpec


def play(
  player: Player,
  starts: Sequence[StartFn],
  *,
  max_steps: int,
  seed: int,
  greedy: Sequence[bool],
  num_slots: int = 64,
) -> list[EpisodeScore]:
  """Plays every episode of `starts` once and returns their scores in order.

  Args:
    player: the policy.
    starts: one function per episode.
    max_steps: an episode is cut off after so many agent steps.
    seed: of the sampled returns and actions.
    greedy: per episode, whether the likeliest action is taken.
    num_slots: episodes that are decided for in one call.
  """
  decide = make_decide(player.model, player.config)
  batch = _Slots(player, min(num_slots, len(starts)))
  waiting = list(range(len(starts)))[::-1]
  scores: list[EpisodeScore | None] = [None] * len(starts)
  for slot in range(batch.size):
    batch.start(slot, waiting.pop(), starts, greedy)
  key = jax.random.key(seed)
  while batch.running.any():
    keys = _keys(key, batch.episodes, batch.num_steps)
    decision = decide(player.params, batch.history(), keys, batch.greedy)
    actions = np.asarray(decision.action)
    for slot in np.flatnonzero(batch.running):
      score = batch.step(slot, int(actions[slot]), max_steps)
      if score is None:
        continue
      scores[batch.episodes[slot]] = score
      if waiting:
        batch.start(slot, waiting.pop(), starts, greedy)
  return scores


@jax.jit
def _keys(key, episodes, steps):
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  return jax.vmap(jax.random.fold_in)(fold(key, episodes), steps)


class _Slots:
  """The host's arrays behind a `History`, and the environments of its rows."""

  def __init__(self, player: Player, size: int):
    context, spec = player.model.context, player.spec
    self.size = size
    self.episodes = np.zeros(size, np.int32)
    self.num_steps = np.zeros(size, np.int32)
    self.running = np.zeros(size, bool)
    self.greedy = np.zeros(size, bool)
    self._returns = np.zeros(size, np.float64)
    self._environments = [None] * size
    self._own_action = {
      joint: own
      for own, joint in enumerate(
        specs.action_indices(spec, player.vocabulary).tolist()
      )
    }
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
    return History(
      self._observations.copy(),
      self._actions.copy(),
      self._is_known.copy(),
      self._reward_tokens.copy(),
      self._returns_to_go.copy(),
      self._valid.copy(),
      self._allowed,
    )

  def _per_transition(self) -> tuple[np.ndarray, ...]:
    return (
      self._observations,
      self._actions,
      self._is_known,
      self._reward_tokens,
      self._returns_to_go,
      self._valid,
    )

  def start(self, slot: int, episode: int, starts, greedy) -> None:
    """Puts a fresh episode into a slot: one observation, the rest padding."""
    self._environments[slot], first = starts[episode]()
    self.episodes[slot], self.num_steps[slot] = episode, 0
    self.running[slot], self.greedy[slot] = True, greedy[episode]
    self._returns[slot] = 0.0
    for array in self._per_transition():
      array[slot] = 0
    self._observations[slot, -1] = first.observation
    self._returns_to_go[slot, -1] = self._target_return
    self._valid[slot, -1] = True

  def step(self, slot: int, action: int, max_steps: int) -> EpisodeScore | None:
    """Acts in one slot; returns the score when that ended the episode."""
    timestep = self._environments[slot].step(self._own_action[action])
    reward = np.float32(timestep.reward)
    self._returns[slot] += reward
    self.num_steps[slot] += 1
    terminated = timestep.last() and timestep.discount == 0
    if timestep.last() or self.num_steps[slot] >= max_steps:
      self.running[slot] = False
      steps = int(self.num_steps[slot])
      return EpisodeScore(float(self._returns[slot]), steps, bool(terminated))
    clipped = returns.clip_rewards(reward)
    self._actions[slot, -1] = action
    self._is_known[slot, -1] = True
    self._reward_tokens[slot, -1] = returns.reward_tokens(
      clipped, np.float32(timestep.discount)
    )
    left = returns.remaining(self._returns_to_go[slot, -1], clipped)
    for array in self._per_transition():
      array[slot, :-1] = array[slot, 1:]
      array[slot, -1] = 0
    self._observations[slot, -1] = timestep.observation
    self._returns_to_go[slot, -1] = left
    self._valid[slot, -1] = True
    return None
