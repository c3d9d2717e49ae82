"""The data card's numbers, worked out on paper."""

import json
import math

import numpy as np
import pytest

from alpt_jax.data import card, pool
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode

NAMES = ('down', 'left', 'right', 'up')
SPEC = EnvironmentSpec(
  'line/1', NAMES, ObservationSpec('integers', (1,), 'uint8', (9,)), (0, 2), Protocol(9)
)
FIVE_STEPS = Episode(
  observations=np.array([[0], [1], [1], [2], [2], [3]], np.uint8),
  actions=np.array([2, 2, 2, 1, 3]),
  rewards=np.array([0, 0, 2, 0, -0.5], np.float32),
  discounts=np.array([1, 1, 1, 1, 0], np.float32),
)


def made(tmp_path, *episodes, hidden=(), **arguments):
  """The card of a pool of these episodes, some of its actions hidden."""
  dataset = pool.write_pool(tmp_path / 'pool', SPEC, episodes)
  dataset.is_labelled[list(hidden)] = False
  return card.make_card(dataset, **arguments)


def still(length, action=0, terminal=True):
  """An episode in which nothing changes and nothing is won."""
  discounts = np.ones(length)
  discounts[-1] = 0 if terminal else 1
  observations = np.full((length + 1, 1), length % 9, np.uint8)
  return Episode(observations, np.full(length, action), np.zeros(length), discounts)


def test_a_hand_written_episode_has_the_numbers_of_the_paper_arithmetic(tmp_path):
  found = made(tmp_path, FIVE_STEPS, ceiling=0.75, source='by hand')
  assert found['environment'] == 'line/1' and found['source'] == 'by hand'
  assert found['num_episodes'] == 1 and found['num_transitions'] == 5
  assert found['labelled_share'] == 1
  assert found['action_histogram'] == {'down': 0, 'left': 1, 'right': 3, 'up': 1}
  assert found['majority_share'] == 3 / 5
  # Shares 1/5, 3/5, 1/5.
  entropy = -(0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2))
  assert found['action_entropy'] == pytest.approx(entropy)
  # Pairs: right right twice, right left, left up. After right: 2/3 v 1/3; after
  # left: certain. Three of the four pairs begin with right.
  after_right = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
  assert found['next_action_entropy'] == pytest.approx(3 / 4 * after_right)
  assert found['uniform_entropy'] == pytest.approx(math.log(4))
  # 1 -> 1 and 2 -> 2 of five transitions.
  assert found['unchanged_share'] == 2 / 5
  assert found['terminal_episode_share'] == 1
  # Only the reward of 2 lies outside [-1, 1].
  assert found['clipped_reward_share'] == pytest.approx(1 / 5)
  # Raw 2 - 0.5, clipped 1 - 0.5.
  assert set(found['return_quantiles'].values()) == {1.5}
  assert set(found['clipped_return_quantiles'].values()) == {0.5}
  assert set(found['length_quantiles'].values()) == {5}
  assert found['best_possible_idm_accuracy'] == 0.75


def test_quantiles_run_over_episodes(tmp_path):
  found = made(tmp_path, *(still(length) for length in (5, 1, 4, 2, 3)))
  # Sorted 1 2 3 4 5; the quantile q lies at place 4 q from the first, linearly.
  assert found['length_quantiles'] == pytest.approx(
    {'0': 1, '0.05': 1.2, '0.25': 2, '0.5': 3, '0.75': 4, '0.95': 4.8, '1': 5}
  )


@pytest.mark.parametrize('block_bytes', [1, 2, 3, 1 << 25])
def test_blocks_do_not_change_what_counts_as_unchanged(
  tmp_path, monkeypatch, block_bytes
):
  monkeypatch.setattr(card, '_BLOCK_BYTES', block_bytes)
  # 2 of 5, 3 of 3, 0 of 1. The last observation of the first, 3, is the first of
  # the second: no transition lies between them, so it must not count.
  moved = Episode(np.array([[7], [8]], np.uint8), [0], [0.0], [0.0])
  found = made(tmp_path, FIVE_STEPS, still(3), moved)
  assert found['unchanged_share'] == 5 / 9


def test_one_changed_pixel_is_a_change(tmp_path):
  spec = EnvironmentSpec(
    'x', NAMES, ObservationSpec('image', (2, 2, 1), 'uint8'), (0, 2), Protocol(9)
  )
  observations = np.zeros((3, 2, 2, 1), np.uint8)
  observations[2, 1, 1, 0] = 1
  episode = Episode(observations, [0, 0], [0.0, 0.0], [1.0, 0.0])
  found = card.make_card(pool.write_pool(tmp_path / 'pool', spec, [episode]))
  assert found['unchanged_share'] == 1 / 2


def test_hidden_actions_are_not_counted(tmp_path):
  found = made(tmp_path, FIVE_STEPS, hidden=[0, 3])
  assert found['labelled_share'] == 3 / 5
  assert found['action_histogram'] == {'down': 0, 'left': 0, 'right': 2, 'up': 1}
  assert found['majority_share'] == 2 / 3


