"""Labelling whole recordings: which windows label what, nothing else counts."""

import dataclasses
import pathlib
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import tiny
import tiny_models
import tiny_processes

from alpt_jax import specs
from alpt_jax.data.packed import write_packed
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.labelling import labeller as labelling
from alpt_jax.labelling import plan as planning
from alpt_jax.labelling import reading
from alpt_jax.labelling.labeller import LabellingConfig, Progress
from alpt_jax.labelling.reading import Recording
from alpt_jax.specs import ObservationSpec
from alpt_jax.training import sharding

# Six actions, of which a tiny environment accepts four, in another order.
VOCABULARY = ('a', 'left', 'right', 'b', 'up', 'down')
TINY = tiny.tiny_spec().observation


def tiny_labeller(vocabulary=VOCABULARY, spec=TINY, mesh=None, **fields):
  """An untrained model of windows of 4 transitions."""
  idm = tiny_models.tiny_idm(spec, num_actions=len(vocabulary), **fields)
  observations = np.zeros((1, 5, *spec.shape), spec.dtype)
  params = tiny_models.loud_params(idm, observations, np.ones((1, 4), bool))
  mesh = mesh or sharding.make_mesh(devices=jax.devices()[:1])
  protocol = tiny.tiny_spec().protocol
  return labelling.make_labeller(idm, params, vocabulary, protocol, mesh)


@pytest.fixture(scope='module')
def labeller():
  return tiny_labeller()


def unlabelled(pool):
  """The same pool, all its actions forgotten."""
  nothing = np.zeros(pool.num_transitions, bool)
  return dataclasses.replace(pool, actions=0 * pool.actions, is_labelled=nothing)


def by_hand(labeller, pool, ends_and_slots):
  """`[N, own actions]` probabilities at N slots (end of a window, slot)."""
  ends, slots = np.transpose(ends_and_slots)
  window = WindowReader(pool, labeller.vocabulary, 0, 4)(ends)
  logits = labeller.idm.apply(
    {'params': labeller.params}, window.observations, window.valid
  )
  logits = np.asarray(logits)[np.arange(len(ends)), slots]
  joint = specs.action_indices(pool.spec, labeller.vocabulary)
  return np.asarray(jax.nn.softmax(logits[:, joint]))


def labelled_at(plan):
  """Transition -> the first transition of its window, each exactly once."""
  found = [
    (first + place, start)
    for start, first, count in zip(*map(np.ndarray.tolist, plan), strict=True)
    for place in range(count)
  ]
  assert [transition for transition, _ in found] == list(range(len(found)))
  return [start for _, start in found]


def test_once_windows_lie_side_by_side_and_the_last_one_inside():
  # 0..4 | 5..9, 10 and 11 by the window 7..11.
  assert labelled_at(planning.plan(12, 5, 5)) == [0] * 5 + [5] * 5 + [7] * 2
  assert labelled_at(planning.plan(10, 5, 5)) == [0] * 5 + [5] * 5


def test_the_centre_of_overlapping_windows_labels_where_there_is_one():
  # Transition 2 is the first, 5 the last that stands in the middle of five.
  assert labelled_at(planning.plan(8, 5, 1)) == [0, 0, 0, 1, 2, 3, 3, 3]
  assert planning.plan(8, 5, 1).counts.tolist() == [3, 1, 1, 3]


def test_a_stride_between_labels_the_transitions_in_the_middle():
  # The picture in plan.py: blocks 01 23 45 67, windows -1 -> 0, 1, 3 and 5 -> 3.
  assert labelled_at(planning.plan(8, 5, 2)) == [0, 0, 1, 1, 3, 3, 3, 3]
  # Stride 3: blocks 012 345 6, windows -1 -> 0, 2, 5 -> 2.
  assert labelled_at(planning.plan(7, 5, 3)) == [0, 0, 0, 2, 2, 2, 2]


@pytest.mark.parametrize('stride', [1, 2, 5])
def test_an_episode_shorter_than_a_window_has_a_padded_one(stride):
  assert labelled_at(planning.plan(3, 5, stride)) == [-2, -2, -2]
  assert labelled_at(planning.plan(5, 5, stride)) == [0] * 5
  assert labelled_at(planning.plan(0, 5, stride)) == []


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('length', [1, 4, 5, 6, 9, 14])
def test_an_episode_that_is_read_in_pieces_is_planned_as_a_whole(length, stride):
  for size in (1, 2, 3, 7):
    parts, begin = [], 0
    for known in range(size, length, size):
      parts.append(planning.plan(known, 5, stride, begin, is_whole=False))
      begin += int(parts[-1].counts.sum())
      needed = planning.needed_from(known, 5, stride, begin)
      rest = planning.plan(length, 5, stride, begin)
      assert (np.maximum(rest.starts, 0) >= needed).all()
    parts.append(planning.plan(length, 5, stride, begin))
    joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    for found, expected in zip(joined, planning.plan(length, 5, stride), strict=True):
      assert found.tolist() == expected.tolist()


