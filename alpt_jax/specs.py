"""What an environment is, in words that travel with its data and checkpoints.

Floor 1. An action is its NAME. Each environment numbers its own actions; a run
numbers the union of its environments' names, the joint vocabulary, and every
array named `actions` in a `Window` uses the latter.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alpt_jax.errors import UserError, did_you_mean

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
    frame_skip: emulator frames per agent step, the action held.
    max_pool: an observation is the maximum of the last two emulator frames.
    resize: how the emulator's screen becomes the observation; 'area', or '' where
      there is no screen.
    sticky_actions: probability that an emulator frame repeats the action before.
    max_noops: an episode starts after 0 to this many NOOPs, drawn by its seed.
    life_loss_ends: losing a life ends the episode.
    frame_rate: frames a second of the recording, before frames are skipped; 0: not
      known, as in an environment that does not run by a clock.
  """

  max_episode_steps: int
  frame_skip: int = 1
  max_pool: bool = False
  resize: str = ''
  sticky_actions: float = 0.0
  max_noops: int = 0
  life_loss_ends: bool = False
  frame_rate: float = 0.0

  def to_dict(self) -> dict[str, Any]:
    """Plain JSON types, without what is at its default.

    So a dataset keeps its hash when this class gains a field.
    """
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if getattr(self, field.name) != field.default
    }

  def differences(self, other: 'Protocol', fields: Sequence[str] = ()) -> list[str]:
    """'field here, there' of each of `fields` (default all) that two differ in."""
    names = fields or [field.name for field in dataclasses.fields(self)]
    return [
      f'{name} {getattr(self, name)!r}, not {getattr(other, name)!r}'
      for name in names
      if getattr(self, name) != getattr(other, name)
    ]

  def seen_differences(self, other: 'Protocol') -> list[str]:
    """As `differences`, of what an observation and a step ARE.

    What was not resized may stand beside what was: of one size they are alike. Beside
    `SEEN_FIELDS` the steps a second, where both are known: within 1 % (ours)
    they are the same, as 59.94 frames a second are called 60.
    """
    here, there = self._steps_a_second, other._steps_a_second
    is_resized = self.resize and other.resize
    fields = [name for name in SEEN_FIELDS if name != 'resize' or is_resized]
    differing = self.differences(other, fields)
    if here and there and abs(here - there) > 0.01 * max(here, there):
      differing.append(f'{self._rate}, not {other._rate}')
    return differing

  @property
  def _steps_a_second(self) -> float:
    return self.frame_rate / self.frame_skip

  @property
  def _rate(self) -> str:
    return (
      f'frame_rate {self.frame_rate:g} / frame_skip {self.frame_skip} '
      f'({self._steps_a_second:.4g} steps a second)'
    )


# What an observation and a step ARE; a model of one is no model of another. The
# other fields say how an episode goes: RL Unplugged was recorded with sticky actions
# and is scored without.
SEEN_FIELDS = ('frame_skip', 'max_pool', 'resize')


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
    return {**dataclasses.asdict(self), 'protocol': self.protocol.to_dict()}

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


# The games of RL Unplugged (Gulcehre et al., 2020) and the actions that each accepts,
# as indices into ALE_ACTIONS: Lee et al.'s table, which equals the emulator's minimal
# action sets. An environment's own action i is the i-th of these.
_ALL = tuple(range(18))
_MINIMAL_ACTIONS = {
  'Amidar': (*range(6), *range(10, 14)),
  'Assault': (*range(5), 11, 12),
  'Asterix': (0, *range(2, 10)),
  'Atlantis': (0, 1, 11, 12),
  'BeamRider': (*range(5), 6, 7, 11, 12),
  'Breakout': (0, 1, 3, 4),
  'Carnival': (0, 1, 3, 4, 11, 12),
  'CrazyClimber': (0, *range(2, 10)),
  'DemonAttack': (0, 1, 3, 4, 11, 12),
  'Enduro': (0, 1, 3, 4, 5, 8, 9, 11, 12),
  'Freeway': (0, 2, 5),
  'Gopher': (*range(5), *range(10, 13)),
  'KungFuMaster': (0, *range(2, 6), 8, 9, *range(11, 18)),
  'MsPacman': (0, *range(2, 10)),
  'NameThisGame': (0, 1, 3, 4, 11, 12),
  'Phoenix': (0, 1, 3, 4, 5, 11, 12, 13),
  'Pong': (0, 1, 3, 4, 11, 12),
  'Pooyan': (0, 1, 2, 5, 10, 13),
  'Qbert': tuple(range(6)),
  'SpaceInvaders': (0, 1, 3, 4, 11, 12),
  'TimePilot': (*range(6), *range(10, 14)),
  'UpNDown': (0, 1, 2, 5, 10, 13),
  'VideoPinball': (*range(6), *range(10, 13)),
  'WizardOfWor': (*range(6), *range(10, 14)),
  **dict.fromkeys(
    (
      'Alien BankHeist BattleZone Boxing Centipede ChopperCommand DoubleDunk '
      'FishingDerby Frostbite Gravitar Hero IceHockey Jamesbond Kangaroo Krull '
      'Riverraid RoadRunner Robotank Seaquest StarGunner YarsRevenge Zaxxon'
    ).split(),
    _ALL,
  ),
}
ATARI_GAMES = tuple(sorted(_MINIMAL_ACTIONS))
_ATARI = 'atari/'
# Lee et al. (2022): returns-to-go of clipped rewards in [-20, 100).
ATARI_RETURN_RANGE = (-20, 100)

_SCREEN = {'frame_skip': 4, 'max_pool': True, 'resize': 'area'}
# How RL Unplugged was recorded: 27,000 steps are the emulator's 108,000 frames.
RL_UNPLUGGED_PROTOCOL = Protocol(27_000, sticky_actions=0.25, **_SCREEN)
# How policies are scored (section 5.1): at most 2,500 steps, no sticky actions.
ATARI_EVALUATION_PROTOCOL = Protocol(2_500, **_SCREEN)


def atari_spec(game: str, protocol: Protocol) -> EnvironmentSpec:
  """The spec of an Atari game by its RL Unplugged name, for example 'Breakout'.

  Raises:
    UserError: RL Unplugged has no such game, so no action table is known.
  """
  if game not in _MINIMAL_ACTIONS:
    raise UserError(
      f"game '{game}' has no table of actions{did_you_mean(game, ATARI_GAMES)}."
    )
  return EnvironmentSpec(
    name=_ATARI + game,
    action_names=tuple(ALE_ACTIONS[index] for index in _MINIMAL_ACTIONS[game]),
    observation=ObservationSpec('image', (84, 84, 1), 'uint8'),
    return_range=ATARI_RETURN_RANGE,
    protocol=protocol,
  )


def atari_game(spec: EnvironmentSpec) -> str | None:
  """The game of an Atari spec, None for any other environment."""
  return spec.name.removeprefix(_ATARI) if spec.name.startswith(_ATARI) else None


def fire_merged(action_names: Sequence[str]) -> tuple[int, ...]:
  """For each action the index of the first one that moves alike.

  On most screens FIRE cannot be seen: RIGHTFIRE looks like RIGHT and FIRE like NOOP.
  An action that no other moves like stands for itself.
  """
  moves = [name.removesuffix('FIRE') or 'NOOP' for name in action_names]
  return tuple(moves.index(move) for move in moves)
