"""label_card.html: what the labels of `bin/label` are worth, as a page for a stranger.

Made from `label_card.json` and the pictures beside it; opens from disk, without a
network. Every table and picture has a sentence that says what it is.
"""

import html
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from alpt_jax.report import curves
from alpt_jax.report.grid import Grid
from alpt_jax.report.label_verdict import UNITS, interval, with_interval
from alpt_jax.report.measures import percent
from alpt_jax.report.moments import LEAST, MOST, show_moments
from alpt_jax.report.run_files import read_object
from alpt_jax.report.tables import replace_file
from alpt_jax.report.web_page import document, image, paragraph, section

CARD, PAGE = 'label_card.json', 'label_card.html'

Card = Mapping[str, Any]

_NO_AUDIT = (
  'Not known: no recorded action was held back from the model, so nothing shows how '
  'often its guesses are right.'
)


def build(folder: str | os.PathLike) -> pathlib.Path:
  """Writes the page of a folder that holds `label_card.json`, and gives its path.

  Raises:
    UserError: the file is damaged.
  """
  folder = pathlib.Path(folder)
  card = read_object(folder / CARD)
  title = f'Label card: {card["environment"]}'
  said = ''.join(f'<li>{html.escape(sentence)}</li>' for sentence in card['verdict'])
  moments = card['moments']
  body = [
    f'<h1>{html.escape(title)}</h1>',
    paragraph(
      f'Actions of {card["data"]}, guessed by the model of {card["run"]} after '
      f'{card["step"]:,} steps of training.',
      'quiet',
    ),
    f'<ul class="lead">{said}</ul>',
    section('What was labelled', *_counts(card)),
    section('How often the guesses are right', *_accuracy(card)),
    section('Each action', *_actions(card)),
    section('What is taken for what', *_confusion(card)),
    section('Can a confidence be taken at its word?', *_calibration(card)),
    section('Keeping only what it is sure of', *_coverage(card)),
    section('Where it is least sure', *show_moments(folder, moments['least'], LEAST)),
    section('Where it is most sure', *show_moments(folder, moments['most'], MOST)),
    section('Recordings that it is least sure of', *_recordings(card)),
    section('What more labels, or sources, would bring', *_gains(card['curve'])),
    section('What was used', *_used(card)),
  ]
  return replace_file(folder / PAGE, document(title, body).encode())


def _counts(card: Card) -> list[str]:
  counts = card['counts']
  rows = {
    'recorded': 'recorded',
    'trained_on': 'of these, the model learnt from',
    'audit': 'of these, held back from it, to judge it by',
    'guessed': 'guessed',
    'left_unlabelled': 'left without an action',
    'transitions': 'all',
  }
  cells = [
    [title, f'{counts[key]:,}', percent(counts[key] / counts['transitions'])]
    for key, title in rows.items()
  ]
  neither = counts['recorded'] - counts['trained_on'] - counts['audit']
  if neither > 0:
    title = 'of these, neither: set aside, or beside what it learnt from'
    cells.insert(3, [title, f'{neither:,}', percent(neither / counts['transitions'])])
  said = (
    'A transition is one step of the player: what is seen, the action taken, what is '
    f'seen then. There are {counts["episodes"]:,} episodes of them. '
  )
  if least := card['identity']['min_confidence']:
    said += f'A guess that is less than {percent(least)} sure is left out.'
  else:
    said += 'Every guess is kept, however doubtful.'
  return [_table(['action', 'transitions', 'share'], cells, 1), paragraph(said)]


