"""How much of an action can be seen: what no inverse dynamics model can beat.

Many Atari actions leave no trace in the next observation: FIRE while a shot is in
the air, a move against a wall. The emulator tells which, state by state: save it,
try every action for one step, compare what is seen.

S is sampled states, A the environment's own actions.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.envs.atari import Atari
from alpt_jax.envs.atari_demonstrators import EpsilonScript, epsilon_schedule
from alpt_jax.specs import EnvironmentSpec

_STEPS_BETWEEN = 5  # ours: neighbouring states are nearly the same
# Ours: an episode may outlast all the play here, a schedule goes on inside it.
_STEPS_PER_EPSILON = 50


class Effects(NamedTuple):
  """What actions did in sampled states, and which ones were taken on the way."""

  # [S, A] int32, the first action that leads to the same next observation
  first_alike: np.ndarray
  num_taken: np.ndarray  # [A] int64, over all steps of the play


def effects(environment: Atari) -> np.ndarray:
  """Which actions look alike from here: `[A]` int32.

  Entry a is the first action whose next observation is the same as that of a. The
  environment is left as it was found.
  """
  state = environment.clone()
  first: dict[bytes, int] = {}
  alike = []
  for action in range(environment.action_spec().num_values):
    observation = environment.step(action).observation
    alike.append(first.setdefault(observation.tobytes(), action))
    environment.restore(state)
  return np.array(alike, np.int32)


def sampled_effects(
  spec: EnvironmentSpec,
  num_states: int,
  seed: int = 0,
  epsilon: float | None = 1.0,
) -> Effects:
  """Looks at every fifth state of played episodes.

  What can be seen depends on who plays: a paddle that random play has left at the
  edge hides more than one that follows the ball. Sticky actions are left out,
  whatever the protocol says: with them an action has no longer one effect.

  Args:
    spec: of the game.
    num_states: S.
    seed: of the game and of the player.
    epsilon: of the `EpsilonScript` that plays; 1 is random play, which every game
      has, and None goes from 1 to 0 as a recording does.

  Raises:
    UserError: epsilon is not 1 and the game has no script.
  """
  protocol = dataclasses.replace(spec.protocol, sticky_actions=0.0)
  environment = Atari(dataclasses.replace(spec, protocol=protocol), seed)
  player = EpsilonScript(spec, 0.0 if epsilon is None else epsilon, seed)
  num_taken = np.zeros(len(spec.action_names), np.int64)
  found, num_steps, is_over = [], 0, True
  while len(found) < num_states:
    if is_over or num_steps % _STEPS_PER_EPSILON == 0:
      progress = len(found) / num_states
      player.begin_episode(epsilon_schedule(progress) if epsilon is None else epsilon)
    if is_over:
      environment.reset()
    elif num_steps % _STEPS_BETWEEN == 0:
      found.append(effects(environment))
    action = player.action(environment.ram)
    is_over = environment.step(action).last()
    num_taken[action] += 1
    num_steps += 1
  return Effects(np.stack(found), num_taken)


def ceiling(
  first_alike: np.ndarray,
  probabilities: Sequence[float] | np.ndarray | None = None,
  merged: Sequence[int] | None = None,
) -> float:
  """The expected accuracy of an oracle that sees an observation and the next.

  It knows what every action would have led to. Among those that lead to what it sees
  it names the likeliest. Uniform actions make this the number of distinguishable
  effects / A.

  The oracle knows the state behind the picture, which a model of two observations
  does not: a model may stay below. It does not know who plays: where actions depend
  on the state, a model may exceed a figure made of overall `probabilities`.

  Args:
    first_alike: `[S, A]` from `sampled_effects`.
    probabilities: `[A]` how often each action is taken, of any sum, for example the
      counts of a recording; default uniform.
    merged: `[A]` actions of the same number count as one, from
      `specs.fire_merged`; default all differ.
  """
  num_actions = first_alike.shape[1]
  if probabilities is None:
    probabilities = np.ones(num_actions)
  probabilities = np.asarray(probabilities, np.float64)
  merged = np.arange(num_actions) if merged is None else np.asarray(merged)
  effect = first_alike[..., None] == np.arange(num_actions)  # [S, A, effects]
  answer = merged[:, None] == np.arange(num_actions)  # [A, answers]
  weight = probabilities / probabilities.sum()
  seen = np.einsum('sae,ab,a->seb', effect, answer, weight, optimize=True)
  return float(seen.max(-1).sum(-1).mean())


def shares_alike(first_alike: np.ndarray) -> np.ndarray:
  """`[A, A]`: the share of states in which two actions have the same effect."""
  return (first_alike[:, :, None] == first_alike[:, None, :]).mean(0)
