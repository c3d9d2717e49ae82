"""Labels of what was recorded in part: who trains, who judges, and nothing twice."""

import dataclasses

import numpy as np
import pytest
import tiny

from alpt_jax.data import labels as labelling
from alpt_jax.data.labels import Labels, evaluation_ends, evaluation_windows
from alpt_jax.data.recorded_labels import draw_recorded, recorded_runs
from alpt_jax.errors import UserError

T = 5


def pool_with(*known):
  """A pool of an episode for each string: '#' where its action was recorded."""
  pool = tiny.tiny_pool([len(marks) for marks in known])
  is_labelled = np.array([mark == '#' for marks in known for mark in marks])
  actions = np.where(is_labelled, pool.actions, 0).astype(np.int32)
  return dataclasses.replace(pool, actions=actions, is_labelled=is_labelled)


# 12 of 40 episodes with 100 steps in a row each: 1,200 recorded, stretches of 50.
STREWN = pool_with(*['.' * 30 + '#' * 100 + '.' * 20] * 12, *['.' * 20] * 28)
# 30 episodes that are labelled throughout among 40.
WHOLE = pool_with(*['#' * 40] * 30, *['.' * 20] * 10)


def places(pool, segments):
  """Transitions of segments, in a list: one that is in two is there twice."""
  return [
    int(pool.starts[episode]) + first + step
    for episode, first, length in segments
    for step in range(length)
  ]


def test_runs_are_what_was_recorded_in_a_row_within_an_episode():
  pool = pool_with('##..#', '####', '...', '.#')
  assert recorded_runs(pool).tolist() == [[0, 0, 2], [0, 4, 1], [1, 0, 4], [3, 1, 1]]
  assert recorded_runs(pool_with('...')).shape == (0, 3)


@pytest.mark.parametrize('pool', [STREWN, WHOLE], ids=['strewn', 'whole'])
@pytest.mark.parametrize('seed', range(3))
def test_all_parts_were_recorded_and_no_transition_has_two(pool, seed):
  drawn = draw_recorded(pool, 0, seed)
  trained, audited = places(pool, drawn.segments), places(pool, drawn.audited)
  heldout = pool.transitions_of(drawn.heldout_episodes).tolist()
  assert drawn.segments and drawn.audited and drawn.heldout_episodes
  assert pool.is_labelled[trained + audited].all()
  everything = trained + audited + heldout
  assert len(set(everything)) == len(everything)


@pytest.mark.parametrize('seed', range(3))
def test_no_window_that_shows_a_trained_label_shows_an_audited_transition(seed):
  drawn = draw_recorded(STREWN, 0, seed)
  shown = labelling.labelled_windows(STREWN, drawn, T)[:, None] - np.arange(T)
  audited = places(STREWN, drawn.audited)
  # Windows at an episode's begin are padded; those places are no transitions of it.
  steps = shown - STREWN.starts[STREWN.episode_of[shown[:, 0]]][:, None]
  assert not np.isin(shown[steps >= 0], audited).any()


def test_training_sees_the_actions_of_no_other_part():
  drawn = draw_recorded(STREWN, 100, 0)
  visible = labelling.hide_actions(STREWN, drawn)
  trained = places(STREWN, drawn.segments)
  assert np.flatnonzero(visible.is_labelled).tolist() == sorted(trained)
  assert not visible.actions[~visible.is_labelled].any()


@pytest.mark.parametrize(
  'segment_length, expected',
  # A twentieth of 1,200 is 60; 4 T is 20.
  [(50, 50), (500, 60), (0, 60), (3, 20)],
)
def test_stretches_are_neither_too_short_nor_too_few(segment_length, expected):
  drawn = draw_recorded(STREWN, 0, 0, segment_length, heldout_share=0)
  assert max(length for _, _, length in drawn.segments) == expected


