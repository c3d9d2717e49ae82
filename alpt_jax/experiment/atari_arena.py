"""How policies are scored in an Atari game: whole episodes in the real emulator."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from PIL import Image, ImageDraw

from alpt_jax import specs
from alpt_jax.acting import scores
from alpt_jax.acting.rollout import Moment, OneByOne, Player, play
from alpt_jax.envs.atari import Atari, AtariBatch, check_can_batch
from alpt_jax.experiment.pictures import save_gif

# Ours; evaluation never shares a seed with recording.
_EPISODE_SEED = 880_001
# A film shows this many agent steps at most: 40 seconds as the game runs.
_FILMED_STEPS = 600
_STEP_SECONDS = 4 / 60
_CAPTION_HEIGHT = 14


class AtariArena:
  """`num_episodes` episodes side by side, actions sampled (Lee et al., 2022)."""

  def __init__(
    self,
    spec: specs.EnvironmentSpec,
    num_episodes: int,
    seed: int,
    num_stages: int | None = None,
  ):
    """Plays under `spec.protocol`; starts no emulator yet, but sees that it could.

    Args:
      spec: from `specs.atari_spec`.
      num_episodes: side by side.
      seed: of the episodes and of what is sampled.
      num_stages: groups that the episodes are cut into, which take turns on the
        device; None for what is fastest. The scores are the same.
    """
    check_can_batch(spec)
    self._spec = spec
    self._game = specs.atari_game(spec)
    first = _EPISODE_SEED + seed * num_episodes
    self._seeds = list(range(first, first + num_episodes))
    self._seed = seed
    self._num_stages = default_stages() if num_stages is None else num_stages

  def references(self) -> dict[str, float]:
    """Published scores of random play and of a human."""
    published = scores.reference_returns(self._game)
    return {f'score_{name}': value for name, value in published.items()}

  def scores(self, player: Player) -> dict[str, float]:
    """Raw scores over the episodes, and where they lie from random play to a human."""
    count = len(self._seeds)
    results = play(
      player,
      stages(self._spec, self._seeds, self._num_stages),
      count,
      max_steps=self._spec.protocol.max_episode_steps,
      seed=self._seed,
      greedy=[False] * count,
      num_slots=count,
    )
    found = scores.returns_summary(results)
    named = {'score': found.pop('mean')}
    named |= {f'score_{name}': value for name, value in found.items()}
    normalised = scores.human_normalised(self._game, named['score'])
    if normalised is not None:
      named['score_human_normalised'] = normalised
    return named

  def film(self, player: Player, path: pathlib.Path) -> None:
    """Films the beginning of one episode with every action and return asked for."""
    environment = Atari(self._spec, self._seeds[0])
    frames: list[np.ndarray] = []

    def note(episode, step, action, wanted):
      del episode, step
      caption = player.vocabulary[action]
      if wanted is not None:  # methods without returns ask for none
        caption += f'  return {wanted}'
      frames.append(_captioned(environment.screen(), caption))

    play(
      player,
      [OneByOne([lambda: (environment, environment.reset())])],
      1,
      max_steps=_FILMED_STEPS,
      seed=self._seed,
      greedy=[False],
      decision_fn=note,
    )
    save_gif(path, frames, _STEP_SECONDS)


def default_stages() -> int:
  """Groups that episodes are cut into: two where the device leaves the CPU alone.

  On a CPU, which computes the decisions, too, two groups took 1.09 of the time of one.
  """
  return 1 if jax.default_backend() == 'cpu' else 2


def stages(
  spec: specs.EnvironmentSpec, seeds: Sequence[int], wanted: int
) -> list['SideBySide']:
  """Stages of as many episodes each, a slot for every episode.

  One alone where the episodes cannot be shared out evenly.

  Args:
    spec: from `specs.atari_spec`.
    seeds: of all episodes, in order.
    wanted: stages.
  """
  count = wanted if len(seeds) % wanted == 0 else 1
  size = len(seeds) // count
  return [
    SideBySide(spec, seeds[first : first + size], first)
    for first in range(0, len(seeds), size)
  ]


class SideBySide:
  """A `Stage` whose slots are the episodes of one emulator batch."""

  def __init__(self, spec: specs.EnvironmentSpec, seeds: Sequence[int], first: int = 0):
    """Loads an emulator for each seed.

    Args:
      spec: from `specs.atari_spec`.
      seeds: of the episodes.
      first: number of the first of them.
    """
    self._first_episode = first
    self._batch = AtariBatch(spec, seeds)
    self._shown = self._batch.reset()

  def start(self, slot: int, episode: int) -> np.ndarray:
    assert slot == episode - self._first_episode, 'an episode has a slot of its own'
    return self._shown[slot]

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    del running  # an emulator whose episode has ended stays as it is
    return Moment(*self._batch.step(actions))


def _captioned(screen: np.ndarray, caption: str) -> np.ndarray:
  """A `[H, W, 3]` screen above a line of text."""
  height, width, _ = screen.shape
  picture = Image.new('RGB', (width, height + _CAPTION_HEIGHT))
  picture.paste(Image.fromarray(screen))
  ImageDraw.Draw(picture).text((2, height + 1), caption, fill='white')
  return np.asarray(picture)
