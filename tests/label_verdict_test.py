"""The sentences of a label card: each rule at its limit, and on either side."""

import pytest

from alpt_jax.report.label_verdict import verdict


def share(value, low=None, high=None, num=500, units=10):
  low = value - 0.03 if low is None else low
  high = value + 0.03 if high is None else high
  return {'value': value, 'low': low, 'high': high, 'num': num, 'units': units}


def card(**changes):
  """A model that is right in .8, known exactly, with nothing odd about it."""
  made = {
    'counts': {'guessed': 900, 'left_unlabelled': 100, 'audit': 500},
    'identity': {'min_confidence': 0.0},
    'accuracy': {
      'audit': share(0.8),
      'trained_on': 0.85,
      'majority': {'action': 'up', 'value': 0.6},
    },
    'estimate': share(0.78),
    'units': {
      'basis': 'recording',
      'num': 10,
      'are_learnt_from': False,
      'may_be_trained_on': False,
      'guesses': None,
    },
    'calibration': {'error_after': 0.02, 'floor': 0.01},
    'coverage': [level(0, 1, 0.8), level(0.9, 0.4, 0.95), level(0.95, 0.1, 0.97)],
    'per_action': [{'name': 'up', 'audited': 20}, {'name': 'down', 'audited': 480}],
    'shift': {'unlabelled': 0.8, 'audit': 0.82, 'standard_error': 0.01},
    'recordings_least_sure': [],
    'curve': None,
  }
  return made | changes


def level(at_least, share_of_unlabelled, value):
  return {
    'at_least': at_least,
    'share_of_unlabelled': share_of_unlabelled,
    'accuracy': share(value),
  }


def said(**changes):
  return ' '.join(verdict(card(**changes)))


def test_what_is_known_of_the_guesses_comes_first_with_its_basis():
  sentences = verdict(card())
  assert sentences[0] == 'About 78 % (75 to 81 %) of the guessed actions are right.'
  assert '500 recorded actions that the model has never seen, in 10' in sentences[1]
  assert '10 recordings, which it takes for independent' in sentences[1]
  assert 'other moments' not in sentences[1]


@pytest.mark.parametrize(
  'basis, parts', [('stretch', 'stretches'), ('episode', 'episodes')]
)
def test_parts_of_recordings_are_named(basis, parts):
  units = card()['units'] | {'basis': basis}
  found = said(units=units, estimate=share(0.78, units=16))
  assert f'16 {parts} of recordings' in found
  assert f'takes {parts} of one recording for independent' in found


def test_that_it_learnt_from_the_recordings_that_judge_it_is_said():
  units = card()['units'] | {'are_learnt_from': True}
  assert 'learnt from other moments of the same recordings' in said(units=units)


def test_what_only_the_sure_ones_rest_on_is_said():
  found = said(identity={'min_confidence': 0.5}, estimate=share(0.9, num=70, units=6))
  assert (
    '70 recorded actions that the model has never seen and is sure enough of' in found
  )


def test_that_it_may_have_been_trained_on_what_it_is_judged_by_is_said():
  units = card()['units'] | {'may_be_trained_on': True}
  found = said(units=units)
  assert 'that the model may have seen, in 10' in found
  assert 'may have learnt from some of these actions' in found
  assert 'never seen' not in found


def test_that_what_judges_may_be_guessed_itself_is_said():
  found = said(units=card()['units'] | {'guesses': 0.8})
  assert 'guesses of a model that was 0.8 sure count here' in found
  assert 'was 0.8 sure' not in said()


def test_without_an_audit_nothing_else_is_said():
  counts = card()['counts'] | {'audit': 0}
  (sentence,) = verdict(card(counts=counts, estimate=None, calibration=None))
  assert sentence.startswith('How often the guesses are right is not known')
  assert 'Label some more' in sentence


@pytest.mark.parametrize('low, is_said', [(0.61, False), (0.6, True), (0.5, True)])
def test_no_better_than_the_commonest_action(low, is_said):
  accuracy = card()['accuracy'] | {'audit': share(0.8, low=low)}
  found = said(accuracy=accuracy)
  assert ('Not shown to be better than always guessing up.' in found) == is_said


def test_with_one_action_no_guess_can_be_wrong():
  accuracy = card()['accuracy'] | {
    'audit': share(1.0),
    'majority': {'action': 'up', 'value': 1.0},
  }
  found = said(accuracy=accuracy, per_action=[{'name': 'up', 'audited': 500}])
  assert 'There is one action only, up: no guess can be wrong.' in found
  assert 'Not shown' not in found