def test_only_the_side_beside_a_trained_stretch_is_cut():
  # Two stretches of 20 in a row in each of 12 episodes: 480 recorded, 24 stretches.
  pool = pool_with(*['.' * 7 + '#' * 40] * 12)
  drawn = draw_recorded(pool, 0, 0, segment_length=20, heldout_share=0)
  audited = {(episode, first): length for episode, first, length in drawn.audited}
  # .2 x 480 = 96, which the fifth stretch of 20 reaches.
  assert len(audited) == 5
  trained = {(episode, first) for episode, first, _ in drawn.segments}
  assert len(trained) == 19
  for (episode, first), length in audited.items():
    if first == 7:  # the first of two, shortened at its end where the other trains
      assert length == (16 if (episode, 27) in trained else 20)
    else:  # 27, or 4 later where the first one trains
      assert (first, length) == ((31, 16) if (episode, 7) in trained else (27, 20))


def test_a_gap_shorter_than_a_window_does_not_part_stretches():
  # A window over the gap of 2 shows both: of the audited side T - 1 - 2 are lost.
  pool = pool_with(*['#' * 20 + '..' + '#' * 20] * 12)
  drawn = draw_recorded(pool, 0, 0, segment_length=20, heldout_share=0)
  trained = {(episode, first) for episode, first, _ in drawn.segments}
  alone = [
    (first, length)
    for episode, first, length in drawn.audited
    if {(episode, 0), (episode, 22)} & trained
  ]
  assert alone and set(alone) <= {(0, 18), (24, 18)}


def test_of_many_labelled_episodes_whole_ones_are_audited():
  drawn = draw_recorded(WHOLE, 0, 0)
  # 5 % of 40 episodes are held out, 2 of the 30 labelled ones; of the 28 others
  # .2 x 28 x 40 = 224 transitions are reached by the sixth.
  assert len(drawn.heldout_episodes) == 2
  assert len(drawn.audited) == 6
  assert all((first, length) == (0, 40) for _, first, length in drawn.audited)
  assert len(places(WHOLE, drawn.segments)) == 22 * 40


def test_few_labelled_episodes_are_not_given_away():
  # 2 of 40 are held out; of 5 labelled ones .05 x 5 rounds to none.
  pool = pool_with(*['#' * 50] * 5, *['.' * 20] * 35)
  for seed in range(5):
    drawn = draw_recorded(pool, 0, seed)
    assert len(drawn.heldout_episodes) == 2
    assert min(drawn.heldout_episodes) >= 5


def test_budgets_are_nested_and_judged_by_one_audit():
  draws = [draw_recorded(STREWN, budget, 3) for budget in (70, 200, 0)]
  one, two, three = (set(places(STREWN, drawn.segments)) for drawn in draws)
  assert len(one) == 70 and len(two) == 200
  assert one < two < three
  assert draws[0].audited == draws[1].audited == draws[2].audited
  assert draws[0].heldout_episodes == draws[2].heldout_episodes


def test_another_seed_audits_others():
  assert draw_recorded(STREWN, 0, 0) == draw_recorded(STREWN, 0, 0)
  assert draw_recorded(STREWN, 0, 0).audited != draw_recorded(STREWN, 0, 1).audited


def test_too_little_for_an_audit_is_all_trained_on():
  # 100 recorded are 5 stretches of 4 T = 20: 4 of them would leave one.
  pool = pool_with('#' * 100, '.' * 50)
  drawn = draw_recorded(pool, 0, 0)
  assert drawn.audited == () and drawn.budget == 100
  # 160 are 8, of which 4 may be.
  drawn = draw_recorded(pool_with('#' * 160, '.' * 50), 0, 0)
  assert len(drawn.audited) == 4 and drawn.budget == 80
  assert draw_recorded(STREWN, 0, 0, audit_share=0).audited == ()


def test_what_cannot_be_drawn_is_refused():
  with pytest.raises(UserError, match='tiny: expected recorded actions .* none in its'):
    draw_recorded(pool_with('...', '....'), 0, 0)
  available = draw_recorded(STREWN, 0, 0).budget
  for budget in (available + 1, -1):
    with pytest.raises(
      UserError, match=f'{budget} labels asked for: .* 1 to {available}'
    ):
      draw_recorded(STREWN, budget, 0)


