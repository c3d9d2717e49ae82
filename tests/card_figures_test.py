"""The numbers of a label card, each by hand."""

import numpy as np
import pytest
import tiny_labels

from alpt_jax.labelling import card_figures
from alpt_jax.labelling.card_figures import figures

NAMES = tiny_labels.NAMES

# Of 6 held-back moments 4 are right: left is found once of 2 times, right 2 of 3, up
# always; left is right when guessed in 1 of 2, right in 2 of 2, up in 1 of 2.
GUESS, TRUE, UNIT = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 2], [0, 0, 1, 1, 2, 2]


def audit(confidence=0.9, **changes):
  return tiny_labels.audit_columns(GUESS, TRUE, confidence, UNIT) | changes


def nothing_audited(num_actions=3):
  return tiny_labels.audit_columns([], [], 0.9, [], num_actions)


def test_accuracy_stands_beside_what_always_guessing_one_action_scores():
  found = figures(tiny_labels.label_columns([4]), audit(), NAMES)
  assert found['accuracy']['audit']['value'] == pytest.approx(4 / 6)
  assert found['accuracy']['audit']['num'] == 6
  assert found['accuracy']['audit']['units'] == 3
  assert found['accuracy']['majority'] == {'action': 'right', 'value': 0.5}


def test_every_action_has_its_recall_and_its_precision():
  found = figures(tiny_labels.label_columns([4]), audit(), NAMES)['per_action']
  values = [
    (row['name'], row['audited'], row['recall']['value'], row['precision']['value'])
    for row in found
  ]
  assert values == [
    ('left', 2, 1 / 2, 1 / 2),
    ('right', 3, pytest.approx(2 / 3), 1),
    ('up', 1, 1, 1 / 2),
  ]
  for row in found:
    for share in (row['recall'], row['precision']):
      assert 0 <= share['low'] <= share['value'] <= share['high'] <= 1


def test_a_row_of_the_confusion_is_what_was_recorded():
  found = figures(tiny_labels.label_columns([4]), audit(), NAMES)
  assert found['confusion'] == [[1, 0, 1], [1, 2, 0], [0, 0, 1]]


def test_the_estimate_is_the_confidence_put_right_by_the_audit():
  # .5 among the guesses, and 4/6 - .9 too much of it where the action is known.
  found = figures(tiny_labels.label_columns([400]), audit(), NAMES)['estimate']
  assert found['value'] == pytest.approx(0.5 + 4 / 6 - 0.9)
  assert found['low'] < found['value'] < found['high']


def test_the_estimate_is_of_the_guesses_that_were_kept_alone():
  confidence = np.float32([0.9] * 3 + [0.2] * 5)
  action = np.where(confidence >= 0.8, 0, -1)
  labels = tiny_labels.label_columns([8], confidence=confidence, action=action)
  sure = np.float32([0.9, 0.2, 0.9, 0.9, 0.2, 0.9])  # and of those four all are right
  found = figures(labels, audit(sure), NAMES, min_confidence=0.8)
  assert found['counts']['guessed'] == 3
  assert found['counts']['left_unlabelled'] == 5
  assert found['estimate']['value'] == pytest.approx(1)
  assert found['estimate']['num'] == 4


def test_recorded_actions_count_for_what_they_are():
  recorded = np.arange(10) < 6
  trained = np.arange(10) < 4
  action = np.int32([0, 0, 1, 1, 2, 2, 0, 0, 0, 0])  # two of four were guessed, too
  labels = tiny_labels.label_columns(
    [10], recorded=recorded, trained_on=trained, action=action
  )
  found = figures(labels, audit(), NAMES)
  assert found['counts'] == {
    'transitions': 10,
    'episodes': 1,
    'recorded': 6,
    'trained_on': 4,
    'audit': 6,
    'guessed': 4,
    'left_unlabelled': 0,
  }
  assert found['accuracy']['trained_on'] == 0.5
  assert [row['recorded'] for row in found['per_action']] == [2, 2, 2]
  assert [row['guessed'] for row in found['per_action']] == [4, 0, 0]


def test_the_truth_is_that_of_the_guesses_where_it_is_known():
  truth = np.int32([0, 0, 1, -1])
  found = figures(tiny_labels.label_columns([4], true_action=truth), audit(), NAMES)
  assert found['true_accuracy'] == {'value': pytest.approx(2 / 3), 'num': 3}
  assert (
    figures(tiny_labels.label_columns([4]), audit(), NAMES)['true_accuracy'] is None
  )


def test_what_a_confidence_leaves_and_how_much_of_it_is_right():
  confidence = np.float32([0.55, 0.75, 0.95, 0.995])
  sure = np.float32([0.55, 0.55, 0.95, 0.95, 0.75, 0.75])
  found = figures(
    tiny_labels.label_columns([4], confidence=confidence), audit(sure), NAMES
  )['coverage']
  left = {row['at_least']: row['share_of_unlabelled'] for row in found}
  assert left == {0: 1, 0.5: 1, 0.6: 0.75, 0.7: 0.75, 0.8: 0.5, 0.9: 0.5, 0.95: 0.5} | {
    0.99: 0.25
  }
  right = {
    row['at_least']: row['accuracy'] and row['accuracy']['value'] for row in found
  }
  assert right[0] == pytest.approx(4 / 6)
  assert right[0.7] == 0.75  # both of right, one of up
  assert right[0.9] == 1
  assert right[0.99] is None


