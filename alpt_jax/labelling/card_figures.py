"""The numbers of a label card, from the tables that `bin/label` wrote; plain numpy.

Two tables of `data/label_table.py` come in as dictionaries of columns: `labels`, of all
N transitions in order, and `audit`, of the n whose recorded action the model has never
seen. What comes out is plain JSON types; a number that cannot be known is None.

A share is `{value, low, high, num, units}`: the estimate, its 95 % interval, the
audited transitions that it rests on and the units that they lie in (`intervals`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alpt_jax import specs
from alpt_jax.labelling import calibration, intervals
from alpt_jax.labelling.intervals import Effect, Share

# How sure a guess must be to be kept, for the table of what that leaves; 0: all.
LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

# Ours: of fewer guesses a recording's mean confidence is chance.
FEWEST_GUESSES = 20
# Ours: transitions in a row of which one is shown, as its neighbours look alike.
_APART = 50

Table = Mapping[str, np.ndarray]
Figures = dict[str, Any]


def figures(
  labels: Table,
  audit: Table,
  action_names: Sequence[str],
  min_confidence: float = 0.0,
  seed: int = 0,
) -> Figures:
  """Everything on a label card that is a number.

  Args:
    labels: columns episode, step, action, confidence, recorded, trained_on and guess;
      true_action where the truth is known and was kept from the labelling.
    audit: columns guess, true_action, confidence, unit and probabilities; may be empty.
    action_names: the environment's own.
    min_confidence: what a guess had to have to be kept.
    seed: of the draws for the calibration error's floor.
  """
  unlabelled = ~labels['recorded']
  kept = unlabelled & (labels['action'] >= 0)
  right = audit['guess'] == audit['true_action']
  whole = intervals.design_effect(right, audit['unit']) if len(right) else None
  return {
    'counts': {
      'transitions': len(unlabelled),
      'episodes': len(np.unique(labels['episode'])),
      'recorded': int((~unlabelled).sum()),
      'trained_on': int(labels['trained_on'].sum()),
      'audit': len(right),
      'guessed': int(kept.sum()),
      'left_unlabelled': int((unlabelled & ~kept).sum()),
    },
    'accuracy': _accuracy(labels, audit, right, action_names, whole),
    'estimate': _estimate(labels, audit, right, kept, min_confidence),
    'true_accuracy': _true_accuracy(labels, kept),
    'per_action': _per_action(labels, audit, right, kept, action_names, whole),
    'confusion': _confusion(audit, len(action_names)),
    'calibration': _calibration(audit, right, seed) if len(right) else None,
    'coverage': [_coverage(labels, audit, right, c, whole) for c in LEVELS],
    'shift': _shift(labels, audit),
  }


def _accuracy(labels, audit, right, action_names, whole) -> Figures:
  """Of the audit; beside it what always guessing one action would score."""
  known = labels['trained_on']
  of_trained = labels['guess'][known] == labels['action'][known]
  majority = merged = None
  if len(right):
    counts = np.bincount(audit['true_action'], minlength=len(action_names))
    most = int(counts.argmax())
    majority = {'action': action_names[most], 'value': counts[most] / len(right)}
    alike = np.array(specs.fire_merged(action_names))
    if len(np.unique(alike)) < len(alike):
      is_alike = alike[audit['guess']] == alike[audit['true_action']]
      merged = _share(is_alike, audit['unit'])
  return {
    'audit': _share(right, audit['unit'], whole),
    'trained_on': float(of_trained.mean()) if len(of_trained) else None,
    'majority': majority,
    'merged': merged,
  }


def _estimate(labels, audit, right, kept, min_confidence: float) -> Figures | None:
  """The share of the kept guesses that is right, though nobody knows their action."""
  is_as_sure = audit['confidence'] >= min_confidence
  if not kept.any() or not is_as_sure.any():
    return None
  audited = intervals.Audit(
    right[is_as_sure], audit['confidence'][is_as_sure], audit['unit'][is_as_sure]
  )
  sure_mean = labels['confidence'][kept].mean(dtype=np.float64)
  return _to_json(intervals.estimated_accuracy(audited, sure_mean, int(kept.sum())))


def _true_accuracy(labels, kept) -> Figures | None:
  """What the estimate should be, where the actions were only kept back."""
  if 'true_action' not in labels:
    return None
  known = kept & (labels['true_action'] >= 0)
  if not known.any():
    return None
  right = labels['guess'][known] == labels['true_action'][known]
  return {'value': float(right.mean()), 'num': int(known.sum())}


def _per_action(labels, audit, right, kept, action_names, whole) -> list[Figures]:
  """Of each action: how many, and how often it was found, and rightly guessed."""
  num = len(action_names)
  recorded = np.bincount(labels['action'][labels['recorded']], minlength=num)
  guessed = np.bincount(labels['action'][kept], minlength=num)
  rows = []
  for index, name in enumerate(action_names):
    truly, named = audit['true_action'] == index, audit['guess'] == index
    rows.append(
      {
        'name': name,
        'recorded': int(recorded[index]),
        'guessed': int(guessed[index]),
        'audited': int(truly.sum()),
        'recall': _share(right[truly], audit['unit'][truly], whole),
        'precision': _share(right[named], audit['unit'][named], whole),
      }
    )
  return rows


def _confusion(audit, num: int) -> list[list[int]]:
  """`[A][A]` counts: the recorded action, the guess."""
  pairs = audit['true_action'].astype(np.int64) * num + audit['guess']
  return np.bincount(pairs, minlength=num * num).reshape(num, num).tolist()


def _calibration(audit, right, seed: int) -> Figures:
  """Confidence against accuracy, before and after the temperature."""
  before, after = audit['probabilities'].max(1), audit['confidence']
  return {
    'error_before': calibration.calibration_error(before, right),
    'error_after': calibration.calibration_error(after, right),
    'floor': calibration.error_floor(after, seed),
    'before': _bins(before, right),
    'after': _bins(after, right),
  }


def _bins(confidence, right) -> list[Figures]:
  curve = calibration.reliability(confidence, right)
  return [
    {'low': low, 'count': count, 'confidence': mean, 'accuracy': accuracy}
    for low, count, mean, accuracy in zip(*map(np.ndarray.tolist, curve), strict=True)
  ]


def _coverage(labels, audit, right, level: float, whole) -> Figures:
  """What keeping only guesses of at least a confidence leaves, and how right it is."""
  unlabelled = ~labels['recorded']
  sure = unlabelled & (labels['confidence'] >= level)
  is_as_sure = audit['confidence'] >= level
  num = int(unlabelled.sum())
  return {
    'at_least': level,
    'share_of_unlabelled': int(sure.sum()) / num if num else None,
    'accuracy': _share(right[is_as_sure], audit['unit'][is_as_sure], whole),
    'true_accuracy': _true_accuracy(labels, sure),
  }


def _shift(labels, audit) -> Figures | None:
  """How sure the model is of the unlabelled part, and of the audit."""
  sure = labels['confidence'][~labels['recorded']]
  if not len(sure) or not len(audit['unit']):
    return None
  mean, variance, num_units = intervals.clustered_mean(
    audit['confidence'].astype(np.float64), audit['unit']
  )
  if num_units < 2:
    return None
  error = math.sqrt(variance * (1 + len(audit['unit']) / len(sure)))
  unlabelled = float(sure.mean(dtype=np.float64))
  return {'unlabelled': unlabelled, 'audit': mean, 'standard_error': error}


def least_sure_recordings(labels: Table, recording_of, num: int = 3) -> list[Figures]:
  """The recordings that the model is least sure of, where there are several.

  Args:
    labels: columns episode, confidence and recorded.
    recording_of: `[E]` int, the recording of each episode.
    num: how many, at most.

  Returns:
    `{recording, confidence, num}` each: its number, mean confidence and guesses.
  """
  unlabelled = ~labels['recorded']
  of = np.asarray(recording_of)[labels['episode'][unlabelled]]
  counts = np.bincount(of)
  sums = np.bincount(of, labels['confidence'][unlabelled])
  several = np.flatnonzero(counts >= FEWEST_GUESSES)
  if len(several) < 2:
    return []
  means = sums[several] / counts[several]
  return [
    {
      'recording': int(several[place]),
      'confidence': float(means[place]),
      'num': int(counts[several[place]]),
    }
    for place in np.argsort(means, kind='stable')[:num]
  ]


def least_sure(labels: Table, num: int = 6) -> np.ndarray:
  """Rows of the least sure guesses, the least sure first, one of a stretch."""
  rows = np.flatnonzero(~labels['recorded'])
  stretches = labels['episode'][rows].astype(np.int64) << 32
  stretches += labels['step'][rows] // _APART
  return _first_of_each(rows, stretches, labels['confidence'][rows])[:num]


def most_sure(labels: Table, num: int = 6) -> np.ndarray:
  """Rows of the surest guess of each action, the surest first."""
  rows = np.flatnonzero(~labels['recorded'])
  return _first_of_each(rows, labels['guess'][rows], -labels['confidence'][rows])[:num]


def _first_of_each(rows, groups, ranks) -> np.ndarray:
  """Of each group the row of least rank, groups in the order of those ranks."""
  order = np.lexsort((ranks, groups))
  firsts = order[np.unique(groups[order], return_index=True)[1]]
  return rows[firsts[np.argsort(ranks[firsts], kind='stable')]]


def _share(right, units, whole: Effect | None = None) -> Figures | None:
  if not len(right):
    return None
  return _to_json(intervals.clustered_share(right, units, whole))


def _to_json(share: Share) -> Figures:
  value, low, high = map(float, share[:3])
  return {
    'value': value,
    'low': low,
    'high': high,
    'num': share.num,
    'units': share.units,
  }
