"""The data card: what a recorded dataset holds, and what is odd about it.

Computed from a pool without TensorFlow, in blocks: a memory-mapped pool of any
size needs no more memory than its actions, rewards and one block of
observations.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from alpt_jax.data.pool import Pool

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)

# Ours: observations are compared in blocks of about this size.
_BLOCK_BYTES = 1 << 25
# Ours: with fewer labelled transitions per action the counts prove nothing.
_MIN_LABELLED_PER_ACTION = 25


def make_card(
  pool: Pool, ceiling: float | None = None, source: str = ''
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

  Returns:
    counts; shares in [0, 1], of transitions unless the name says `episode`;
    entropies in nats; `quantiles` of raw return, clipped return and length per
    episode, interpolated linearly; `warnings`, plain sentences. A value that
    cannot be known is None.
  """
  counts = np.bincount(
    pool.actions[pool.is_labelled], minlength=len(pool.spec.action_names)
  )
  num_labelled = int(counts.sum())
  lasts = pool.starts + pool.lengths - 1
  per_episode = {
    'return': np.add.reduceat(pool.rewards.astype(np.float64), pool.starts),
    'clipped_return': pool.returns_to_go[pool.starts],
    'length': pool.lengths,
  }
  card = {
    'environment': pool.spec.name,
    'source': source,
    'manifest_hash': pool.manifest_hash,
    'warnings': [],
    'num_episodes': pool.num_episodes,
    'num_transitions': pool.num_transitions,
    'labelled_share': num_labelled / pool.num_transitions,
    'actions': dict(zip(pool.spec.action_names, counts.tolist(), strict=True)),
    'majority_share': int(counts.max()) / num_labelled if num_labelled else None,
    'action_entropy': _entropy(counts) if num_labelled else None,
    'uniform_entropy': float(np.log(len(counts))),
    'unchanged_share': _num_unchanged(pool) / pool.num_transitions,
    'terminal_episode_share': float((pool.discounts[lasts] == 0).mean()),
    'clipped_reward_share': float((np.abs(pool.rewards) > 1).mean()),
    'quantiles': {name: _quantiles(values) for name, values in per_episode.items()},
    'best_possible_idm_accuracy': ceiling,
  }
  card['warnings'] = _warnings(card)
  return card


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
  if _looks_uniform(card):
    warnings.append('Actions look uniform: is this random play?')
  if card['labelled_share']:
    missing = [name for name, count in card['actions'].items() if count == 0]
    warnings += [f"Action '{name}' never occurs." for name in missing]
  clipped = card['quantiles']['clipped_return']
  if clipped['0'] == clipped['1']:
    warnings.append(
      f'Every clipped return is the same ({clipped["0"]:g}): return conditioning '
      'carries no information.'
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


def _looks_uniform(card: Mapping[str, Any]) -> bool:
  """Whether the action counts cannot be told from uniform draws.

  Of N uniform draws over A actions, 2 N times the missing entropy is about
  chi-squared with A - 1 degrees of freedom: mean A - 1, variance 2 (A - 1). A
  tolerance of 4 standard deviations (ours) narrows as the data grow, where a
  fixed one would accuse much good play or miss a little random play.
  """
  num_actions = len(card['actions'])
  num_labelled = sum(card['actions'].values())
  if num_actions < 2 or num_labelled < _MIN_LABELLED_PER_ACTION * num_actions:
    return False
  missing_entropy = card['uniform_entropy'] - card['action_entropy']
  freedom = num_actions - 1
  return 2 * num_labelled * missing_entropy <= freedom + 4 * (2 * freedom) ** 0.5


def _percent(share: float | None) -> str:
  return 'unknown' if share is None else f'{100 * share:.3g} %'


def to_markdown(card: Mapping[str, Any]) -> str:
  """The card as a page to read: the warnings come first."""
  lines = [f'# Data card: {card["environment"]}', '']
  lines += [f'> **Warning:** {warning}\n' for warning in card['warnings']]
  entropy = card['action_entropy']
  entropy = 'unknown' if entropy is None else f'{entropy:.4f}'
  rows = {
    'Source': card['source'] or 'unknown',
    'Content (manifest hash)': card['manifest_hash'],
    'Episodes': f'{card["num_episodes"]:,}',
    'Transitions': f'{card["num_transitions"]:,}',
    'Labelled transitions': _percent(card['labelled_share']),
    'Episodes that end in a terminal step': _percent(card['terminal_episode_share']),
    'Transitions that change nothing': _percent(card['unchanged_share']),
    'Rewards outside [-1, 1]': _percent(card['clipped_reward_share']),
    'Entropy of actions': f'{entropy} nats (uniform: {card["uniform_entropy"]:.4f})',
    'Accuracy of always guessing the commonest action': _percent(
      card['majority_share']
    ),
    'Best possible accuracy of an inverse dynamics model': _percent(
      card['best_possible_idm_accuracy']
    ),
  }
  lines += ['| | |', '|---|---|']
  lines += [f'| {name} | {_cell(value)} |' for name, value in rows.items()]
  total = sum(card['actions'].values())
  lines += ['', '| action | labelled transitions | share |', '|---|---:|---:|']
  lines += [
    f'| {_cell(name)} | {count:,} | {_percent(count / total if total else None)} |'
    for name, count in card['actions'].items()
  ]
  shown = ['minimum', *(f'{100 * q:g} %' for q in QUANTILES[1:-1]), 'maximum']
  lines += ['', f'| per episode | {" | ".join(shown)} |']
  lines += ['|---|' + '---:|' * len(shown)]
  for name, quantiles in card['quantiles'].items():
    values = ' | '.join(f'{value:g}' for value in quantiles.values())
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
