"""What a label card's numbers mean, in sentences that follow fixed rules.

The rules and their limits are ours; they were written before any card was made. An
interval decides, never an estimate alone. `card` is what `label_card.json` holds.
"""

from collections.abc import Mapping
from typing import Any

from alpt_jax.report.measures import percent

# A calibration error so small is none; one of at most so many times a perfect model's
# may be chance.
_SMALL_ERROR = 0.03
_FLOORS = 2
# The accuracy that a level of confidence is looked for, at the interval's low end.
_WANTED = 0.9
# Audited transitions below which nothing is said of an action.
FEWEST_AUDITED = 20
# Standard errors apart that two means are called different.
_ERRORS = 2
# What the units of a basis (`labelling/intervals.py`) are called.
UNITS = {'recording': 'recordings', 'episode': 'episodes', 'stretch': 'stretches'}
# By how much labels that were trained on are known better than new ones: much, little.
_MUCH, _LITTLE = 0.10, 0.03


def verdict(card: Mapping[str, Any]) -> list[str]:
  """The sentences, what matters most first."""
  counts = card['counts']
  sentences = []
  if not counts['guessed'] + counts['left_unlabelled']:
    sentences.append('Every action of this dataset was recorded: nothing was guessed.')
  elif not counts['guessed']:
    sentences.append(
      f'No guess was as sure as {_flag(card["identity"]["min_confidence"])} asks for: '
      'no action was added.'
    )
  if not counts['audit']:
    sentences.append(
      'How often the guesses are right is not known: no recorded action was held '
      'back. Label some more and label again.'
    )
    return sentences
  parts = (_better_than_one, _how_many, _basis, _sureness, _level, _rare, _harder)
  sentences += [said for part in parts if (said := part(card))]
  sentences.append(_what_helps(card))
  return sentences


def _better_than_one(card) -> str:
  audit, majority = card['accuracy']['audit'], card['accuracy']['majority']
  if len(card['per_action']) == 1:
    return f'There is one action only, {majority["action"]}: no guess can be wrong.'
  if audit['low'] > majority['value']:
    return ''
  return f'Not shown to be better than always guessing {majority["action"]}.'


def _how_many(card) -> str:
  estimate, audit = card['estimate'], card['accuracy']['audit']
  if estimate:
    return f'About {with_interval(estimate)} of the guessed actions are right.'
  said = f'Where a recorded action was held back, {with_interval(audit)} of the '
  said += 'guesses were right.'
  if card['counts']['guessed']:
    said += ' None of those was as sure as the guesses that were kept, so of these '
    said += 'nothing is known.'
  return said


def _basis(card) -> str:
  """What the first figure rests on, and which moments it takes for independent."""
  units, share = card['units'], card['estimate'] or card['accuracy']['audit']
  seen = 'may have' if units['may_be_trained_on'] else 'has never'
  said = f'This rests on {share["num"]:,} recorded actions that the model {seen} seen'
  if card['counts']['guessed'] and card['identity']['min_confidence']:
    said += ' and is sure enough of to keep its guess'
  if units['basis'] == 'recording':
    said += f', in {share["units"]} recordings, which it takes for independent.'
  else:
    parts = UNITS[units['basis']]
    said += f', in {share["units"]} {parts} of recordings; it takes {parts} of one '
    said += 'recording for independent.'
  if units['are_learnt_from']:
    said += (
      ' The model learnt from other moments of the same recordings: of a recording '
      'that it knows nothing of, less may be right.'
    )
  if units['may_be_trained_on']:
    said += (
      ' The dataset has the name of the one that the model was trained on, but not its '
      'content: it may have learnt from some of these actions, or guessed them, and be '
      'less good than it looks.'
    )
  if units['guesses'] is not None:
    said += (
      ' Not all of them were recorded: guesses of a model that was '
      f'{units["guesses"]:g} sure count here, and which these are is not known.'
    )
  return said


def _sureness(card) -> str:
  error, floor = (card['calibration'][key] for key in ('error_after', 'floor'))
  if error <= _SMALL_ERROR:
    said = 'A confidence can be taken at its word'
  elif error <= _FLOORS * floor:
    said = 'Whether a confidence can be taken at its word is not known'
  else:
    said = 'A confidence cannot be taken at its word'
  return (
    f'{said}: it is off by {error:.3f} on average; with so few held-back actions a '
    f'perfect one would seem to be off by {floor:.3f}.'
  )


