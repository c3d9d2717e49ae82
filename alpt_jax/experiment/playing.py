"""The environments that a trained policy is scored in."""

import pathlib
from typing import Protocol

from alpt_jax import specs
from alpt_jax.acting.rollout import Player
from alpt_jax.experiment.config import EvaluationConfig
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
  spec: EnvironmentSpec, config: EvaluationConfig, seed: int
) -> Arena | None:
  """Where policies for an environment are scored; None if it cannot be played here."""
  if spec.name.startswith('maze/'):
    return MazeArena(spec, config, seed)
  if specs.atari_game(spec) is not None:
    from alpt_jax.experiment.atari_arena import AtariArena  # needs the emulator

    return AtariArena(spec, config, seed)
  return None
