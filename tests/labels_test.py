"""Which actions are known: exact, nested, reproducible, and never held out."""

import dataclasses
import json

import numpy as np
import pytest
import tiny

from alpt_jax.data import labels as labelling
from alpt_jax.data.mixture import Mixture
from alpt_jax.errors import UserError

LENGTHS = (7, 12, 3, 9, 5, 8, 11, 6)  # 61 transitions


def pool(lengths=LENGTHS, manifest_hash=tiny.HASH):
  return tiny.tiny_pool(lengths, manifest_hash=manifest_hash)


def draw(budget, seed=0, of=None, **arguments):
  return labelling.draw_labels(of or pool(), budget, seed, **arguments)


def known(labels, of=None):
  """The (episode, step) pairs whose action is known, each as often as named."""
  return [(e, first + i) for e, first, length in labels.segments for i in range(length)]


# The draw.


@pytest.mark.parametrize('budget', [1, 4, 5, 6, 23, 40])
@pytest.mark.parametrize('segment_length', [1, 5, 50, 0])
def test_exactly_the_budget_is_labelled_and_nothing_twice(budget, segment_length):
  labels = draw(budget, segment_length=segment_length)
  places = known(labels)
  assert len(places) == len(set(places)) == budget == labels.budget
  assert all(step < LENGTHS[episode] for episode, step in places)
  transitions = labelling.labelled_transitions(pool(), labels)
  assert len(transitions) == budget and (np.diff(transitions) > 0).all()


@pytest.mark.parametrize('segment_length', [5, 0])
def test_budgets_are_nested(segment_length):
  largest = known(draw(50, segment_length=segment_length))
  for budget in range(1, 50):
    smaller = draw(budget, segment_length=segment_length)
    assert known(smaller) == largest[:budget]


def test_only_the_last_segment_is_shortened():
  # Episodes of 10 in segments of 5, a budget of 12: 5 + 5 + 2.
  of = pool((10,) * 20)
  labels = draw(12, of=of, segment_length=5)
  assert [length for _, _, length in labels.segments] == [5, 5, 2]
  assert all(first % 5 == 0 for _, first, _ in labels.segments)


def test_a_segment_length_of_zero_labels_whole_episodes():
  labels = draw(30, segment_length=0)
  *whole, last = labels.segments
  assert whole and all((f, n) == (0, LENGTHS[e]) for e, f, n in whole)
  assert last[1] == 0 and last[2] <= LENGTHS[last[0]]


@pytest.mark.parametrize('seed', range(10))
def test_held_out_episodes_hold_no_label(seed):
  of = pool()
  labels = draw(30, seed, heldout_share=0.25)
  assert len(labels.heldout_episodes) == 2  # a quarter of 8
  assert not {e for e, _ in known(labels)} & set(labels.heldout_episodes)
  trained = labelling.trained_transitions(of, labels)
  assert not np.isin(of.episode_of[trained], labels.heldout_episodes).any()
  expected = 61 - sum(LENGTHS[e] for e in labels.heldout_episodes)
  assert len(trained) == expected


@pytest.mark.parametrize('share, expected', [(0, 0), (0.01, 1), (0.5, 4)])
def test_at_least_one_episode_is_held_out_unless_none_is_wanted(share, expected):
  assert len(draw(1, heldout_share=share).heldout_episodes) == expected


def test_all_that_is_trained_on_can_be_labelled_and_no_more():
  labels = draw(1)
  available = 61 - sum(LENGTHS[e] for e in labels.heldout_episodes)
  assert draw(available).budget == available
  with pytest.raises(UserError, match=f'expected 1 to {available}, .* 7 episodes'):
    draw(available + 1)


def test_a_budget_of_zero_is_all_and_one_below_is_refused():
  assert draw(0).budget == 61 - sum(LENGTHS[e] for e in draw(1).heldout_episodes)
  with pytest.raises(UserError, match='-3 labels asked for'):
    draw(-3)


def test_the_same_labels_are_drawn_again():
  first = draw(23, 3)
  draw(10, 4)  # what else is drawn before does not matter
  assert draw(23, 3) == first and draw(23, 3).hash == first.hash


