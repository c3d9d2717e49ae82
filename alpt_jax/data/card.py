"""The data card: what a recorded dataset holds, and what is odd about it.

Computed from a pool without TensorFlow, in blocks: a memory-mapped pool of any
size needs no more memory than its actions, rewards and one block of
observations.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alpt_jax.data.pool import Pool

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)

# Ours: observations are compared in blocks of about this size.
_BLOCK_BYTES = 1 << 25
# Ours: fewer counts per pair of actions cannot tell good play of mazes, whose
# actions depend on each other but weakly, from random play.
_MIN_PER_CELL = 100


def make_card(
  pool: Pool,
  ceiling: float | None = None,
  source: str = '',
  *,
  visible: Mapping[str, float] | None = None,
  num_unchanged: int | None = None,
  remarks: Sequence[str] = (),
) -> dict[str, Any]:
  """Describes a dataset in plain JSON types.

  Everything about actions is counted over the labelled transitions alone, so
  that a pool whose labels are hidden gives nothing away.

  Args:
    pool: the dataset.
    ceiling: the accuracy that no inverse dynamics model can exceed on it, where
      the environment allows to compute it (two actions with the same effect
      cannot be told apart).
    source: where the episodes come from, for example the recording command.
    visible: where an emulator can tell, `accuracy` and `accuracy_merged` of an
      oracle that sees what every action leads to, and knows how often each is taken.
    num_unchanged: transitions after which the observation is the same, where they
      were counted elsewhere; `pool.observations` are then not read.
    remarks: warnings that the pool itself does not show.

  Returns:
    counts; shares in [0, 1], of transitions unless the name says `episode`;
    entropies in nats, `next_action_entropy` given the action before it;
    quantiles over episodes, interpolated linearly; `warnings`, plain sentences.
    A value that cannot be known is None.
  """
  counts = np.bincount(
    pool.actions[pool.is_labelled], minlength=len(pool.spec.action_names)
  )
  pairs = _action_pairs(pool)
  num_labelled = int(counts.sum())
  lasts = pool.starts + pool.lengths - 1
  raw_returns = np.add.reduceat(pool.rewards.astype(np.float64), pool.starts)
  if num_unchanged is None:
    num_unchanged = _num_unchanged(pool)
  card = {
    'environment': pool.spec.name,
    'source': source,
    'manifest_hash': pool.manifest_hash,
    'warnings': [],
    'num_episodes': pool.num_episodes,
    'num_transitions': pool.num_transitions,
    'labelled_share': num_labelled / pool.num_transitions,
    'action_histogram': dict(zip(pool.spec.action_names, counts.tolist(), strict=True)),
    'majority_share': int(counts.max()) / num_labelled if num_labelled else None,
    'action_entropy': _entropy(counts) if num_labelled else None,
    'next_action_entropy': _next_entropy(pairs) if pairs.any() else None,
    'uniform_entropy': float(np.log(len(counts))),
    'unchanged_share': num_unchanged / pool.num_transitions,
    'terminal_episode_share': float((pool.discounts[lasts] == 0).mean()),
    'clipped_reward_share': float((np.abs(pool.rewards) > 1).mean()),
    'return_quantiles': _quantiles(raw_returns),
    'clipped_return_quantiles': _quantiles(pool.returns_to_go[pool.starts]),
    'length_quantiles': _quantiles(pool.lengths),
    'best_possible_idm_accuracy': ceiling,
    'visible_accuracy': visible['accuracy'] if visible else None,
    'visible_accuracy_merged': visible['accuracy_merged'] if visible else None,
  }
  if _looks_random(pairs):
    warnings = ['Actions look uniform and independent: is this random play?']
  else:
    warnings = []
  card['warnings'] = [*remarks, *warnings, *_warnings(card)]
  return card


def _action_pairs(pool: Pool) -> np.ndarray:
  """`[A, A]` counts: an action, and the one after it in the same episode."""
  num_actions = len(pool.spec.action_names)
  follows = pool.episode_of[1:] == pool.episode_of[:-1]
  known = follows & pool.is_labelled[1:] & pool.is_labelled[:-1]
  pairs = pool.actions[:-1][known] * num_actions + pool.actions[1:][known]
  return np.bincount(pairs, minlength=num_actions**2).reshape(num_actions, num_actions)


def _next_entropy(pairs: np.ndarray) -> float:
  """The entropy of an action, given the one before it, in nats."""
  return _entropy(pairs) - _entropy(pairs.sum(1))


def _entropy(counts: np.ndarray) -> float:
  """The entropy of a histogram in nats."""
  shares = counts[counts > 0] / counts.sum()
  return float(np.log(shares) @ -shares)


def _quantiles(values: np.ndarray) -> dict[str, float]:
  return {
    f'{q:g}': float(value)
    for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
  }


def _num_unchanged(pool: Pool) -> int:
  """Transitions after which the observation is the same as before."""
  row_bytes = max(1, pool.observations[:1].nbytes)
  block = max(1, _BLOCK_BYTES // row_bytes)
  # Transition n of episode e starts at observation row n + e.
  rows = np.arange(pool.num_transitions) + pool.episode_of
  num_unchanged = 0
  for first in range(0, len(rows), block):
    inside = rows[first : first + block]
    # One contiguous read; it also holds the rows between two episodes.
    observations = np.asarray(pool.observations[inside[0] : inside[-1] + 2])
    same = (observations[1:] == observations[:-1]).reshape(len(observations) - 1, -1)
    num_unchanged += int(same.all(1)[inside - inside[0]].sum())
  return num_unchanged


def _warnings(card: Mapping[str, Any]) -> list[str]:
  """What a reader must know before training on it."""
  warnings = []
  if card['labelled_share']:
    missing = [name for name, count in card['action_histogram'].items() if count == 0]
    where = '' if card['labelled_share'] == 1 else ' where actions are known'
    warnings += [f"Action '{name}' never occurs{where}." for name in missing]
  clipped = card['clipped_return_quantiles']
  if clipped['0'] == clipped['1']:
    warnings.append(
      f'Every clipped return is the same ({clipped["0"]:g}): return conditioning '
      'carries no information, a policy can only imitate.'
    )
  cut_off = 1 - card['terminal_episode_share']
  if cut_off:
    warnings.append(f'{_percent(cut_off)} of episodes are cut off, not terminated.')
  if card['clipped_reward_share']:
    warnings.append(
      f'{_percent(card["clipped_reward_share"])} of rewards lie outside [-1, 1] and '
      'are clipped in training.'
    )
  return warnings


def _looks_random(pairs: np.ndarray) -> bool:
  """Whether action pairs cannot be told from independent uniform draws.

  The histogram alone would accuse good play that goes everywhere equally often,
  such as mazes with random goals. Of N pairs of uniform draws over A actions, 2 N
  times what the next action's entropy lacks is about chi-squared with A (A - 1)
  degrees of freedom: mean that, variance twice that. A tolerance of 4 standard
  deviations (ours) narrows as the data grow, where a fixed one would not.

  Args:
    pairs: `[A, A]` counts of an action and the next.
  """
  num_actions, num_pairs = len(pairs), pairs.sum()
  if num_actions < 2 or num_pairs < _MIN_PER_CELL * pairs.size:
    return False
  lacking = np.log(num_actions) - _next_entropy(pairs)
  freedom = num_actions * (num_actions - 1)
  return bool(2 * num_pairs * lacking <= freedom + 4 * (2 * freedom) ** 0.5)


def _percent(share: float | None) -> str:
  return 'unknown' if share is None else f'{100 * share:.3g} %'


def _nats(entropy: float | None) -> str:
  return 'unknown' if entropy is None else f'{entropy:.4f} nats'


def to_markdown(card: Mapping[str, Any]) -> str:
  """The card as a page to read: the warnings come first."""
  lines = [f'# Data card: {card["environment"]}', '']
  lines += [f'> **Warning:** {warning}\n' for warning in card['warnings']]
  rows = {
    'Source': card['source'] or 'unknown',
    'Content (manifest hash)': card['manifest_hash'],
    'Episodes': f'{card["num_episodes"]:,}',
    'Transitions': f'{card["num_transitions"]:,}',
    'Transitions with a recorded action': _percent(card['labelled_share']),
    'Episodes that end in a terminal step': _percent(card['terminal_episode_share']),
    'Transitions that change nothing': _percent(card['unchanged_share']),
    'Rewards outside [-1, 1]': _percent(card['clipped_reward_share']),
    'Entropy of actions': _nats(card['action_entropy']),
    'Entropy of actions given the one before': _nats(card['next_action_entropy']),
    'Entropy of uniform actions': _nats(card['uniform_entropy']),
    'Accuracy of always guessing the commonest action': _percent(
      card['majority_share']
    ),
    'Best possible accuracy of an inverse dynamics model': _percent(
      card['best_possible_idm_accuracy']
    ),
    'What the next screen shows of an action': _percent(card['visible_accuracy']),
    'The same, FIRE left out': _percent(card['visible_accuracy_merged']),
  }
  lines += ['| | |', '|---|---|']
  lines += [f'| {name} | {_cell(value)} |' for name, value in rows.items()]
  total = sum(card['action_histogram'].values())
  lines += ['', '| action | labelled transitions | share |', '|---|---:|---:|']
  lines += [
    f'| {_cell(name)} | {count:,} | {_percent(count / total if total else None)} |'
    for name, count in card['action_histogram'].items()
  ]
  shown = ['minimum', *(f'{100 * q:g} %' for q in QUANTILES[1:-1]), 'maximum']
  lines += ['', f'| per episode | {" | ".join(shown)} |']
  lines += ['|---|' + '---:|' * len(shown)]
  for name in ('return', 'clipped_return', 'length'):
    values = ' | '.join(f'{value:g}' for value in card[f'{name}_quantiles'].values())
    lines.append(f'| {name.replace("_", " ")} | {values} |')
  return '\n'.join(lines) + '\n'


def _cell(text: str) -> str:
  """A command line may hold a pipe, which would split the cell."""
  return text.replace('|', '\\|')


def write_card(folder: str | os.PathLike, card: Mapping[str, Any]) -> None:
  """Writes `card.json` for programs and `card.md` for readers into a folder."""
  folder = pathlib.Path(folder)
  (folder / 'card.json').write_text(json.dumps(card, indent=2) + '\n')
  (folder / 'card.md').write_text(to_markdown(card))
