"""The environments that a trained policy is scored in."""

import dataclasses
import pathlib
from typing import Protocol

from alpt_jax import specs
from alpt_jax.acting.rollout import Player
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment.maze_arena import MazeArena
from alpt_jax.specs import EnvironmentSpec


class Arena(Protocol):
  """One environment as the place where every method of a seed is scored alike."""

  def references(self) -> dict[str, float]:
    """Scores that do not depend on the policy."""

  def scores(self, player: Player) -> dict[str, float]:
    """The policy's scores on the arena's episodes."""

  def film(self, player: Player, path: pathlib.Path) -> None:
    """Writes a gif of the policy at play."""


def find_arena(
  spec: EnvironmentSpec, protocol: specs.Protocol, num_episodes: int, seed: int
) -> Arena | None:
  """Where policies for an environment are scored; None if it cannot be played here."""
  spec = dataclasses.replace(spec, protocol=protocol)
  if spec.name.startswith('maze/'):
    return MazeArena(spec, num_episodes, seed)
  if specs.atari_game(spec) is not None:
    try:
      from alpt_jax.experiment.atari_arena import AtariArena  # needs the emulator
    except ImportError as error:
      print(
        f'{spec.name}: no emulator here ({error}). Run: pip install ale-py gymnasium'
      )
      return None
    return AtariArena(spec, num_episodes, seed)
  return None


def parse_protocol(text: str, known: specs.Protocol) -> specs.Protocol:
  """'sticky_actions=0.25,frame_skip=2' -> the known protocol with those fields.

  Raises:
    UserError: an unknown field, or a value of another type.
  """
  changes = {}
  fields = {field.name: field.type for field in dataclasses.fields(known)}
  for pair in text.split(','):
    name, _, value = pair.partition('=')
    if name not in fields:
      raise UserError(f"--protocol: '{name}' is not known{did_you_mean(name, fields)}")
    kind = type(getattr(known, name))
    try:
      changes[name] = value == 'True' if kind is bool else kind(value)
      is_good = kind is not bool or value in ('True', 'False')
    except ValueError:
      is_good = False
    if not is_good:
      raise UserError(
        f'--protocol: {name}: expected {kind.__name__} like {getattr(known, name)!r}, '
        f"found '{value}'."
      )
  return dataclasses.replace(known, **changes)
