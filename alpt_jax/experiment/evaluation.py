"""What a run is scored by: IDM accuracy on hidden actions, and playing."""

import json
import pathlib
from typing import Any

from alpt_jax.acting.rollout import Player
from alpt_jax.experiment import idm_scores, playing
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.training.step import IDM, POLICY, StepConfig, TrainState


class Evaluator:
  """Scores a train state; every method of a seed on the same transitions and episodes.

  The only holder of true actions: what it returns are numbers.
  """

  def __init__(self, config: RunConfig, data: RunData, step_config: StepConfig):
    self._config = config
    self._vocabulary = data.vocabulary
    self._spec = data.target.spec
    self._step_config = step_config
    self._truth = {}
    if step_config.idm is not None:
      for suffix, heldout in (('', False), ('_heldout', True)):
        if heldout and not data.labels.heldout_episodes:
          continue
        self._truth[suffix] = data.evaluation(config, heldout)
    self._constants = {}
    self._arena = playing.find_arena(self._spec, config.evaluation, config.seed)
    if self._arena is not None:
      self._constants = self._arena.references()
    else:
      print(f'{self._spec.name}: cannot be played here, so play is not scored')
    ceiling = _ceiling(pathlib.Path(config.data.target))
    if ceiling is not None and step_config.idm is not None:
      self._constants['idm_ceiling'] = ceiling

  @property
  def can_play(self) -> bool:
    """Whether the target can be played here."""
    return self._arena is not None

  def __call__(self, step: int, state: TrainState) -> dict[str, float]:
    """All scores of a state; `step` is not read."""
    metrics = {}
    for suffix in self._truth:
      found = idm_scores.summary(*self._guesses(state, suffix), self._vocabulary)
      metrics |= {f'idm_{name}{suffix}': value for name, value in found.items()}
    if self.can_play:
      metrics |= self._arena.scores(self._player(state))
    return {**metrics, **self._constants}

  def per_action(self, state: TrainState) -> dict[str, dict[str, Any]]:
    """The IDM's recall and precision for each action; {} without an IDM."""
    if '' not in self._truth:
      return {}
    guessed, actual, _ = self._guesses(state, '')
    return idm_scores.per_action(guessed, actual, self._vocabulary)

  def save_animation(self, path: pathlib.Path, state: TrainState) -> None:
    """Films the policy as a gif."""
    self._arena.film(self._player(state), path)

  def _guesses(self, state: TrainState, suffix: str):
    return idm_scores.guesses_of(
      self._step_config.idm, state.params[IDM], self._truth[suffix]
    )

  def _player(self, state: TrainState) -> Player:
    return Player(
      self._step_config.policy,
      state.params[POLICY],
      self._config.acting,
      self._vocabulary,
      self._spec,
    )


def _ceiling(folder: pathlib.Path) -> float | None:
  """The best possible IDM accuracy, where the dataset's card knows it."""
  path = folder / 'card.json'
  if not path.is_file():
    return None
  return json.loads(path.read_text()).get('best_possible_idm_accuracy')