def test_another_seed_or_dataset_has_other_labels():
  first = draw(23, 3)
  other_data = draw(23, 3, of=pool(manifest_hash='00000000000000a2'))
  for other in (draw(23, 4), other_data):
    assert set(known(other)) != set(known(first)) and other.hash != first.hash


def test_the_draw_does_not_read_the_actions():
  of = pool()
  assert draw(23, of=tiny.with_actions(of, (of.actions + 1) % 4)) == draw(23)


@pytest.mark.parametrize('batch_size, num_hosts', [(1, 1), (4, 1), (4, 2), (12, 4)])
def test_training_sees_the_same_labels_whatever_the_batch_and_the_hosts(
  batch_size, num_hosts
):
  of = pool()
  labels = draw(23)
  visible = labelling.hide_actions(of, labels)
  ends = labelling.trained_transitions(of, labels)
  stream = tiny.tiny_stream(visible, ends=ends)
  mixture = Mixture([stream], batch_size, seed=5)
  num_steps = -(-len(ends) // batch_size)  # an epoch, and the rest of its batch
  seen = set()
  for step in range(num_steps):
    for host in range(num_hosts):
      window = mixture.batch(step, host, num_hosts).window
      places = window.observations[:, :-1][window.is_labelled]
      seen |= {(e - 1, t) for e, t, _ in places.tolist()}
  assert seen == set(known(labels))


# The label file.


def test_a_label_file_brings_back_the_labels(tmp_path):
  labels = draw(23)
  labelling.save_labels(tmp_path / 'labels.json', labels)
  loaded = labelling.load_labels(tmp_path / 'labels.json')
  assert loaded == labels and loaded.hash == labels.hash
  assert [path.name for path in tmp_path.iterdir()] == ['labels.json']


def test_the_hash_tells_any_two_choices_apart():
  labels = draw(23)
  (episode, first, length), *rest = labels.segments
  others = [
    dataclasses.replace(labels, seed=99),
    dataclasses.replace(labels, dataset='f'),
    dataclasses.replace(labels, heldout_episodes=()),
    dataclasses.replace(labels, segments=((episode, first, length - 1), *rest)),
  ]
  assert len({labels.hash, *(other.hash for other in others)}) == 5


@pytest.mark.parametrize('text', ['', '{', '[]', '{}', '{"dataset": "a1"}', '7'])
def test_what_is_no_label_file_is_refused(tmp_path, text):
  path = tmp_path / 'labels.json'
  path.write_text(text)
  with pytest.raises(UserError, match='labels.json: not a label file'):
    labelling.load_labels(path)


def test_a_segment_of_two_numbers_is_refused(tmp_path):
  path = tmp_path / 'labels.json'
  fields = {'dataset': 'a1', 'seed': 0, 'segments': [[1, 2]], 'heldout_episodes': []}
  path.write_text(json.dumps(fields))
  with pytest.raises(UserError, match='not a label file'):
    labelling.load_labels(path)


def test_a_missing_label_file_is_refused(tmp_path):
  with pytest.raises(UserError, match='nowhere.json: not a label file'):
    labelling.load_labels(tmp_path / 'nowhere.json')


def test_labels_of_another_dataset_are_refused():
  labels = draw(23)
  other = pool(manifest_hash='00000000000000a2')
  refusals = [
    lambda: labelling.labelled_transitions(other, labels),
    lambda: labelling.hide_actions(other, labels),
    lambda: labelling.evaluation_windows(other, labels, tiny.ACTIONS, 0, 5),
    lambda: labelling.evaluation_windows(
      other, labels, tiny.ACTIONS, 0, 5, heldout=True
    ),
  ]
  for refused in refusals:
    with pytest.raises(UserError, match='00000000000000a1 do not belong to tiny'):
      refused()


# Evaluation truth.


def scored(windows):
  """The (episode, step) pairs that are counted, each as often as it is."""
  places = windows.window.observations[:, :-1][windows.counted]
  return [(e - 1, t) for e, t, _ in places.tolist()]


def evaluate(labels, num_transitions, seed=0, of=None, **arguments):
  return labelling.evaluation_windows(
    of or pool(), labels, tiny.ACTIONS, seed, num_transitions, **arguments
  )


@pytest.mark.parametrize('heldout', [False, True])
@pytest.mark.parametrize('lengths', [LENGTHS, (6,) * 8, (3, 2, 1, 4) * 4])
def test_each_transition_is_counted_once_and_exactly_as_many_as_asked(lengths, heldout):
  # Lengths that are no multiple of 5 leave short windows at the ends, which show
  # transitions of the window before.
  of = pool(lengths)
  labels = draw(9, of=of, heldout_share=0.4)
  every = {(e, t) for e, length in enumerate(lengths) for t in range(length)}
  out = {place for place in every if place[0] in labels.heldout_episodes}
  expected = out if heldout else every - out - set(known(labels))
  for wanted in (1, 2, 7, len(expected) - 1, len(expected)):
    found = scored(evaluate(labels, wanted, of=of, heldout=heldout))
    assert len(found) == len(set(found)) == wanted
    assert set(found) <= expected
  found = scored(evaluate(labels, 10_000, of=of, heldout=heldout))
  assert sorted(found) == sorted(expected)  # all there are, when there are fewer


def test_true_actions_are_right_and_hidden_from_the_window():
  of = pool()
  labels = draw(23)
  vocabulary = ('NOOP', *tiny.ACTIONS)  # joint numbers are own numbers + 1
  found = labelling.evaluation_windows(of, labels, vocabulary, 0, 20)
  # tiny_episode's rule: the action of step t of episode e is (e + t) % 4.
  expected = [(e + t) % 4 + 1 for e, t in scored(found)]
  assert found.true_actions[found.counted].tolist() == expected
  assert (found.window.actions[found.counted] == 0).all()
  assert not found.window.is_labelled[found.counted].any()
  assert found.window.valid[found.counted].all()


def test_the_windows_are_those_that_training_sees():
  of = pool()
  labels = draw(23)
  window = evaluate(labels, 20).window
  places = {tuple(place) for place in window.observations[:, -2].tolist()}
  assert len(places) == len(window.valid)
  seen = window.observations[:, :-1][window.is_labelled]
  assert {(e - 1, t) for e, t, _ in seen.tolist()} <= set(known(labels))
  visible = labelling.hide_actions(of, labels)
  ends = [int(of.starts[e - 1]) + t for e, t, _ in window.observations[:, -2].tolist()]
  training = tiny.tiny_stream(visible).windows.reader(np.array(ends))
  for one, other in zip(window, training, strict=True):
    assert np.array_equal(one, other)


def test_another_budget_is_scored_on_the_same_transitions_where_still_hidden():
  few, many = draw(5), draw(30)
  by_few = scored(evaluate(few, 25))
  by_many = scored(evaluate(many, 25))
  still_hidden = [place for place in by_few if place not in known(many)]
  assert len(still_hidden) < 25  # some are known by now
  assert by_many[: len(still_hidden)] == still_hidden
  heldout = [scored(evaluate(labels, 5, heldout=True)) for labels in (few, many)]
  assert heldout[0] == heldout[1]


def test_the_choice_depends_on_seed_and_dataset_alone():
  labels = draw(5)
  assert scored(evaluate(labels, 20)) == scored(evaluate(labels, 20))
  assert scored(evaluate(labels, 20)) != scored(evaluate(labels, 20, seed=1))


def test_nothing_hidden_leaves_nothing_to_evaluate_on():
  labels = draw(61, heldout_share=0)
  for heldout in (False, True):
    with pytest.raises(UserError, match='no transition is left'):
      evaluate(labels, 5, heldout=heldout)


def test_labelled_windows_show_a_label_at_every_place_that_its_episode_has():
  # Episodes of 5 and 3 transitions: 0 to 4, and 5 to 7. Labelled are 1 and 2, whose
  # windows of 3 end at 1, 2, 3 and 2, 3, 4; and 6 and 7, whose end at 6, 7 (8 is not).
  pool = tiny.tiny_pool((5, 3))
  known = labelling.Labels(pool.manifest_hash, 0, ((0, 1, 2), (1, 1, 2)), ())
  assert labelling.labelled_windows(pool, known, 3).tolist() == [1, 2, 3, 4, 6, 7]
  assert labelling.labelled_windows(pool, known, 1).tolist() == [1, 2, 6, 7]
