"""Scoring in the emulator: reproducible by its seed, raw, and filmed."""

import dataclasses

import numpy as np
import pytest
import tiny_models
from PIL import Image

from alpt_jax import specs
from alpt_jax.acting.policy import ActingConfig, make_decide
from alpt_jax.acting.rollout import Player
from alpt_jax.experiment import playing
from alpt_jax.experiment.atari_arena import AtariArena
from alpt_jax.models.decision_transformer import DecisionTransformer

PROTOCOL = dataclasses.replace(specs.ATARI_EVALUATION_PROTOCOL, max_episode_steps=12)
SPEC = specs.atari_spec('SpaceInvaders', PROTOCOL)


@pytest.fixture(scope='module')
def player():
  """A policy that knows nothing and so does nearly anything."""
  policy = DecisionTransformer(
    num_actions=18,
    return_range=SPEC.return_range,
    observation_spec=SPEC.observation,
    width=8,
    num_layers=1,
    num_heads=2,
    patch_size=42,
  )
  empty = np.zeros((1, 4), np.int32)
  observations = np.zeros((1, 4, *SPEC.observation.shape), np.uint8)
  params = tiny_models.loud_params(
    policy, observations, empty, empty, empty > 0, empty, empty == 0
  )
  return Player(
    decide_fn=make_decide(policy, ActingConfig()),
    context=policy.context,
    params=params,
    config=ActingConfig(),
    vocabulary=specs.ALE_ACTIONS,
    spec=SPEC,
  )


def test_a_seed_reproduces_a_whole_evaluation(player):
  sticky = dataclasses.replace(PROTOCOL, sticky_actions=0.25, max_episode_steps=60)
  spec = dataclasses.replace(SPEC, protocol=sticky)
  player = dataclasses.replace(player, spec=spec)
  first = AtariArena(spec, 2, seed=0).scores(player)
  assert AtariArena(spec, 2, seed=0).scores(player) == first
  assert first['score_steps'] == 60  # nobody loses three lives so soon


def test_scores_are_raw_and_stand_beside_published_ones(player):
  arena = AtariArena(SPEC, 2, seed=0)
  found = arena.scores(player)
  assert found['score_min'] <= found['score'] <= found['score_max']
  # Random play has 148.0, a human 1,668.7.
  expected = (found['score'] - 148.0) / (1668.7 - 148.0)
  assert found['score_human_normalised'] == pytest.approx(expected)
  assert arena.references() == {'score_random': 148.0, 'score_human': 1668.7}


def test_a_film_shows_every_step_with_its_action_and_return(player, tmp_path):
  AtariArena(SPEC, 2, seed=0).film(player, tmp_path / 'film.gif')
  with Image.open(tmp_path / 'film.gif') as image:
    assert image.size == (160, 210 + 14)
    durations = []
    for frame in range(image.n_frames):
      image.seek(frame)
      durations.append(image.info['duration'])
  # Twelve steps of four frames at 60 a second, in a gif's hundredths of a second.
  assert sum(durations) == 12 * 60


def test_an_atari_spec_finds_its_arena():
  assert isinstance(playing.find_arena(SPEC, PROTOCOL, 2, 0), AtariArena)