def test_nothing_guessed_is_said_before_how_good_it_would_have_been():
  counts = {'guessed': 0, 'left_unlabelled': 0, 'audit': 500}
  sentences = verdict(card(counts=counts, estimate=None, shift=None))
  assert sentences[0].startswith('Every action of this dataset was recorded')
  assert 'held back, 80 % (77 to 83 %) of the guesses were right' in sentences[1]


def test_all_left_unlabelled_names_the_flag():
  counts = {'guessed': 0, 'left_unlabelled': 10, 'audit': 500}
  sentences = verdict(
    card(counts=counts, estimate=None, identity={'min_confidence': 0.5})
  )
  assert '--min_confidence=0.5' in sentences[0]
  assert 'no action was added' in sentences[0]
  assert 'were right' in sentences[1]


def test_guesses_surer_than_any_that_was_held_back_have_no_estimate():
  found = said(estimate=None)
  assert 'of these nothing is known' in found


@pytest.mark.parametrize(
  'error, floor, expected',
  [
    (0.03, 0, 'A confidence can be'),
    (0.031, 0, 'A confidence cannot be'),
    # No more than chance may bring, but chance is no proof.
    (0.1, 0.05, 'Whether a confidence can be taken at its word is not known'),
    (0.101, 0.05, 'A confidence cannot be'),
  ],
)
def test_what_a_confidence_is_worth_is_said_where_it_is_shown(error, floor, expected):
  assert expected in said(calibration={'error_after': error, 'floor': floor})


@pytest.mark.parametrize(
  'rows, sentence',
  [
    # .95 - .03 is .92.
    ((0.8, 0.95, 0.97), 'With --min_confidence=0.9, 40 % of the actions'),
    ((0.8, 0.92, 0.97), 'With --min_confidence=0.95, 10 % of the actions'),
    ((0.93, 0.95, 0.97), 'All guesses can be kept: at least 90 % of them right'),
    ((0.8, 0.92, 0.92), 'At no confidence are 90 % shown to be right.'),
  ],
)
def test_the_smallest_confidence_that_is_shown_to_be_right_is_named(rows, sentence):
  stays = ((0, 1), (0.9, 0.4), (0.95, 0.1))
  levels = [level(*each, value) for each, value in zip(stays, rows, strict=True)]
  assert sentence in said(coverage=levels)


def test_a_confidence_that_no_guess_has_is_not_advised():
  rows = [level(0, 1, 0.8), level(0.9, 0, 0.97)]
  assert 'At no confidence' in said(coverage=rows)
  rows = [level(0, None, 0.8), level(0.9, None, 0.97)]  # nothing there to keep
  assert 'confidence=' not in said(coverage=rows)
  assert 'At no confidence' not in said(coverage=rows)


def test_actions_that_were_hardly_held_back_are_named():
  rows = [{'name': 'up', 'audited': 19}, {'name': 'fire', 'audited': 0}]
  found = said(per_action=[*rows, {'name': 'down', 'audited': 481}])
  assert 'Nothing can be said of: up, fire (' in found
  assert 'Nothing can be said' not in said()


@pytest.mark.parametrize(
  'unlabelled, word', [(0.79, 'harder'), (0.85, 'easier'), (0.8, None)]
)
def test_an_unlabelled_part_unlike_the_labelled_one_is_named(unlabelled, word):
  shift = {'unlabelled': unlabelled, 'audit': 0.82, 'standard_error': 0.01}
  least = [{'recording': 'a.mp4'}, {'recording': 'b.mp4'}]
  found = said(shift=shift, recordings_least_sure=least)
  if word is None:
    assert 'looks' not in found
  else:
    assert f'looks {word} than the labelled one; least sure in: a.mp4, b.mp4.' in found


@pytest.mark.parametrize(
  'trained_on, advice',
  [
    (0.91, 'more labels are likely to help'),
    (0.86, 'is not known'),
    (0.82, 'train longer, a larger model or more sources'),
    (None, 'is not known'),
  ],
)
def test_what_would_help_is_read_off_the_labels_that_it_learnt_from(trained_on, advice):
  accuracy = card()['accuracy'] | {'trained_on': trained_on}
  assert advice in verdict(card(accuracy=accuracy))[-1]


def test_so_few_are_held_back_that_knowing_its_own_labels_better_may_be_chance():
  audit = share(0.8) | {'high': 0.92}
  accuracy = card()['accuracy'] | {'trained_on': 0.91, 'audit': audit}
  assert 'is not known' in verdict(card(accuracy=accuracy))[-1]
