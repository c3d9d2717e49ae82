"""What a run is scored by: IDM accuracy on hidden actions, and playing."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax import losses
from alpt_jax.acting import scores
from alpt_jax.acting.rollout import EpisodeScore, Player, play
from alpt_jax.data.labels import evaluation_windows
from alpt_jax.experiment import playing
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.datasets import RunData
from alpt_jax.training.step import IDM, POLICY, StepConfig, TrainState
from alpt_jax.types import EvaluationWindows

# Windows per call of the compiled metric: small, so that one shape serves all.
_CHUNK = 256


class Evaluator:
  """Scores a train state; every method of a seed on the same transitions and pairs.

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
        self._truth[suffix] = evaluation_windows(
          data.target,
          data.labels,
          data.vocabulary,
          config.seed,
          config.evaluation.num_transitions,
          heldout=heldout,
          window_length=config.model.num_transitions,
        )
    fixed = config.evaluation
    self._constants = {}
    self.can_play = playing.can_play(self._spec)
    if self.can_play:
      self._constants = playing.reference_scores(
        self._spec, fixed.num_episodes, config.seed, fixed.max_steps
      )
    else:
      print(f'{self._spec.name}: cannot be played here, so play is not scored')
    ceiling = _ceiling(pathlib.Path(config.data.target))
    if ceiling is not None and step_config.idm is not None:
      self._constants['idm_ceiling'] = ceiling

  def __call__(self, step: int, state: TrainState) -> dict[str, float]:
    """All scores of a state; `step` is not read."""
    metrics = {}
    for suffix, truth in self._truth.items():
      named = idm_scores(self._step_config.idm, state.params[IDM], truth)
      metrics |= {f'idm_{name}{suffix}': value for name, value in named.items()}
    success = self.success(state) if self.can_play else {}
    return {**metrics, **success, **self._constants}

  def success(self, state: TrainState) -> dict[str, float]:
    """Share of episodes that reach the goal in time, sampled and greedy."""
    num_episodes = self._config.evaluation.num_episodes
    starts = playing.episode_starts(self._spec, num_episodes, self._config.seed)
    greedy = [False] * len(starts) + [True] * len(starts)
    results = self.play(state, [*starts, *starts], greedy)
    within = self._config.evaluation.max_steps
    return {
      'success_sampled': scores.success_share(results[: len(starts)], within),
      'success_greedy': scores.success_share(results[len(starts) :], within),
    }

  def play(self, state: TrainState, starts, greedy) -> list[EpisodeScore]:
    """Plays given episodes with the state's policy."""
    player = Player(
      self._step_config.policy,
      state.params[POLICY],
      self._config.acting,
      self._vocabulary,
      self._spec,
    )
    return play(
      player,
      starts,
      max_steps=self._config.evaluation.max_steps,
      seed=self._config.seed,
      greedy=greedy,
    )

  def save_animation(
    self, path: pathlib.Path, state: TrainState, num_episodes=3
  ) -> None:
    """Films the first episodes of the evaluation, sampled, as a gif."""
    starts = playing.episode_starts(self._spec, num_episodes, self._config.seed)
    films: list[playing.Filmed] = []
    filmed = [playing.film(start, films) for start in starts]
    self.play(state, filmed, [False] * len(starts))
    playing.save_gif(path, films)


def idm_scores(idm, params, truth: EvaluationWindows) -> dict[str, float]:
  """Accuracy, majority class and calibration error over the counted transitions."""
  guesses, confidence = [], []
  num_windows = len(truth.counted)
  for first in range(0, num_windows, _CHUNK):
    rows = np.minimum(np.arange(first, first + _CHUNK), num_windows - 1)
    window = jax.tree.map(lambda array, rows=rows: array[rows], truth.window)
    guess, probability = _guess(idm)(
      params, window.observations, window.valid, window.allowed
    )
    kept = min(_CHUNK, num_windows - first)
    guesses.append(np.asarray(guess)[:kept])
    confidence.append(np.asarray(probability)[:kept])
  counted = truth.counted
  guessed = np.concatenate(guesses)[counted]
  actions = truth.true_actions[counted]
  error = losses.expected_calibration_error(
    jnp.asarray(np.concatenate(confidence)[counted]),
    jnp.asarray(guessed == actions),
    jnp.ones(len(actions)),
  )
  return {
    'accuracy': float((guessed == actions).mean()),
    'majority': float(np.bincount(actions).max() / len(actions)),
    'calibration_error': float(error),
  }


@functools.cache
def _guess(idm):
  """Jitted: the likeliest allowed action and its probability, `[B, T]` each."""

  def guess(params, observations, valid, allowed):
    logits = idm.apply({'params': params}, observations, valid)
    probabilities = jax.nn.softmax(jnp.where(allowed[:, None], logits, -jnp.inf))
    return probabilities.argmax(-1), probabilities.max(-1)

  return jax.jit(guess)


def _ceiling(folder: pathlib.Path) -> float | None:
  """The best possible IDM accuracy, where the dataset's card knows it."""
  path = folder / 'card.json'
  if not path.is_file():
    return None
  return json.loads(path.read_text()).get('best_possible_idm_accuracy')
