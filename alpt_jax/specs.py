"""What an environment is, in words that travel with its data and checkpoints.

Floor 1. An action is its NAME. Each environment numbers its own actions; a run
numbers the union of its environments' names, the joint vocabulary, and every
array named `actions` in a `Window` uses the latter.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# The Arcade Learning Environment's actions in its own order.
ALE_ACTIONS = tuple(
  (
    'NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT UPFIRE RIGHTFIRE '
    'LEFTFIRE DOWNFIRE UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE'
  ).split()
)


@dataclasses.dataclass(frozen=True)
class ObservationSpec:
  """The form of one observation.

  Attributes:
    kind: 'image' (uint8 [height, width, channels], split into patch tokens),
      'integers' (uint8 [C], entry c below `num_values[c]`) or 'vector' (float32
      [C]).
    shape: the shape of one observation.
    dtype: 'uint8' or 'float32'.
    num_values: only for 'integers', how many values each entry can take.
  """

  kind: str
  shape: tuple[int, ...]
  dtype: str
  num_values: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How episodes are played; scores under different protocols do not compare.

  Attributes:
    max_episode_steps: agent steps after which an episode is cut off.
  """

  max_episode_steps: int


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
  """Everything about an environment that its data and its players must share.

  Attributes:
    name: for example 'maze/blocked:20/7'.
    action_names: the environment's own actions, in its own order.
    observation: the form of its observations.
    return_range: (low, high), the integer returns-to-go [low, high) of clipped
      rewards that an episode can show; ranges of several are joined.
    protocol: how its episodes are played.
  """

  name: str
  action_names: tuple[str, ...]
  observation: ObservationSpec
  return_range: tuple[int, int]
  protocol: Protocol

  def to_dict(self) -> dict[str, Any]:
    """The spec as plain JSON types."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, fields: Mapping[str, Any]) -> 'EnvironmentSpec':
    """The inverse of `to_dict`, after JSON made lists of the tuples."""
    observation = dict(fields['observation'])
    observation['shape'] = tuple(observation['shape'])
    observation['num_values'] = tuple(observation['num_values'])
    return cls(
      name=fields['name'],
      action_names=tuple(fields['action_names']),
      observation=ObservationSpec(**observation),
      return_range=tuple(fields['return_range']),
      protocol=Protocol(**fields['protocol']),
    )


def joint_vocabulary(
  specs: Sequence[EnvironmentSpec], existing: Sequence[str] = ()
) -> tuple[str, ...]:
  """Returns the action names of a run, in the order of its action indices.

  The 18 ALE names in ALE order whenever one of them takes part, then all
  further names in sorted order. Names of an `existing` vocabulary (that of a
  checkpoint) keep their indices: new ones are appended, by the same rule.
  """
  names = {name for spec in specs for name in spec.action_names}
  head = list(existing)
  if names & set(ALE_ACTIONS):
    head += [name for name in ALE_ACTIONS if name not in head]
  return tuple(head + sorted(names - set(head)))


def action_indices(spec: EnvironmentSpec, vocabulary: Sequence[str]) -> np.ndarray:
  """`[own actions]` int32: the joint index of each of an environment's actions."""
  place = {name: index for index, name in enumerate(vocabulary)}
  return np.array([place[name] for name in spec.action_names], np.int32)


def allowed_actions(spec: EnvironmentSpec, vocabulary: Sequence[str]) -> np.ndarray:
  """`[A]` bool: True for the joint actions that an environment accepts."""
  return np.isin(np.arange(len(vocabulary)), action_indices(spec, vocabulary))


def joint_return_range(specs: Sequence[EnvironmentSpec]) -> tuple[int, int]:
  """The smallest range that holds every environment's return range."""
  lows, highs = zip(*(spec.return_range for spec in specs), strict=True)
  return min(lows), max(highs)