def test_calibration_is_shown_before_and_after_the_temperature():
  # Claimed .9, and after the temperature .7, for 4 of 6.
  after = audit() | {'confidence': np.full(6, 0.7, np.float32)}
  found = figures(tiny_labels.label_columns([4]), after, NAMES)['calibration']
  assert found['error_before'] == pytest.approx(0.9 - 4 / 6)
  assert found['error_after'] == pytest.approx(0.7 - 4 / 6)
  assert found['before'][0]['confidence'] == pytest.approx(0.9)
  (filled,) = found['after']
  assert filled['count'] == 6
  assert filled['accuracy'] == pytest.approx(4 / 6)
  assert 0 < found['floor'] < 0.5


def test_actions_that_differ_by_fire_alone_are_merged_where_there_are_some():
  names = ('LEFT', 'LEFTFIRE', 'UP')
  found = figures(tiny_labels.label_columns([4]), audit(), names)['accuracy']
  assert found['merged']['value'] == pytest.approx(5 / 6)
  found = figures(tiny_labels.label_columns([4]), audit(), NAMES)['accuracy']
  assert found['merged'] is None


def test_a_shift_is_what_the_confidence_is_apart():
  found = figures(tiny_labels.label_columns([400]), audit(), NAMES)['shift']
  assert found['unlabelled'] == pytest.approx(0.5)
  assert found['audit'] == pytest.approx(0.9)
  assert found['standard_error'] == pytest.approx(0, abs=1e-6)  # one confidence


def test_a_shift_is_as_sure_as_units_differ():
  sure = np.float32([0.9, 0.9, 0.7, 0.7, 0.8, 0.8])
  found = figures(tiny_labels.label_columns([12]), audit(sure), NAMES)['shift']
  # Units are off their mean by .2, -.2 and 0 in sum; 6 judge 12.
  variance = 3 / 2 * (0.04 + 0.04) / 36
  assert found['standard_error'] == pytest.approx((variance * (1 + 6 / 12)) ** 0.5)


def test_without_an_audit_nothing_is_known_but_counts():
  found = figures(tiny_labels.label_columns([4]), nothing_audited(), NAMES)
  for key in ('estimate', 'calibration', 'shift'):
    assert found[key] is None, key
  assert found['accuracy']['audit'] is None
  assert found['accuracy']['majority'] is None
  assert found['confusion'] == [[0] * 3] * 3
  assert all(row['recall'] is None for row in found['per_action'])


def test_where_all_is_recorded_no_share_of_nothing_is_taken():
  labels = tiny_labels.label_columns([4], recorded=np.ones(4, bool))
  found = figures(labels, audit(), NAMES)
  assert found['estimate'] is None
  assert found['shift'] is None
  assert {row['share_of_unlabelled'] for row in found['coverage']} == {None}
  assert not len(card_figures.least_sure(labels))
  assert not len(card_figures.most_sure(labels))


def test_the_least_sure_moments_are_no_neighbours():
  confidence = np.full(160, 0.9, np.float32)
  confidence[[10, 11, 60, 130]] = 0.1, 0.2, 0.3, 0.05
  labels = tiny_labels.label_columns([120, 40], confidence=confidence)
  # Stretches of 50 in an episode: 0 to 49, 50 to 99, 100 to 119; then 120 to 159.
  assert card_figures.least_sure(labels).tolist() == [130, 10, 60, 100]
  assert card_figures.least_sure(labels, 2).tolist() == [130, 10]


def test_the_most_sure_moments_are_of_different_actions():
  confidence = np.float32([0.5, 0.9, 0.99, 0.7, 1])
  guess = np.int32([0, 0, 1, 1, 2])
  recorded = np.arange(5) == 4
  labels = tiny_labels.label_columns(
    [5], confidence=confidence, guess=guess, recorded=recorded
  )
  assert card_figures.most_sure(labels).tolist() == [2, 1]


def test_the_recordings_that_a_model_is_least_sure_of():
  confidence = np.float32([0.9] * 30 + [0.5] * 30 + [0.1] * 3 + [0.7] * 30)
  labels = tiny_labels.label_columns([30, 30, 3, 30], confidence=confidence)
  # The third has too few; the fourth episode is of the first recording: .8 of 60.
  found = card_figures.least_sure_recordings(labels, [0, 1, 2, 0])
  assert [(row['recording'], row['num']) for row in found] == [(1, 30), (0, 60)]
  assert [row['confidence'] for row in found] == pytest.approx([0.5, 0.8])


def test_one_recording_is_not_compared_with_itself():
  assert not card_figures.least_sure_recordings(tiny_labels.label_columns([60]), [0])
