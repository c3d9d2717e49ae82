"""Labelling whole recordings: whose guess an action is, nothing else counts."""

import dataclasses
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
import tiny_models
import tiny_processes
from tiny_labeller import TINY, tiny_labeller, unlabelled

from alpt_jax import specs
from alpt_jax.data import pool as pools
from alpt_jax.data.packed import write_packed
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.labelling import labeller as labelling
from alpt_jax.labelling import plan as planning
from alpt_jax.labelling.labeller import LabellingConfig, Progress
from alpt_jax.labelling.reading import Recording
from alpt_jax.specs import ObservationSpec


@pytest.fixture(scope='module')
def labeller():
  return tiny_labeller()


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


@pytest.mark.slow
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
  # What the model says of recorded ones, too, tells whether it would have been right.
  assert (found.probabilities == guessed.probabilities).all()
  np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize('label_by', labelling.SETTINGS)
def test_labels_do_not_depend_on_batches_pieces_or_shares(labeller, label_by):
  lengths = (6, 2, 1, 13, 4)
  pool = unlabelled(tiny.tiny_pool(lengths))
  config = LabellingConfig(label_by, 32)
  whole = labelling.label_pool(labeller, pool, config)
  assert len(whole.action) == 26

  def same(found):
    parts = list(found)
    actions, confidences, *_ = map(np.concatenate, zip(*parts, strict=True))
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
  monkeypatch.setattr(pools, 'PIECE', 4)
  episodes = tiny.tiny_episodes((9, 3, 8))
  packed = write_packed(tmp_path / 'packed', pool.spec, episodes)
  for other in (pool, packed):
    found = labelling.label_pool(labeller, unlabelled(other), LabellingConfig())
    tiny_models.assert_same_bits(found, whole)


def test_a_share_without_episodes_has_no_labels(labeller):
  # One episode, two processes: its middle, 2, is the second's.
  assert list(planning.share_of([4], 0, 2)) == []
  pool = tiny.tiny_pool((4,))
  found = labelling.label_pool(labeller, pool, LabellingConfig(), range(0))
  assert [array.shape for array in found] == [*[(0,)] * 3, (0, 4)]
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


_ON_FOUR_DEVICES = """
import jax, numpy, tiny, tiny_labeller
from alpt_jax.errors import UserError
from alpt_jax.labelling import labeller as labelling
from alpt_jax.training import sharding
pool = tiny_labeller.unlabelled(tiny.tiny_pool((9, 2)))
found = []
for mesh in (None, sharding.make_mesh(), sharding.make_mesh(2)):
  labeller = tiny_labeller.tiny_labeller(mesh=mesh)
  config = labelling.LabellingConfig('centre', 8)
  found.append(labelling.label_pool(labeller, pool, config))
  assert found[0].action.tolist() == found[-1].action.tolist()
  numpy.testing.assert_allclose(found[0].confidence, found[-1].confidence, rtol=1e-5)
try:
  labelling.label_pool(labeller, pool, labelling.LabellingConfig('once', 6))
except UserError as error:
  print(jax.device_count(), error)
three = sharding.make_mesh(devices=jax.devices()[:3])
labeller = tiny_labeller.tiny_labeller(mesh=three)
print(labelling.batch_size_of(labeller, labelling.LabellingConfig()))
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
  assert done.stdout.splitlines() == [
    '4 labelling.batch_size: expected a multiple of the 4 devices, found 6.',
    '258',
  ]


def test_screens_are_labelled_in_small_batches_on_a_cpu(labeller):
  def size(batch_size=None, form=TINY):
    idm = dataclasses.replace(labeller.idm, observation_spec=form)
    other = dataclasses.replace(labeller, idm=idm)
    config = LabellingConfig(batch_size=batch_size)
    assert labelling.windows_of(other, config).batch_size == (
      labelling.batch_size_of(other, config)
    )
    return labelling.batch_size_of(other, config)

  screens = ObservationSpec('image', (28, 28, 1), 'uint8')
  assert (size(), size(form=screens)) == (256, 32)
  assert (size(6), size(6, screens)) == (6, 6)


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
  assert "found 'None'" in message(spec, label_by=None)
  for wrong in (0, -8, 2.5, '8', True):
    for name in ('batch_size', 'ahead'):
      assert f'labelling.{name}: expected a' in message(spec, **{name: wrong})
  assert 'labelling.ahead: expected a' in message(spec, ahead=None)


@pytest.mark.parametrize('wrong', [-1, 2])
def test_an_episode_that_a_pool_does_not_have_is_named(labeller, wrong):
  pool = unlabelled(tiny.tiny_pool((6, 2)))
  with pytest.raises(
    UserError, match=f'tiny, episodes: expected 0 to 1, found {wrong}'
  ):
    labelling.label_pool(labeller, pool, LabellingConfig(), [0, wrong])