def test_shares_are_all_episodes_in_order_and_alike_in_work():
  # Middles 1, 3, 8.5, 15, 16.5 of 18; bounds 0, 6, 12, 18.
  lengths = [2, 2, 9, 4, 1]
  shares = [list(planning.share_of(lengths, index, 3)) for index in range(3)]
  assert shares == [[0, 1], [2], [3, 4]]
  assert [list(planning.share_of([], i, 2)) for i in range(2)] == [[], []]
  with pytest.raises(UserError, match='shard 3/3: expected 0 to 2'):
    planning.share_of(lengths, 3, 3)


def test_labels_are_those_of_the_planned_windows_among_the_environments_actions(
  labeller,
):
  # Lengths 6 and 2. Once: (end, slot), the first window ends at 3, the second at 5
  # and is read at its last two slots; the short episode's ends at 7 and is padded.
  pool = unlabelled(tiny.tiny_pool((6, 2)))
  once = [(3, 0), (3, 1), (3, 2), (3, 3), (5, 2), (5, 3), (7, 2), (7, 3)]
  # Centre, one transition before it and two behind: blocks 0..5, windows -1 -> 0, 0,
  # 1, 2, and 3, 4 -> 2.
  centre = [(3, 0), (3, 1), (4, 1), (5, 1), (5, 2), (5, 3), (7, 2), (7, 3)]
  for label_by, places in (('once', once), ('centre', centre)):
    found = labelling.label_pool(labeller, pool, LabellingConfig(label_by, 3))
    probabilities = by_hand(labeller, pool, places)
    assert found.action.tolist() == probabilities.argmax(1).tolist()
    np.testing.assert_allclose(found.confidence, probabilities.max(1), rtol=1e-5)
    assert not found.is_recorded.any()
  assert len(set(found.action.tolist())) > 1  # so that the comparison says something


def test_the_mean_is_that_of_all_windows_that_show_a_transition(labeller):
  # Length 6, windows that end at 3, 4, 5: transition 0 stands in the first alone, 2 in
  # all three at slots 2, 1, 0; the padded window of the other episode is one.
  pool = unlabelled(tiny.tiny_pool((6, 2)))
  shown = [
    [(end, t + 3 - end) for end in (3, 4, 5) if 0 <= t + 3 - end < 4] for t in range(6)
  ]
  assert shown[0] == [(3, 0)] and shown[2] == [(3, 2), (4, 1), (5, 0)]
  expected = [by_hand(labeller, pool, places).mean(0) for places in shown]
  expected = np.array([*expected, *by_hand(labeller, pool, [(7, 2), (7, 3)])])
  found = labelling.label_pool(labeller, pool, LabellingConfig('mean', 2))
  assert found.action.tolist() == expected.argmax(1).tolist()
  np.testing.assert_allclose(found.confidence, expected.max(1), rtol=1e-5)


def test_recorded_actions_stay_and_have_confidence_one(labeller):
  pool = tiny.tiny_pool((6, 3))
  known = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1], bool)
  actions = np.where(known, 3 - pool.actions, -7).astype(np.int32)
  some = dataclasses.replace(pool, actions=actions, is_labelled=known)
  found = labelling.label_pool(labeller, some, LabellingConfig('centre'))
  guessed = labelling.label_pool(labeller, unlabelled(pool), LabellingConfig('centre'))
  assert found.action.dtype == np.int32 and found.confidence.dtype == np.float32
  assert (found.action[known] == actions[known]).all()
  assert (found.confidence[known] == 1).all()
  assert (found.action[~known] == guessed.action[~known]).all()
  assert (found.confidence[~known] == guessed.confidence[~known]).all()
  assert found.is_recorded.tolist() == known.tolist()


@pytest.mark.parametrize('label_by', labelling.SETTINGS)
def test_labels_do_not_depend_on_batches_pieces_or_shares(labeller, label_by):
  lengths = (6, 2, 1, 13, 4)
  pool = unlabelled(tiny.tiny_pool(lengths))
  config = LabellingConfig(label_by, 32)
  whole = labelling.label_pool(labeller, pool, config)
  assert len(whole.action) == 26

  def same(found):
    parts = list(found)
    actions, confidences, _ = map(np.concatenate, zip(*parts, strict=True))
    assert actions.tolist() == whole.action.tolist()
    np.testing.assert_allclose(confidences, whole.confidence, rtol=1e-5)
    return parts

  for size in (1, 3, 5):
    same([labelling.label_pool(labeller, pool, LabellingConfig(label_by, size, 1))])
  shares = [planning.share_of(lengths, index, 3) for index in range(3)]
  same(labelling.label_pool(labeller, pool, config, share) for share in shares)
  recordings = (
    Recording(np.array_split(pool.episode(e).observations, pieces))
    for e, pieces in enumerate((3, 1, 2, 5, 2))
  )
  parts = same(labelling.label_episodes(labeller, pool.spec, recordings, config))
  assert tuple(len(part.action) for part in parts) == lengths


