"""What a run is scored by: IDM accuracy on hidden actions, and playing."""

import json
import pathlib
from typing import Any

from alpt_jax import methods, specs
from alpt_jax.acting import scores
from alpt_jax.acting.rollout import Player
from alpt_jax.experiment import idm_scores, models, playing
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.experiment.models import State, Steps
from alpt_jax.methods import IDM
from alpt_jax.specs import Protocol


class Evaluator:
  """Scores a train state; every method of a seed on the same transitions and episodes.

  The only holder of true actions: what it returns are numbers.
  """

  def __init__(self, config: RunConfig, data: RunData, step_config: Steps):
    self._config = config
    self._vocabulary = data.vocabulary
    self._spec = data.target.spec
    self._step_config = step_config
    self._truth = {}
    if step_config.idm is not None:
      for suffix, heldout in (('', False), ('_heldout', True)):
        if data.has_truth(heldout):
          self._truth[suffix] = data.evaluation(config, heldout)
      if '' not in self._truth:
        print(_unscored(self._spec.name, bool(self._truth)))
    self._of_card = {}
    if step_config.idm is not None:
      self._of_card = _from_card(pathlib.Path(config.data.target))
    self.play_under(config.evaluation.protocol_of(self._spec.protocol))
    if self._arena is None:
      print(f'{self._spec.name}: no game or maze of ours, so play is not scored')

  def play_under(self, protocol: Protocol) -> None:
    """Sets how episodes are played; the run's own protocol unless called."""
    self.protocol = protocol
    config = self._config
    self._arena = playing.find_arena(
      self._spec, protocol, config.evaluation.num_episodes, config.seed
    )
    self._references = self._arena.references() if self.can_play else {}
    if methods.get(config.method).is_q_learning:
      published = scores.paper_cql(specs.atari_game(self._spec))
      if published is not None:
        self._references['score_paper_cql'] = published

  @property
  def can_play(self) -> bool:
    """Whether there is a policy, and its target can be played here."""
    return self._arena is not None and self._step_config.policy is not None

  def __call__(self, step: int, state: State) -> dict[str, float]:
    """All scores of a state; `step` is not read."""
    metrics = {}
    for suffix in self._truth:
      found = idm_scores.summary(*self._guesses(state, suffix), self._vocabulary)
      metrics |= {f'idm_{name}{suffix}': value for name, value in found.items()}
    if self.can_play:
      metrics |= self._arena.scores(self._player(state))
    return {**metrics, **self._references, **self._of_card}

  def per_action(self, state: State) -> dict[str, dict[str, Any]]:
    """The IDM's recall and precision for each action; {} without an IDM."""
    if '' not in self._truth:
      return {}
    guessed, actual, _ = self._guesses(state, '')
    return idm_scores.per_action(guessed, actual, self._vocabulary)

  def save_animation(self, path: pathlib.Path, state: State) -> None:
    """Films the policy as a gif."""
    self._arena.film(self._player(state), path)

  def _guesses(self, state: State, suffix: str):
    return idm_scores.guesses_of(
      self._step_config.idm, state.params[IDM], self._truth[suffix]
    )

  def _player(self, state: State) -> Player:
    return models.player(
      self._step_config, state, self._config, self._vocabulary, self._spec
    )


def _unscored(name: str, has_heldout: bool) -> str:
  """That how often the IDM is right is not known, or of held-out episodes alone."""
  where = 'on held-out episodes alone' if has_heldout else 'nowhere'
  return (
    f'{name}: no recorded action is hidden from training to judge guesses by, so the '
    f'IDM is scored {where}. Record more actions, or lower data.labels or raise '
    'data.audit_share.'
  )


# What a dataset's card may know of its actions -> what it is called here.
_OF_CARD = {
  'best_possible_idm_accuracy': 'idm_ceiling',
  'visible_accuracy': 'idm_visible',
  'visible_accuracy_merged': 'idm_visible_merged',
}


def _from_card(folder: pathlib.Path) -> dict[str, float]:
  """How well an IDM could do, where the dataset's card knows it."""
  path = folder / 'card.json'
  if not path.is_file():
    return {}
  card = json.loads(path.read_text())
  found = {ours: card.get(theirs) for theirs, ours in _OF_CARD.items()}
  return {name: value for name, value in found.items() if value is not None}
