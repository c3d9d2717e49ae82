"""Recordings read ahead: batches of their windows, and what is none."""

import threading

import numpy as np
import pytest
import tiny
from tiny_labeller import TINY, tiny_labeller, unlabelled

from alpt_jax.errors import UserError
from alpt_jax.labelling import labeller as labelling
from alpt_jax.labelling import reading
from alpt_jax.labelling.labeller import LabellingConfig
from alpt_jax.labelling.reading import Recording


@pytest.fixture(scope='module')
def labeller():
  return tiny_labeller()


def test_batches_run_across_episodes_and_only_the_last_is_filled_up():
  # Once, T = 4: lengths 6, 1 and 4 have 2 + 1 + 1 windows: 3 in the first batch.
  cut = reading.Windows(TINY, 4, 4, False, 3)
  recordings = [Recording(e.observations) for e in tiny.tiny_episodes((6, 1, 4))]
  first, last = reading.batches(recordings, cut, 4)
  # The step numbers that the observations tell; the short episode is padded.
  assert first.observations[:, :, 1].tolist() == [
    [0, 1, 2, 3, 4],
    [2, 3, 4, 5, 6],
    [0, 0, 0, 0, 1],
  ]
  assert first.observations[:, :, 0].tolist() == [[1] * 5, [1] * 5, [0, 0, 0, 2, 2]]
  assert first.valid.sum(1).tolist() == [4, 4, 1]
  # Transitions 0 to 5, then 6 of the second episode.
  assert first.places.tolist() == [[0, 1, 2, 3], [-1, -1, 4, 5], [-1, -1, -1, 6]]
  assert [each.length for each in first.ended] == [6, 1]
  assert last.places.tolist() == [[7, 8, 9, 10], [-1] * 4, [-1] * 4]
  assert [each.length for each in last.ended] == [4]


def test_a_batch_that_a_recording_fills_does_not_wait_for_the_next():
  asked = []

  def recordings():
    for number, episode in enumerate(tiny.tiny_episodes((6, 1, 4))):
      asked.append(number)
      yield Recording(episode.observations)

  # As above: 2 + 1 windows, then 1.
  batches = reading.batches(recordings(), reading.Windows(TINY, 4, 4, False, 3), 4)
  assert [each.length for each in next(batches).ended] == [6, 1]
  assert asked == [0, 1]
  assert [each.length for each in next(batches).ended] == [4]
  assert list(batches) == []


def test_an_endless_recording_needs_no_more_memory_than_its_pieces(labeller):
  """Piece k is asked for when the batches before it have been taken, but for a few."""
  asked = []

  def pieces():
    for number in range(1_000):
      asked.append(number)
      yield np.full((4, 3), number % 200, np.uint8)

  cut = reading.Windows(TINY, 4, 4, False, 2)
  batches = reading.batches([Recording(pieces())], cut, 4)
  for number in range(100):
    next(batches)
    # A batch covers 8 transitions, two pieces.
    assert len(asked) <= 2 * (number + 1) + 3
  # What is held of the pieces: none but the last two.
  frames = [part[0] for part in reading._parts(Recording(pieces()), cut, '')]
  assert max(map(len, frames)) <= 4 + 4 + 1


def reading_threads():
  return [each for each in threading.enumerate() if each.name.startswith('reading_')]


@pytest.mark.parametrize('batch_size', [1, 4, 32])
def test_an_error_while_reading_comes_behind_what_was_read(labeller, batch_size):
  seen = []

  def recordings():
    for episode in tiny.tiny_episodes((10,) * 5):
      yield Recording(episode.observations)
    seen.extend(reading_threads())
    # Some of its windows are in a batch before it breaks off.
    yield Recording(broken())

  def broken():
    yield tiny.tiny_episode(9).observations
    raise OSError('disk')

  # 3 windows each: 15, so that the last batch of 4 is not full.
  config = LabellingConfig('once', batch_size)
  found = []
  with pytest.raises(OSError, match='disk'):
    for labels in labelling.label_episodes(
      labeller, tiny.tiny_spec(), recordings(), config
    ):
      found.append(labels.action.tolist())
  assert len(seen) == 1 and reading_threads() == []
  pool = unlabelled(tiny.tiny_pool((10,) * 5))
  whole = labelling.label_pool(labeller, pool, LabellingConfig('once'))
  assert found == whole.action.reshape(5, 10).tolist()


def test_who_stops_taking_labels_ends_the_reading(labeller):
  read = []

  def recordings():
    for number in range(1_000):
      read.append(number)
      yield Recording(tiny.tiny_episode(4).observations)

  found = labelling.label_episodes(
    labeller, tiny.tiny_spec(), recordings(), LabellingConfig(batch_size=2)
  )
  assert len(next(found).action) == 4
  assert len(reading_threads()) == 1
  found.close()
  assert reading_threads() == []
  assert len(read) < 20


def test_a_recording_that_does_not_fit_is_named(labeller):
  def message(recording):
    episodes = [Recording(tiny.tiny_episode(4).observations), recording]
    with pytest.raises(UserError) as error:
      list(
        labelling.label_episodes(
          labeller, tiny.tiny_spec(), episodes, LabellingConfig()
        )
      )
    return str(error.value)

  frames = tiny.tiny_episode(5).observations
  assert 'recording 1: expected observations uint8 [3]' in message(
    Recording(frames[:, :2])
  )
  assert 'found int64 [3]' in message(Recording([frames, frames.astype(int)]))
  assert 'recording 1: expected an observation' in message(Recording([]))


def test_recorded_actions_that_are_none_are_named(labeller):
  def message(actions, is_labelled):
    frames = tiny.tiny_episode(5).observations
    recordings = [Recording(frames), Recording(frames, actions, is_labelled)]
    with pytest.raises(UserError) as error:
      list(
        labelling.label_episodes(
          labeller, tiny.tiny_spec(), recordings, LabellingConfig()
        )
      )
    return str(error.value)

  known, actions = np.array([0, 1, 0, 0, 1]), np.array([7, 1, 2, 3, 0])
  # As indices, these would be transitions 0 and 1 instead of 1 and 4.
  assert 'recording 1, field is_labelled: expected bool [5], ' in message(
    actions, known
  )
  assert 'found int64 [5]. Give one' in message(actions, known)
  known = known.astype(bool)
  assert 'field is_labelled: expected bool [5], ' in message(actions, known[1:])
  assert 'recording 1, field actions: expected those that' in message(None, known)
  assert 'field actions: expected integer [5], one less than' in message(
    np.zeros(6, np.int32), known
  )
  assert 'found float64 [5]. Give one' in message(actions / 1, known)
  # The 7 of transition 0 is not read; four actions are the environment's.
  for wrong in (99, 4, -1):
    found = message([*actions[:4], wrong], known)
    assert 'recording 1, step 4, field actions: expected 0 to 3, ' in found
    assert f'found {wrong}. Renumber it' in found