def test_a_pool_is_read_in_pieces_whatever_holds_it(labeller, tmp_path, monkeypatch):
  pool = tiny.tiny_pool((9, 3, 8))
  whole = labelling.label_pool(labeller, unlabelled(pool), LabellingConfig())
  monkeypatch.setattr(labelling, '_PIECE', 4)
  episodes = tiny.tiny_episodes((9, 3, 8))
  packed = write_packed(tmp_path / 'packed', pool.spec, episodes)
  for other in (pool, packed):
    found = labelling.label_pool(labeller, unlabelled(other), LabellingConfig())
    tiny_models.assert_same_bits(found, whole)


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


def test_a_share_without_episodes_has_no_labels(labeller):
  # One episode, two processes: its middle, 2, is the second's.
  assert list(planning.share_of([4], 0, 2)) == []
  pool = tiny.tiny_pool((4,))
  found = labelling.label_pool(labeller, pool, LabellingConfig(), range(0))
  assert [array.shape for array in found] == [(0,)] * 3
  whole = labelling.label_pool(labeller, pool, LabellingConfig())
  assert [array.dtype for array in found] == [array.dtype for array in whole]


def test_progress_adds_up_over_calls_and_over_those_that_take_turns(labeller):
  pool, progress = tiny.tiny_pool((6, 3)), Progress()

  def label():
    recordings = (Recording(pool.episode(e).observations) for e in range(2))
    return labelling.label_episodes(
      labeller, pool.spec, recordings, LabellingConfig('once', 1), progress
    )

  # Lengths 6 and 3 have 2 + 1 windows.
  list(label())
  assert (progress.windows, progress.transitions) == (3, 9)
  progress.waited += 1_000
  list(zip(label(), label(), strict=True))
  assert (progress.windows, progress.transitions) == (9, 27)
  assert progress.waited > 1_000


def test_windows_of_a_pair_are_never_computed_twice():
  image = ObservationSpec('image', (4, 4, 1), 'uint8')
  labeller = tiny_labeller(spec=image, form='pair')
  spec = dataclasses.replace(tiny.tiny_spec(), observation=image)
  frames = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 1)).astype(np.uint8)
  found = []
  for label_by in labelling.SETTINGS:
    progress = Progress()
    found += labelling.label_episodes(
      labeller, spec, [Recording(frames)], LabellingConfig(label_by, 8), progress
    )
    # 10 transitions: windows at 0, 4 and 6.
    assert (progress.windows, progress.transitions) == (3, 10)
  for each in found[1:]:
    tiny_models.assert_same_bits(each, found[0])


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


_ON_FOUR_DEVICES = """
import jax, numpy, labelling_test as here, tiny
from alpt_jax.labelling import labeller as labelling
from alpt_jax.training import sharding
pool = here.unlabelled(tiny.tiny_pool((9, 2)))
found = []
for mesh in (None, sharding.make_mesh(), sharding.make_mesh(2)):
  labeller = here.tiny_labeller(mesh=mesh)
  config = labelling.LabellingConfig('centre', 8)
  found.append(labelling.label_pool(labeller, pool, config))
  assert found[0].action.tolist() == found[-1].action.tolist()
  numpy.testing.assert_allclose(found[0].confidence, found[-1].confidence, rtol=1e-5)
try:
  labelling.label_pool(labeller, pool, labelling.LabellingConfig('once', 6))
except here.UserError as error:
  print(jax.device_count(), error)
"""


@pytest.mark.slow
def test_rows_are_spread_over_the_devices(tmp_path):
  environment = tiny_processes.environment(tmp_path, devices=4)
  environment['PYTHONPATH'] = str(pathlib.Path(__file__).parent)
  done = subprocess.run(
    [sys.executable, '-c', _ON_FOUR_DEVICES],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  expected = '4 labelling.batch_size: expected a multiple of the 4 devices, found 6.'
  assert done.stdout.strip() == expected


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


def test_what_the_model_is_no_model_of_is_named(labeller):
  def message(spec, **config):
    with pytest.raises(UserError) as error:
      labelling.label_episodes(labeller, spec, [], LabellingConfig(**config))
    return str(error.value)

  spec = tiny.tiny_spec()
  wider = dataclasses.replace(TINY, shape=(4,), num_values=(9,) * 4)
  assert 'tiny, field observation: expected' in message(
    dataclasses.replace(spec, observation=wider)
  )
  faster = dataclasses.replace(spec.protocol, frame_skip=4)
  assert 'tiny, field protocol: frame_skip 4, not 1 as in' in message(
    dataclasses.replace(spec, protocol=faster)
  )
  # Another cap on the steps is no other game.
  shorter = dataclasses.replace(spec.protocol, max_episode_steps=9)
  other = dataclasses.replace(spec, protocol=shorter)
  assert list(labelling.label_episodes(labeller, other, [], LabellingConfig())) == []
  assert "does not know its action 'rigt'; did you mean 'right'?" in message(
    tiny.tiny_spec(action_names=('left', 'rigt'))
  )
  assert 'action_names: expected the actions' in message(
    tiny.tiny_spec(action_names=())
  )
  assert "did you mean 'centre'?" in message(spec, label_by='center')
  assert 'labelling.batch_size: ' in message(spec, batch_size=0)
  assert 'labelling.ahead: ' in message(spec, ahead=0)


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