def _level(card) -> str:
  """The lowest confidence whose guesses are shown to be right often enough."""
  if card['coverage'][0]['share_of_unlabelled'] is None:
    return ''
  for row in card['coverage']:
    accuracy, stays = row['accuracy'], row['share_of_unlabelled']
    if accuracy is None or accuracy['low'] < _WANTED or not stays:
      continue
    right = f'at least {percent(_WANTED)} of them right, if they are like those held'
    if not row['at_least']:
      return f'All guesses can be kept: {right} back.'
    return (
      f'With {_flag(row["at_least"])}, {percent(stays)} of the actions that were not '
      f'recorded keep a label, {right} back.'
    )
  return f'At no confidence are {percent(_WANTED)} shown to be right.'


def _rare(card) -> str:
  rare = [row['name'] for row in card['per_action'] if row['audited'] < FEWEST_AUDITED]
  if not rare:
    return ''
  return (
    f'Nothing can be said of: {", ".join(rare)} (recorded fewer than {FEWEST_AUDITED} '
    'times among what was held back).'
  )


def _harder(card) -> str:
  """Whether the model is as sure of what it guesses as of what it is judged by."""
  shift = card['shift']
  if shift is None:
    return ''
  gap = shift['unlabelled'] - shift['audit']
  if abs(gap) <= _ERRORS * shift['standard_error']:
    return ''
  said = f'The unlabelled part looks {"easier" if gap > 0 else "harder"} than the '
  said += 'labelled one'
  least = [each['recording'] for each in card['recordings_least_sure']]
  return f'{said}; least sure in: {", ".join(least)}.' if least else f'{said}.'


def _what_helps(card) -> str:
  """More labels, more sources or something else: from runs with fewer, or a hint."""
  curve = card['curve']
  return _from_curve(curve) if curve else _from_own_labels(card['accuracy'])


def _from_curve(curve) -> str:
  names = {'more_labels': 'more labels', 'sources': 'sources'}
  gains = {names[key]: curve[key] for key in names if curve[key]}
  if not gains:
    return (
      'Whether more labels or sources would help is not known: the runs of --curve '
      'have fewer than three draws of the labels in common.'
    )
  shown = sorted(
    (name for name, gain in gains.items() if gain['low'] > 0),
    key=lambda name: -gains[name]['value'],
  )
  if not shown and len(gains) == 2:
    return 'Neither more labels nor sources were shown to help.'
  if not shown:
    return f'That {", ".join(gains)} would help is not shown.'
  said = ', '.join(f'{name} {_gained(gains[name])}' for name in shown)
  best, *rest = shown
  if rest and gains[best]['low'] <= gains[rest[0]]['high']:
    return f'Both help, which more is not shown: {said}.'
  if rest:
    return f'{best.capitalize()} would help most: {said}.'
  others = ''.join(f' That {name} help is not shown.' for name in gains if name != best)
  return f'{best.capitalize()} would help: {_gained(gains[best])}.{others}'


def _gained(gain) -> str:
  """'+3.2 points (1.1 to 5.3)'."""
  value, low, high = (f'{100 * gain[key]:.3g}' for key in ('value', 'low', 'high'))
  return f'+{value} points ({low} to {high})'


def _from_own_labels(accuracy) -> str:
  known, new = accuracy['trained_on'], accuracy['audit']['value']
  gap = None if known is None else known - new
  if gap is not None and gap >= _MUCH and known > accuracy['audit']['high']:
    return (
      f'It knows its own labels better ({percent(known)}) than new ones '
      f'({percent(new)}): more labels are likely to help.'
    )
  if gap is not None and gap <= _LITTLE:
    return (
      f'It is no better on the labels that it learnt from ({percent(known)}) than on '
      f'new ones ({percent(new)}): train longer, a larger model or more sources; or '
      'the screen does not show more.'
    )
  return 'Whether more labels would help is not known; --curve would tell.'


def with_interval(share: Mapping[str, Any]) -> str:
  """'97.3 % (95 to 98.5 %)' of a share and its interval."""
  return f'{percent(share["value"])} ({interval(share)})'


def interval(share: Mapping[str, Any]) -> str:
  """'95 to 98.5 %'."""
  low, high = percent(share['low']), percent(share['high'])
  return f'{low.removesuffix(" %")} to {high}'


def _flag(level: float) -> str:
  return f'--min_confidence={level:g}'