def _accuracy(card: Card) -> list[str]:
  if not card['counts']['audit']:
    return [paragraph(_NO_AUDIT)]
  accuracy, estimate, truth = card['accuracy'], card['estimate'], card['true_accuracy']
  cells = []
  if estimate:
    cells.append(['guessed actions (estimate)', *_judged(card, estimate)])
  if truth:
    cells.append(
      [
        'guessed actions (the truth, known here and kept from the labelling)',
        percent(truth['value']),
        _against(estimate, truth['value']),
        f'{truth["num"]:,} actions',
      ]
    )
  cells.append(['recorded actions, held back', *_judged(card, accuracy['audit'])])
  if merged := accuracy['merged']:
    cells.append(
      ['the same, not asking whether FIRE is pressed', *_judged(card, merged)]
    )
  majority = accuracy['majority']
  always = f'always guessing {majority["action"]}, on those held back'
  cells.append([always, percent(majority['value']), '', ''])
  if accuracy['trained_on'] is not None:
    num = f'{card["counts"]["trained_on"]:,} actions'
    known = 'recorded actions that it learnt from'
    cells.append([known, percent(accuracy['trained_on']), '', num])
  said = (
    'Some recorded actions were held back from the model, and its guesses are compared '
    'with them. From there to the guessed actions leads its own confidence: its mean '
    'over those, put right by how far it was off where the action is known. The '
    'interval is drawn so that of 100 such intervals about 95 hold the true share; '
    'moments of one recording are alike, so it counts '
  )
  said += f'{_units(card)}, not single actions.'
  if not estimate and card['counts']['guessed']:
    said += (
      ' No held-back action got a guess as sure as those that were kept, so there '
    )
    said += 'is no estimate for them.'
  if not card['counts']['guessed']:
    said += ' No action was guessed, so there is nothing to estimate.'
  if card['units']['num'] < 4:
    said += f' With so few {_units(card)} it is wide, and little is known.'
  head = ['', 'right', '95 % interval', 'rests on']
  return [_table(head, cells, 1), paragraph(said)]


def _judged(card: Card, share: Card) -> list[str]:
  """The cells of a share: its value, its interval, and what it rests on."""
  units = f'{share["units"]} {_units(card)}'
  value, ends = percent(share['value']), interval(share)
  return [value, ends, f'{share["num"]:,} actions in {units}']


def _against(estimate: Card | None, truth: float) -> str:
  if estimate is None:
    return ''
  is_inside = estimate['low'] <= truth <= estimate['high']
  return f"{'inside' if is_inside else 'OUTSIDE'} the estimate's"


def _units(card: Card) -> str:
  return UNITS[card['units']['basis']]


def _actions(card: Card) -> list[str]:
  head = ['action', 'recorded', 'guessed', 'held back', 'found', 'right when guessed']
  cells = [
    [
      row['name'],
      *(f'{row[key]:,}' for key in ('recorded', 'guessed', 'audited')),
      *(_share(row[key]) for key in ('recall', 'precision')),
    ]
    for row in card['per_action']
  ]
  said = (
    'Found: of the held-back moments of this action, the share that the model names '
    'so (recall). Right when guessed: of the held-back moments that it names so, the '
    'share where this action was recorded (precision). Both with their 95 % interval; '
    'a dash: there is no such moment.'
  )
  return [_table(head, cells, 1), paragraph(said)]


def _share(share: Card | None) -> str:
  return with_interval(share) if share else '\u2013'


def _confusion(card: Card) -> list[str]:
  if not card['counts']['audit']:
    return [paragraph(_NO_AUDIT)]
  names = [row['name'] for row in card['per_action']]
  cells = []
  for index, (name, counts) in enumerate(zip(names, card['confusion'], strict=True)):
    written = [f'{count:,}' if count else '\u00b7' for count in counts]
    written[index] = f'[{written[index]}]'
    cells.append([name, *written])
  said = (
    'Counts of held-back moments: a row for the action that was recorded, a column for '
    'the guess. In [brackets]: right. A dot: never.'
  )
  return [_table(['recorded', *names], cells, 1), paragraph(said)]


