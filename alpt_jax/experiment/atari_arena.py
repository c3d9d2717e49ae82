"""How policies are scored in an Atari game: whole episodes in the real emulator."""

import pathlib

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

  def __init__(self, spec: specs.EnvironmentSpec, num_episodes: int, seed: int):
    """Plays under `spec.protocol`; starts no emulator yet, but sees that it could."""
    check_can_batch(spec)
    self._spec = spec
    self._game = specs.atari_game(spec)
    first = _EPISODE_SEED + seed * num_episodes
    self._seeds = list(range(first, first + num_episodes))
    self._seed = seed

  def references(self) -> dict[str, float]:
    """Published scores of random play and of a human."""
    published = scores.reference_returns(self._game)
    return {f'score_{name}': value for name, value in published.items()}

  def scores(self, player: Player) -> dict[str, float]:
    """Raw scores over the episodes, and where they lie from random play to a human."""
    count = len(self._seeds)
    results = play(
      player,
      _SideBySide(self._spec, self._seeds),
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
      OneByOne([lambda: (environment, environment.reset())]),
      1,
      max_steps=_FILMED_STEPS,
      seed=self._seed,
      greedy=[False],
      decision_fn=note,
    )
    save_gif(path, frames, _STEP_SECONDS)


class _SideBySide:
  """A `Stage` whose slots are the episodes of one emulator batch."""

  def __init__(self, spec: specs.EnvironmentSpec, seeds: list[int]):
    self._batch = AtariBatch(spec, seeds)
    self._first = self._batch.reset()

  def start(self, slot: int, episode: int) -> np.ndarray:
    assert slot == episode, 'every episode has a slot of its own'
    return self._first[slot]

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
