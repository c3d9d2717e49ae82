"""The environments that a config names, where no dataset is there to describe them."""

from alpt_jax import specs
from alpt_jax.envs.maze import Maze
from alpt_jax.experiment.config import RunConfig
from alpt_jax.specs import EnvironmentSpec


def environment_specs(config: RunConfig) -> list[EnvironmentSpec]:
  """Of the target and the sources, as they are recorded."""
  return [_spec(name, config) for name in config.data.environments]


def _spec(name: str, config: RunConfig) -> EnvironmentSpec:
  game = name.removeprefix('atari/')
  if game != name:
    return specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL)
  return Maze(name, config.data.observation or 'position').environment_spec