def _calibration(card: Card) -> list[str]:
  found = card['calibration']
  if found is None:
    return [paragraph(_NO_AUDIT)]
  temperature = card['temperature']
  cells = [
    ['as the model says it', f'{found["error_before"]:.3f}'],
    ['with the temperature, as in the labels', f'{found["error_after"]:.3f}'],
    ['what a perfect model would show with so few', f'{found["floor"]:.3f}'],
  ]
  said = (
    'A confidence of .8 should be right 8 times in 10. Points on the dashed line are; '
    'below it the model is too sure of itself, above it it is right more often than it '
    'claims. The bars count the held-back guesses; a point above a short bar means '
    'little. The calibration error is the mean distance from the line. '
  )
  if temperature['is_fitted']:
    said += (
      f'One number, the temperature ({temperature["value"]:.3g}; above 1: less sure, '
      'below 1: surer), mends what is too high or too low throughout. It is fitted on '
      'one half of the held-back moments and judged here on the other, both ways round.'
    )
  else:
    said += (
      'Too few actions were held back to fit a temperature, so confidences are as the '
      'model says them.'
    )
  drawn = image(curves.draw_calibration(found), 'share that is right over confidence')
  return [drawn, _table(['confidence', 'calibration error'], cells, 1), paragraph(said)]


def _coverage(card: Card) -> list[str]:
  with_truth = any(row['true_accuracy'] for row in card['coverage'])
  head = ['at least so sure', 'guesses that stay', 'right, of those held back']
  cells = []
  for row in card['coverage']:
    level = percent(row['at_least']) if row['at_least'] else 'any'
    stays = row['share_of_unlabelled']
    line = [
      level,
      '\u2013' if stays is None else percent(stays),
      _share(row['accuracy']),
    ]
    if with_truth:
      truth = row['true_accuracy']
      line.append(percent(truth['value']) if truth else '\u2013')
    cells.append(line)
  if with_truth:
    head.append('right, of those that stay (the truth)')
  said = (
    'What --min_confidence would leave: the share of the actions that were not '
    'recorded which keep their guess, and how many of the held-back guesses of that '
    'confidence are right, with the 95 % interval; a dash: there is none.'
  )
  if not card['coverage'][0]['share_of_unlabelled']:
    said += ' Every action of this dataset was recorded, so no guess is there to stay.'
  return [_table(head, cells), paragraph(said)]


def _recordings(card: Card) -> list[str]:
  if not card['recordings_least_sure']:
    return []
  cells = [
    [each['recording'], percent(each['confidence']), f'{each["num"]:,}']
    for each in card['recordings_least_sure']
  ]
  said = 'Where labels are likely to teach it most; a hint, no proof.'
  head = ['recording', 'mean confidence', 'guesses']
  return [_table(head, cells, 1), paragraph(said)]


def _gains(curve: Card | None) -> list[str]:
  """Accuracy over the number of labels, with sources and without."""
  if curve is None:
    return []
  cells = [
    [
      f'{row["labels"]:,}',
      'with' if row['with_sources'] else 'without',
      f'{row["draws"]}',
      percent(row['value']),
    ]
    for row in curve['rows']
  ]
  said = (
    'Runs on fewer of the labels, and without the recordings of other games '
    '(sources): how many of the held-back actions each model finds, a mean over '
    'several draws of the labels. Draws are compared one by one. '
  )
  if more := curve['more_labels']:
    said += f'From {more["fewer"]:,} to {more["more"]:,} labels: {_points(more)}. '
  if sources := curve['sources']:
    said += f'Sources, with {sources["labels"]:,} labels: {_points(sources)}.'
  head = ['labels', 'sources', 'draws', 'right']
  return [_table(head, cells), paragraph(said)]


def _points(gain: Card) -> str:
  value, low, high = (f'{100 * gain[key]:+.3g}' for key in ('value', 'low', 'high'))
  return f'{value} percentage points (95 % interval {low} to {high})'


def _used(card: Card) -> list[str]:
  used = {
    'model': card['run'],
    'data': card['data'],
    'temperature': f'{card["temperature"]["value"]:.4g}',
    **card['identity'],
    **card['versions'],
  }
  said = (
    'Codes of 16 letters and digits stand for content: the same code, the same files.'
  )
  cells = [[key, str(value)] for key, value in used.items()]
  return [_table(['', 'value'], cells, 2), paragraph(said)]


def _table(head: Sequence[str], cells: Sequence[Sequence[str]], num_words=0) -> str:
  """A table whose first columns are words."""
  return Grid(head, cells, words=head[:num_words]).to_html()
