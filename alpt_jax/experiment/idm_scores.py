"""How well an IDM labels: honest figures over transitions whose actions are known."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alpt_jax import losses, specs
from alpt_jax.types import EvaluationWindows

# Windows per call of the compiled metric: small, so that one shape serves all.
_CHUNK = 256


def guesses_of(idm, params, truth: EvaluationWindows):
  """The IDM's guesses on the counted transitions, N of them.

  Returns:
    `(guessed [N], actual [N], confidence [N])`: joint actions, and the guess's
    probability among the allowed ones.
  """
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
  return (
    np.concatenate(guesses)[counted],
    truth.true_actions[counted],
    np.concatenate(confidence)[counted],
  )


def summary(
  guessed: np.ndarray, actual: np.ndarray, confidence: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
  """Accuracies beside what guessing without looking would score.

  Args:
    guessed: `[N]` joint actions.
    actual: `[N]` joint actions.
    confidence: `[N]` in [0, 1], of the guesses.
    names: the joint vocabulary.

  Returns:
    `accuracy`; `accuracy_balanced`, the mean over actions of the share of their
    transitions that were guessed; `majority`, the commonest action's share;
    `calibration_error`; and, where some actions differ by FIRE alone, which hardly
    any screen shows, `accuracy_merged` and `majority_merged` with those as one.
  """
  counts = np.bincount(actual, minlength=len(names))
  hits = np.bincount(actual[guessed == actual], minlength=len(names))
  occurs = counts > 0
  error = losses.expected_calibration_error(
    jnp.asarray(confidence), jnp.asarray(guessed == actual), jnp.ones(len(actual))
  )
  found = {
    'accuracy': float((guessed == actual).mean()),
    'accuracy_balanced': float((hits[occurs] / counts[occurs]).mean()),
    'majority': float(counts.max() / len(actual)),
    'calibration_error': float(error),
  }
  groups = np.array(specs.fire_merged(names))
  if (groups != np.arange(len(names))).any():
    found['accuracy_merged'] = float((groups[guessed] == groups[actual]).mean())
    found['majority_merged'] = float(np.bincount(groups[actual]).max() / len(actual))
  return found


def per_action(
  guessed: np.ndarray, actual: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
  """For each action that occurs or is guessed: how often, and how often rightly.

  Returns:
    name -> `count`, `guessed` (numbers of transitions), `recall` and `precision`
    (None where there is nothing to divide by).
  """
  table = {}
  for index, name in enumerate(names):
    is_actual, is_guessed = actual == index, guessed == index
    count, num_guessed = int(is_actual.sum()), int(is_guessed.sum())
    right = int((is_actual & is_guessed).sum())
    if count or num_guessed:
      table[name] = {
        'count': count,
        'guessed': num_guessed,
        'recall': right / count if count else None,
        'precision': right / num_guessed if num_guessed else None,
      }
  return table


@functools.cache
def _guess(idm):
  """Jitted: the likeliest allowed action and its probability, `[B, T]` each."""

  def guess(params, observations, valid, allowed):
    logits = idm.apply({'params': params}, observations, valid)
    probabilities = jax.nn.softmax(jnp.where(allowed[:, None], logits, -jnp.inf))
    return probabilities.argmax(-1), probabilities.max(-1)

  return jax.jit(guess)