def test_a_set_of_which_little_was_recorded_says_so(tmp_path):
  known = np.array([True, False, False, False, False])
  found = made(tmp_path, FIVE_STEPS._replace(is_labelled=known))
  assert found['action_histogram'] == {'down': 0, 'left': 0, 'right': 1, 'up': 0}
  assert '| Transitions with a recorded action | 20 % |' in card.to_markdown(found)
  # That it is little is no fault of it; what is missing may well occur.
  assert "Action 'up' never occurs where actions are known." in found['warnings']
  assert not any('20 %' in warning for warning in found['warnings'][:-1])


def test_a_dataset_without_labels_has_no_action_figures(tmp_path):
  found = made(tmp_path, FIVE_STEPS, hidden=range(5))
  assert found['majority_share'] is None and found['action_entropy'] is None
  assert not any('action' in warning.lower() for warning in found['warnings'])
  assert '| Entropy of actions | unknown |' in card.to_markdown(found)


def test_every_warning_says_what_is_odd(tmp_path):
  found = made(tmp_path, FIVE_STEPS)
  assert found['warnings'] == [
    "Action 'down' never occurs.",
    'Every clipped return is the same (0.5): return conditioning carries no '
    'information, a policy can only imitate.',
    '20 % of rewards lie outside [-1, 1] and are clipped in training.',
  ]


def test_cut_off_episodes_are_warned_of(tmp_path):
  # One of three is cut off: 33.3 %.
  found = made(tmp_path, still(2), still(2), still(2, terminal=False))
  assert found['terminal_episode_share'] == pytest.approx(2 / 3)
  assert '33.3 % of episodes are cut off, not terminated.' in found['warnings']


def test_a_good_dataset_has_no_warning(tmp_path):
  episodes = [still(10, action) for action in (0, 0, 0, 1, 1, 2, 2, 3)]
  episodes[0] = episodes[0]._replace(rewards=np.eye(10)[9])
  assert made(tmp_path, *episodes)['warnings'] == []


@pytest.mark.parametrize(
  ('pairs', 'suspected'),
  [
    # 2 N (log 2 - entropy) is about the sum over rows of (difference)^2 / row sum.
    # The limit is 2 + 4 sqrt(4) = 10. Twice 20^2 / 400 = 2.
    (((210, 190), (190, 210)), True),
    # Twice 60^2 / 400 = 18.
    (((230, 170), (170, 230)), False),
    # The same without any dependence, only not uniform.
    (((230, 170), (230, 170)), False),
    # 396 pairs are fewer than 100 for each of 4 cells.
    (((99, 99), (99, 99)), False),
  ],
)
def test_only_pairs_like_those_of_uniform_draws_look_random(pairs, suspected):
  assert card._looks_random(np.array(pairs)) is suspected


def test_random_play_is_suspected_and_purposeful_play_is_not(tmp_path):
  actions = np.random.default_rng(0).integers(0, 4, 2000)
  episode = still(2000)._replace(actions=actions)
  warning = 'Actions look uniform and independent: is this random play?'
  assert warning in made(tmp_path, episode)['warnings']
  # As often each, but one after the other: 0 1 2 3 0 1 2 3 ...
  episode = episode._replace(actions=np.arange(2000) % 4)
  assert warning not in made(tmp_path, episode)['warnings']


def test_the_pairs_of_actions_stay_within_episodes_and_labels(tmp_path):
  # 0 0 | 1 1 1 with the last label hidden: pairs 0 0 and 1 1.
  dataset = pool.write_pool(tmp_path / 'pool', SPEC, [still(2, 0), still(3, 1)])
  dataset.is_labelled[4] = False
  pairs = card._action_pairs(dataset)
  assert pairs[0, 0] == 1 and pairs[1, 1] == 1 and pairs.sum() == 2


def test_the_page_opens_with_the_warnings_and_holds_the_figures(tmp_path):
  page = card.to_markdown(made(tmp_path, FIVE_STEPS, source='a | b'))
  assert page.startswith('# Data card: line/1\n\n> **Warning:** Action')
  assert page.index('carries no information') < page.index('| Episodes | 1 |')
  assert '| Source | a \\| b |' in page
  assert '| right | 3 | 60 % |' in page
  assert '| Transitions that change nothing | 40 % |' in page
  assert 'inverse dynamics model | unknown |' in page
  assert '| return | 1.5 | 1.5 | 1.5 | 1.5 | 1.5 | 1.5 | 1.5 |' in page


def test_the_card_is_written_for_programs_and_for_readers(tmp_path):
  found = made(tmp_path, FIVE_STEPS)
  card.write_card(tmp_path, found)
  assert json.loads((tmp_path / 'card.json').read_text()) == found
  assert (tmp_path / 'card.md').read_text() == card.to_markdown(found)