def test_labels_are_not_drawn_blindly_where_actions_are_missing():
  with pytest.raises(UserError, match='all 2,360 actions to be known, found 1,200'):
    labelling.draw_labels(STREWN, 10, 0)


# Label files.


def test_an_audit_is_kept_in_the_label_file(tmp_path):
  drawn = draw_recorded(STREWN, 100, 0)
  labelling.save_labels(tmp_path / 'labels.json', drawn)
  found = labelling.load_labels(tmp_path / 'labels.json')
  assert found == drawn and found.hash == drawn.hash
  assert drawn.hash != dataclasses.replace(drawn, audited=drawn.audited[1:]).hash


def test_labels_without_an_audit_have_the_file_that_they_had_before_there_were_any(
  tmp_path,
):
  # The hash that commit b0da0eb gave it.
  drawn = labelling.draw_labels(tiny.tiny_pool((7, 12, 3, 20)), 13, 0)
  assert drawn.hash == '7dc0af33d87a73a4'
  labelling.save_labels(tmp_path / 'labels.json', drawn)
  assert 'audited' not in (tmp_path / 'labels.json').read_text()


# What is evaluated.


def counted_places(pool, drawn, num_transitions, **arguments):
  ends, counted = evaluation_ends(pool, drawn, 0, num_transitions, **arguments)
  inside = ends[:, None] + np.arange(1 - T, 1)
  return sorted(inside[counted].tolist())


def test_the_audit_alone_is_counted_each_transition_once():
  drawn = draw_recorded(STREWN, 0, 0)
  audited = sorted(places(STREWN, drawn.audited))
  assert counted_places(STREWN, drawn, 10_000) == audited
  some = counted_places(STREWN, drawn, 40)
  assert len(some) == 40 and set(some) < set(audited)


def test_of_held_out_episodes_the_recorded_transitions_are_counted():
  drawn = draw_recorded(WHOLE, 0, 0)
  assert counted_places(WHOLE, drawn, 10_000, heldout=True) == [
    place
    for place in WHOLE.transitions_of(drawn.heldout_episodes).tolist()
    if WHOLE.is_labelled[place]
  ]


def test_the_true_actions_of_the_audit_are_hidden_from_the_windows():
  drawn = draw_recorded(STREWN, 0, 0)
  names = STREWN.spec.action_names
  found = evaluation_windows(STREWN, drawn, names, 0, 10_000)
  assert not found.window.is_labelled[found.counted].any()
  assert (found.window.actions[found.counted] == 0).all()
  # tiny_episode: the action of step t is (number + t) % 4; its row says both.
  number, step, _ = np.moveaxis(found.window.observations[:, :-1], -1, 0).astype(int)
  assert (found.true_actions == (number - 1 + step) % 4)[found.counted].all()


def test_without_an_audit_there_is_nothing_to_evaluate_on():
  drawn = Labels(STREWN.manifest_hash, 0, ((0, 40, 5),), ())
  assert not labelling.has_truth(STREWN, drawn)
  with pytest.raises(UserError, match='no transition is left to evaluate the IDM on'):
    evaluation_ends(STREWN, drawn, 0, 10)


def test_whether_there_is_anything_to_evaluate_on_is_known_beforehand():
  whole = draw_recorded(WHOLE, 0, 0)
  assert labelling.has_truth(WHOLE, whole)
  assert labelling.has_truth(WHOLE, whole, heldout=True)
  # Of 12 labelled episodes .05 x 12 = .6 is one; of 5, none.
  few = pool_with(*['#' * 50] * 5, *['.' * 20] * 35)
  drawn = draw_recorded(few, 0, 0)
  assert labelling.has_truth(few, drawn)
  assert drawn.heldout_episodes and not labelling.has_truth(few, drawn, heldout=True)
